"""CSV and Parquet manifests: one image file a row, perhaps with a label and a split."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nearfar.data.folder import Row, split_name
from nearfar.errors import DataError, nearest, require

__all__ = ["MANIFESTS", "parquet_columns", "read_manifest"]

MANIFESTS = frozenset({".csv", ".tsv", ".parquet"})
"""The endings of manifests, in lower case."""

_COLUMNS = ("path", "label", "split")


def read_manifest(manifest: Path) -> list[Row]:
    """Read a manifest.

    Columns: ``path`` (relative to the manifest's folder, or absolute), ``label`` (optional; empty is unknown) and
    ``split`` (optional; a row without one belongs to no split); others are ignored. The id of a row is its path as
    written, with forward slashes. The order is kept.

    Raises:
        DataError: when the manifest cannot be read, has no column ``path`` or no row, or a path is empty, stands twice
            or does not exist; the row is counted from 1, without the header.
    """
    columns = _read_parquet(manifest) if manifest.suffix.lower() == ".parquet" else _read_csv(manifest)
    paths = columns["path"]
    require(len(paths) > 0, str(manifest), "the number of rows", ">= 1", 0, error=DataError)
    labels, splits = columns.get("label"), columns.get("split")
    rows: list[Row] = []
    seen: set[str] = set()
    for number, raw in enumerate(paths):
        text = "" if raw is None else str(raw).strip()
        who = f"{manifest}: row {number + 1}"
        require(text != "", who, "path", "given", "nothing", error=DataError)
        name = text.replace("\\", "/") if os.sep == "\\" else text
        require(name not in seen, who, "path", "in one row only", repr(name), error=DataError)
        seen.add(name)
        full = manifest.parent / text
        require(full.is_file(), who, "path", "an existing file", repr(text), error=DataError)
        split = "" if splits is None or splits[number] is None else str(splits[number]).strip()
        label = None if labels is None else labels[number]
        rows.append(Row(name, str(full), label, (split_name(split) or split) if split else None))
    return rows


def _read_csv(manifest: Path) -> dict[str, Sequence[Any]]:
    delimiter = "\t" if manifest.suffix.lower() == ".tsv" else ","
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            header = [name.strip() for name in next(reader, [])]
            _check_header(manifest, header)
            table = [row for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{manifest}: cannot be read as CSV ({error}); save it as UTF-8 with commas") from None
    for number, row in enumerate(table):
        who = f"{manifest}: row {number + 1}"
        require(len(row) == len(header), who, "the number of fields", str(len(header)), len(row), error=DataError)
    return {name: [row[header.index(name)] for row in table] for name in _COLUMNS if name in header}


def parquet_columns(path: Path) -> list[str]:
    """Return the names of a Parquet file's columns.

    Raises:
        DataError: when it is none.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        return list(pyarrow.parquet.read_schema(path).names)
    except (OSError, pyarrow.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path}: cannot be read as Parquet ({reason})") from None


def _read_parquet(manifest: Path) -> dict[str, Sequence[Any]]:
    import pyarrow
    import pyarrow.parquet

    header = parquet_columns(manifest)
    _check_header(manifest, header)
    try:
        table = pyarrow.parquet.read_table(manifest, columns=[name for name in _COLUMNS if name in header])
    except (OSError, pyarrow.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{manifest}: cannot be read as Parquet ({reason})") from None
    return {name: table.column(name).to_pylist() for name in table.column_names}


def _check_header(manifest: Path, header: Sequence[str]) -> None:
    fix = f"found {', '.join(header)}; {nearest('path', header)}" if header else "the file is empty"
    require("path" in header, str(manifest), "the columns", "path and, optionally, label and split", "no path", fix,
            error=DataError)  # fmt: skip
