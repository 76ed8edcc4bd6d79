"""TS2Vec's loss against a slow loop, closed forms, and two ranks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from nearfar.errors import InputError
from nearfar.losses import hierarchical_contrast
from tests.ranks import run_on_ranks


def slow(z1: Tensor, z2: Tensor, weight: float, temporal_from: int = 0) -> float:
    """The paper's equations 1 to 3, one product at a time."""
    views, total, scale = [z1.double().tolist(), z2.double().tolist()], 0.0, 0
    while True:
        n, steps = len(views[0]), len(views[0][0])
        last = steps == 1
        instance = temporal = 0.0
        for v in range(2):
            for i in range(n):
                for t in range(steps):
                    own = views[v][i][t]
                    others = [views[u][j][t] for u in range(2) for j in range(n) if (u, j) != (v, i)]
                    instance += _term(own, views[1 - v][i][t], others) / (2 * n * steps)
                    moments = [views[u][i][s] for u in range(2) for s in range(steps) if (u, s) != (v, t)]
                    temporal += _term(own, views[1 - v][i][t], moments) / (2 * n * steps)
        total += weight * (instance if n > 1 else 0.0)
        if not last and scale >= temporal_from:
            total += (1 - weight) * temporal
        scale += 1
        if last:
            return total / scale
        views = [
            [
                [[max(a, b) for a, b in zip(row[t], row[t + 1], strict=True)] for t in range(0, steps - 1, 2)]
                for row in view
            ]
            for view in views
        ]


def _term(own: list[float], partner: list[float], others: list[list[float]]) -> float:
    def dot(a: list[float]) -> float:
        return sum(x * y for x, y in zip(own, a, strict=True))

    return math.log(sum(math.exp(dot(other)) for other in others)) - dot(partner)


@pytest.mark.parametrize("steps", [1, 2, 5, 8])
@pytest.mark.parametrize(("weight", "first"), [(0.5, 0), (0.2, 1), (1.0, 0), (0.0, 0)])
def test_it_is_the_papers_equation(steps: int, weight: float, first: int) -> None:
    generator = torch.Generator().manual_seed(steps)
    z1, z2 = (torch.randn(3, steps, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    loss = hierarchical_contrast(z1, z2, instance_weight=weight, temporal_from=first)
    assert loss.item() == pytest.approx(slow(z1, z2, weight, first), rel=1e-9, abs=1e-12)


def test_equal_representations_give_the_logarithm_of_the_choices() -> None:
    z = torch.ones(4, 2, 3)
    instance, temporal = math.log(7), math.log(3)
    assert hierarchical_contrast(z, z).item() == pytest.approx((0.5 * instance + 0.5 * temporal + 0.5 * instance) / 2)


def test_one_item_is_told_from_no_other_and_the_gradient_stays_finite() -> None:
    z = torch.randn(1, 4, 3, requires_grad=True)
    loss = hierarchical_contrast(z, z + 0.1, instance_weight=1.0)
    loss.backward()
    assert loss.item() == 0.0
    assert z.grad is not None
    assert torch.equal(z.grad, torch.zeros_like(z))


def test_under_autocast_it_is_float32() -> None:
    z1, z2 = torch.randn(4, 4, 8), torch.randn(4, 4, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = hierarchical_contrast(z1.bfloat16(), z2.bfloat16())
    assert loss.dtype == torch.float32


@pytest.mark.parametrize(
    ("z2", "settings", "text"),
    [
        (torch.ones(2, 3, 5), {}, "of one shape"),
        (torch.ones(2, 3, 4), {"instance_weight": 1.5}, r"instance_weight must be in \[0, 1\]"),
        (torch.ones(2, 3, 4), {"temporal_from": -1}, "temporal_from must be >= 0"),
    ],
)
def test_wrong_input_is_one_sentence(z2: Tensor, settings: dict[str, float], text: str) -> None:
    with pytest.raises(InputError, match=text):
        hierarchical_contrast(torch.ones(2, 3, 4), z2, **settings)  # type: ignore[arg-type]


def on_rank(rank: int, world: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    whole = torch.randn(2, 6, 4, 3, generator=generator, dtype=torch.float64)
    rows = {1: [slice(0, 6)], 2: [slice(0, 2), slice(2, 6)]}[world][rank]
    z1, z2 = (part[rows].clone().requires_grad_() for part in whole)
    loss = hierarchical_contrast(z1, z2)
    loss.backward()
    value = loss.detach().clone()
    if world > 1:
        torch.distributed.all_reduce(value)
        value /= world
    assert z1.grad is not None
    return {"loss": value, "grad": z1.grad / world}


def test_two_ranks_of_unequal_rows_are_one_process() -> None:
    alone, both = on_rank(0, 1), run_on_ranks(on_rank, 2)
    assert torch.allclose(both[0]["loss"], alone["loss"])
    assert torch.allclose(torch.cat([one["grad"] for one in both]), alone["grad"])
