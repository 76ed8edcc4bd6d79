"""Near-duplicates: rows so close that they show the same thing, as groups, and which one of each to keep."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfar.curation.neighbours import neighbours, pairs_within

__all__ = ["Duplicates", "default_distance", "joined", "near_duplicates", "usual_distance"]

Ints = NDArray[np.int64]
Pairs = tuple[Ints, Ints, NDArray[np.float32]]


class Duplicates(NamedTuple):
    """What was found.

    Attributes:
        groups: the groups of two rows or more, each ascending, the largest first.
        keep: (K,) int64, ascending: one row of every group, and all rows that stand alone.
        drop: (N - K,) int64, ascending: the others.
        distances: one array a group: each row's distance 1 - cos to the nearest row of its group.
    """

    groups: list[Ints]
    keep: Ints
    drop: Ints
    distances: list[NDArray[np.float32]]


def near_duplicates(embeddings_ND: Any, *, distance: float | None = None) -> Duplicates:
    """Group rows that are linked by steps of at most ``distance``.

    Of every group the row that most others are linked to is kept, of equals the first.

    Args:
        embeddings_ND: (N, D) float.
        distance: 1 - cos; what counts as the same depends on the encoder, so look at some groups. By default a tenth of
            the median distance to the nearest other row: ten times closer than usual.

    Raises:
        InputError: on a distance out of [0, 2), or a wrong shape or value.
    """
    distance = default_distance(embeddings_ND) if distance is None else distance
    return joined(len(embeddings_ND), pairs_within(embeddings_ND, distance, who="dedupe"))


def default_distance(embeddings_ND: Any) -> float:
    """Return what `near_duplicates` takes where no distance is given; 0 for fewer than two rows.

    Raises:
        InputError: on a wrong shape or value.
    """
    return 0.0 if len(embeddings_ND) < 2 else usual_distance(neighbours(embeddings_ND, 1, who="dedupe")[0][:, 0])


def usual_distance(nearest_N: NDArray[np.float32]) -> float:
    """Return a tenth of the median of each row's distance to its nearest other row; infinity is no distance."""
    fine = nearest_N[np.isfinite(nearest_N)]
    return float(np.median(fine)) / 10 if len(fine) else 0.0


def joined(count: int, pairs: Iterable[Pairs]) -> Duplicates:
    """Do what `near_duplicates` does where the close pairs are known already.

    Args:
        count: rows, N.
        pairs: parts of them, each three arrays: one row of every pair, the other, and their distance.
    """
    parent = np.arange(count)
    links = np.zeros(count, dtype=np.int64)
    nearest = np.full(count, np.inf, dtype=np.float32)
    for first, second, apart in pairs:
        for i, j in zip(first.tolist(), second.tolist(), strict=True):
            _join(parent, i, j)
        np.add.at(links, first, 1)
        np.add.at(links, second, 1)
        np.minimum.at(nearest, first, apart)
        np.minimum.at(nearest, second, apart)
    roots = parent[parent]
    while (roots != parent).any():  # a parent never comes after its child
        parent, roots = roots, roots[roots]
    order = np.argsort(roots, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(roots[order]) > 0])
    members = np.split(order, starts[1:])
    groups = sorted((rows for rows in members if len(rows) > 1), key=lambda rows: (-len(rows), int(rows[0])))
    kept = np.ones(count, dtype=bool)
    for rows in groups:
        kept[rows] = False
        kept[rows[int(np.argmax(links[rows]))]] = True
    return Duplicates(groups, np.flatnonzero(kept), np.flatnonzero(~kept), [nearest[rows] for rows in groups])


def _root(parent: Ints, row: int) -> int:
    while parent[row] != row:
        parent[row] = parent[parent[row]]
        row = int(parent[row])
    return row


def _join(parent: Ints, first: int, second: int) -> None:
    one, two = _root(parent, first), _root(parent, second)
    if one != two:
        parent[max(one, two)] = min(one, two)
