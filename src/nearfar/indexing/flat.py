"""The FAISS back end: a flat index finds candidates, the one distance of all back ends ranks them.

Douze et al., "The Faiss library", https://arxiv.org/abs/2401.08281.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nearfar.indexing.base import Index, Label, Neighbours, Records
from nearfar.indexing.files import read_index, write_index
from nearfar.indexing.metrics import Metric, normalised, rough_error
from nearfar.indexing.scan import SLACK, scan, settle, unsettled
from nearfar.indexing.table import Table

__all__ = ["FaissIndex"]

Floats = NDArray[np.float32]


class FaissIndex(Index):
    """FAISS's IndexFlat over the vectors, normalised for cosine.

    FAISS proposes k + 16 candidates by its own float32 sums and leaves ties in no order; they are measured again
    and, where one could be missing because too many lie equally far, the query is answered by the exact scan.

    Memory: the vectors twice. ``remove`` copies the vectors that stay.
    """

    backend: ClassVar[str] = "faiss"

    def __init__(self, dim: int, *, metric: Metric = "cosine", fingerprint: str | None = None) -> None:
        import faiss

        super().__init__(dim, metric=metric, fingerprint=fingerprint)
        self._table = Table(dim, self.metric)
        inner = self.metric in ("cosine", "dot")
        self._flat: Any = faiss.IndexFlatIP(dim) if inner else faiss.IndexFlatL2(dim)

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
    def open(cls, path: Path | str) -> FaissIndex:
        """Read an index that this or another in-memory back end saved (see ``Index.open``)."""
        saved = read_index(Path(path))
        index = cls(saved.dim, metric=saved.metric, fingerprint=saved.fingerprint)
        index._add(*saved.rows)
        return index

    def _add(self, ids: list[str], vectors: Floats, labels: list[Label]) -> None:
        self._table.append(ids, vectors, labels)
        self._flat.add(self._pointed(vectors))

    def _search(self, queries: Floats, k: int) -> Neighbours:
        table, pointed = self._table, self._pointed(queries)
        values, candidates = self._flat.search(pointed, min(self.count, k + SLACK))
        if self.metric in ("cosine", "dot"):
            values = -values
        distances, rows = settle(self.metric, queries, table.vectors, candidates, k)
        errors = rough_error(self.metric, pointed, table.largest_square)
        again = np.flatnonzero(unsettled(values, errors, k, self.count))
        if len(again):
            found = scan(self.metric, queries[again], table.vectors, table.side, table.largest_square, k)
            distances[again], rows[again] = found
        return table.neighbours(distances, rows)

    def _get(self, ids: list[str]) -> Records:
        return self._table.records(ids)

    def _remove(self, ids: list[str]) -> None:
        self._flat.remove_ids(self._table.delete(ids))

    def _pointed(self, vectors: Floats) -> Floats:
        return normalised(vectors) if self.metric == "cosine" else vectors
