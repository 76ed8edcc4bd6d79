"""What is looked at: items with their vectors and everything that is known of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.curation import k_means_clusters
from nearfar.errors import DataError, require
from nearfar.exploring.columns import Column
from nearfar.indexing import Id, Index, create

__all__ = ["MOST_ITEMS", "Collection"]

MOST_ITEMS = 1_000_000
MOST_COLUMNS = 64


@dataclass(frozen=True)
class Collection:
    """N items in a fixed order; a page calls them by their numbers.

    Attributes:
        name: for people.
        ids: N ids, as text.
        vectors: (N, D) float32.
        metric: of distances between them.
        fingerprint: of their encoder, if known.
        columns: what is known of every item; ``label`` first where there is one.
        index: finds neighbours among them.
    """

    name: str
    ids: Sequence[str]
    vectors: NDArray[np.float32]
    metric: str
    fingerprint: str | None
    columns: tuple[Column, ...]
    index: Index
    row: dict[str, int] = field(repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    def values(self, row: int) -> dict[str, Any]:
        """Return what is known of one item."""
        return {one.name: _plain(one.raw[row]) for one in self.columns if one.raw[row] is not None}

    def column(self, name: str) -> Column | None:
        """Return a column by its name."""
        return next((one for one in self.columns if one.name == name), None)

    @classmethod
    def of_index(cls, name: str, index: Index) -> Collection:
        """Take in an opened index.

        Raises:
            DataError: when it is empty or holds more than a million items.
        """
        _check(name, index.count)
        parts = list(index.iterate())
        vectors = np.concatenate([part.vectors for part in parts])
        ids = [one for part in parts for one in part.ids]
        labels = [label for part in parts for label in part.labels]
        rows = [row for part in parts for row in part.metadata]
        fields = dict.fromkeys(title for row in rows for title in row)
        known: dict[str, Sequence[Any]] = {title: [row.get(title) for row in rows] for title in fields}
        return cls._made(name, ids, vectors, {"label": labels} | known, index)

    @classmethod
    def of_parquet(cls, path: Path) -> Collection:
        """Read embeddings with all their other columns, and index them in memory by cosine distance.

        Raises:
            DataError: when they cannot be read, or are more than a million.
        """
        from nearfar.data.embeddings import count_rows, read_embeddings, read_info

        _check(str(path), count_rows(path))
        rows, info = read_embeddings(path), read_info(path)
        twice = len(rows.ids) - len(set(rows.ids))
        require(not twice, str(path), "ids", "all different", f"{twice} twice", error=DataError)
        index = create(info.dim, metric="cosine", backend="faiss", fingerprint=info.fingerprint)
        index.add(rows.ids, rows.vectors, rows.labels)
        known: dict[str, Sequence[Any]] = {} if rows.labels is None else {"label": rows.labels}
        return cls._made(path.name, rows.ids, rows.vectors, known | _other_columns(path), index)

    @classmethod
    def _made(
        cls,
        name: str,
        ids: Sequence[Id],
        vectors: NDArray[np.float32],
        known: dict[str, Sequence[Any]],
        index: Index,
    ) -> Collection:
        found = [Column.of(title, raw) for title, raw in list(known.items())[:MOST_COLUMNS]]
        columns = [one for one in found if one is not None]
        if not any(one.name == "cluster" for one in columns) and len(ids) >= 10:
            columns.append(_clusters(vectors))
        names = [str(one) for one in ids]
        place = {one: row for row, one in enumerate(names)}
        return cls(name, names, vectors, index.metric, index.fingerprint, tuple(columns), index, place)


def _check(name: str, count: int) -> None:
    must, fix = f"1 to {MOST_ITEMS:,}", "take a sample of the rows"
    require(1 <= count <= MOST_ITEMS, name, "number of items", must, f"{count:,}", fix, error=DataError)


def _other_columns(path: Path) -> dict[str, Sequence[Any]]:
    """Return the columns of a file that are neither ids, vectors nor labels, and hold one value a row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    wanted = []
    for column in file.schema_arrow:
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        simple = (
            pa.types.is_string(kind)
            or pa.types.is_large_string(kind)
            or pa.types.is_integer(kind)
            or pa.types.is_floating(kind)
            or pa.types.is_boolean(kind)
        )
        numbered = column.name.startswith("f") and column.name[1:].isdigit()
        if simple and not numbered and column.name not in ("id", "label"):
            wanted.append(column.name)
    table = file.read(columns=wanted[:MOST_COLUMNS])
    return {name: table[name].to_pylist() for name in wanted[:MOST_COLUMNS]}


def _clusters(vectors: NDArray[np.float32]) -> Column:
    """Return the clusters that `nearfar.cluster` finds, numbered by their size."""
    count = int(np.clip(round(np.sqrt(len(vectors) / 20)), 2, 20))
    found = k_means_clusters(vectors, clusters=count).labels
    names = tuple(f"cluster {number}" for number in range(count))
    return Column("cluster", "class", found.astype(np.int16), names, [names[number] for number in found])


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
