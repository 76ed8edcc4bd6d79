r"""Row statistics of a matrix of logits, one tile at a time: memory grows with N * D, not with N^2.

Forward visits the tiles of L = scale * a b^T in one buffer and keeps running sums; backward visits them again. Where
b is a, L is symmetric and only the tiles on and above the diagonal are computed: each serves its rows and, transposed,
its columns. With r_i = logsumexp_j L_ij and the incoming gradient g_i, the gradient of L is g_i exp(L_ij - r_i).

Two ways to keep the exponentials in range. Where Cauchy-Schwarz bounds |L| by `_BOUND`, exp(L) is summed as it is and
one exponential per entry serves rows and columns alike. Else every row (and column) keeps its running maximum.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor

from nearfar.losses._checks import first_derivative_only
from nearfar.losses._hide import Hide

__all__ = ["both_logsumexp", "row_logsumexp", "row_softplus"]

# exp(40) times a million entries is far from float32's limits on either side.
_BOUND = 40.0
# Measured on two cores: a tile, its scratch and its rows stay in cache. Many rows take tiles twice as long, which is no
# slower, and a quarter as many, which matters where other programs make every parallel region wait for its threads.
_SIDE = 512
# An accelerator wants larger products.
_SIDE_ELSEWHERE = 4096
# Stands for "no entry yet" in running maxima; finite, so that differences are never inf - inf.
_NONE = -1e30


def row_logsumexp(a: Tensor, b: Tensor | None, scale: float, hide: Hide) -> Tensor:
    """As `nearfar.losses._plain.row_logsumexp`; with ``b`` None the hidden entries must be symmetric."""
    return cast(Tensor, _RowLogSumExp.apply(a, b, scale, hide))


def both_logsumexp(a: Tensor, b: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """As `nearfar.losses._plain.both_logsumexp`, from one visit of the tiles."""
    return cast(tuple[Tensor, Tensor], _BothLogSumExp.apply(a, b, scale))


def row_softplus(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """As `nearfar.losses._plain.row_softplus`."""
    return cast(Tensor, _RowSoftplus.apply(a, b, scale))


def _blocks(stop: int, side: int, start: int = 0) -> Iterator[slice]:
    for first in range(start, stop, side):
        yield slice(first, min(first + side, stop))


def _side(a: Tensor) -> int:
    if a.device.type != "cpu":
        return _SIDE_ELSEWHERE
    return 2 * _SIDE if len(a) > 4 * _SIDE else _SIDE


def _buffer(a: Tensor, b: Tensor) -> Tensor:
    return a.new_empty(min(_side(a), len(a)) * min(_side(a), len(b)))


def _tiles(a: Tensor, b: Tensor, scale: float, hide: Hide, *, half: bool) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yield (rows, columns, logits); the logits live in one buffer, which the next step overwrites."""
    buffer, side = _buffer(a, b), _side(a)
    for rows in _blocks(len(a), side):
        for cols in _blocks(len(b), side, rows.start if half else 0):
            tile = _shaped(buffer, rows, cols)
            torch.addmm(tile, a[rows], b[cols].T, beta=0, alpha=scale, out=tile)
            hide.apply_(tile, rows, cols)
            yield rows, cols, tile


def _shaped(buffer: Tensor, rows: slice, cols: slice) -> Tensor:
    height, width = rows.stop - rows.start, cols.stop - cols.start
    return buffer[: height * width].view(height, width)


def _bounded(a: Tensor, b: Tensor, scale: float) -> bool:
    largest = [torch.linalg.vector_norm(x, dim=1).amax() for x in (a, b)]
    return bool(largest[0] * largest[1] * abs(scale) <= _BOUND)


class _LogSum:
    """Running log-sum-exp of n rows."""

    def __init__(self, n: int, like: Tensor, scratch: Tensor | None) -> None:
        self.total = like.new_zeros(n)
        self.scratch = scratch
        self.shift = None if scratch is None else like.new_full((n,), _NONE)

    def add(self, where: slice, tile: Tensor, dim: int) -> None:
        """Add a tile over ``dim``: of logits where a running maximum is kept, else of their exponentials."""
        if self.shift is None or self.scratch is None:
            self.total[where] += tile.sum(dim)
            return
        shift = self.shift[where]
        larger = torch.maximum(shift, tile.amax(dim))
        shifted = self.scratch[: tile.numel()].view_as(tile)
        torch.sub(tile, larger.unsqueeze(dim), out=shifted).exp_()
        self.total[where] *= (shift - larger).exp_()
        self.total[where] += shifted.sum(dim)
        self.shift[where] = larger

    def result(self) -> Tensor:
        log = self.total.log()
        return log if self.shift is None else log + self.shift


