"""A first look at data, which tells modalities apart: kinds of files, names of columns, shapes; no item is read."""

from __future__ import annotations

import csv
import itertools
import os
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

__all__ = ["ArrayFact", "Glance", "glance"]

_FILES = 200
"""How many files of a folder are looked at."""

_LINE = 1 << 20
"""The longest first lines of a CSV that are read, in characters."""


class ArrayFact(NamedTuple):
    """What an array is, without its numbers.

    Attributes:
        shape: its axes.
        dtype: its type; objects are ``O``.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class Glance(NamedTuple):
    """What can be seen of data without reading it.

    Attributes:
        data: what was given.
        kind: ``"folder"``, ``"file"``, ``"url"``, ``"array"``, ``"object"`` or ``"missing"`` (a path to nothing).
        suffixes: endings in lower case, most frequent first: of the file, or of the first 200 files of a folder and the
            folders in it.
        columns: of a CSV, TSV or Parquet file, of a mapping of columns, and of a data frame.
        first: the first row of a CSV, TSV or Parquet file, as text.
        arrays: of an array, ``.npy`` and ``.npz``: name to shape and type; the name is ``""`` for a single one.
    """

    data: Any
    kind: Literal["folder", "file", "url", "array", "object", "missing"]
    suffixes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    first: Mapping[str, str] = {}
    arrays: Mapping[str, ArrayFact] = {}

    @property
    def suffix(self) -> str:
        """The most frequent ending, ``""`` when there is none."""
        return self.suffixes[0] if self.suffixes else ""

    def path_suffix(self, column: str = "path") -> str:
        """Return the ending of the path in the first row of a manifest, in lower case; ``""`` when there is none."""
        return Path(self.first.get(column, "")).suffix.lower()


def glance(data: Any) -> Glance:
    """Look at data of any sort; what cannot be opened is not an error here, but its reader's."""
    if isinstance(data, str) and "://" in data:
        return Glance(data, "url", (Path(data).suffix.lower(),))
    if isinstance(data, str | os.PathLike):
        return _path(data)
    if isinstance(data, np.ndarray):
        return Glance(data, "array", arrays={"": ArrayFact(data.shape, data.dtype)})
    columns = data.keys() if isinstance(data, Mapping) else getattr(data, "columns", ())
    return Glance(data, "object", columns=tuple(str(name) for name in columns) if _iterable(columns) else ())


def _path(data: Any) -> Glance:
    path = Path(data)
    try:
        if path.is_dir():
            return Glance(data, "folder", _suffixes(path))
        if not path.is_file():
            return Glance(data, "missing")
        suffix = path.suffix.lower()
        columns, first = _table(path, suffix)
        return Glance(data, "file", (suffix,), columns, first, _arrays(path, suffix))
    except OSError:
        return Glance(data, "missing")


def _suffixes(path: Path) -> tuple[str, ...]:
    walk = (Path(name).suffix.lower() for _, _, names in os.walk(path) for name in sorted(names) if name[0] != ".")
    return tuple(suffix for suffix, _ in Counter(itertools.islice(walk, _FILES)).most_common() if suffix)


def _table(path: Path, suffix: str) -> tuple[tuple[str, ...], dict[str, str]]:
    try:
        if suffix in (".csv", ".tsv"):
            with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
                lines = (file.readline(_LINE) for _ in range(2))
                rows = list(csv.reader(lines, delimiter="\t" if suffix == ".tsv" else ","))
            columns = tuple(rows[0]) if rows else ()
            return columns, dict(zip(columns, rows[1], strict=False)) if len(rows) > 1 else {}
        if suffix == ".parquet":
            return _parquet(path)
    except (OSError, csv.Error, ValueError):
        pass
    return (), {}


def _parquet(path: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    import pyarrow
    import pyarrow.parquet

    try:
        schema = pyarrow.parquet.read_schema(path)
        names = tuple(schema.names)
        texts = [name for name in names if pyarrow.types.is_string(schema.field(name).type)]
        with pyarrow.parquet.ParquetFile(path) as file:
            batch = next(iter(file.iter_batches(batch_size=1, columns=texts)), None) if texts else None
    except pyarrow.ArrowException as error:
        raise ValueError(str(error)) from None
    first = {} if batch is None or not len(batch) else {key: str(value[0]) for key, value in batch.to_pydict().items()}
    return names, first


def _arrays(path: Path, suffix: str) -> dict[str, ArrayFact]:
    try:
        if suffix == ".npy":
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            return {"": ArrayFact(array.shape, array.dtype)}
        if suffix == ".npz":
            with zipfile.ZipFile(path) as file:
                return {name.removesuffix(".npy"): _header(file, name) for name in file.namelist()}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError):
        pass
    return {}


def _header(file: zipfile.ZipFile, name: str) -> ArrayFact:
    with file.open(name) as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(member)
        return ArrayFact(tuple(shape), dtype)


def _iterable(value: Any) -> bool:
    return hasattr(value, "__iter__") and not isinstance(value, str)
