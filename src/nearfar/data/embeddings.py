"""Embeddings in a Parquet file: what it holds, and reading it, whoever made it.

    id          text
    embedding   fixed-size list of D float32
    label       text or int64, null where unknown; the column may be absent

The schema's metadata has one entry, ``nearfar``: JSON with the format's version, the encoder's fingerprint, whether the
rows are normalised, and who wrote it. ``embeddings_writer`` writes such files.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import DataError, require

__all__ = [
    "FORMAT",
    "KEY",
    "Embeddings",
    "EmbeddingsInfo",
    "Label",
    "count_rows",
    "embeddings_layout",
    "first_bad_row",
    "iterate_embeddings",
    "read_embeddings",
    "read_info",
]

Label: TypeAlias = str | int | None

FORMAT = 1
"""The version of the format; a file of a later one is refused."""

KEY = b"nearfar"
"""Of the schema's metadata."""


@dataclass(frozen=True)
class EmbeddingsInfo:
    """What a file of embeddings says about itself.

    Attributes:
        dim: the length of an embedding.
        fingerprint: of the encoder, if known.
        normalised: whether every row has norm 1.
        view: how the items were shown to the encoder.
        source: which run or encoder and which data, in words.
    """

    dim: int
    fingerprint: str | None = None
    normalised: bool = False
    view: str = ""
    source: str = ""


class Embeddings(NamedTuple):
    """N rows.

    Attributes:
        ids: N ids.
        vectors: (N, D) float32, all finite.
        labels: N labels, ``None`` where unknown; or ``None`` when the file has no labels.
    """

    ids: list[str]
    vectors: NDArray[np.float32]
    labels: list[Label] | None


def read_info(path: Path | str) -> EmbeddingsInfo:
    """Return what a file says about itself; of a foreign file, its width alone.

    Raises:
        DataError: when it cannot be read as embeddings.
    """
    with _open(Path(path)) as file:
        return _Layout.of(Path(path), file).info


def count_rows(path: Path | str) -> int:
    """Return how many rows a file has, without reading them.

    Raises:
        DataError: when it cannot be read as Parquet.
    """
    with _open(Path(path)) as file:
        return int(file.metadata.num_rows)


def read_embeddings(path: Path | str) -> Embeddings:
    """Read a whole file; see ``iterate_embeddings``.

    Raises:
        DataError: when it cannot be read as embeddings, or has no rows.
    """
    parts = list(iterate_embeddings(path))
    require(bool(parts), str(path), "file", "of one row or more", "an empty one", error=DataError)
    ids = [name for part in parts for name in part.ids]
    has_labels = parts[0].labels is not None
    labels = [label for part in parts for label in part.labels or []] if has_labels else None
    return Embeddings(ids, np.concatenate([part.vectors for part in parts]), labels)


def iterate_embeddings(path: Path | str, batch_size: int = 65_536) -> Iterator[Embeddings]:
    """Read a file in batches of at most ``batch_size`` rows, in order and in constant memory.

    Files made elsewhere are read as well: the vectors may be a list or fixed-size list of numbers in ``embedding`` (or
    ``vector``, ``embeddings``, or the only list column), or columns f0, f1, ... of numbers; the ids may be whole
    numbers, or absent (then the row's number); the labels may be absent.

    Raises:
        DataError: on another layout, rows of different lengths, or a value that is missing or not finite (the first
            such row is named).
    """
    import pyarrow as pa

    with _open(Path(path)) as file:
        layout = _Layout.of(Path(path), file)
        start = 0
        try:
            for batch in file.iter_batches(batch_size=batch_size, columns=layout.columns):
                if len(batch):
                    yield layout.rows(batch, start)
                start += len(batch)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path}: is damaged ({_first_line(error)}); make it again") from None


