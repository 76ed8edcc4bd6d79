"""The exact back end: numpy, every query against every vector, in chunks."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from nearfar.indexing.filters import Filter
from nearfar.indexing.memory import InMemory
from nearfar.indexing.records import Floats, Neighbours
from nearfar.indexing.scan import scan_table

__all__ = ["ExactIndex"]


class ExactIndex(InMemory):
    """Vectors in one array of this process; nothing is approximated.

    Memory: the vectors once, and some 100 MB while it searches.
    """

    backend: ClassVar[str] = "exact"

    def _search(self, queries: Floats, k: int, where: Filter | None) -> Neighbours:
        table = self._table
        passing = None if where is None else table.passing(where)
        if passing is not None:
            k = min(k, int(passing.sum()))
            if k == 0:
                return Neighbours(np.empty((len(queries), 0), np.float32), [[] for _ in queries], [[] for _ in queries])
        return table.neighbours(*scan_table(table, queries, k, passing))
