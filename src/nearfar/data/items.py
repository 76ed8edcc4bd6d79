"""Reading whole items from a Parquet file: embeddings and whatever else its columns hold."""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from nearfar.data.embeddings import Embeddings, embeddings_layout
from nearfar.errors import DataError

__all__ = ["Items", "iterate_items", "metadata_columns"]

THUMBNAIL = "thumbnail"


class Items(NamedTuple):
    """N rows.

    Attributes:
        rows: ids, vectors and labels.
        metadata: N mappings from the other columns' names to their values; those empty in a row are left out.
        thumbnails: N encoded pictures from a binary column ``thumbnail``, or ``None`` where there is none.
    """

    rows: Embeddings
    metadata: list[dict[str, Any]]
    thumbnails: list[bytes | None]


def metadata_columns(path: Path | str) -> tuple[list[str], list[str]]:
    """Return the names of the columns that become metadata, and of those that cannot (binary ones).

    Raises:
        DataError: when the file cannot be read as embeddings.
    """
    with embeddings_layout(Path(path)) as (file, layout):
        return _others(file.schema_arrow, set(layout.columns))


def iterate_items(path: Path | str, batch_size: int = 8192, *, start: int = 0) -> Iterator[Items]:
    """Read a file in batches of at most ``batch_size`` rows, in order and in constant memory.

    Columns beside id, embedding and label become metadata: text, numbers, booleans, lists and structs as they are;
    dates and times as ISO text,
    decimals as floats, numbers that are not finite are left out; binary columns are left out.

    Args:
        path: see ``iterate_embeddings``.
        batch_size: rows of a batch.
        start: how many rows to pass over.

    Raises:
        DataError: see ``iterate_embeddings``.
    """
    import pyarrow as pa

    with embeddings_layout(Path(path)) as (file, layout):
        kept, _ = _others(file.schema_arrow, set(layout.columns))
        binary = pa.types.is_binary(_kind(file.schema_arrow, THUMBNAIL)) or pa.types.is_large_binary(
            _kind(file.schema_arrow, THUMBNAIL)
        )
        pictures = [THUMBNAIL] if binary else []
        groups, before = _groups_from(file.metadata, start)
        seen = before
        try:
            columns = [*layout.columns, *kept, *pictures]
            for batch in file.iter_batches(batch_size=batch_size, columns=columns, row_groups=groups):
                first, seen = seen, seen + len(batch)
                if seen <= start or not len(batch):
                    continue
                skip = max(0, start - first)
                part = batch.slice(skip)
                rows = layout.rows(part, first + skip)
                found = [part[THUMBNAIL].to_pylist()] if pictures else []
                yield Items(rows, _metadata(part, kept), found[0] if found else [None] * len(part))
        except (pa.ArrowException, OSError) as error:
            brief = (str(error).splitlines() or [type(error).__name__])[0]
            raise DataError(f"{path}: is damaged ({brief}); make it again") from None


def _groups_from(metadata: Any, start: int) -> tuple[list[int], int]:
    """Return the row groups from the one that holds row ``start`` on, and how many rows stand before them."""
    before = 0
    for group in range(metadata.num_row_groups):
        size = metadata.row_group(group).num_rows
        if before + size > start:
            return list(range(group, metadata.num_row_groups)), before
        before += size
    return [], before


def _kind(schema: Any, name: str) -> Any:
    import pyarrow as pa

    return schema.field(name).type if name in schema.names else pa.null()


def _others(schema: Any, taken: set[str]) -> tuple[list[str], list[str]]:
    import pyarrow as pa

    kept: list[str] = []
    left: list[str] = []
    for field in schema:
        if field.name in taken or field.name in ("id", "label", THUMBNAIL) or pa.types.is_null(field.type):
            continue
        binary = pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type)
        (left if binary or pa.types.is_fixed_size_binary(field.type) else kept).append(field.name)
    return kept, left


def _metadata(batch: Any, names: list[str]) -> list[dict[str, Any]]:
    columns = {name: [_plain(value) for value in batch[name].to_pylist()] for name in names}
    return [
        {name: column[row] for name, column in columns.items() if column[row] is not None} for row in range(len(batch))
    ]


def _plain(value: Any) -> Any:
    plain: Any = value
    if isinstance(value, float | decimal.Decimal):
        plain = float(value) if math.isfinite(value) else None
    elif isinstance(value, datetime.date | datetime.time):
        plain = value.isoformat()
    elif isinstance(value, datetime.timedelta):
        plain = value.total_seconds()
    elif isinstance(value, int) and abs(value) > 2**53:
        plain = str(value)  # beyond what JSON keeps exactly
    elif isinstance(value, list):
        plain = [_plain(one) for one in value]
    elif isinstance(value, dict):
        plain = {str(name): _plain(one) for name, one in value.items()}
    return None if isinstance(plain, bytes) else plain
