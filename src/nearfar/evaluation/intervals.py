"""95 % confidence intervals: Wilson's for a share of right answers, the bootstrap for other means."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import require

__all__ = ["bootstrap_mean", "wilson"]

Z95 = 1.959963984540054
"""The 97.5 % point of the normal distribution."""


def wilson(right: int, count: int) -> tuple[float, float]:
    """Return the Wilson score interval (95 %) of a share.

    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927,
    https://doi.org/10.1080/01621459.1927.10502953. Unlike the normal interval it stays within [0, 1] and is right near
    both ends. It covers the choice of test rows, not of training rows or seeds.

    Raises:
        InputError: unless 0 <= right <= count and count > 0.
    """
    require(0 <= right <= count and count > 0, "wilson", "right", f"between 0 and count = {count} > 0", right)
    share, z2 = right / count, Z95 * Z95
    centre = share + z2 / (2 * count)
    half = Z95 * math.sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    scale = 1 + z2 / count
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def bootstrap_mean(
    values: NDArray[np.float64], *, resamples: int = 1000, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the percentile bootstrap interval (95 %) of the mean over rows.

    Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 1979,
    https://doi.org/10.1214/aos/1176344552.

    Args:
        values: (N, M) float64, M metrics of each of N rows; rows are drawn together.
        resamples: how many times N rows are drawn with replacement.
        seed: of the draws.

    Returns:
        Lower ends (M,) and upper ends (M,).
    """
    rng = np.random.default_rng([seed, len(values)])
    means = np.empty((resamples, values.shape[1]))
    for draw in range(resamples):
        times = np.bincount(rng.integers(len(values), size=len(values)), minlength=len(values))
        means[draw] = times @ values / len(values)
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    return low, high
