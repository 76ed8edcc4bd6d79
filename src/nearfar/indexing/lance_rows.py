"""How items stand in a table of the Lance back end, and the way between them and Arrow.

number     int64, of the insertion, ascending: the order of equal distances
id         text; whole tells whether it stands for a whole number
vector     D float32, as they were added
label      text, or label_number
metadata   JSON text
thumbnail  an encoded picture
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.indexing.records import Id, Label, Records

__all__ = ["WITHOUT_PICTURES", "from_arrow", "names_of", "schema", "to_arrow"]

WITHOUT_PICTURES = ("number", "id", "whole", "vector", "label", "label_number", "metadata")
"""The columns that an index in memory is made from."""


def schema(dim: int) -> Any:
    """Return the table's ``pyarrow.Schema`` for vectors of that length."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("number", pa.int64(), nullable=False),
            pa.field("id", pa.string(), nullable=False),
            pa.field("whole", pa.bool_(), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), dim), nullable=False),
            pa.field("label", pa.string()),
            pa.field("label_number", pa.int64()),
            pa.field("metadata", pa.string()),
            pa.field("thumbnail", pa.binary()),
        ]
    )


def to_arrow(rows: Records, stamps: NDArray[np.int64]) -> Any:
    """Return items as a ``pyarrow.Table``; ``stamps`` are their numbers of insertion."""
    import pyarrow as pa

    dim = rows.vectors.shape[1]
    text = [None if label is None or isinstance(label, int) else label for label in rows.labels]
    numbers = [label if isinstance(label, int) else None for label in rows.labels]
    metadata = [json.dumps(item, ensure_ascii=False) if item else None for item in rows.metadata]
    columns = [
        pa.array(stamps),
        pa.array([str(name) for name in rows.ids], pa.string()),
        pa.array([isinstance(name, int) for name in rows.ids], pa.bool_()),
        pa.FixedSizeListArray.from_arrays(pa.array(rows.vectors.reshape(-1)), dim),
        pa.array(text, pa.string()),
        pa.array(numbers, pa.int64()),
        pa.array(metadata, pa.string()),
        pa.array(rows.thumbnails or [None] * len(rows.ids), pa.binary()),
    ]
    return pa.Table.from_arrays(columns, schema=schema(dim))


def from_arrow(batch: Any) -> tuple[Records, NDArray[np.int64]]:
    """Return the items of a record batch of `WITHOUT_PICTURES`, and their numbers of insertion."""
    ids, labels = names_of(batch)
    metadata = [json.loads(item) if item else {} for item in batch["metadata"].to_pylist()]
    dim = batch["vector"].type.list_size
    vectors = batch["vector"].flatten().to_numpy(zero_copy_only=False).reshape(len(batch), dim)
    return Records(ids, vectors, labels, metadata, []), batch["number"].to_numpy()


def names_of(batch: Any) -> tuple[list[Id], list[Label]]:
    """Return ids and labels of a record batch; ids are whole numbers for all rows of a table or for none."""
    ids: list[Id] = batch["id"].to_pylist()
    if len(batch) and batch["whole"][0].as_py():
        ids = [int(name) for name in ids]
    text, number = batch["label"].to_pylist(), batch["label_number"].to_pylist()
    return ids, [a if a is not None else b for a, b in zip(text, number, strict=True)]
