"""The exact back end: numpy, every query against every vector, in chunks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from nearfar.indexing.base import Index, Label, Neighbours, Records
from nearfar.indexing.files import read_index, write_index
from nearfar.indexing.metrics import Metric
from nearfar.indexing.scan import scan
from nearfar.indexing.table import Table

__all__ = ["ExactIndex"]

Floats = NDArray[np.float32]


class ExactIndex(Index):
    """Vectors in one array of this process; nothing is approximated.

    Memory: the vectors once, and some 100 MB while it searches. ``remove`` copies the vectors that stay.
    """

    backend: ClassVar[str] = "exact"

    def __init__(self, dim: int, *, metric: Metric = "cosine", fingerprint: str | None = None) -> None:
        super().__init__(dim, metric=metric, fingerprint=fingerprint)
        self._table = Table(dim, self.metric)

    @property
    def count(self) -> int:
        """How many vectors the index holds."""
        return len(self._table)

    @property
    def ids(self) -> Sequence[str]:
        """All ids in the order of insertion."""
        return tuple(self._table.ids)

    def __contains__(self, name: object) -> bool:
        return name in self._table.row

    def save(self, path: Path | str) -> None:
        """Write the index into a folder (see ``Index.save``)."""
        write_index(Path(path), self, self._table)

    @classmethod
    def open(cls, path: Path | str) -> ExactIndex:
        """Read an index that this or another in-memory back end saved (see ``Index.open``)."""
        saved = read_index(Path(path))
        index = cls(saved.dim, metric=saved.metric, fingerprint=saved.fingerprint)
        index._add(*saved.rows)
        return index

    def _add(self, ids: list[str], vectors: Floats, labels: list[Label]) -> None:
        self._table.append(ids, vectors, labels)

    def _search(self, queries: Floats, k: int) -> Neighbours:
        table = self._table
        found = scan(self.metric, queries, table.vectors, table.side, table.largest_square, k)
        return table.neighbours(*found)

    def _get(self, ids: list[str]) -> Records:
        return self._table.records(ids)

    def _remove(self, ids: list[str]) -> None:
        self._table.delete(ids)
