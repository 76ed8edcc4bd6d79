"""Which entries of a matrix of logits do not count: diagonals, and whatever a function says tile by tile."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Drop", "Hide"]

Drop = Callable[[slice, slice], Tensor]


class Hide(NamedTuple):
    """Entries (i, j) of a matrix of logits that are set to minus infinity.

    Attributes:
        diagonals: every d hides the entries with j - i = d.
        drop: given a range of rows and one of columns, returns a bool tensor of that shape; true hides.
    """

    diagonals: tuple[int, ...] = ()
    drop: Drop | None = None

    def apply_(self, tile: Tensor, rows: slice, cols: slice) -> None:
        """Set the hidden entries of ``tile``, which holds these rows and columns, to minus infinity in place."""
        height, width = tile.shape
        for diagonal in self.diagonals:
            offset = diagonal + rows.start - cols.start
            if -height < offset < width:
                tile.diagonal(offset).fill_(-torch.inf)
        if self.drop is not None:
            tile.masked_fill_(self.drop(rows, cols), -torch.inf)

    def mask(self, height: int, width: int, device: torch.device) -> Tensor:
        """Return the (height, width) bool mask of hidden entries."""
        tile = torch.zeros(height, width, device=device)
        self.apply_(tile, slice(0, height), slice(0, width))
        return tile.isneginf()
