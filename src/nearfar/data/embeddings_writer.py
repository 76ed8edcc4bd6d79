"""Writing a file of embeddings in a stream that a kill interrupts but does not undo."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nearfar._version import __version__
from nearfar.data.embeddings import FORMAT, KEY, Embeddings, EmbeddingsInfo, Label, first_bad_row
from nearfar.errors import InputError, RunError, require
from nearfar.files import atomic_path, write_atomic

__all__ = ["EmbeddingsWriter"]

PART_ROWS = 8192
"""Rows per part file and row group: what a kill can cost."""

HEADER = "info.json"


class EmbeddingsWriter:
    """Write a file of embeddings row by row; a kill at any moment leaves the finished file or a resumable partial one.

    Rows gather in part files inside the hidden folder ``.NAME.partial`` beside the target; ``finish`` joins them under
    the target's name at once and removes the folder. A new writer with the same
    ``info`` goes on where the parts end::

        with EmbeddingsWriter("emb.parquet", EmbeddingsInfo(dim=128, fingerprint=...)) as writer:
            for ids, vectors, labels in batches(start=writer.done):
                writer.write(ids, vectors, labels)

    Leaving the block well finishes the file; leaving it by an exception keeps the parts for the next attempt.

    Args:
        path: the target.
        info: what the file says about itself.
        overwrite: replace a finished target, and start anew instead of resuming.

    Attributes:
        done: how many rows are already safe in parts; the caller skips so many.
        done_ids: their ids, to check that the data are still the same.

    Raises:
        RunError: when the target exists (and not ``overwrite``), or the parts belong to another encoder or version.
    """

    def __init__(self, path: Path | str, info: EmbeddingsInfo, *, overwrite: bool = False) -> None:
        self.path = Path(path)
        self.info = info
        self._parts = self.path.with_name(f".{self.path.name}.partial")
        self._ids: list[str] = []
        self._vectors: list[NDArray[np.float32]] = []
        self._labels: list[Label] = []
        if self.path.exists() and not overwrite:
            raise RunError(f"{self.path}: already exists; choose another name, or overwrite it")
        if overwrite:
            self._discard()
        self.done_ids = self._resume()
        self._next = len(self._part_files())

    @property
    def done(self) -> int:
        """Rows that were already safe when this writer was made."""
        return len(self.done_ids)

    def write(self, ids: Sequence[str], vectors: ArrayLike, labels: Sequence[Label] | None = None) -> None:
        """Append N rows.

        Args:
            ids: N ids.
            vectors: (N, D) real numbers; kept as float32.
            labels: N labels, all text or all whole numbers, ``None`` where unknown.

        Raises:
            InputError: on a wrong shape, a value that is not finite, or labels of two kinds.
            RunError: when the file system refuses.
        """
        who = f"embeddings for {self.path.name}"
        array = np.asarray(vectors)
        require(array.dtype.kind in "fiu", who, "dtype", "a real number's", array.dtype)
        require(array.ndim == 2 and array.shape[1] == self.info.dim, who, "shape", f"(N, {self.info.dim})", array.shape)
        require(all(isinstance(name, str) for name in ids), who, "ids", "text", "another kind")
        values: list[Label] = [None] * len(array) if labels is None else [_label(who, value) for value in labels]
        require(len(ids) == len(array), who, "ids", f"as many as rows, {len(array)}", len(ids))
        require(len(values) == len(array), who, "labels", f"as many as rows, {len(array)}", len(values))
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
        bad = first_bad_row(array)
        require(bad is None, who, "values", "finite", f"NaN or infinity in row {ids[bad or 0]!r}")
        self._ids += ids
        self._vectors.append(array)
        self._labels += values
        if len(self._ids) >= PART_ROWS:
            self._flush()

    def finish(self) -> None:
        """Join the parts under the target's name and remove them.

        Raises:
            RunError: when the file system refuses; the parts are then kept.
        """
        import pyarrow.parquet as pq

        self._flush()
        files = self._part_files()
        schema = _schema(self.info, self._label_type(files))
        with atomic_path(self.path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
            for file in files:
                writer.write_table(_cast(pq.read_table(file), schema))
        self._discard()

    def __enter__(self) -> EmbeddingsWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()

    def _resume(self) -> list[str]:
        header = self._parts / HEADER
        mine = {"format": FORMAT, **asdict(self.info)}
        if header.exists() and self._part_files():
            found, ids = self._read_parts(header)
            must, fix = f"of {self._brief(mine)}", "overwrite them, or choose another name"
            got = self._brief(found)
            require(found == mine, str(self._parts), "unfinished embeddings", must, got, fix, error=RunError)
            return ids
        self._discard()  # parts without their description are of nobody knows what
        try:
            self._parts.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{self._parts}: cannot be made ({error.strerror}); choose another place") from None
        write_atomic(header, json.dumps(mine))
        return []

    def _read_parts(self, header: Path) -> tuple[dict[str, Any], list[str]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            found = json.loads(header.read_text(encoding="utf-8"))
            tables = [pq.read_table(file, columns=["id"]) for file in self._part_files()]
        except (OSError, ValueError, pa.ArrowException) as error:
            raise RunError(f"{self._parts}: cannot be continued ({error}); overwrite it") from None
        return dict(found), [name for table in tables for name in table["id"].to_pylist()]

    @staticmethod
    def _brief(info: dict[str, Any]) -> str:
        return ", ".join(f"{name} {info[name]!r}" for name in ("fingerprint", "dim", "view", "source") if name in info)

    def _discard(self) -> None:
        (self._parts / HEADER).unlink(missing_ok=True)  # first, so that what a kill leaves is not taken for whole
        shutil.rmtree(self._parts, ignore_errors=True)

    def _part_files(self) -> list[Path]:
        return sorted(file for file in self._parts.iterdir() if re.fullmatch(r"\d{6}\.parquet", file.name))

    def _flush(self) -> None:
        import pyarrow.parquet as pq

        if not self._ids:
            return
        table = _table(Embeddings(self._ids, np.concatenate(self._vectors), self._labels), self.info)
        with atomic_path(self._parts / f"{self._next:06d}.parquet") as temporary:
            pq.write_table(table, temporary)
        self._next += 1
        self._ids, self._vectors, self._labels = [], [], []

    def _label_type(self, files: Sequence[Path]) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        kinds = {pq.read_schema(file).field("label").type for file in files} - {pa.null()}
        if len(kinds) > 1:
            raise InputError(f"embeddings for {self.path.name}: labels must be all text or all whole numbers, got both")
        return kinds.pop() if kinds else pa.null()


def _label(who: str, value: object) -> Label:
    if value is None or isinstance(value, str):
        return value
    ok = isinstance(value, int | np.integer) and not isinstance(value, bool)
    require(ok, who, "labels", "text, whole numbers or None", repr(value))
    return int(value)  # type: ignore[call-overload,no-any-return]


def _schema(info: EmbeddingsInfo, label_type: Any) -> Any:
    import pyarrow as pa

    fields = [pa.field("id", pa.string()), pa.field("embedding", pa.list_(pa.float32(), info.dim))]
    if label_type != pa.null():
        fields.append(pa.field("label", label_type))
    text = json.dumps({"format": FORMAT, "nearfar": __version__, **asdict(info)})
    return pa.schema(fields, metadata={KEY: text.encode()})


def _table(rows: Embeddings, info: EmbeddingsInfo) -> Any:
    import pyarrow as pa

    labels = rows.labels or []
    try:
        column = pa.array(labels)
    except pa.ArrowException:
        raise InputError("embeddings: labels must be all text or all whole numbers, got both") from None
    flat = pa.FixedSizeListArray.from_arrays(pa.array(rows.vectors.reshape(-1)), info.dim)
    return pa.table({"id": pa.array(rows.ids, pa.string()), "embedding": flat, "label": column})


def _cast(table: Any, schema: Any) -> Any:
    return table.select(schema.names).cast(schema)
