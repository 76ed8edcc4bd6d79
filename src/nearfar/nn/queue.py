r"""A queue of the embeddings of past batches: MoCo's keys, NNCLR's support set, SwAV's stored samples.

He, Fan, Wu, Xie, Girshick, "Momentum Contrast for Unsupervised Visual Representation Learning", CVPR 2020,
https://arxiv.org/abs/1911.05722, section 3.2.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from nearfar.distributed import gather, gather_sizes
from nearfar.errors import require

__all__ = ["Queue", "Stored"]


class Stored(NamedTuple):
    """What a queue holds, without gradient; copies, which a later `Queue.enqueue` does not change.

    Attributes:
        keys: (R, D) float32, 0 <= R <= size; the order is that of the storage, not of age.
        labels: (R,) int64, -1 where none was given.
        ids: (R,) int64, -1 where none was given.
    """

    keys: Tensor
    labels: Tensor
    ids: Tensor


class Queue(nn.Module):
    """First in, first out: the last ``size`` keys, with labels and ids.

    Rows, position and fill state are buffers, so that a resumed run continues with the same content. A batch need not
    divide the size: it wraps around, and of a batch larger than the queue the last ``size`` rows stay. Over ranks every
    rank stores all ranks' rows, in rank order, so that the queues are equal; ranks may differ in rows.

    It starts empty, unlike MoCo's, which starts with random keys: `contents` then has 0 rows.

    Args:
        dim: D, length of a key.
        size: K, number of keys; 65,536 in MoCo on ImageNet, 4,096 on CIFAR. Well below the size of the data set, else a
            sample meets its own older key.
        normalize: whether keys are stored at unit length; a zero key stays zero.

    Raises:
        InputError: a number is below 1.
    """

    keys: Tensor
    labels: Tensor
    ids: Tensor
    position: Tensor
    fill: Tensor

    def __init__(self, dim: int, size: int, *, normalize: bool = True) -> None:
        super().__init__()
        require(dim >= 1, "Queue", "dim", ">= 1", dim)
        require(size >= 1, "Queue", "size", ">= 1", size)
        self.dim, self.size, self.normalize = dim, size, normalize
        self.register_buffer("keys", torch.zeros(size, dim))
        self.register_buffer("labels", torch.full((size,), -1, dtype=torch.int64))
        self.register_buffer("ids", torch.full((size,), -1, dtype=torch.int64))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))
        self.register_buffer("fill", torch.zeros((), dtype=torch.int64))

    def __len__(self) -> int:
        """Return the number of keys held, <= size."""
        return int(self.fill)

    def __bool__(self) -> bool:
        """A queue is there also when it is empty."""
        return True

    @torch.no_grad()
    def contents(self) -> Stored:
        """Return copies of what is held; nothing is added or removed."""
        held = len(self)
        return Stored(self.keys[:held].clone(), self.labels[:held].clone(), self.ids[:held].clone())

    @torch.no_grad()
    def enqueue(self, keys: Tensor, labels: Tensor | None = None, ids: Tensor | None = None) -> None:
        """Store the keys of all ranks and forget the oldest. Call it after the loss, once per batch, on every rank.

        Args:
            keys: (N, D) float; N may differ between ranks. Detached here.
            labels: (N,) integer, or None on all ranks for -1.
            ids: (N,) integer, or None on all ranks for -1; say, the samples' row numbers, to leave out a sample's own
                older key from its negatives.

        Raises:
            InputError: shapes or types are wrong, or a key is not finite; the queue is then unchanged.
        """
        keys, labels, ids = self._checked(keys, labels, ids)
        sizes = gather_sizes(len(keys), keys.device)
        keys, labels, ids = (gather(x, sizes)[-self.size :] for x in (keys, labels, ids))
        where = (self.position + torch.arange(len(keys), device=keys.device)) % self.size
        for buffer, rows in ((self.keys, keys), (self.labels, labels), (self.ids, ids)):
            buffer[where] = rows
        self.position.copy_((self.position + len(keys)) % self.size)
        self.fill.copy_((self.fill + len(keys)).clamp(max=self.size))

    def _checked(self, keys: Tensor, labels: Tensor | None, ids: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        shape = f"a float tensor (N, {self.dim}), N >= 1"
        ok = keys.is_floating_point() and keys.ndim == 2 and keys.shape[1] == self.dim and len(keys) >= 1
        require(ok, "Queue", "keys", shape, f"{keys.dtype} {tuple(keys.shape)}")
        keys = keys.detach().to(self.keys)
        if keys.device.type == "cpu":
            require(bool(keys.isfinite().all()), "Queue", "keys", "finite", "NaN or infinite values")
        columns = []
        for name, column in (("labels", labels), ("ids", ids)):
            if column is None:
                columns.append(self.labels.new_full((len(keys),), -1))
                continue
            integer = not (column.is_floating_point() or column.is_complex() or column.dtype == torch.bool)
            fits = integer and tuple(column.shape) == (len(keys),)
            must = f"an integer tensor ({len(keys)},)"
            require(fits, "Queue", name, must, f"{column.dtype} {tuple(column.shape)}")
            columns.append(column.to(self.labels))
        if self.normalize:
            norm = torch.linalg.vector_norm(keys, dim=1, keepdim=True)
            keys = keys / torch.where(norm > 0, norm, 1)
        return keys, columns[0], columns[1]
