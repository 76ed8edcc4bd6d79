"""The small records that sheets, plots and pages are made from; arrays, numbers and text only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

__all__ = ["Neighbour", "Query", "ViewGrid"]


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
