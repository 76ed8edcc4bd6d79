"""Two and four gloo ranks with uneven batches give the value and gradient of one process on the global batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from nearfar import losses
from nearfar.losses import _tiled
from nearfar.losses._engine import using
from tests.losses.softmax_cases import CASES, rows
from tests.ranks import run_on_ranks

# The last batch of an epoch: ranks differ, one has a single row.
SIZES = {2: [5, 3], 4: [3, 1, 4, 2]}
GATHERING = [name for name, case in CASES.items() if case.gathers]
WAYS = ["plain", "tiled"]


def part(rank: int, world: int) -> slice:
    start = sum(SIZES[world][:rank])
    return slice(start, start + SIZES[world][rank])


def value_and_gradient(name: str, inputs: tuple[Tensor, ...], **settings: Any) -> tuple[Tensor, Tensor]:
    x, y = (t.clone().requires_grad_() for t in inputs[:2])
    value = CASES[name].loss(x, y, *inputs[2:], **settings)
    value.backward()
    return value.detach(), torch.cat([x.grad, torch.zeros_like(y) if y.grad is None else y.grad], 1)


class Siamese(nn.Module):
    """Encoder and loss in one module, as a method is, so that DistributedDataParallel wraps both."""

    def __init__(self, chunk_size: int) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.encoder = nn.Sequential(nn.Linear(4, 7), nn.Tanh(), nn.Linear(7, 5)).double()
        self.scale = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
        self.bias = nn.Parameter(torch.tensor(-1.0, dtype=torch.float64))
        self.chunk_size = chunk_size

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        z1 = losses.cached_forward(self.encoder, x, chunk_size=self.chunk_size)
        z2 = losses.cached_forward(self.encoder, y, chunk_size=self.chunk_size)
        total = losses.nt_xent(z1, z2) + losses.clip(z1, z2, scale=self.scale)
        return total + losses.siglip(z1, z2, scale=self.scale, bias=self.bias)


def parameters_gradient(model: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def on_each_rank(rank: int, world: int) -> dict[str, Any]:
    _tiled._SIDE = 3
    inputs = rows(sum(SIZES[world]))
    own = tuple(t[part(rank, world)] for t in inputs)
    results: dict[str, Any] = {}
    for way in WAYS:
        with using(way):
            for name in GATHERING:
                results[f"{way} {name}"] = value_and_gradient(name, own)
            results[f"{way} sum"] = value_and_gradient("nt_xent", own, reduction="sum")
            results[f"{way} alone"] = value_and_gradient("nt_xent", own, across_ranks=False)
            results[f"{way} per anchor"] = CASES["nt_xent"].loss(*own, reduction="none")
            model = DistributedDataParallel(Siamese(chunk_size=2))
            value = model(*own[:2])
            value.backward()
            results[f"{way} cached"] = (value.detach(), parameters_gradient(model))
    return results


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_equal_one_process(world: int) -> None:
    ranks = run_on_ranks(on_each_rank, world)
    inputs = rows(sum(SIZES[world]))
    for way in WAYS:
        for name in [*GATHERING, "sum"]:
            settings = {"reduction": "sum"} if name == "sum" else {}
            wanted, gradient = value_and_gradient("nt_xent" if name == "sum" else name, inputs, **settings)
            got = torch.stack([result[f"{way} {name}"][0] for result in ranks]).mean()
            torch.testing.assert_close(got, wanted, msg=lambda text, name=name: f"{name}: {text}")
            # DistributedDataParallel averages over ranks.
            rows_gradient = torch.cat([result[f"{way} {name}"][1] for result in ranks]) / world
            torch.testing.assert_close(rows_gradient, gradient, msg=lambda text, name=name: f"{name}: {text}")
        model = Siamese(chunk_size=100)
        value = model(*inputs[:2])
        value.backward()
        torch.testing.assert_close(torch.stack([result[f"{way} cached"][0] for result in ranks]).mean(), value.detach())
        for result in ranks:
            torch.testing.assert_close(result[f"{way} cached"][1], parameters_gradient(model))
        per_anchor = CASES["nt_xent"].loss(*inputs, reduction="none").view(2, -1)
        for rank, result in enumerate(ranks):
            own = part(rank, world)
            torch.testing.assert_close(result[f"{way} per anchor"].view(2, -1), per_anchor[:, own])
            alone = value_and_gradient("nt_xent", tuple(t[own] for t in inputs))
            torch.testing.assert_close(result[f"{way} alone"], alone)
