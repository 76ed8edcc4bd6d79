"""How items stand in a collection of the Milvus back end, and how filters are put to it.

    key        a hash of the id, in hexadecimal: the primary key, so that an id is there once
    number     int64: of the insertion; id, whole: the id itself
    vector     as it was added
    label, label_whole, metadata (JSON text), thumbnail (base64)
    fields     JSON: what filters compare (``terms`` says in what form)

Expressions for Milvus hold nothing but hexadecimal digits of our own making, so nothing in an id or a filter can change
what they mean.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from nearfar.errors import InputError, sentence
from nearfar.indexing.filters import Filter
from nearfar.indexing.records import Floats, Id, Records
from nearfar.indexing.served import Candidates, decoded_id, decoded_label, encoded_label, item_of, key_of, loads
from nearfar.indexing.terms import fold, terms_of

__all__ = [
    "FIELDS",
    "candidates",
    "check_thumbnails_fit",
    "condition_of",
    "id_of",
    "records",
    "row_of",
    "schema",
    "vectors_of",
]

FIELDS = ("key", "number", "id", "whole", "vector", "label", "label_whole", "metadata")
"""The fields that an item is made from, but for its thumbnail."""

THUMBNAIL = 49_000
"""The largest thumbnail in bytes: Milvus holds 65,535 characters of base64."""


def schema(milvus: Any, dim: int) -> Any:
    """Return the collection's schema for vectors of that length."""
    kind = milvus.DataType
    made = milvus.MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    made.add_field("key", kind.VARCHAR, is_primary=True, max_length=64)
    made.add_field("number", kind.INT64)
    made.add_field("id", kind.VARCHAR, max_length=65_535)
    made.add_field("whole", kind.BOOL)
    made.add_field("vector", kind.FLOAT_VECTOR, dim=dim)
    made.add_field("label", kind.VARCHAR, max_length=65_535, nullable=True)
    made.add_field("label_whole", kind.BOOL)
    made.add_field("fields", kind.JSON)
    made.add_field("metadata", kind.VARCHAR, max_length=65_535, nullable=True)
    made.add_field("thumbnail", kind.VARCHAR, max_length=65_535, nullable=True)
    return made


def check_thumbnails_fit(rows: Records) -> None:
    """Refuse thumbnails that are too large for a field.

    Raises:
        InputError: naming the row.
    """
    for row, picture in enumerate(rows.thumbnails):
        if picture is not None and len(picture) > THUMBNAIL:
            must = f"at most {THUMBNAIL} bytes in Milvus"
            raise InputError(sentence("index add", "thumbnails", must, f"{len(picture)} in row {row}"))


def row_of(rows: Records, row: int, number: int) -> dict[str, Any]:
    """Return one item as the client takes it, under a number of insertion."""
    name, (label, label_whole) = rows.ids[row], encoded_label(rows.labels[row])
    picture = rows.thumbnails[row] if rows.thumbnails else None
    return {
        "key": key_of(name).hex(),
        "number": number,
        "id": str(name),
        "whole": isinstance(name, int),
        "vector": rows.vectors[row],
        "label": label,
        "label_whole": label_whole,
        "fields": terms_of(item_of(rows, row)),
        "metadata": json.dumps(rows.metadata[row], ensure_ascii=False) if rows.metadata[row] else None,
        "thumbnail": None if picture is None else base64.b64encode(picture).decode(),
    }


def id_of(row: Any) -> Id:
    """Return the id of a row that came back."""
    return decoded_id(row["id"], row["whole"])


def vectors_of(rows: Sequence[Any], dim: int) -> Floats:
    """Return (N, dim) float32."""
    return np.array([row["vector"] for row in rows], np.float32).reshape(len(rows), dim)


def candidates(rows: list[Any], rough: list[float], dim: int) -> Candidates:
    """Return what was found, with rough distances, ascending."""
    numbers = np.array([row["number"] for row in rows], np.int64)
    labels = [decoded_label(row["label"], row["label_whole"]) for row in rows]
    order = np.array(rough, np.float64)
    return Candidates(numbers, vectors_of(rows, dim), [id_of(row) for row in rows], labels, order)


def records(rows: list[Any], dim: int, thumbnails: bool) -> Records:
    """Return items as they were added."""
    pictures = (
        [None if row["thumbnail"] is None else base64.b64decode(row["thumbnail"]) for row in rows] if thumbnails else []
    )
    labels = [decoded_label(row["label"], row["label_whole"]) for row in rows]
    return Records(
        [id_of(row) for row in rows],
        vectors_of(rows, dim),
        labels,
        [loads(row["metadata"]) for row in rows],
        pictures,
    )


def condition_of(where: Filter | None) -> str:
    """Return an expression of our own words and hexadecimal digits."""
    if where is None:
        return ""

    def leaf(key: str, op: str, texts: list[str]) -> str:
        field = f'fields["{key}"]'
        if op == "exists":
            return f"exists {field}"
        sign = "==" if op in ("=", "in") else op
        return f"exists {field} and (" + " or ".join(f'{field} {sign} "{text}"' for text in texts) + ")"

    return fold(
        where,
        leaf=leaf,
        both=lambda parts: " and ".join(f"({part})" for part in parts) or 'key != ""',
        either=lambda parts: " or ".join(f"({part})" for part in parts) or 'key == ""',
        negate=lambda part: f"not ({part})",
    )
