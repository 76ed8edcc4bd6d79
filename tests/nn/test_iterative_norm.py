"""Iterative normalisation: against the exact inverse root, its algorithm by hand, running averages and two ranks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nearfar.errors import InputError
from nearfar.nn import IterativeNorm
from tests.ranks import run_on_ranks


def drawn(rows: int, dim: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dim, dim, generator=generator, dtype=torch.float64) / 4 + torch.eye(dim, dtype=torch.float64)
    return torch.randn(rows, dim, generator=generator, dtype=torch.float64) @ mixing + 3


def covariance(x: Tensor) -> Tensor:
    return torch.cov(x.T, correction=0)


def test_many_steps_whiten_each_group_as_the_exact_inverse_root() -> None:
    x = drawn(50, 6)
    y = IterativeNorm(6, groups=2, iterations=20, eps=1e-12).double()(x)
    for group in (slice(0, 3), slice(3, 6)):
        values, vectors = torch.linalg.eigh(covariance(x[:, group]))
        root = vectors @ values.rsqrt().diag() @ vectors.T
        expected = (x[:, group] - x[:, group].mean(0)) @ root
        torch.testing.assert_close(y[:, group], expected, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(covariance(y[:, group]), torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-6)


def test_few_steps_are_the_papers_algorithm() -> None:
    x = drawn(9, 4)
    y = IterativeNorm(4, groups=1, iterations=3, eps=0.1).double()(x)
    sigma = covariance(x) + 0.1 * torch.eye(4, dtype=torch.float64)
    normed = sigma / sigma.trace()
    p = torch.eye(4, dtype=torch.float64)
    for _ in range(3):
        p = (3 * p - p @ p @ p @ normed) / 2
    torch.testing.assert_close(y, (x - x.mean(0)) @ (p / sigma.trace().sqrt()))


def test_five_steps_whiten_partly_and_never_above_one() -> None:
    spectrum = torch.linalg.eigvalsh(covariance(IterativeNorm(4, groups=1).double()(drawn(40, 4))))
    assert (spectrum > 0).all()
    assert (spectrum < 1 + 1e-4).all()
    assert spectrum[-1] > 0.95


def test_the_gradient_is_the_numerical_derivative() -> None:
    norm = IterativeNorm(4, groups=2, iterations=3).double()
    assert torch.autograd.gradcheck(norm, (drawn(6, 4).requires_grad_(),))


def test_eval_mode_takes_the_running_averages() -> None:
    x = drawn(50, 4).float()
    norm = IterativeNorm(4, groups=2, momentum=1.0)
    trained = norm(x)
    norm.eval()
    torch.testing.assert_close(norm(x), trained, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm(x[:1]), trained[:1], rtol=1e-4, atol=1e-5)
    assert norm.state_dict().keys() == {"scale", "running_mean", "running_whitening"}


def test_half_precision_and_autocast_compute_in_float32() -> None:
    x = drawn(20, 4).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = IterativeNorm(4, groups=1)(x)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, IterativeNorm(4, groups=1)(x.float()))


def test_equal_rows_and_one_row_are_zeros_with_a_finite_gradient() -> None:
    for rows in (1, 5):
        x = torch.ones(rows, 4, requires_grad=True)
        y = IterativeNorm(4, groups=2)(x)
        y.sum().backward()
        assert (y == 0).all()
        assert x.grad is not None
        assert x.grad.isfinite().all()


@pytest.mark.parametrize("bad", [{"groups": 3}, {"groups": 0}, {"iterations": 0}, {"eps": 0.0}, {"momentum": 2.0}])
def test_a_setting_out_of_range_is_named(bad: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(bad))):
        IterativeNorm(4, **{"groups": 2, **bad})  # type: ignore[arg-type]


SIZES = (6, 3)


def on_rank(rank: int, world: int) -> dict[str, Tensor]:
    """Return this rank's rows, the running mean and the gradient of a loss that is the mean over ranks."""
    x = drawn(sum(SIZES), 4)
    start = sum(SIZES[:rank])
    own = x if world == 1 else x[start : start + SIZES[rank]]
    weight = drawn(4, 4, seed=5).requires_grad_()
    norm = IterativeNorm(4, groups=2).double()
    y = norm(own @ weight)
    (world * y.pow(3).sum()).backward()
    assert weight.grad is not None
    if world > 1:
        torch.distributed.all_reduce(weight.grad)
    return {"y": y.detach(), "mean": norm.running_mean, "gradient": weight.grad / world}


def test_two_uneven_ranks_whiten_and_derive_as_one_process() -> None:
    alone, both = on_rank(0, 1), run_on_ranks(on_rank, 2)
    torch.testing.assert_close(torch.cat([one["y"] for one in both]), alone["y"])
    for one in both:
        torch.testing.assert_close(one["mean"], alone["mean"])
        torch.testing.assert_close(one["gradient"], alone["gradient"])
