r"""Shuffled batches: MoCo's keys are encoded in another composition of batches than its queries.

He et al., "Momentum Contrast", CVPR 2020, https://arxiv.org/abs/1911.05722, section 3.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from nearfar.distributed import gather, gather_sizes, rank

__all__ = ["Shuffle", "draw_shuffle"]


class Shuffle(NamedTuple):
    """A permutation of the batch of all ranks, and its undoing.

    Attributes:
        order: (M,) int64, the batch's row that stands at each place afterwards; M is the number of rows of all ranks.
        sizes: the ranks' numbers of rows, before and after.
    """

    order: Tensor
    sizes: list[int]

    def apply(self, x: Tensor | Mapping[str, Tensor]) -> Tensor | Mapping[str, Tensor]:
        """Return this rank's rows of the shuffled batch; of a mapping, of each of its tensors."""
        rows = self.order[self._own()]
        if isinstance(x, Tensor):
            return gather(x, self.sizes)[rows]
        return {key: gather(value, self.sizes)[rows] for key, value in x.items()}

    def undo(self, x: Tensor) -> Tensor:
        """Return this rank's rows in the order they had before, of a tensor made from shuffled ones."""
        return gather(x, self.sizes)[self.order.argsort()[self._own()]]

    def _own(self) -> slice:
        start = sum(self.sizes[: rank()])
        return slice(start, start + self.sizes[rank()])


def draw_shuffle(rows: int, device: torch.device) -> Shuffle:
    """Draw a permutation from torch's generator; call it on every rank. Rank 0's order holds for all.

    Every rank's BatchNorm then sees keys of other items than its queries. **On one rank the batch is the same set of
    rows before and after, so statistics over all of it do not change: there it needs `nearfar.nn.SplitBatchNorm`,
    between whose parts it mixes the rows.** Over ranks it sends every row to every rank.

    Args:
        rows: N, this rank's number of rows.
        device: where the rows are.
    """
    sizes = gather_sizes(rows, device)
    total = sum(sizes)
    orders = gather(torch.randperm(total).to(device), [total] * len(sizes))
    return Shuffle(orders[:total], sizes)
