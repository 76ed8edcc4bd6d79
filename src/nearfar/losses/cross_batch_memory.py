r"""Cross-batch memory: embeddings of past batches serve as further candidates.

Wang, Zhang, Huang, Scott, "Cross-Batch Memory for Embedding Learning", CVPR 2020, https://arxiv.org/abs/1912.06798,
algorithm 1.

**The seam.** Two small protocols stand between a loss and its memory.

* `ReferenceLoss`, what is called: ``loss(z, labels, reference, reference_labels)``. The anchors are the rows of ``z``
  and nothing else; the candidates of an anchor are all *other* rows of ``z`` and *all* rows of ``reference``.
  References have no gradient, are the same on every rank, and may be none (0 rows).
* `Memory`, what remembers: ``enqueue(z, labels)`` and ``contents()``; `nearfar.nn.Queue` is one.

A loss of the plain form ``(z, labels)`` that gives per-anchor values is adapted by `with_references`, whoever wrote it.
Miners fit in the same place: a function of four arguments that mines among ``torch.cat([z, reference])`` and keeps the
pairs or triplets whose anchor is below ``len(z)`` is a `ReferenceLoss`.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from nearfar.errors import require
from nearfar.losses._checks import Reduction, check_embeddings, check_labels, reduce
from nearfar.losses._shared import share

__all__ = ["CrossBatchMemory", "LabelledLoss", "Memory", "ReferenceLoss", "with_references"]


class LabelledLoss(Protocol):
    """A loss on rows with labels that can give one value per row, 0 for rows that have no partner."""

    def __call__(self, z: Tensor, labels: Tensor, *, reduction: Reduction) -> Tensor:
        """Return (M,) values for ``reduction="none"``, in the order of the rows."""


class ReferenceLoss(Protocol):
    """A loss whose anchors are the batch and whose candidates are the rest of the batch and the references."""

    def __call__(self, z: Tensor, labels: Tensor, reference: Tensor, reference_labels: Tensor, /) -> Tensor:
        """Return the loss of the (N, D) rows ``z``, given (R, D) references, R >= 0."""


class Contents(Protocol):
    """What a memory holds."""

    @property
    def keys(self) -> Tensor:
        """(R, D) stored rows; must not change when the memory does, for the backward pass needs them."""

    @property
    def labels(self) -> Tensor:
        """(R,) int64."""


class Memory(Protocol):
    """A memory of rows with labels, alike on every rank."""

    def enqueue(self, keys: Tensor, labels: Tensor, /) -> None:
        """Store rows, over all ranks, and forget the oldest."""

    def contents(self) -> Contents:
        """Return what is stored, R >= 0 rows."""


class CrossBatchMemory(nn.Module):
    """A loss whose anchors also meet the embeddings of past batches.

    Each call in training mode computes the loss on the batch and the memory and then stores the batch. During warm-up,
    while embeddings still drift fast, nothing is stored and the loss sees the batch alone; so it does at the first call
    thereafter. In evaluation mode the memory is used but not changed. All that a resumed run needs is in
    ``state_dict``: the number of calls here, rows, labels, position and fill in the memory.

    >>> memory = Queue(dim=128, size=8192)
    >>> loss = CrossBatchMemory(with_references(partial(sup_con, across_ranks=False)), memory, warmup=1000)
    >>> loss(z, labels).backward()

    Args:
        loss: called as ``loss(z, labels, reference, reference_labels)``; see `ReferenceLoss`. If a module, it is kept
            as one.
        memory: a module with ``enqueue`` and ``contents``, for example `nearfar.nn.Queue`. It normalises rows or not by
            its own setting; the losses on Euclidean distances want it not to.
        warmup: number of training calls without memory; 1000 in the paper.

    Raises:
        InputError: ``warmup`` is negative.
    """

    calls: Tensor

    def __init__(self, loss: ReferenceLoss, memory: Memory, *, warmup: int = 1000) -> None:
        super().__init__()
        require(warmup >= 0, "CrossBatchMemory", "warmup", ">= 0", warmup)
        self.loss = loss
        self.memory = memory
        self.warmup = warmup
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of a batch, then remember the batch.

        Args:
            z: (N, D) float embeddings.
            labels: (N,) integer.

        Returns:
            What ``loss`` returns.

        Raises:
            InputError: shapes or types are wrong.
        """
        check_embeddings("CrossBatchMemory", z=z)
        check_labels("CrossBatchMemory", labels, len(z))
        warm = int(self.calls) >= self.warmup
        if warm:
            held = self.memory.contents()
            value = self.loss(z, labels, held.keys.detach(), held.labels)
        else:
            value = self.loss(z, labels, z.new_zeros(0, z.shape[1]), labels[:0])
        if self.training:
            if warm:
                self.memory.enqueue(z.detach(), labels)
            self.calls += 1
        return value


def with_references(loss: LabelledLoss, *, across_ranks: bool = True) -> ReferenceLoss:
    """Give a loss on (z, labels) the form that takes references.

    It is computed on the rows of the batch and of the references together, and of its per-row values the batch's are
    kept: their mean over the anchors that have a positive among all rows. So ``loss`` must accept ``reduction="none"``
    and give one value per row, in the order of the rows. The pairs among references are computed too, and dropped.

    Args:
        loss: any such callable. It must *not* gather over ranks itself (for the losses here:
            ``functools.partial(loss, across_ranks=False)``): references are alike on all ranks and count once.
        across_ranks: whether anchors meet all ranks' rows; gathering, and the mean over ranks, are done here.

    Returns:
        A `ReferenceLoss`.
    """

    def referenced(z: Tensor, labels: Tensor, reference: Tensor, reference_labels: Tensor, /) -> Tensor:
        rows, classes = share(z, across_ranks), share(labels, across_ranks)
        everyone = torch.cat([rows.rows, reference.to(z.dtype)])
        every_class = torch.cat([classes.rows, reference_labels.to(labels.dtype)])
        values = loss(everyone, every_class, reduction="none")
        got, must = tuple(values.shape), f"one value per row, shape ({len(everyone)},)"
        require(got == (len(everyone),), "with_references", "loss(z, labels, reduction='none')", must, got)
        _, own, count = torch.unique(every_class, return_inverse=True, return_counts=True)
        mine = slice(rows.start, rows.stop)
        return reduce(values[mine], "mean", valid=count[own[mine]] > 1, across_ranks=across_ranks)

    return referenced
