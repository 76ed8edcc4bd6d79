"""How items stand in a table of the pgvector back end, and how filters are put to it.

number     bigint: of the insertion
key        bytea: a hash of the id; id, whole: the id itself
point      vector: normalised for cosine, else as it was added
raw        bytea: for cosine the float32 as they were added, little-endian
label, label_whole, metadata (json), thumbnail (bytea)
fields     jsonb: what filters compare
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nearfar.indexing.filters import Filter
from nearfar.indexing.metrics import Metric, normalised
from nearfar.indexing.records import Floats, Records
from nearfar.indexing.served import Candidates, decoded_id, decoded_label, encoded_label, item_of, key_of, loads
from nearfar.indexing.terms import fold, terms_of

__all__ = [
    "COLUMNS",
    "KINDS",
    "WRITTEN",
    "candidates",
    "condition_of",
    "definition",
    "records",
    "shown",
    "vectors_of",
    "written",
]

COLUMNS = "number, id, whole, label, label_whole"
"""What is read of an item first; its vector stands behind."""

WRITTEN = "number, key, id, whole, point, raw, label, label_whole, fields, metadata, thumbnail"
KINDS = ("int8", "bytea", "text", "bool", "bytea", "bytea", "text", "bool", "jsonb", "json", "bytea")
"""The columns of ``written`` and their types; ``point`` goes as the bytes of the type vector."""


def definition(dim: int) -> str:
    """Return the table's columns in SQL for vectors of that length."""
    return (
        f"number bigint PRIMARY KEY, key bytea UNIQUE NOT NULL, id text NOT NULL, whole boolean NOT NULL, "
        f"point vector({int(dim)}) NOT NULL, raw bytea, label text, label_whole boolean NOT NULL, "
        "fields jsonb NOT NULL, metadata json, thumbnail bytea"
    )


def written(rows: Records, first: int, metric: Metric, json_types: Any) -> Iterator[tuple[Any, ...]]:
    """Yield items as they are copied into the table, numbered from ``first``; ``json_types`` is psycopg's module."""
    points = normalised(rows.vectors) if metric == "cosine" else rows.vectors
    head = points.shape[1].to_bytes(2, "big") + b"\0\0"
    wire = points.astype(">f4")
    raw = rows.vectors.astype("<f4") if metric == "cosine" else None
    pictures = rows.thumbnails or [None] * len(rows.ids)
    for row, name in enumerate(rows.ids):
        label, whole = encoded_label(rows.labels[row])
        metadata = json_types.Json(rows.metadata[row], dumps=_dumps) if rows.metadata[row] else None
        point, vector = head + wire[row].tobytes(), None if raw is None else raw[row].tobytes()
        about = (first + row, key_of(name), str(name), isinstance(name, int), point, vector, label, whole)
        yield (*about, json_types.Jsonb(terms_of(item_of(rows, row))), metadata, pictures[row])


def vectors_of(data: Sequence[bytes], dim: int, metric: Metric) -> Floats:
    """Return (N, dim) float32 from the column ``raw`` for cosine, else from the bytes of ``point``."""
    if metric == "cosine":
        return np.frombuffer(b"".join(data), "<f4").reshape(-1, dim).astype(np.float32)
    whole = np.frombuffer(b"".join(data), ">f4").reshape(-1, 1 + dim)  # dim and a spare, two bytes each, stand before
    return whole[:, 1:].astype(np.float32)


def candidates(rows: Sequence[Any], dim: int, metric: Metric) -> Candidates:
    """Return what was found: ``COLUMNS``, the vector, the rough distance, ascending."""
    rough = np.array([row[6] for row in rows], np.float64)
    return Candidates(
        np.array([row[0] for row in rows], np.int64),
        vectors_of([row[5] for row in rows], dim, metric),
        [decoded_id(row[1], row[2]) for row in rows],
        [decoded_label(row[3], row[4]) for row in rows],
        rough**2 if metric in ("euclidean", "sqeuclidean") else rough,
    )


def records(rows: Sequence[Any], dim: int, metric: Metric, thumbnails: bool) -> Records:
    """Return items as they were added: ``COLUMNS``, the vector, metadata, thumbnail."""
    return Records(
        [decoded_id(row[1], row[2]) for row in rows],
        vectors_of([row[5] for row in rows], dim, metric),
        [decoded_label(row[3], row[4]) for row in rows],
        [loads(row[6]) for row in rows],
        [None if row[7] is None else bytes(row[7]) for row in rows] if thumbnails else [],
    )


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def shown(point: Floats) -> str:
    """Return (D,) float32 as the text of a vector."""
    return "[" + ",".join(map(repr, point.tolist())) + "]"


def condition_of(where: Filter | None) -> tuple[str, list[Any]]:
    """Return SQL made of our own words, and the parameters for its ``%s``."""
    if where is None:
        return "true", []

    def leaf(key: str, op: str, texts: list[str]) -> tuple[str, list[Any]]:
        if op == "exists":
            return "fields ? %s", [key]
        if op == "in":
            return "coalesce((fields ->> %s) = ANY(%s), false)", [key, texts]
        return f'coalesce((fields ->> %s) COLLATE "C" {op} %s, false)', [key, texts[0]]

    def joined(word: str, empty: str) -> Any:
        def join(parts: list[tuple[str, list[Any]]]) -> tuple[str, list[Any]]:
            text = f" {word} ".join(f"({one})" for one, _ in parts)
            return (text or empty), [value for _, values in parts for value in values]

        return join

    text, values = fold(
        where,
        leaf=leaf,
        both=joined("AND", "true"),
        either=joined("OR", "false"),
        negate=lambda part: (f"NOT ({part[0]})", part[1]),
    )
    return f"({text})", values
