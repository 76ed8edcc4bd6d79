from __future__ import annotations

import math

import numpy as np
import pytest

from nearfar.errors import InputError
from nearfar.evaluation.seeds import Difference, over_seeds, paired_difference, student_t95

# Two-sided 95 % points of Student's t, as printed in every table.
TABLE = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706, 9: 2.2622, 10: 2.2281, 29: 2.0452, 30: 2.0423}


@pytest.mark.parametrize("df", TABLE)
def test_the_quantile_is_the_one_of_the_tables(df: int) -> None:
    assert student_t95(df) == pytest.approx(TABLE[df], abs=5e-5)


def test_the_quantile_has_closed_forms_for_one_and_two_degrees_and_tends_to_the_normal() -> None:
    assert student_t95(1) == pytest.approx(math.tan(math.pi * 0.475), rel=1e-12)
    assert student_t95(2) == pytest.approx(math.sqrt(2 * 0.95**2 / (1 - 0.95**2)), rel=1e-12)
    assert student_t95(100_000) == pytest.approx(1.959964, abs=3e-5)


@pytest.mark.parametrize("df", [1, 2, 3, 4, 7, 8, 19, 50, 999])
def test_the_quantile_agrees_with_scipy(df: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert student_t95(df) == pytest.approx(float(stats.t.ppf(0.975, df)), rel=1e-12)


def test_mean_sd_and_interval_by_hand() -> None:
    found = over_seeds([0.5, 0.6, 0.7])
    half = 4.302653 * 0.1 / math.sqrt(3)
    assert found == pytest.approx((0.6, 0.1, 0.6 - half, 0.6 + half, 3), abs=1e-6)


def test_one_seed_has_no_spread() -> None:
    assert over_seeds([0.5]) == (0.5, None, None, None, 1)
    assert paired_difference([0.5], [0.4]) is None


def test_the_paired_interval_agrees_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=7).tolist(), rng.normal(size=7).tolist()
    found = paired_difference(a, b)
    assert found is not None
    interval = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert found[:3] == pytest.approx((np.mean(a) - np.mean(b), interval.low, interval.high), rel=1e-9)


def test_pairing_finds_what_the_spread_over_seeds_hides() -> None:
    base = [0.2, 0.5, 0.8]
    shifted = [value + step for value, step in zip(base, (0.010, 0.011, 0.009), strict=True)]
    found = paired_difference(shifted, base)
    assert found is not None
    assert not found.within_noise
    one, two = over_seeds(shifted), over_seeds(base)
    assert one.low is not None
    assert two.high is not None
    assert one.low < two.high  # by themselves the intervals overlap widely


@pytest.mark.parametrize(
    ("low", "high", "noise"),
    [(-0.1, 0.1, True), (0.0, 0.1, True), (-0.1, 0.0, True), (0.01, 0.1, False), (-0.2, -0.1, False), (0, 0, True)],
)
def test_noise_is_an_interval_that_contains_zero(low: float, high: float, noise: bool) -> None:
    assert Difference((low + high) / 2, low, high, 3).within_noise is noise


def test_the_share_of_false_alarms_is_one_in_twenty() -> None:
    rng = np.random.default_rng(1)
    trials = [paired_difference(rng.normal(size=3).tolist(), rng.normal(size=3).tolist()) for _ in range(4000)]
    alarms = np.mean([not found.within_noise for found in trials if found is not None])
    assert 0.04 < alarms < 0.06


def test_wrong_input_is_refused() -> None:
    with pytest.raises(InputError, match="over_seeds: values must be one a seed, at least one, got 0"):
        over_seeds([])
    with pytest.raises(InputError, match="second must be 2 values, got 1"):
        paired_difference([1.0, 2.0], [1.0])
    with pytest.raises(InputError, match="df must be >= 1, got 0"):
        student_t95(0)
