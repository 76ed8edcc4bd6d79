"""Two gloo ranks with uneven batches give the value and gradient of one process on the global batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from nearfar.losses import _rows
from tests.losses.metric_cases import CASES, ROWS, Case, labelled, run
from tests.ranks import run_on_ranks

UNEVEN = [5, ROWS - 5]
EMPTY = [0, ROWS]  # one rank found no labelled row
GATHERING = [name for name, case in CASES.items() if case.gathers]
OVER_LABELS = [name for name in GATHERING if CASES[name].inputs is labelled]
# Row by row and all rows at once.
SETUPS = [(UNEVEN, GATHERING, 1), (UNEVEN, GATHERING, 2**18), (EMPTY, OVER_LABELS, 2**18)]


def sliced(case: Case, sizes: list[int], rank: int) -> tuple[Tensor, ...]:
    start = sum(sizes[:rank])
    own = slice(start, start + sizes[rank])
    return tuple(t if i in case.shared else t[own] for i, t in enumerate(case.inputs()))


def on_each_rank(rank: int, world: int) -> dict[str, Any]:
    results: dict[str, Any] = {}
    for sizes, names, entries in SETUPS:
        _rows._ENTRIES = {"cpu": entries}
        for name in names:
            results[f"{name} {sizes} {entries}"] = run(CASES[name], sliced(CASES[name], sizes, rank))
    for name in GATHERING:
        case = CASES[name]
        results[f"{name} alone"] = run(case, sliced(case, UNEVEN, rank), across_ranks=False)
        if case.per_row:
            inputs = sliced(case, UNEVEN, rank)
            results[f"{name} rows"] = case.loss(*inputs, **case.settings, reduction="none")
            results[f"{name} sum"] = case.loss(*inputs, **case.settings, reduction="sum")
    for name in OVER_LABELS:
        case = CASES[name]
        nobody = case.inputs()[0][:0], case.inputs()[1][:0]
        results[f"{name} nobody"] = run(case, nobody)
    return results


@pytest.fixture(scope="module")
def ranks():
    return run_on_ranks(on_each_rank, 2)


def joined(case: Case, results: list[list[Tensor]]) -> list[Tensor]:
    """The mean of values, and gradients as DistributedDataParallel averages them, in the order of the global batch."""
    value = (results[0][0] + results[1][0]) / 2
    grads = []
    for k, i in enumerate(case.differentiable, 1):
        parts = [result[k] / 2 for result in results]
        grads.append(parts[0] + parts[1] if i in case.shared else torch.cat(parts))
    return [value, *grads]


@pytest.mark.parametrize(
    ("name", "sizes", "entries"),
    [(name, sizes, entries) for sizes, names, entries in SETUPS for name in names],
    ids=str,
)
def test_ranks_equal_one_process(ranks, name, sizes, entries):
    case = CASES[name]
    got = joined(case, [result[f"{name} {sizes} {entries}"] for result in ranks])
    assert_close(got, run(case, case.inputs()), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", GATHERING)
def test_a_rank_alone_does_not_see_the_others(ranks, name):
    case = CASES[name]
    for rank, result in enumerate(ranks):
        assert_close(result[f"{name} alone"], run(case, sliced(case, UNEVEN, rank)), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", [name for name in GATHERING if CASES[name].per_row])
def test_rows_and_sums(ranks, name):
    case = CASES[name]
    inputs = case.inputs()
    rows = torch.cat([result[f"{name} rows"] for result in ranks])
    assert_close(rows, case.loss(*inputs, **case.settings, reduction="none"), rtol=1e-9, atol=1e-10)
    total = (ranks[0][f"{name} sum"] + ranks[1][f"{name} sum"]) / 2
    assert_close(total, case.loss(*inputs, **case.settings, reduction="sum"), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", OVER_LABELS)
def test_nobody_has_a_row(ranks, name):
    for value, grad in (result[f"{name} nobody"] for result in ranks):
        assert value == 0
        assert grad.shape == (0, 4)
