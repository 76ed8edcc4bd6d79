"""The small records that sheets, plots and pages are made from; arrays, numbers and text only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from nearfar.errors import require

__all__ = ["Neighbour", "Query", "ViewGrid", "check_views"]


@dataclass(frozen=True)
class Neighbour:
    """One thing found: its picture, how far it is, and whether it is of the query's class.

    Attributes:
        image: (H, W) or (H, W, C), channels last.
        distance: in the index's metric; smaller is nearer.
        label: its class in words, or "".
        id: which sample it is, or "".
        right: whether it has the query's class; None when that is unknown.
    """

    image: NDArray[Any]
    distance: float
    label: str = ""
    id: str = ""
    right: bool | None = None


@dataclass(frozen=True)
class Query:
    """One thing looked for, and its nearest neighbours, nearest first."""

    image: NDArray[Any]
    neighbours: Sequence[Neighbour]
    label: str = ""
    id: str = ""


@dataclass(frozen=True)
class ViewGrid:
    """Pictures and what was made of them.

    Attributes:
        originals: N pictures, (H, W) or (H, W, C).
        views: V arrays or lists of N pictures each, channels last (views from a tensor (N, C, H, W) are moved there by
            ``tensor.permute(0, 2, 3, 1).numpy()``); sizes may differ between views.
        captions: for each view the N texts to stand under its pictures (what was drawn: crop, angle, ...), or empty.
        names: a heading for each view, or empty for "view 1", "view 2", ...
    """

    originals: Sequence[NDArray[Any]] | NDArray[Any]
    views: Sequence[Sequence[NDArray[Any]] | NDArray[Any]]
    captions: Sequence[Sequence[str]] = field(default=())
    names: Sequence[str] = field(default=())


def check_views(who: str, grid: ViewGrid) -> None:
    """Raise unless every view and every list of captions has one entry an original."""
    count = len(grid.originals)
    require(count > 0 and len(grid.views) > 0, who, "pictures and views", "at least one of each", f"{count} pictures")
    for view in grid.views:
        require(len(view) == count, who, "length of each view", f"{count}, one an original", len(view))
    if grid.captions:
        require(len(grid.captions) == len(grid.views), who, "captions", "one list a view", len(grid.captions))
        for texts in grid.captions:
            require(len(texts) == count, who, "captions of each view", f"{count} texts", len(texts))
    require(len(grid.names) in (0, len(grid.views)), who, "names", "one a view", len(grid.names))
