"""What every loss does alike: check its input, compute in float32, reduce over anchors and ranks."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Literal, ParamSpec, TypeVar, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from nearfar.distributed import is_distributed, sum_over_ranks, world_size
from nearfar.errors import require

__all__ = [
    "Reduction",
    "check_embeddings",
    "check_finite",
    "check_labels",
    "check_positive",
    "check_reduction",
    "first_derivative_only",
    "in_float32",
    "no_autocast",
    "reduce",
    "unit",
]

Reduction = Literal["mean", "sum", "none"]

P = ParamSpec("P")
R = TypeVar("R")


def in_float32(loss: Callable[P, R]) -> Callable[P, R]:
    """Decorate a loss: autocast is off inside, half-precision tensors arrive as float32, float64 stays float64.

    Integer tensors pass unchanged, so that the checks inside can name them.
    """

    @functools.wraps(loss)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        given = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        device = given[0].device.type if given else "cpu"
        with torch.autocast(device, enabled=False):
            return loss(
                *[_widen(value) for value in args],  # type: ignore[arg-type]
                **{name: _widen(value) for name, value in kwargs.items()},  # type: ignore[arg-type]
            )

    return wrapped


def no_autocast(device: torch.device) -> torch.autocast:
    """Return a context in which autocast is off, for losses that handle half precision themselves."""
    return torch.autocast(device.type, enabled=False)


def unit(z: Tensor) -> Tensor:
    """Divide every row by its Euclidean norm, in float32 (float64 stays).

    Rows are scaled by their largest entry first, so that neither 1e30 overflows nor 1e-25 vanishes. Rows whose entries
    are all below 1e-30 count as zero vectors: they stay (almost) zero and their gradient stays bounded.

    Args:
        z: (N, D) float.
    """
    z = z if z.dtype == torch.float64 else z.float()
    with torch.no_grad():
        largest = z.abs().amax(1, keepdim=True)
        scale = torch.where(largest > 1e-30, largest, 1.0)
    # After scaling a norm is at least 1, or the row counts as zero; eps = 0.5 tells the two apart.
    return F.normalize(z / scale, dim=1, eps=0.5)


def _widen(value: object) -> object:
    if isinstance(value, Tensor) and value.is_floating_point() and value.dtype != torch.float64:
        return value.float()
    return value


def check_embeddings(who: str, *, same_rows: bool = True, **tensors: Tensor) -> None:
    """Require float tensors (N, D) with N, D >= 1, on one device, of one D, and (``same_rows``) of one N.

    Args:
        who: the loss that asks.
        same_rows: whether all tensors must have the same number of rows.
        **tensors: argument name to tensor; the names stand in the error's sentence.

    Raises:
        InputError: naming the first tensor that is not so.
    """
    names = list(tensors)
    first = tensors[names[0]]
    for name, z in tensors.items():
        got = tuple(z.shape)
        require(z.is_floating_point(), who, name, "a float tensor", z.dtype, f"use {name}.float()")
        require(z.ndim == 2 and min(got) >= 1, who, name, "of shape (N, D) with N, D >= 1", got)
        require(z.shape[1] == first.shape[1], who, name, f"of the same D as {names[0]} ({first.shape[1]})", got)
        require(z.device == first.device, who, name, f"on the same device as {names[0]} ({first.device})", z.device)
        if same_rows:
            require(len(z) == len(first), who, name, f"of as many rows as {names[0]} ({len(first)})", len(z))
    check_finite(who, **tensors)


def check_finite(who: str, **tensors: Tensor) -> None:
    """Require finite values, on the CPU; elsewhere NaN and infinity reach the loss, where a gradient scaler sees them.

    Looking at values on an accelerator would make the host wait for it at every step.

    Raises:
        InputError: naming the first tensor with a NaN or an infinity.
    """
    if torch.compiler.is_compiling():
        return
    for name, z in tensors.items():
        if z.device.type == "cpu":
            bad = z.numel() - int(z.detach().isfinite().sum())
            require(bad == 0, who, name, "finite", f"{bad} NaN or infinite values", "lower the learning rate or clip")


def check_labels(who: str, labels: Tensor, rows: int, *, name: str = "labels") -> None:
    """Require integer labels of shape (rows,).

    Raises:
        InputError: when they are not.
    """
    integer = not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
    require(integer, who, name, "an integer tensor", labels.dtype, f"use {name}.long()")
    require(labels.ndim == 1, who, name, "of shape (N,)", tuple(labels.shape))
    require(len(labels) == rows, who, name, f"one per row ({rows})", len(labels))


def check_positive(who: str, **values: float) -> None:
    """Require finite numbers > 0, for example ``check_positive("nt_xent", temperature=temperature)``.

    Raises:
        InputError: naming the first that is not.
    """
    for name, value in values.items():
        require(math.isfinite(value) and value > 0, who, name, "finite and > 0", value)


def check_reduction(who: str, reduction: str) -> None:
    """Require one of "mean", "sum", "none".

    Raises:
        InputError: when it is another.
    """
    require(reduction in get_args(Reduction), who, "reduction", "'mean', 'sum' or 'none'", repr(reduction))


def first_derivative_only() -> None:
    """Refuse a backward pass that shall itself be differentiated, which would silently give a wrong second derivative.

    Raises:
        InputError: when called in a backward pass with ``create_graph=True``.
    """
    require(
        not torch.is_grad_enabled(), "the tiled loss", "create_graph", "False", True,
        "only batches small enough for the plain formula have a second derivative",
    )  # fmt: skip


def reduce(
    values: Tensor,
    reduction: Reduction,
    *,
    valid: Tensor | None = None,
    across_ranks: bool = False,
    who: str = "loss",
) -> Tensor:
    """Reduce per-anchor values to one number by the convention of `nearfar.distributed`.

    Args:
        values: (N,) this rank's values.
        reduction: "mean" over the valid anchors, "sum", or "none" for the values themselves.
        valid: (N,) bool, the anchors that count; the others give 0 and no gradient. None: all.
        across_ranks: the mean or sum is over all ranks' anchors, in the sense that the *mean over ranks of the
            results* is that number, also where ranks have different N.
        who: the loss that asks.

    Returns:
        A scalar, or (N,) for "none". Without a valid anchor the mean is 0, with zero gradient.
    """
    check_reduction(who, reduction)
    if valid is not None:
        values = torch.where(valid, values, 0)
    if reduction == "none":
        return values
    spread = across_ranks and is_distributed()
    total = values.sum() * world_size() if spread else values.sum()
    if reduction == "sum":
        return total
    count = values.new_tensor(values.numel()) if valid is None else valid.sum().to(values.dtype)
    with torch.no_grad():
        count = sum_over_ranks(count) if spread else count
    return total / count.clamp(min=1)
