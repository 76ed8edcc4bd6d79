"""Each item's nearest neighbours, computed once in the background; duplicates and doubtful labels follow from them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearfar.curation import joined, outvoted_labels, usual_distance
from nearfar.evaluation import encode_labels
from nearfar.exploring.collection import Collection
from nearfar.indexing import Neighbours, normalised
from nearfar.progress import say

__all__ = ["Doubt", "Graph", "Group", "find_neighbours"]

K = 10
"""Neighbours of each item."""
AT_ONCE = 512
EXACT = 100_000
"""Items up to which their neighbours are found exactly; beyond, by what the index chooses for a recall of 0.95."""

Rows = NDArray[np.int32]
Whole = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Group:
    """Items that are joined by close pairs: their rows, and the distance of the closest pair."""

    rows: list[int]
    distance: float


@dataclass(frozen=True)
class Doubt:
    """An item whose neighbours have another label than its own, and the shares of their votes for both."""

    row: int
    given: str
    suggested: str
    own: float
    share: float


def find_neighbours(
    collection: Collection,
    k: int = K,
    *,
    search: Callable[[Floats, int], Neighbours] | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> tuple[Rows, Floats]:
    """Return (N, k) rows and distances of each item's nearest others, -1 and infinity where there are fewer."""
    count = len(collection)
    rows = np.full((count, k), -1, np.int32)
    distances = np.full((count, k), np.inf, np.float32)
    ask = search or collection.index.search
    for at in range(0, count, AT_ONCE):
        found = ask(collection.vectors[at : at + AT_ONCE], k + 1)
        for offset, (names, values) in enumerate(zip(found.ids, found.distances, strict=True)):
            own = at + offset
            near = [(collection.row.get(str(name), -1), value) for name, value in zip(names, values, strict=False)]
            near = [(row, value) for row, value in near if row not in (own, -1)][:k]
            for place, (row, value) in enumerate(near):
                rows[own, place], distances[own, place] = row, value
        progress(min(1.0, (at + AT_ONCE) / count))
    return rows, distances


class Graph:
    """The neighbours of all items of a collection, found by a thread once somebody asks.

    Args:
        collection: the items.
        search: asks the index; by default the collection's own, by a service the one that takes turns with writes.
    """

    def __init__(self, collection: Collection, search: Callable[[Floats, int], Neighbours] | None = None) -> None:
        self.collection, self._search = collection, search
        self.progress = 0.0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._found: tuple[Rows, Floats] | None = None
        self._error: Exception | None = None

    @property
    def ready(self) -> bool:
        """Whether the neighbours are known; asking begins the search.

        Raises:
            Exception: what the search ended with, if it failed.
        """
        with self._lock:
            if self._error is not None:
                raise self._error
            if self._found is None and self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True, name="nearfar-graph")
                self._thread.start()
        return self._found is not None

    def wait(self) -> Graph:
        """Find the neighbours now, in this thread, unless they are known."""
        if self._found is None:
            index = self.collection.index
            if len(self.collection) > EXACT and not index.lasting:
                say(index.optimise())
            self._found = find_neighbours(self.collection, search=self._search, progress=self._note)
        return self

    def _note(self, share: float) -> None:
        self.progress = share

    def _run(self) -> None:
        try:
            self.wait()
        except Exception as error:
            self._error = error

    @property
    def found(self) -> tuple[Rows, Floats]:
        """The neighbours' rows and distances; only once `ready`."""
        assert self._found is not None
        return self._found

    def usual_cut(self) -> tuple[float, float]:
        """Return the cut for duplicates that a page begins with, and the largest that is of use.

        The first is that of `nearfar.dedupe`, a tenth of the median distance to the nearest neighbour; the other that
        median.
        """
        cut = max(usual_distance(self.found[1][:, 0]), 1e-7)
        return cut, 10 * cut

    def pairs(self, cut: float) -> list[tuple[int, int, float]]:
        """Return pairs (a < b) not farther apart than the cut, the closest first."""
        low, high, apart = self._pairs(cut)
        return list(zip(low.tolist(), high.tolist(), apart.tolist(), strict=True))

    def _pairs(self, cut: float) -> tuple[Whole, Whole, Floats]:
        rows, distances = self.found
        a, place = np.nonzero((distances <= cut) & (rows >= 0))
        b, d = rows[a, place].astype(np.int64), distances[a, place]
        low, high = np.minimum(a, b), np.maximum(a, b)
        _, first = np.unique(low * len(rows) + high, return_index=True)
        order = first[np.lexsort((high[first], low[first], d[first]))]
        return low[order], high[order], np.maximum(d[order], 0)

    def duplicates(self, cut: float) -> list[Group]:
        """Return items joined by pairs not farther apart than the cut, the groups with the closest pair first."""
        found = joined(len(self.collection), [self._pairs(cut)])
        pairs = zip(found.groups, found.distances, strict=True)
        groups = [Group(rows.tolist(), float(apart.min())) for rows, apart in pairs]
        return sorted(groups, key=lambda group: (group.distance, group.rows[0]))

    def doubts(self) -> list[Doubt]:
        """Return items whose neighbours vote for another label, as `nearfar.label_errors` does, the surest first."""
        column = self.collection.column("label")
        if column is None or any(isinstance(value, float) for value in column.raw):
            return []
        (codes,), names = encode_labels(column.raw)
        found = outvoted_labels(self._angles(), self.found[0], codes)
        numbers = zip(*(one.tolist() for one in found), strict=True)
        return [Doubt(row, names[codes[row]], names[new], own, own + more) for row, new, own, more in numbers]

    def _angles(self) -> Floats:
        """Return (N, K) distances 1 - cos to the neighbours, whatever the index measures by."""
        rows, distances = self.found
        if self.collection.metric == "cosine":
            return distances
        x, found = normalised(self.collection.vectors), np.full(rows.shape, np.inf, np.float32)
        for start in range(0, len(rows), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            found[part] = 1 - np.einsum("nd,nkd->nk", x[part], x[rows[part]])
        return found
