"""Tensors made again in the backward: the same gradients, nothing kept, no compiler imported."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
import torch
from torch import Tensor

from nearfar.losses._remade import remade


def function(x: Tensor, y: Tensor, closed: Tensor) -> tuple[Tensor, ...]:
    """Operations that save inputs, outputs and masks, and one whose output nobody uses."""
    z = (x @ y.T).exp()
    _ = z.tanh()
    return torch.where(z > 1, z.sqrt(), 0).logsumexp(1), (z * closed).sum(1)


@pytest.mark.parametrize("used", [(0,), (1,), (0, 1)])
def test_the_gradient_is_that_of_the_plain_call_also_of_what_is_closed_over(used: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    leaves = [torch.randn(5, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    closed = torch.randn((), dtype=torch.float64, requires_grad=True)
    found = []
    for call in (lambda f, *a: f(*a), remade):
        outs = call(lambda x, y: function(x * 1, y, closed), *leaves)
        total = sum(outs[i].square().sum() for i in used)
        found.append(torch.autograd.grad(total, [*leaves, closed], allow_unused=True, retain_graph=True))
        again = torch.autograd.grad(total, [*leaves, closed], allow_unused=True)
        for one, other in zip(found[-1], again, strict=True):
            assert (one is None and other is None) or torch.equal(one, other)
    for plain, ours in zip(*found, strict=True):
        assert (plain is None and ours is None) or torch.equal(plain, ours)


def test_what_was_made_again_goes_when_the_backward_has_passed() -> None:
    """An output that its own node keeps (exp, sqrt) would live for ever if the second call's graph held it."""
    import gc
    import weakref

    seen: list[weakref.ref[Tensor]] = []

    def watched(x: Tensor) -> tuple[Tensor, ...]:
        y = x.exp()
        seen.append(weakref.ref(y))
        return (y.sqrt().sum(0),)

    gc.disable()
    try:
        remade(watched, torch.randn(4, requires_grad=True))[0].backward()
        assert len(seen) == 2
        assert all(one() is None for one in seen)
    finally:
        gc.enable()


def test_without_gradient_it_only_calls() -> None:
    with torch.no_grad():
        (value,) = remade(lambda x: (x.exp(),), torch.zeros(2, requires_grad=True))
    assert not value.requires_grad


def test_no_compiler_is_imported() -> None:
    code = """
        import sys, torch
        from nearfar.losses import triplet_from_labels
        z = torch.randn(1024, 8, requires_grad=True)
        triplet_from_labels(z, torch.arange(1024) // 4).backward()
        assert "torch._dynamo" not in sys.modules
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