@contextlib.contextmanager
def embeddings_layout(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a file and say where it keeps what: for readers of further columns.

    Raises:
        DataError: when it cannot be read as embeddings.
    """
    with _open(path) as file:
        yield file, _Layout.of(path, file)


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except FileNotFoundError:
        raise DataError(f"{path}: does not exist; give a Parquet file of embeddings") from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read as Parquet ({_first_line(error)})") from None
    with file:
        yield file


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def first_bad_row(vectors: NDArray[np.float32]) -> int | None:
    """Return the first row of (N, D) with a value that is not finite."""
    fine = np.isfinite(vectors).all(axis=1)
    return None if fine.all() else int(np.argmin(fine))


@dataclass(frozen=True)
class _Layout:
    """Where a file keeps what."""

    path: Path
    info: EmbeddingsInfo
    id_column: str | None
    vector_columns: tuple[str, ...]
    is_list: bool
    label_column: str | None

    @property
    def columns(self) -> list[str]:
        return [name for name in (self.id_column, *self.vector_columns, self.label_column) if name is not None]

    @classmethod
    def of(cls, path: Path, file: Any) -> _Layout:
        import pyarrow as pa

        schema = file.schema_arrow
        kinds = {field.name: field.type for field in schema}
        lists = [name for name, kind in kinds.items() if _is_list(kind)]
        named = [name for name in ("embedding", "embeddings", "vector") if name in lists]
        found = (named or lists)[:1] if named or len(lists) == 1 else []
        numbered = sorted((n for n in kinds if re.fullmatch(r"f\d+", n)), key=lambda name: int(name[1:]))
        columns = tuple(found or numbered)
        complete = bool(found) or numbered == [f"f{i}" for i in range(len(numbered))]
        must = "with a list column 'embedding' or columns f0, f1, ... of numbers"
        ok = bool(columns) and complete and (bool(found) or all(_is_number(kinds[n]) for n in numbered))
        require(ok, str(path), "file", must, f"columns {', '.join(kinds)[:200]}", error=DataError)
        id_column = "id" if "id" in kinds else None
        text = id_column is None or pa.types.is_integer(kinds["id"]) or _is_text(kinds["id"])
        require(text, str(path), "column 'id'", "text or whole numbers", kinds.get("id"), error=DataError)
        label = "label" if "label" in kinds and not pa.types.is_null(kinds["label"]) else None
        fine = label is None or pa.types.is_integer(kinds["label"]) or _is_text(kinds["label"])
        require(fine, str(path), "column 'label'", "text or whole numbers", kinds.get("label"), error=DataError)
        info = _info(path, schema.metadata, _width(path, file, columns[0]) if found else len(columns))
        return cls(path, info, id_column, columns, bool(found), label)

    def rows(self, batch: Any, start: int) -> Embeddings:
        ids = [str(start + row) for row in range(len(batch))]
        if self.id_column is not None:
            missing = batch[self.id_column].null_count
            require(not missing, str(self.path), "column 'id'", "without gaps", f"{missing} nulls", error=DataError)
            ids = [str(value) for value in batch[self.id_column].to_pylist()]
        vectors = self._list_rows(batch, start) if self.is_list else self._column_rows(batch)
        bad = first_bad_row(vectors)
        got = f"NaN, infinity or nothing in row {start + (bad or 0)} (id {ids[bad or 0]!r})"
        require(bad is None, str(self.path), "values", "finite", got, error=DataError)
        labels = None if self.label_column is None else batch[self.label_column].to_pylist()
        return Embeddings(ids, vectors, labels)

    def _column_rows(self, batch: Any) -> NDArray[np.float32]:
        columns = [batch[name].to_numpy(zero_copy_only=False) for name in self.vector_columns]
        return _float32(np.stack(columns, axis=1))

    def _list_rows(self, batch: Any, start: int) -> NDArray[np.float32]:
        import pyarrow.compute as pc

        column = batch[self.vector_columns[0]]
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
        wrong = np.flatnonzero(lengths != self.info.dim)
        if len(wrong):
            row, must = int(wrong[0]), f"of {self.info.dim} numbers, like the first"
            got = f"{int(lengths[row])} in row {start + row}"
            raise DataError(f"{self.path}: every embedding must be {must}, got {got}")
        values = column.flatten().to_numpy(zero_copy_only=False)
        return _float32(values).reshape(len(batch), self.info.dim)


def _float32(values: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is named as such
        return np.ascontiguousarray(values, dtype=np.float32)


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(is_list and _is_number(kind.value_type))


def _width(path: Path, file: Any, column: str) -> int:
    import pyarrow as pa

    kind = file.schema_arrow.field(column).type
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size)
    first = next((batch[column] for batch in file.iter_batches(batch_size=1, columns=[column])), None)
    width = 0 if first is None or not len(first) or not first[0].is_valid else len(first[0])
    require(width > 0, str(path), "first embedding", "of one number or more", "nothing", error=DataError)
    return width


def _info(path: Path, metadata: dict[bytes, bytes] | None, width: int) -> EmbeddingsInfo:
    if not metadata or KEY not in metadata:
        return EmbeddingsInfo(width)
    try:
        said = json.loads(metadata[KEY])
        newer = said["format"] > FORMAT
        info = EmbeddingsInfo(
            width, said["fingerprint"], bool(said["normalised"]), str(said["view"]), str(said["source"])
        )
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{path}: its metadata is not that of an embeddings file; make it again") from None
    must, got = f"<= {FORMAT}", said["format"]
    require(not newer, str(path), "format", must, got, "install a newer nearfar", error=DataError)
    return info
