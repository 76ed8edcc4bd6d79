"""Numbers over seeds: their mean with Student's interval, and the paired difference of two encoders.

    interval    mean ± t(0.975, n - 1) · sd / √n             of n values, one a seed
    paired      the same, of the n differences a_s - b_s     both of the same seed s

Student, "The Probable Error of a Mean", Biometrika 1908, https://doi.org/10.1093/biomet/6.1.1. The quantile t comes
from the closed form of the distribution for whole degrees of freedom: Abramowitz and Stegun, "Handbook of Mathematical
Functions", 26.7.3 and 26.7.4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from nearfar.errors import require

__all__ = ["Difference", "OverSeeds", "over_seeds", "paired_difference", "student_t95"]


class OverSeeds(NamedTuple):
    """One number measured with several seeds.

    Attributes:
        mean: over the seeds.
        sd: the standard deviation (n - 1 in the denominator); ``None`` with one seed.
        low: the lower end of the 95 % interval of the mean; ``None`` with one seed.
        high: its upper end.
        n: the number of seeds.
    """

    mean: float
    sd: float | None
    low: float | None
    high: float | None
    n: int


class Difference(NamedTuple):
    """The mean of a - b over seeds, with its 95 % interval."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def within_noise(self) -> bool:
        """Whether the interval contains 0."""
        return self.low <= 0.0 <= self.high


def over_seeds(values: Sequence[float]) -> OverSeeds:
    """Return mean, standard deviation and 95 % t-interval of one value a seed.

    The interval covers what the seed decides, and takes the values for independent and normal; what the choice of the
    test rows does is not in it.

    Raises:
        InputError: when there is no value.
    """
    require(len(values) >= 1, "over_seeds", "values", "one a seed, at least one", 0)
    numbers = np.asarray(values, dtype=np.float64)
    mean, n = float(numbers.mean()), len(numbers)
    if n == 1:
        return OverSeeds(mean, None, None, None, 1)
    sd = float(numbers.std(ddof=1))
    half = student_t95(n - 1) * sd / math.sqrt(n)
    return OverSeeds(mean, sd, mean - half, mean + half, n)


def paired_difference(first: Sequence[float], second: Sequence[float]) -> Difference | None:
    """Return the mean of first - second, paired seed by seed, with its 95 % t-interval; ``None`` with one seed.

    What a seed does to both alike (the labels it draws, the weights it starts from) cancels.

    Raises:
        InputError: when the lengths differ.
    """
    require(len(first) == len(second), "paired_difference", "second", f"{len(first)} values", len(second))
    found = over_seeds([a - b for a, b in zip(first, second, strict=True)])
    return None if found.low is None or found.high is None else Difference(found.mean, found.low, found.high, found.n)


@cache
def student_t95(df: int) -> float:
    """Return the t that 95 % of Student's distribution lie within, ±t, by bisection on its closed form.

    Args:
        df: degrees of freedom, >= 1.

    Raises:
        InputError: when ``df`` is below 1.
    """
    require(df >= 1, "student_t95", "df", ">= 1", df)
    low, high = 1.9, 13.0  # the normal's 1.96 and df = 1's 12.7 lie within
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _share_within(middle, df) < 0.95 else (low, middle)
    return (low + high) / 2


def _share_within(t: float, df: int) -> float:
    """Return P(|T| <= t): 26.7.3 for odd, 26.7.4 for even degrees of freedom."""
    angle = math.atan(t / math.sqrt(df))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = df % 2 == 1
    term, total = (cosine, cosine if df > 1 else 0.0) if odd else (1.0, 1.0)
    for k in range(3 if odd else 2, df - 1, 2):
        term *= (k - 1) / k * cosine * cosine
        total += term
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
