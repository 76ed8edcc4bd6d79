"""Losses on pairs, triplets, labels, proxies, rankings and teachers equal slow loops, in value and in gradient."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from nearfar.losses import _rows
from tests.losses.metric_cases import CASES, run

ALL = pytest.mark.parametrize("name", CASES)


@pytest.fixture
def one_row_at_a_time(monkeypatch):
    monkeypatch.setattr(_rows, "_ENTRIES", {"cpu": 1})


@pytest.fixture(scope="module")
def expected():
    return {name: run(case, case.inputs(), case.reference) for name, case in CASES.items()}


@ALL
def test_value_and_gradient_equal_the_loops(name, expected):
    case = CASES[name]
    assert expected[name][0] != 0, "the inputs shall not be trivial"
    assert_close(run(case, case.inputs()), expected[name], rtol=1e-9, atol=1e-10)


@ALL
def test_block_by_block_is_the_same(name, expected, one_row_at_a_time):
    case = CASES[name]
    assert_close(run(case, case.inputs()), expected[name], rtol=1e-9, atol=1e-10)


@ALL
def test_float32_is_close_and_stays_float32_under_autocast(name, expected):
    case = CASES[name]
    inputs = tuple(t.float() if t.is_floating_point() else t for t in case.inputs())

    def under_autocast(*args, **settings):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return case.loss(*args, **settings)

    result = run(case, inputs, under_autocast)
    assert result[0].dtype == torch.float32
    for got, want in zip(result, expected[name], strict=True):
        assert_close(got.double(), want, rtol=2e-4, atol=2e-4 * max(1.0, float(want.abs().max())))


@ALL
def test_half_precision_inputs_are_widened(name):
    case = CASES[name]
    inputs = tuple(t.bfloat16() if t.is_floating_point() else t for t in case.inputs())
    wide = tuple(t.float() if t.is_floating_point() else t for t in inputs)
    assert case.loss(*inputs, **case.settings).dtype == torch.float32
    assert_close(case.loss(*inputs, **case.settings), case.loss(*wide, **case.settings))


@ALL
def test_reductions_agree(name):
    case = CASES[name]
    if not case.per_row or "nu" in case.settings:
        pytest.skip("the value is not one mean over rows")
    inputs = case.inputs()
    rows = case.loss(*inputs, **case.settings, reduction="none")
    assert rows.shape == (len(inputs[0]),)
    total = case.loss(*inputs, **case.settings, reduction="sum")
    mean = case.loss(*inputs, **case.settings, reduction="mean")
    # A mean over anchors, pairs or triplets: the sum divided by a whole number of them.
    count = float(total / mean)
    assert round(count) >= 1
    assert count == pytest.approx(round(count), abs=1e-6)
    assert float(rows.min()) - 1e-9 <= float(mean) <= float(rows.max()) + 1e-9


SMOOTH = [name for name in CASES if name.split("-")[0] not in {"circle", "ranked_list"}]


@pytest.mark.parametrize("name", SMOOTH)
def test_gradcheck(name):
    """Circle and ranked list hold weights constant, so their gradient is by design not that of their value."""
    case = CASES[name]
    inputs = [t.clone().requires_grad_(i in case.differentiable) for i, t in enumerate(case.inputs())]
    assert torch.autograd.gradcheck(lambda *args: case.loss(*args, **case.settings), inputs, fast_mode=True)
