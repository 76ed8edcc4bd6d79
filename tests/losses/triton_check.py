"""Run by test_triton in a process of its own, with TRITON_INTERPRET=1: the kernels against the plain formula."""

from __future__ import annotations

import torch

from nearfar import losses
from nearfar.losses import _plain, _triton
from nearfar.losses._checks import unit
from nearfar.losses._engine import using
from nearfar.losses._hide import Hide

SHAPES = [
    # rows, candidates (None: the rows themselves), width, hidden diagonals, scale
    (70, None, 33, (0,), 10.0),
    (1, None, 8, (0,), 10.0),
    (2, None, 16, (0, 1, -1), 10.0),
    (33, 90, 128, (5,), 100.0),
    (64, 32, 16, (), 1.0),
    (40, None, 5, (0, 20, -20), 2.0),
]


def compare(a: torch.Tensor, b: torch.Tensor | None, hidden: tuple[int, ...], scale: float, gradient: float) -> None:
    leaves = [x.requires_grad_() for x in (a, b) if x is not None]
    wide = [x.detach().float().requires_grad_() for x in leaves]
    weight = torch.linspace(0.5, 1.5, len(a))
    got = _triton.row_logsumexp(a, b, scale, hidden)
    wanted = _plain.row_logsumexp(wide[0], None if b is None else wide[1], scale, Hide(hidden))
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)
    for x, y in zip(
        torch.autograd.grad((torch.where(got.isneginf(), 0, got) * weight).sum(), leaves),
        torch.autograd.grad((torch.where(wanted.isneginf(), 0, wanted) * weight).sum(), wide),
        strict=True,
    ):
        assert x.dtype == a.dtype
        assert (x.float() - y).norm() <= gradient * y.norm() + 1e-7, (tuple(a.shape), a.dtype)


def whole_losses() -> None:
    """The public losses by kernels and by the plain formula, float32 and bfloat16."""
    generator = torch.Generator().manual_seed(1)
    x, y, more = (torch.randn(21, 12, generator=generator) for _ in range(3))
    labels = torch.arange(21) // 4
    calls = {
        "nt_xent": lambda a, b: losses.nt_xent(a, b, temperature=0.1),
        "dcl": lambda a, b: losses.dcl(a, b, temperature=0.1),
        "sup_con": lambda a, b: losses.sup_con(torch.cat([a, b]), labels.repeat(2), temperature=0.1),
        "info_nce": lambda a, b: losses.info_nce(a, b, negatives=more.to(a.dtype), queue=more, symmetric=True),
        "clip": losses.clip,
    }
    for name, call in calls.items():
        for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 2e-2)):
            results = []
            for way in ("triton", "plain"):
                a, b = x.to(dtype).requires_grad_(), y.to(dtype).requires_grad_()
                with using(way):
                    value = call(a, b)
                    results.append((value.detach(), torch.cat(torch.autograd.grad(value, [a, b])).float()))
            (got, gradient), (wanted, wanted_gradient) = results
            assert got.dtype == torch.float32
            assert abs(got - wanted) <= tolerance * abs(wanted), (name, dtype)
            assert (gradient - wanted_gradient).norm() <= tolerance * wanted_gradient.norm(), (name, dtype)


if __name__ == "__main__":
    generator = torch.Generator().manual_seed(0)
    for rows, candidates, width, hidden, scale in SHAPES:
        # The gradient in half precision is rounded twice: its slopes and itself.
        for dtype, gradient in ((torch.float32, 1e-5), (torch.bfloat16, 1e-2), (torch.float16, 2e-3)):
            a = unit(torch.randn(rows, width, generator=generator)).to(dtype)
            b = None if candidates is None else unit(torch.randn(candidates, width, generator=generator)).to(dtype)
            compare(a, b, hidden, scale, gradient)
    whole_losses()
    print("kernels agree")
