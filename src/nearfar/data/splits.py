"""Parts of a data set: held-out rows, drawn with a seed and the same share of every class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nearfar.data.source import Source, Subset, groups_of, take
from nearfar.errors import DataError, require

__all__ = ["hold_out", "hold_out_rows"]


def hold_out_rows(
    labels: NDArray[np.int64] | None,
    count: int,
    *,
    share: float = 0.1,
    seed: int = 0,
    groups: Sequence[str] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw the rows to hold out, the same share of every class.

    Rows of unknown label are a class of their own. Every class of two rows or more has at least one row on either
    side; a class of one row stays among the kept.

    Args:
        labels: (N,) int64, -1 unknown; ``None`` draws from all rows alike.
        count: N.
        share: what part to hold out, in (0, 1).
        seed: draws the rows; the same seed gives the same rows.
        groups: N texts; rows of one group stay together. A group is of the class that most of its rows are of, groups
            are drawn evenly over the classes, and the shares are of groups.

    Returns:
        The kept and the held-out row numbers, each ascending.

    Raises:
        DataError: when ``share`` is out of range or N < 2.
    """
    require(0 < share < 1, "hold_out", "share", "in (0, 1)", share, error=DataError)
    require(count >= 2, "hold_out", "the number of items", ">= 2", count, error=DataError)
    if groups is not None:
        return _groups(labels, groups, share, seed)
    classes = np.zeros(count, np.int64) if labels is None else labels
    rng = np.random.default_rng([seed, 0x5B1])
    held = np.zeros(count, bool)
    for number in np.unique(classes):
        rows = np.flatnonzero(classes == number)
        size = min(max(1, round(share * len(rows))), len(rows) - 1)
        held[rng.permutation(rows)[:size]] = True
    if not held.any():
        held[rng.permutation(count)[: max(1, round(share * count))]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def _groups(
    labels: NDArray[np.int64] | None, groups: Sequence[str], share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hold out whole groups."""
    names, number = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    fix = "one group cannot be on both sides; leave the group column out, or give splits"
    require(len(names) >= 2, "hold_out", "the number of groups", ">= 2", len(names), fix, error=DataError)
    kind = None
    if labels is not None:
        known = np.unique(labels)
        counts = np.zeros((len(names), len(known)), np.int64)
        np.add.at(counts, (number, np.searchsorted(known, labels)), 1)
        kind = known[counts.argmax(axis=1)]
    kept, held = hold_out_rows(kind, len(names), share=share, seed=seed)
    return np.flatnonzero(np.isin(number, kept)), np.flatnonzero(np.isin(number, held))


def hold_out(source: Source, *, share: float = 0.1, seed: int = 0) -> tuple[Subset, Subset]:
    """Split a source in two by `hold_out_rows`: the kept part and the held-out one; groups stay together."""
    kept, held = hold_out_rows(source.labels, len(source), share=share, seed=seed, groups=groups_of(source))
    return take(source, kept), take(source, held)
