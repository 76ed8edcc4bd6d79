"""Feature contrast: a slow loop in float64, closed forms, gradients, hard input and two ranks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from nearfar.errors import InputError
from nearfar.losses import feature_contrast
from tests.losses.negative_free_cases import drawn
from tests.losses.reference_negative_free import column, cosine, mean, rows
from tests.ranks import run_on_ranks


def loop(z1: Tensor, z2: Tensor, t1: Tensor, t2: Tensor) -> float:
    on: list[float] = []
    off: list[float] = []
    for teacher, online in ((rows(t1), rows(z2)), (rows(t2), rows(z1))):
        for i in range(len(teacher[0])):
            for j in range(len(teacher[0])):
                c = cosine(column(teacher, i), column(online, j))
                (on if i == j else off).append((1 - c) ** 2 if i == j else c**2)
    return 0.5 * math.sqrt(mean(on)) + 0.5 * math.sqrt(mean(off))


@pytest.mark.parametrize(("n", "dim"), [(6, 4), (3, 5), (1, 3)])
def test_it_equals_the_loop(n: int, dim: int) -> None:
    views = list(drawn(4, n, dim))
    assert feature_contrast(*views).item() == pytest.approx(loop(*views), abs=1e-9)


def test_closed_forms() -> None:
    z = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)
    assert feature_contrast(z, z, 3 * z, 2 * z).item() == pytest.approx(0.0, abs=2e-6)  # the roots' guard
    assert feature_contrast(z, z, -z, -z).item() == pytest.approx(1.0, abs=2e-6)
    ones = torch.ones(4, 2, dtype=torch.float64)  # not centred: a constant feature agrees with every other
    assert feature_contrast(ones, ones, ones, ones).item() == pytest.approx(0.5, abs=2e-6)
    swapped = z.flip(1)
    assert feature_contrast(z, z, swapped, swapped).item() == pytest.approx(0.5 + 0.5, abs=2e-6)


def test_gradient_is_the_numerical_derivative() -> None:
    views = tuple(z.clone().requires_grad_() for z in drawn(4, 5, 3))
    assert torch.autograd.gradcheck(feature_contrast, views)


@pytest.mark.parametrize("what", ["equal rows", "zeros", "equal views", "tiny", "one feature"])
def test_degenerate_batches_are_finite_with_finite_gradients(what: str) -> None:
    z, t = drawn(2, 6, 4).float()
    if what == "equal rows":
        z, t = z[:1].repeat(6, 1), z[:1].repeat(6, 1)
    elif what == "zeros":
        z, t = torch.zeros(6, 4), torch.zeros(6, 4)
    elif what == "equal views":
        t = z.clone()
    elif what == "tiny":
        z, t = 1e-12 * z, 1e-12 * t
    else:
        z, t = z[:, :1], t[:, :1]
    z = z.clone().requires_grad_()
    loss = feature_contrast(z, z, t, t)
    loss.backward()
    assert loss.isfinite()
    assert z.grad is not None
    assert z.grad.isfinite().all()


def test_half_precision_and_autocast_compute_in_float32() -> None:
    views = list(drawn(4, 6, 5).bfloat16())
    plain = feature_contrast(*(z.float() for z in views))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(feature_contrast(*views), plain)


def test_bad_views_raise_one_sentence() -> None:
    z = drawn(4, 3)
    with pytest.raises(InputError, match="t2 must be of as many rows"):
        feature_contrast(z, z, z, drawn(5, 3))
    with pytest.raises(InputError, match="z2 must be finite"):
        feature_contrast(z, z / 0, z, z)


SIZES = (5, 2)


def on_rank(rank: int, world: int) -> dict[str, Tensor]:
    """Return the loss and the gradient of this rank's rows, averaged over ranks."""
    x = drawn(4, sum(SIZES), 3)
    start = sum(SIZES[:rank])
    own = x if world == 1 else x[:, start : start + SIZES[rank]]
    weight = drawn(3, 3, seed=4).requires_grad_()
    loss = feature_contrast(own[0] @ weight, own[1] @ weight, own[2], own[3])
    loss.backward()
    assert weight.grad is not None
    results = {"loss": loss.detach(), "gradient": weight.grad}
    for value in results.values():
        if world > 1:
            torch.distributed.all_reduce(value)
            value.div_(world)
    return results


def test_two_uneven_ranks_equal_one_process() -> None:
    alone = on_rank(0, 1)
    for result in run_on_ranks(on_rank, 2):
        for name, value in alone.items():
            torch.testing.assert_close(result[name], value, rtol=1e-9, atol=1e-10)
