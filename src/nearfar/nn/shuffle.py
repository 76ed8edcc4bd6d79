r"""Shuffled batches: MoCo's keys are encoded in another composition of batches than its queries.

He et al., "Momentum Contrast", CVPR 2020, https://arxiv.org/abs/1911.05722, section 3.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from nearfar.distributed import gather, gather_sizes, rank

__all__ = ["Shuffle", "draw_shuffle"]

T = TypeVar("T", Tensor, Mapping[str, Tensor])


class Shuffle(NamedTuple):
    """A permutation of a batch, and its undoing.

    Attributes:
        order: (M,) int64, the batch's row that stands at each place afterwards; M is the number of rows of all ranks,
            or of this one.
        sizes: the ranks' numbers of rows; ``None`` where rows stay on their rank.
    """

    order: Tensor
    sizes: list[int] | None

    def apply(self, x: T) -> T:
        """Return this rank's rows of the shuffled batch; of a mapping, of each of its tensors."""
        if isinstance(x, Tensor):
            return self._everywhere(x)[self.order[self._own()]]
        return {key: self._everywhere(value)[self.order[self._own()]] for key, value in x.items()}

    def undo(self, x: Tensor) -> Tensor:
        """Return this rank's rows in the order they had before, of a tensor made from shuffled ones."""
        return self._everywhere(x)[self.order.argsort()[self._own()]]

    def _everywhere(self, x: Tensor) -> Tensor:
        return x if self.sizes is None else gather(x, self.sizes)

    def _own(self) -> slice:
        if self.sizes is None:
            return slice(None)
        start = sum(self.sizes[: rank()])
        return slice(start, start + self.sizes[rank()])


def draw_shuffle(rows: int, device: torch.device, *, across_ranks: bool = True) -> Shuffle:
    """Draw a permutation from torch's generator; call it on every rank.

    Over ranks each one's BatchNorm then sees keys of other items than its queries: rank 0's order holds for all.
    **On one rank the batch is the same set of rows before and after, so the statistics of BatchNorm over it do not
    change: there it needs `nearfar.nn.SplitBatchNorm`, whose parts it mixes.**

    Args:
        rows: N, this rank's number of rows.
        device: where the rows are.
        across_ranks: whether rows change ranks, which sends every row to every rank; otherwise every rank permutes its
            own, which is enough for split statistics. The generators of all ranks move on alike in both cases.
    """
    sizes = gather_sizes(rows, device)
    total, start = sum(sizes), sum(sizes[: rank()])
    draws = torch.rand(total)
    if not across_ranks:
        return Shuffle(draws[start : start + rows].argsort().to(device), None)
    everyone = gather(draws.argsort().to(device), [total] * len(sizes))
    return Shuffle(everyone[:total], sizes)
