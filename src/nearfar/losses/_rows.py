"""Losses over labels, a block of anchors at a time: memory grows with the batch, not with its square or cube.

A loss says what becomes of one anchor's row of distances (or similarities) to everyone, given who is positive and who
negative. Here the rows are made block by block and made again in the backward, so that only one block is ever held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from nearfar.distributed import gather, gather_sizes, is_distributed, rank, sum_over_ranks, world_size
from nearfar.errors import require
from nearfar.losses._checks import Reduction, check_embeddings, check_labels, check_reduction
from nearfar.losses._remade import remade

__all__ = [
    "Anchors",
    "Mined",
    "blocks",
    "by_blocks",
    "dot",
    "gathered",
    "labelled",
    "log1p_exp",
    "masked_logsumexp",
    "pack",
    "per_anchor",
    "reduce_sums",
    "total_over_ranks",
]

Row: TypeAlias = Callable[..., tuple[Tensor, ...]]

# Entries of a block. On two cores larger blocks were not faster; an accelerator wants larger ones.
_ENTRIES = {"cpu": 2**18}
_ENTRIES_ELSEWHERE = 2**22


class Mined(NamedTuple):
    """Which pairs a miner chose: the losses that take it leave all others out of their sums.

    Attributes:
        positive: (N, M) bool: row m counts as a positive of anchor n, where it is of its class.
        negative: (N, M) bool: row m counts as a negative of anchor n, where it is of another class.
    """

    positive: Tensor
    negative: Tensor


class Anchors(NamedTuple):
    """This rank's rows as anchors, and everyone's rows as what they are compared with.

    Attributes:
        z: (N, D) this rank's rows.
        labels: (N,) their classes.
        everyone: (M, D) all ranks' rows, in rank order; ``z`` itself on one rank.
        classes: (M,) their classes.
        start: this rank's first row in ``everyone``.
        mined: the pairs that count; None: all.
    """

    z: Tensor
    labels: Tensor
    everyone: Tensor
    classes: Tensor
    start: int
    mined: Mined | None = None

    def most_positives(self) -> int:
        """Return the largest number of positives that an anchor has."""
        _, counts = torch.unique(self.classes, return_counts=True)
        return int(counts.max()) - 1

    def positives(self, rows: slice) -> Tensor:
        """Return (R, M) bool: same class, and not the anchor itself."""
        same = self.labels[rows, None] == self.classes[None]
        itself = torch.arange(rows.start, rows.stop, device=same.device)[:, None] + self.start
        same = same.scatter_(1, itself, False)
        return same if self.mined is None else same & self.mined.positive[rows]

    def negatives(self, rows: slice) -> Tensor:
        """Return (R, M) bool: another class."""
        other = self.labels[rows, None] != self.classes[None]
        return other if self.mined is None else other & self.mined.negative[rows]

    def positive_pairs(self) -> tuple[Tensor, Tensor]:
        """Return every (anchor, row of ``everyone``) that are positives, by anchor."""
        parts = [
            self.positives(rows).nonzero() + torch.tensor([rows.start, 0], device=self.z.device)
            for rows in blocks(len(self.z), len(self.everyone), self.z.device)
        ]
        anchor, positive = torch.cat([self.labels.new_zeros(0, 2, dtype=torch.int64), *parts]).unbind(1)
        return anchor, positive


def gathered(
    who: str,
    z: Tensor,
    labels: Tensor,
    across_ranks: bool,
    *,
    prepare: Callable[[Tensor], Tensor] | None = None,
    mined: Mined | None = None,
) -> Anchors:
    """Check a batch with labels and gather it over ranks.

    Args:
        who: the loss that asks.
        z: (N, D) float.
        labels: (N,) integer.
        across_ranks: False: this rank alone.
        prepare: what to do to the rows before, `nearfar.losses._checks.unit` for example.
        mined: the pairs that count; None: all.

    Raises:
        InputError: shapes or types are wrong.
    """
    spread = across_ranks and is_distributed()
    # A batch may have no row: none was labelled, on this rank or on all.
    if not (z.is_floating_point() and z.ndim == 2 and len(z) == 0):
        check_embeddings(who, z=z)
    check_labels(who, labels, len(z))
    z = z if prepare is None else prepare(z)
    sizes = gather_sizes(len(z), z.device) if spread else [len(z)]
    if sum(sizes) == 0:
        # One row of zeros, and nobody to compare it with.
        return Anchors(z, labels, z.sum(0, keepdim=True), labels.new_zeros(1), 0)
    if not spread:
        return Anchors(z, labels, z, labels, 0, _fitting(who, mined, len(z), len(z)))
    fitting = _fitting(who, mined, len(z), sum(sizes))
    return Anchors(z, labels, gather(z, sizes), gather(labels, sizes), sum(sizes[: rank()]), fitting)


def _fitting(who: str, mined: Mined | None, rows: int, everyone: int) -> Mined | None:
    for name, mask in ({} if mined is None else mined._asdict()).items():
        ok = mask.dtype == torch.bool and tuple(mask.shape) == (rows, everyone)
        got = f"{mask.dtype} {tuple(mask.shape)}"
        require(ok, who, f"mined.{name}", f"a bool tensor ({rows}, {everyone})", got)
    return mined


def labelled(who: str, labels: Tensor) -> Anchors:
    """Return a batch of which only the labels count.

    Raises:
        InputError: labels are not integers of shape (N,).
    """
    check_labels(who, labels, len(labels) if labels.ndim else 0)
    z = torch.zeros(len(labels), 1, device=labels.device)
    return Anchors(z, labels, z, labels, 0)


def blocks(count: int, entries_each: int, device: torch.device) -> Iterator[slice]:
    """Yield slices of ``count`` rows so that a block of rows has a bounded number of entries."""
    entries = _ENTRIES.get(device.type, _ENTRIES_ELSEWHERE)
    step = max(1, entries // max(1, entries_each))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def by_blocks(
    function: Callable[..., tuple[Tensor, ...]],
    sliced: Sequence[Tensor],
    whole: Sequence[Tensor],
    entries_each: int,
) -> tuple[Tensor, ...]:
    """Apply a function to blocks of rows and concatenate what it returns.

    Args:
        function: (rows, a block of each of ``sliced``, each of ``whole``) -> tensors that begin with an axis of rows.
        sliced: tensors with the same first axis, cut into blocks.
        whole: tensors handed over as they are.
        entries_each: how many entries the function's largest tensor has per row.
    """
    parts = list(blocks(len(sliced[0]), entries_each, sliced[0].device)) or [slice(0, 0)]
    if len(parts) == 1:
        return function(parts[0], *sliced, *whole)
    results = [remade(function, rows, *(x[rows] for x in sliced), *whole) for rows in parts]
    return tuple(torch.cat(column) for column in zip(*results, strict=True))


def per_anchor(
    row: Row,
    compare: Callable[[Tensor, Tensor], Tensor],
    batch: Anchors,
    *,
    extra: Sequence[Tensor] = (),
    width: int = 1,
) -> tuple[Tensor, ...]:
    """Apply ``row`` to every anchor and concatenate what it returns.

    Args:
        row: (R, M) comparisons, positives, negatives, and blocks of ``extra`` -> tensors that begin with an axis of
            anchors.
        compare: (R, D), (M, D) -> (R, M), a distance or a similarity.
        batch: the anchors and everyone.
        extra: tensors of one row per anchor.
        width: how many (R, M) tensors ``row`` holds at once, where these are very many.
    """

    def block(rows: slice, z: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        *more, everyone = rest
        return row(compare(z, everyone), batch.positives(rows), batch.negatives(rows), *more)

    return by_blocks(block, [batch.z, *extra], [batch.everyone], len(batch.everyone) * width)


def dot(x: Tensor, y: Tensor) -> Tensor:
    """Return the (R, M) dot products: cosines, for vectors of length 1."""
    return x @ y.T


def masked_logsumexp(x: Tensor, mask: Tensor) -> Tensor:
    """Return log sum exp over the last axis where ``mask``; where nothing counts -inf, with zero gradient."""
    empty = ~mask.any(-1)
    safe = x.masked_fill(~mask, -torch.inf).masked_fill(empty[..., None], 0)
    return safe.logsumexp(-1).masked_fill(empty, -torch.inf)


def log1p_exp(x: Tensor) -> Tensor:
    """Return log(1 + exp(x)); 0, with zero gradient, at -inf."""
    return torch.logaddexp(x, torch.zeros_like(x))


def total_over_ranks(x: Tensor, across_ranks: bool) -> Tensor:
    """Sum over ranks, with gradient, where the loss looks across ranks."""
    return sum_over_ranks(x) if across_ranks else x


def pack(mask: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Return (R, K) the columns that are true in each row, and (R, K) bool which of these count; K = max(1, most)."""
    k = min(max(1, most), mask.shape[1])
    held, index = mask.to(torch.int8).topk(k, dim=1)
    return index, held > 0


def reduce_sums(who: str, sums: Tensor, counts: Tensor, reduction: Reduction, across_ranks: bool) -> Tensor:
    """Reduce anchors' sums over pairs or triplets by the convention of `nearfar.distributed`.

    Args:
        who: the loss that asks.
        sums: (N,) each anchor's sum.
        counts: (N,) over how many pairs or triplets.
        reduction: "mean" over all pairs or triplets of all anchors, "sum", or "none": each anchor's mean.
        across_ranks: count over all ranks.

    Returns:
        A scalar or (N,); 0, with zero gradient, where nothing counts.
    """
    check_reduction(who, reduction)
    counts = counts.to(sums.dtype)
    if reduction == "none":
        return sums / counts.clamp(min=1)
    spread = across_ranks and is_distributed()
    total = sums.sum() * world_size() if spread else sums.sum()
    if reduction == "sum":
        return total
    with torch.no_grad():
        count = sum_over_ranks(counts.sum()) if spread else counts.sum()
    return total / count.clamp(min=1)