def _log_sums(
    a: Tensor, b: Tensor, scale: float, hide: Hide, bounded: bool, *, same: bool, columns: bool
) -> tuple[Tensor, Tensor | None]:
    scratch = None if bounded else _buffer(a, b)
    row = _LogSum(len(a), a, scratch)
    col = row if same else _LogSum(len(b), b, scratch) if columns else None
    for rows, cols, tile in _tiles(a, b, scale, hide, half=same):
        if bounded:
            tile.exp_()
        row.add(rows, tile, 1)
        if col is not None and not (same and rows == cols):
            col.add(cols, tile, 0)
    return row.result(), None if same or col is None else col.result()


class _Slopes:
    """Turns a tile of logits into its gradient: g_i exp(L_ij - r_i), plus h_j exp(L_ij - c_j) where columns count."""

    def __init__(
        self, row: tuple[Tensor, Tensor], col: tuple[Tensor, Tensor] | None, bounded: bool, scratch: Tensor
    ) -> None:
        # An empty row has r = -inf and no gradient; +inf in its place gives exp(-inf) = 0 instead of NaN.
        self.row = (row[0], row[1].masked_fill(row[1].isneginf(), torch.inf))
        self.col = None if col is None else (col[0], col[1].masked_fill(col[1].isneginf(), torch.inf))
        self.bounded = bounded
        self.scratch = scratch
        if bounded:
            self.row_factor = self.row[0] * (-self.row[1]).exp()
            self.col_factor = None if self.col is None else self.col[0] * (-self.col[1]).exp()

    def __call__(self, tile: Tensor, rows: slice, cols: slice) -> Tensor:
        scratch = self.scratch[: tile.numel()].view_as(tile)
        if self.bounded:
            tile.exp_()
            if self.col_factor is None:
                return tile.mul_(self.row_factor[rows, None])
            torch.add(self.row_factor[rows, None], self.col_factor[None, cols], out=scratch)
            return tile.mul_(scratch)
        torch.sub(tile, self.row[1][rows, None], out=scratch).exp_().mul_(self.row[0][rows, None])
        if self.col is None:
            return scratch
        tile.sub_(self.col[1][None, cols]).exp_().mul_(self.col[0][None, cols])
        return tile.add_(scratch)


class _RowLogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor | None, scale: float, hide: Hide) -> Tensor:
        other = a if b is None else b
        ctx.bounded = _bounded(a, other, scale)
        out, _ = _log_sums(a, other, scale, hide, ctx.bounded, same=b is None, columns=False)
        ctx.save_for_backward(a, b, out)
        ctx.scale, ctx.hide = scale, hide
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        first_derivative_only()
        a, b, out = ctx.saved_tensors
        other = a if b is None else b
        row = (grads[0], out)
        slopes = _Slopes(row, row if b is None else None, ctx.bounded, _buffer(a, other))
        grad_a, grad_b = _gradients(ctx, a, b, slopes)
        return grad_a, grad_b, None, None


class _BothLogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        ctx.bounded = _bounded(a, b, scale)
        row, col = _log_sums(a, b, scale, Hide(), ctx.bounded, same=False, columns=True)
        ctx.save_for_backward(a, b, row, col)
        ctx.scale, ctx.hide = scale, Hide()
        return row, cast(Tensor, col)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        first_derivative_only()
        a, b, row, col = ctx.saved_tensors
        slopes = _Slopes((grads[0], row), (grads[1], col), ctx.bounded, _buffer(a, b))
        return *_gradients(ctx, a, b, slopes), None


class _RowSoftplus(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, scale: float) -> Tensor:
        total = a.new_zeros(len(a))
        for rows, _, tile in _tiles(a, b, scale, Hide(), half=False):
            total[rows] += torch.nn.functional.softplus(tile).sum(1)
        ctx.save_for_backward(a, b)
        ctx.scale, ctx.hide = scale, Hide()
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        first_derivative_only()
        a, b = ctx.saved_tensors

        def slopes(tile: Tensor, rows: slice, _: slice) -> Tensor:
            return tile.sigmoid_().mul_(grads[0][rows, None])

        return *_gradients(ctx, a, b, slopes), None


def _gradients(ctx: Any, a: Tensor, b: Tensor | None, slopes: Any) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients of a and b, given what turns a tile of logits into the gradient of the logits."""
    same = b is None
    other = a if b is None else b
    grad_a = torch.zeros_like(a) if ctx.needs_input_grad[0] else None
    grad_b = grad_a if same else torch.zeros_like(other) if ctx.needs_input_grad[1] else None
    for rows, cols, tile in _tiles(a, other, ctx.scale, ctx.hide, half=same):
        slope = slopes(tile, rows, cols)
        if grad_a is not None:
            grad_a[rows].addmm_(slope, other[cols], alpha=ctx.scale)
        if grad_b is not None and not (same and rows == cols):
            grad_b[cols].addmm_(slope.T, a[rows], alpha=ctx.scale)
    return grad_a, None if same else grad_b
