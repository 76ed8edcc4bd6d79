"""Numbers over repeated splits: what small data sets need, where one split says little."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nearfar.errors import require

__all__ = ["Repeated", "interval"]

T975 = {
    1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 10: 2.228, 11: 2.201,
    12: 2.179, 13: 2.160, 14: 2.145, 15: 2.131, 16: 2.120, 17: 2.110, 18: 2.101, 19: 2.093, 24: 2.064, 29: 2.045,
}  # fmt: skip
"""The 97.5 % points of Student's t by degrees of freedom; those between take the next smaller one."""


class Repeated(NamedTuple):
    """A mean over repeated splits.

    Attributes:
        mean: over the splits.
        sd: over the splits (n - 1).
        low: lower end of the 95 % interval, see `interval`.
        high: upper end.
        n: how many splits.
    """

    mean: float
    sd: float
    low: float
    high: float
    n: int


def interval(values: Sequence[float], *, test_share: float) -> Repeated:
    """Return the mean over repeated random splits with the corrected resampled t interval.

    The splits share rows, so that their plain standard error is far too small. Nadeau and Bengio, "Inference for the
    Generalization Error", Machine Learning 2003, eq. 5, https://doi.org/10.1023/A:1024068626366, multiply the variance
    by 1/n + test/train in place of 1/n.

    Args:
        values: one number a split, two or more.
        test_share: the share of rows that was held out, in (0, 1).
    """
    n = len(values)
    require(n >= 2, "interval", "values", "two or more", n)
    require(0 < test_share < 1, "interval", "test_share", "in (0, 1)", test_share)
    found = np.asarray(values, dtype=np.float64)
    mean, sd = float(found.mean()), float(found.std(ddof=1))
    degree = max(key for key in T975 if key <= n - 1)
    half = T975[degree] * sd * math.sqrt(1 / n + test_share / (1 - test_share))
    return Repeated(mean, sd, mean - half, mean + half, n)
