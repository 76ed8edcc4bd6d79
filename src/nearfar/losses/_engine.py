"""Row statistics of a matrix of logits: plain for tiny batches, tile by tile for others, by Triton kernels on CUDA.

Every in-batch softmax loss stands on the four functions here. All three ways give the same value and gradient.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Literal, ParamSpec, TypeVar, cast

import torch
from torch import Tensor

from nearfar.losses import _plain, _tiled
from nearfar.losses._hide import Drop, Hide

__all__ = ["both_logsumexp", "join", "row_logsumexp", "row_softplus", "self_logsumexp", "storage_dtype", "using"]

Way = Literal["plain", "tiled", "triton"]

# Up to this many entries the whole matrix is not slower than its tiles (measured on the CPU). Of a symmetric matrix the
# tiles need only half, so they pay sooner.
_TINY = 512 * 512
_TINY_SYMMETRIC = 128 * 128
# The kernels hold a row of D entries in registers.
_TRITON_WIDEST = 256
_LOWEST = -1e30

P = ParamSpec("P")
R = TypeVar("R")

_forced: ContextVar[Way | None] = ContextVar("_forced", default=None)


def _eager(function: Callable[P, R]) -> Callable[P, R]:
    """Leave the graph under torch.compile: the loop over tiles is already made of whole matrix products.

    The compiler, which takes seconds to import, is touched only while something is being compiled.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if torch.compiler.is_compiling():
            outside = cast(Callable[P, R], torch.compiler.disable(function))  # type: ignore[no-untyped-call]
            return outside(*args, **kwargs)
        return function(*args, **kwargs)

    return call


@contextlib.contextmanager
def using(way: Way) -> Iterator[None]:
    """Force one way of computing inside the context; tests and benchmarks compare the ways with it."""
    token = _forced.set(way)
    try:
        yield
    finally:
        _forced.reset(token)


def storage_dtype(z: Tensor) -> torch.dtype:
    """The type in which unit rows of ``z`` are kept: half precision stays only where a kernel sums it in float32."""
    if z.dtype in (torch.bfloat16, torch.float16) and _kernels_fit(z):
        return z.dtype
    return torch.float64 if z.dtype == torch.float64 else torch.float32


def self_logsumexp(z: Tensor, others: Tensor | None, *, scale: float, diagonals: tuple[int, ...] = (0,)) -> Tensor:
    """Return (M,) log sum_j exp(scale * z_i . c_j) over the candidates c = [z; others].

    Args:
        z: (M, D).
        others: (K, D) further candidates, all of which count, or None.
        scale: factor of the products, 1 / temperature for unit rows.
        diagonals: hidden entries (i, i + d) among ``z`` itself; the set must be symmetric about 0.
    """
    own = _row(z, None, scale, Hide(diagonals))
    return own if others is None else join(own, row_logsumexp(z, others, scale=scale))


def row_logsumexp(
    a: Tensor, b: Tensor, *, scale: float, diagonals: tuple[int, ...] = (), drop: Drop | None = None
) -> Tensor:
    """Return (R,) log sum_j exp(scale * a_i . b_j) over the entries that are not hidden; -inf where all are."""
    return _row(a, b, scale, Hide(diagonals, drop))


@_eager
def both_logsumexp(a: Tensor, b: Tensor, *, scale: float) -> tuple[Tensor, Tensor]:
    """Return the log-sum-exp of every row (R,) and of every column (C,) of scale * a b^T."""
    match _way(a, b):
        case "plain":
            return _plain.both_logsumexp(*_wide(a, b), scale)
        case "triton":
            return _row(a, b, scale, Hide()), _row(b, a, scale, Hide())
        case _:
            return _tiled.both_logsumexp(*_wide(a, b), scale)


@_eager
def row_softplus(a: Tensor, b: Tensor, *, scale: float) -> Tensor:
    """Return (R,) sum_j log(1 + exp(scale * a_i . b_j))."""
    a, b = _wide(a, b)
    if _way(a, b) == "plain":
        return _plain.row_softplus(a, b, scale)
    return _tiled.row_softplus(a, b, scale)


def join(x: Tensor, y: Tensor) -> Tensor:
    """Log-sum-exp of two; -inf (an empty sum) on either side gives no NaN gradient."""
    return torch.logaddexp(x.clamp(min=_LOWEST), y.clamp(min=_LOWEST))


@_eager
def _row(a: Tensor, b: Tensor | None, scale: float, hide: Hide) -> Tensor:
    way = _way(a, a if b is None else b, hide)
    if way == "triton":
        from nearfar.losses import _triton

        return _triton.row_logsumexp(a, b, scale, hide.diagonals)
    a, other = _wide(a, a if b is None else b)
    rows = _plain.row_logsumexp if way == "plain" else _tiled.row_logsumexp
    return rows(a, None if b is None else other, scale, hide)


def _way(a: Tensor, b: Tensor, hide: Hide | None = None) -> Way:
    forced = _forced.get()
    fits = _kernels_fit(a) and hide is not None and hide.drop is None
    if forced is not None:
        return "tiled" if forced == "triton" and not fits else forced
    if len(a) * len(b) <= (_TINY_SYMMETRIC if a is b else _TINY):
        return "plain"
    return "triton" if fits else "tiled"


def _kernels_fit(z: Tensor) -> bool:
    on_device = z.is_cuda or _forced.get() == "triton"
    return on_device and z.dtype != torch.float64 and z.shape[1] <= _TRITON_WIDEST and _has_triton()


def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def _wide(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    dtype = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
    return a.to(dtype), b.to(dtype)
