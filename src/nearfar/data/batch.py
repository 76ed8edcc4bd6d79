"""What travels from a loader to a method: a batch of views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

__all__ = ["Batch", "Views", "by_size", "concat"]

Views: TypeAlias = Tensor | Mapping[str, Tensor]
"""One view of each of N items: a tensor whose first axis is N, or a mapping of such tensors (text)."""


class Batch(NamedTuple):
    """N items, each seen from one or more views.

    Attributes:
        views: V entries; entry v holds view v of all N items, in the same order.
        labels: (N,) int64, -1 where unknown; ``None`` when there are none or the method must not see them.
        ids: (N,) int64, the items' row numbers in their data set.
        targets: what the data say beyond one class an item: (N,) float32 scores of pairs, or (N, C) float32 label sets
            of 0 and 1; ``None`` when they say nothing of the kind.
    """

    views: Sequence[Views]
    labels: Tensor | None = None
    ids: Tensor | None = None
    targets: Tensor | None = None


def concat(views: Sequence[Views]) -> Views:
    """Stack V views of N items into one batch of V·N rows, view after view, so that one pass sees them all."""
    first = views[0]
    if isinstance(first, Tensor):
        return torch.cat([view for view in views if isinstance(view, Tensor)])
    return {key: torch.cat([view[key] for view in views if not isinstance(view, Tensor)]) for key in first}


def by_size(views: Sequence[Views]) -> list[Views]:
    """Stack neighbouring views of one size, so that large and small crops take a pass each; their order stays."""
    groups: list[list[Views]] = []
    for view in views:
        if groups and _size(groups[-1][0]) == _size(view):
            groups[-1].append(view)
        else:
            groups.append([view])
    return [concat(group) for group in groups]


def _size(view: Views) -> object:
    return view.shape[1:] if isinstance(view, Tensor) else {key: part.shape[1:] for key, part in view.items()}
