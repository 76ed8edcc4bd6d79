"""Collectives that carry gradients, with one convention for all losses.

**The convention.** A loss on rank r may use every rank's rows, and *the mean over ranks of the ranks' losses is the
loss of one process on the global batch*. `gather` concatenates in rank order; its backward sums the gradients that
all ranks have for a row and hands each rank its own rows. DistributedDataParallel then averages over ranks, and the
result is the gradient of one process. Outside a process group every function here is the identity.
"""

from __future__ import annotations

import os
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = [
    "gather",
    "gather_sizes",
    "is_distributed",
    "launched_rank",
    "mean_over_rows",
    "rank",
    "sum_over_ranks",
    "world_size",
]

_RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")


def is_distributed() -> bool:
    """Whether a process group of more than one rank is running."""
    return world_size() > 1


def world_size() -> int:
    """The number of ranks; 1 outside a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's rank; 0 outside a process group."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def launched_rank() -> int:
    """This process's rank as its launcher (torchrun, SLURM, Lightning) says it, known before the group is running.

    0 where nothing was launched; another number than 0 on every process but one. Use it to let one process write what
    all would write.
    """
    given = {name: int(value) for name in _RANKS if (value := os.environ.get(name, "")).isdecimal()}
    if "RANK" in given:
        return given["RANK"]
    local, node = given.get("LOCAL_RANK", 0), given.get("NODE_RANK", given.get("GROUP_RANK", 0))
    if "LOCAL_RANK" in given or node:  # only whether it is 0 counts: how many ranks a node has is not known here
        return local or node
    return given.get("SLURM_PROCID", given.get("JSM_NAMESPACE_RANK", 0))


def gather_sizes(rows: int, device: torch.device) -> list[int]:
    """Return every rank's number of rows, in rank order."""
    if not is_distributed():
        return [rows]
    sizes = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(world_size())]
    dist.all_gather(sizes, torch.tensor([rows], dtype=torch.int64, device=device))
    return [int(size) for size in sizes]


def gather(x: Tensor, sizes: list[int] | None = None) -> Tensor:
    """Concatenate every rank's rows in rank order, with gradient.

    Args:
        x: (N_r, ...) any dtype; ranks may differ in N_r but in nothing else.
        sizes: the ranks' numbers of rows if already known, which saves one small exchange.

    Returns:
        (sum of N_r, ...). The backward sums the gradients of all ranks and returns this rank's rows.
    """
    if not is_distributed():
        return x
    sizes = gather_sizes(len(x), x.device) if sizes is None else sizes
    return cast(Tensor, _Gather.apply(x, sizes))


def sum_over_ranks(x: Tensor) -> Tensor:
    """Sum a tensor over ranks, with gradient; the backward sums over ranks as well."""
    return cast(Tensor, _Sum.apply(x)) if is_distributed() else x


def mean_over_rows(values: Tensor) -> Tensor:
    """Return what this rank contributes to the mean over all ranks' values: the mean over ranks of it is that mean.

    Args:
        values: (N_r,) one value per row; ranks may differ in N_r.
    """
    rows = sum(gather_sizes(len(values), values.device))
    return values.sum() * world_size() / max(1, rows)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, sizes: list[int]) -> Tensor:
        ctx.sizes = sizes
        most = max(sizes)
        padded = x if len(x) == most else torch.cat([x, x.new_zeros(most - len(x), *x.shape[1:])])
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded.contiguous())
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        total = grads[0].contiguous().clone()
        dist.all_reduce(total)
        start = sum(ctx.sizes[: rank()])
        return total[start : start + ctx.sizes[rank()]], None


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].contiguous().clone()
        dist.all_reduce(total)
        return total
