"""All ranks' rows as seen from one rank."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nearfar.distributed import gather, gather_sizes, is_distributed, rank

__all__ = ["Shared", "share"]


class Shared(NamedTuple):
    """Every rank's rows, in rank order.

    Attributes:
        rows: (N_global, ...) all ranks' rows, with gradient to every rank.
        start: where this rank's own rows begin.
        stop: where they end.
    """

    rows: Tensor
    start: int
    stop: int

    @property
    def others(self) -> Tensor | None:
        """The other ranks' rows, or None where this rank has all."""
        if self.stop - self.start == len(self.rows):
            return None
        return torch.cat([self.rows[: self.start], self.rows[self.stop :]])


def share(x: Tensor, across_ranks: bool) -> Shared:
    """Gather ``x`` over the ranks; the identity on one rank or where ``across_ranks`` is false."""
    if not (across_ranks and is_distributed()):
        return Shared(x, 0, len(x))
    sizes = gather_sizes(len(x), x.device)
    start = sum(sizes[: rank()])
    return Shared(gather(x, sizes), start, start + len(x))
