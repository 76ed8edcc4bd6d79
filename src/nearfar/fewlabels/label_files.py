"""Reading labels from a table of two columns, and saying clearly what is wrong with one."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from nearfar.errors import DataError, nearest, require
from nearfar.files import write_atomic

__all__ = ["read_labels", "row_of", "write_labels"]

_LARGEST = 256 * 2**20
"""Bytes of the largest table that is read."""

_COMPARED = 2_000
"""Ids at most that a wrong one is compared with, to offer the nearest."""


def read_labels(path: str | Path) -> dict[str, str]:
    """Return the label of every id of a CSV or TSV file with the columns ``id`` (or ``path``) and ``label``.

    Rows without a label are left out. Other columns are ignored. The same row twice counts once.

    Raises:
        DataError: when the file cannot be read, has no such columns or no label, or gives an id two labels.
    """
    path = Path(path)
    text = _text(path)
    reader = csv.reader(io.StringIO(text), delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
    try:
        rows = [row for row in reader if row]
    except csv.Error as error:
        raise DataError(f"{path}: cannot be read as a table ({error})") from None
    header = [name.strip().lower() for name in rows[0]] if rows else []
    id_at = next((header.index(name) for name in ("id", "path") if name in header), None)
    must, got = "named id and label", ", ".join(header[:5]) or "none"
    require(id_at is not None and "label" in header, str(path), "columns", must, got, error=DataError)
    assert id_at is not None
    label_at = header.index("label")
    found: dict[str, str] = {}
    for number, row in enumerate(rows[1:], start=1):
        whole = len(row) > max(id_at, label_at)
        require(whole, f"{path}: row {number}", "cells", f"{len(header)}", len(row), error=DataError)
        name, label = row[id_at].strip(), row[label_at].strip()
        if not label:
            continue
        before = found.setdefault(name, label)
        fix = "leave one of the rows out"
        must = f"given one label, {before!r} as before"
        require(before == label, f"{path}: row {number}", f"id {name!r}", must, repr(label), fix, error=DataError)
    fix = "fill in the column label"
    require(bool(found), str(path), "labels", "at least one", "none", fix, error=DataError)
    return found


def row_of(path: str | Path, names: Sequence[str], known: Mapping[str, int], held_out: Mapping[str, int]) -> list[int]:
    """Return the row of every id.

    Args:
        path: the table the ids are from, for errors.
        names: ids.
        known: the rows by id.
        held_out: ids of items that are scored, or otherwise not to be learnt from.

    Raises:
        DataError: when an id is of an item that is scored, or of none.
    """
    for name in names:
        if name in known:
            continue
        if name in held_out:
            fix = "take its labels out: what is scored must not be learnt from (leakage)"
            raise DataError(f"{path}: ids must be of training items, got {name!r}, which is a test item; {fix}")
        some = [other for other in known if other.rpartition("/")[2] == name.rpartition("/")[2]] or list(known)
        hint = nearest(name, some[:_COMPARED]) if len(some) > 1 else f"did you mean {some[0]!r}?"
        hint = hint if hint.startswith("did") else f"ids look like {next(iter(known))!r}"
        raise DataError(f"{path}: ids must be among the {len(known):,} items of the data, got {name!r}; {hint}")
    return [known[name] for name in names]


def write_labels(path: Path, ids: Sequence[str], labels: Sequence[str]) -> None:
    """Write a table that `read_labels` reads."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "label"])
    writer.writerows(zip(ids, labels, strict=True))
    write_atomic(path, text.getvalue())


def _text(path: Path) -> str:
    try:
        size = path.stat().st_size
        require(
            size <= _LARGEST, str(path), "size", f"<= {_LARGEST // 2**20} MiB", f"{size // 2**20} MiB", error=DataError
        )
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give a CSV file with id and label") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: must be text in UTF-8, got other bytes; save the table as CSV in UTF-8") from None
