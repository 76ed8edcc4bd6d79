"""Two ranks equal one process over two steps: with queues filled, teachers moved, batches shuffled and split."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.data.batch import Batch
from tests.methods.negatives_reference import SMALL, batch_of, make
from tests.ranks import run_on_ranks

TRAINED_IN_PARTS = ("moco-v2", "densecl")
"""Methods whose statistics are over 4 parts of the batch, which are the same on one rank and on two."""


def options(name: str) -> dict[str, Any]:
    if name not in TRAINED_IN_PARTS:
        return {}
    return {"batchnorm": "split", "parts": 4} | ({"symmetric": True} if name == "moco-v2" else {})


def two_steps(rank: int, world: int) -> dict[str, dict[str, Tensor]]:
    results: dict[str, dict[str, Tensor]] = {}
    for name in SMALL:
        method = make(name, **options(name))
        method.train(name in TRAINED_IN_PARTS)
        values: dict[str, Tensor] = {}
        for step in range(2):
            torch.manual_seed(step)
            whole = batch_of(step, n=16, views=method.info.least_views, side=4 if name != "cpc" else 8)
            method.zero_grad()
            loss = method.step(Batch([view.chunk(world)[rank] for view in whole.views])).loss  # type: ignore[union-attr]
            loss.backward()
            values[f"loss {step}"] = averaged(loss.detach().clone(), world)
            for key, parameter in method.named_parameters():
                if parameter.grad is not None:
                    values[f"{key} {step}"] = averaged(parameter.grad, world).clone()
                    parameter.data -= 0.1 * parameter.grad
            method.after_step(0.5)
        values |= {key: value for key, value in method.state_dict().items() if "queue" in key}
        if name in TRAINED_IN_PARTS:
            values["mean"] = averaged(method.state_dict()["encoder.layers.1.running_mean"], world)
        results[name] = values
    return results


def averaged(value: Tensor, world: int) -> Tensor:
    if world > 1:
        torch.distributed.all_reduce(value)
        value.div_(world)
    return value


@pytest.fixture(scope="module")
def runs() -> list[dict[str, dict[str, Tensor]]]:
    return [two_steps(0, 1), *run_on_ranks(two_steps, 2)]


@pytest.mark.parametrize("name", SMALL)
def test_two_ranks_equal_one_process_over_two_steps(name: str, runs: list[dict[str, dict[str, Tensor]]]) -> None:
    alone, *both = (run[name] for run in runs)
    assert len(alone) > 4
    for one in both:
        assert one.keys() == alone.keys()
        for key, value in alone.items():
            torch.testing.assert_close(one[key], value, rtol=1e-9, atol=1e-11, msg=key)
