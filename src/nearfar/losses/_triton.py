r"""Row statistics of a matrix of logits on CUDA: one Triton kernel per direction, float32 sums, no matrix in memory.

Forward: each program takes a block of rows and walks over all columns with a running maximum and sum (the online
log-sum-exp). Backward: each program takes a block of rows and adds up

    grad a_i = scale * sum_j (g_i exp(L_ij - r_i) + h_j exp(L_ij - c_j)) b_j

where r, g are the rows' statistics and gradients, and c, h the columns'. With a and b exchanged the same kernel gives
grad b; where b is a, one call with c = r and h = g gives the whole gradient. No atomics: the result is deterministic.
Import only where triton is installed.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# ruff: noqa: ANN001, ANN202 (kernels take pointers and numbers, which have no Python types)

from __future__ import annotations

import os
from typing import Any, cast

import torch
import triton
import triton.language as tl
from torch import Tensor

from nearfar.losses._checks import first_derivative_only

__all__ = ["row_logsumexp"]

# Exponentials are taken base 2, which the hardware does natively.
_LOG2E = 1.4426950408889634
# A diagonal that no matrix has.
_FAR = -(2**40)


def row_logsumexp(a: Tensor, b: Tensor | None, scale: float, diagonals: tuple[int, ...]) -> Tensor:
    """As `nearfar.losses._plain.row_logsumexp`, for at most three diagonals; the result is float32.

    Args:
        a: (R, D) float32, bfloat16 or float16, D <= 256.
        b: (C, D) of the same type, or None for ``a`` itself.
        scale: factor of the products.
        diagonals: hidden entries (i, i + d); with ``b`` None the set must be symmetric about 0.
    """
    return cast(Tensor, _RowLogSumExp.apply(a, b, scale, diagonals))


@triton.jit
def _logits(
    a, b_ptr, rows, cols, dims, C, D: tl.constexpr, scale, d0, d1, d2, PRECISION: tl.constexpr, UPCAST: tl.constexpr
):
    """The (BLOCK_R, BLOCK_C) logits in units of log2, -inf where hidden or outside; and the block of b."""
    b = tl.load(b_ptr + cols[:, None] * D + dims[None, :], mask=(cols[:, None] < C) & (dims[None, :] < D), other=0.0)
    if UPCAST:
        b = b.to(tl.float32)
    logits = tl.dot(a, tl.trans(b), input_precision=PRECISION) * scale
    offset = cols[None, :] - rows[:, None]
    keep = (cols[None, :] < C) & (offset != d0) & (offset != d1) & (offset != d2)
    return tl.where(keep, logits, float("-inf")), b


@triton.jit
def _forward(
    a_ptr, b_ptr, out_ptr, R, C, scale, d0, d1, d2,
    D: tl.constexpr, WIDTH: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr, PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0).to(tl.int64) * BLOCK_R + tl.arange(0, BLOCK_R)
    dims = tl.arange(0, WIDTH)
    a = tl.load(a_ptr + rows[:, None] * D + dims[None, :], mask=(rows[:, None] < R) & (dims[None, :] < D), other=0.0)
    if UPCAST:
        a = a.to(tl.float32)
    # Finite, so that a row without an entry never meets inf - inf.
    top = tl.full((BLOCK_R,), -1e30, tl.float32)
    total = tl.zeros((BLOCK_R,), tl.float32)
    for first in range(0, C, BLOCK_C):
        cols = first + tl.arange(0, BLOCK_C).to(tl.int64)
        logits, _ = _logits(a, b_ptr, rows, cols, dims, C, D, scale, d0, d1, d2, PRECISION, UPCAST)
        larger = tl.maximum(top, tl.max(logits, 1))
        total = total * tl.exp2(top - larger) + tl.sum(tl.exp2(logits - larger[:, None]), 1)
        top = larger
    # log2 -> ln
    tl.store(out_ptr + rows, (top + tl.log2(tl.maximum(total, 1e-30))) * 0.6931471805599453, mask=rows < R)


@triton.jit
def _backward(
    a_ptr, b_ptr, r_ptr, g_ptr, c_ptr, h_ptr, out_ptr, R, C, scale, d0, d1, d2,
    D: tl.constexpr, WIDTH: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr, PRECISION: tl.constexpr,
    UPCAST: tl.constexpr, BY_ROWS: tl.constexpr, BY_COLS: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0).to(tl.int64) * BLOCK_R + tl.arange(0, BLOCK_R)
    dims = tl.arange(0, WIDTH)
    a = tl.load(a_ptr + rows[:, None] * D + dims[None, :], mask=(rows[:, None] < R) & (dims[None, :] < D), other=0.0)
    if UPCAST:
        a = a.to(tl.float32)
    if BY_ROWS:
        r = tl.load(r_ptr + rows, mask=rows < R, other=float("inf"))
        g = tl.load(g_ptr + rows, mask=rows < R, other=0.0)
    grad = tl.zeros((BLOCK_R, WIDTH), tl.float32)
    for first in range(0, C, BLOCK_C):
        cols = first + tl.arange(0, BLOCK_C).to(tl.int64)
        logits, b = _logits(a, b_ptr, rows, cols, dims, C, D, scale, d0, d1, d2, PRECISION, UPCAST)
        slope = tl.zeros((BLOCK_R, BLOCK_C), tl.float32)
        if BY_ROWS:
            slope += tl.exp2(logits - r[:, None]) * g[:, None]
        if BY_COLS:
            c = tl.load(c_ptr + cols, mask=cols < C, other=float("inf"))
            h = tl.load(h_ptr + cols, mask=cols < C, other=0.0)
            slope += tl.exp2(logits - c[None, :]) * h[None, :]
        # Half precision rounds the slopes as it rounds b; the sum over columns is float32 all the same.
        rounded = slope.to(b_ptr.dtype.element_ty).to(b.dtype)
        grad += tl.dot(rounded, b, input_precision=PRECISION)
    # The pointers' row stride is D; `scale` is in units of log2.
    inside = (rows[:, None] < R) & (dims[None, :] < D)
    tl.store(out_ptr + rows[:, None] * D + dims[None, :], grad * (scale * 0.6931471805599453), mask=inside)


def _plan(a: Tensor) -> dict[str, Any]:
    """Block sizes; float32 products are exact ("ieee"), half precision uses the matrix units."""
    width = max(16, triton.next_power_of_2(a.shape[1]))
    half = a.dtype != torch.float32
    side = 128 if half and width <= 128 else 64 if half else 32
    return {
        "D": a.shape[1],
        "WIDTH": width,
        "BLOCK_R": side,
        "BLOCK_C": min(side, 64),
        "PRECISION": "tf32" if half else "ieee",
        # The interpreter cannot multiply bfloat16; it reads and rounds it like a device, and multiplies in float32.
        "UPCAST": os.environ.get("TRITON_INTERPRET") == "1",
        "num_warps": 8 if side == 128 else 4,
    }


def _three(diagonals: tuple[int, ...], sign: int = 1) -> tuple[int, int, int]:
    padded = [sign * d for d in diagonals] + [_FAR] * (3 - len(diagonals))
    return padded[0], padded[1], padded[2]


def _slope_rows(
    a: Tensor, b: Tensor, row: tuple[Tensor, Tensor] | None, col: tuple[Tensor, Tensor] | None, scale: float,
    diagonals: tuple[int, int, int],
) -> Tensor:  # fmt: skip
    """Gradient of ``a`` given (statistic in log2, incoming gradient) of rows and of columns, where they count."""
    out = torch.empty(a.shape, dtype=torch.float32, device=a.device)
    plan = _plan(a)
    r, g = row or (out, out)
    c, h = col or (out, out)
    grid = (triton.cdiv(len(a), plan["BLOCK_R"]),)
    _backward[grid](
        a, b, r, g, c, h, out, len(a), len(b), scale * _LOG2E, *diagonals,
        BY_ROWS=row is not None, BY_COLS=col is not None, **plan,
    )  # fmt: skip
    return out


class _RowLogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor | None, scale: float, diagonals: tuple[int, ...]) -> Tensor:
        a = a.contiguous()
        b = None if b is None else b.to(a.dtype).contiguous()
        other = a if b is None else b
        out = torch.empty(len(a), dtype=torch.float32, device=a.device)
        plan = _plan(a)
        grid = (triton.cdiv(len(a), plan["BLOCK_R"]),)
        _forward[grid](a, other, out, len(a), len(other), scale * _LOG2E, *_three(diagonals), **plan)
        # A row without an entry kept its start of -1e30.
        out = out.masked_fill(out < -1e29, -torch.inf)
        ctx.save_for_backward(a, b, out)
        ctx.scale, ctx.diagonals = scale, diagonals
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        first_derivative_only()
        a, b, out = ctx.saved_tensors
        # +inf for an empty row gives exp(-inf) = 0.
        row = (out.masked_fill(out.isneginf(), torch.inf) * _LOG2E, grads[0].contiguous())
        grad_a = grad_b = None
        forth, back = _three(ctx.diagonals), _three(ctx.diagonals, -1)
        if b is None:
            grad_a = _slope_rows(a, a, row, row, ctx.scale, forth)
        else:
            if ctx.needs_input_grad[0]:
                grad_a = _slope_rows(a, b, row, None, ctx.scale, forth)
            if ctx.needs_input_grad[1]:
                grad_b = _slope_rows(b, a, None, row, ctx.scale, back)
        return grad_a, grad_b, None, None
