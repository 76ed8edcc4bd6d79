from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from nearfar.errors import InputError
from nearfar.evaluation import bootstrap_mean, wilson


@pytest.mark.parametrize(("right", "count"), [(0, 10), (10, 10), (1, 3), (945, 1000), (50, 10_000)])
def test_wilson_is_scipys(right, count):
    expected = binomtest(right, count).proportion_ci(0.95, method="wilson")
    assert wilson(right, count) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_of_nothing_is_refused():
    with pytest.raises(InputError, match="count = 0 > 0"):
        wilson(0, 0)


def test_the_bootstrap_has_the_width_of_the_normal_interval():
    values = np.random.default_rng(0).normal(size=(2000, 2)) * [1.0, 3.0]
    low, high = bootstrap_mean(values)
    expected = 2 * 1.96 * values.std(axis=0) / np.sqrt(2000)
    np.testing.assert_allclose(high - low, expected, rtol=0.1)
    assert (low < values.mean(axis=0)).all()
    assert (values.mean(axis=0) < high).all()


def test_the_bootstrap_repeats_under_its_seed():
    values = np.random.default_rng(0).normal(size=(50, 1))
    assert bootstrap_mean(values, seed=1) == bootstrap_mean(values, seed=1)
    assert bootstrap_mean(values, seed=1) != bootstrap_mean(values, seed=2)
