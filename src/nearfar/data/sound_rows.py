"""Finding sounds: the files of a folder, or the rows of a manifest, with label, speaker, split, start and end."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nearfar.data.folder import list_folder, split_name
from nearfar.data.sound import SOUNDS
from nearfar.errors import ConfigError, DataError, nearest, require

__all__ = ["COLUMNS", "SoundRow", "list_sounds", "read_sound_manifest"]

COLUMNS = ("path", "start", "end", "label", "group", "speaker", "split")
"""The columns of a manifest that are read; ``speaker`` is another name of ``group``."""

_FIELDS = ("label", "group", "split")


class SoundRow(NamedTuple):
    """One sound: where it is, and what is known about it.

    Attributes:
        id: unique in its data set: the path, with ``#start-end`` where it is a part of the file.
        path: of the file.
        label: its class, ``None`` unknown.
        group: what must not be on both sides of a split, such as the speaker; ``None`` unknown.
        split: ``None`` in none.
        start: seconds.
        end: seconds; ``None`` is the end of the file.
    """

    id: str
    path: str
    label: str | None = None
    group: str | None = None
    split: str | None = None
    start: float = 0.0
    end: float | None = None


def list_sounds(root: Path, pattern: str | None = None) -> list[SoundRow]:
    """List the sound files below a folder, sorted; nested folders are classes, as for images (`list_folder`).

    Args:
        root: the folder.
        pattern: how the files' names without ending are made up, such as ``"{label}_{group}_{take}"``: ``label``,
            ``group`` (the speaker) and ``split`` are taken, other names in braces are passed over. It replaces the
            classes that the folders give.

    Raises:
        DataError: when there is no sound file, or a name does not fit the pattern.
        ConfigError: when the pattern cannot be used.
    """
    found = list_folder(root, suffixes=SOUNDS, what="sound")
    if pattern is None:
        return [SoundRow(row.id, row.path, label=row.label, split=row.split) for row in found]
    matcher = _matcher(pattern)
    rows = []
    for row in found:
        stem = Path(row.path).stem
        match = matcher.fullmatch(stem)
        if match is None:
            raise DataError(f"{root}: every file's name must fit the pattern {pattern!r}, got {stem!r}; mend either")
        parts = match.groupdict()
        split = parts.get("split") or row.split
        rows.append(SoundRow(row.id, row.path, parts.get("label"), parts.get("group"), split and _split(split)))
    return rows


def _matcher(pattern: str) -> re.Pattern[str]:
    """Turn a pattern into a regular expression in which every field is as short as it can be, and never empty."""
    pieces = re.split(r"\{([A-Za-z_]*)\}", pattern)
    names = [name for name in pieces[1::2] if name in _FIELDS]
    fix = "write for example {label}_{group}_{take}"
    must = "with {label}, {group} or {split} in it, each once"
    fits = bool(names) and len(names) == len(set(names)) and not re.search(r"[{}]", "".join(pieces[::2]))
    require(fits, "audio", "pattern", must, repr(pattern), fix, error=ConfigError)
    text = ""
    for place, piece in enumerate(pieces):
        text += re.escape(piece) if place % 2 == 0 else f"(?P<{piece}>.+?)" if piece in _FIELDS else "(?:.+?)"
    return re.compile(text)


def read_sound_manifest(manifest: Path) -> list[SoundRow]:
    """Read a CSV, TSV or Parquet manifest: a sound a row.

    Columns: ``path`` (relative to the manifest's folder, or absolute), and optionally ``start`` and ``end`` (seconds;
    empty is the file's own), ``label``, ``group`` or ``speaker``, and ``split``; others are ignored. A file may stand
    in many rows, with another start or end in each.

    Raises:
        DataError: when the manifest cannot be read, has no column ``path`` or no row, or a row is wrong; rows are
            counted from 1, without the header.
    """
    columns = _columns(manifest)
    require(len(columns["path"]) > 0, str(manifest), "the number of rows", ">= 1", 0, error=DataError)
    rows: list[SoundRow] = []
    seen: set[str] = set()
    for number in range(len(columns["path"])):
        who = f"{manifest}: row {number + 1}"
        row = _row(manifest, who, {name: values[number] for name, values in columns.items()})
        require(row.id not in seen, who, "path, start and end", "in one row only", repr(row.id), error=DataError)
        seen.add(row.id)
        rows.append(row)
    return rows


def _row(manifest: Path, who: str, values: Mapping[str, Any]) -> SoundRow:
    texts = {name: "" if value is None else str(value).strip() for name, value in values.items()}
    require(texts["path"] != "", who, "path", "given", "nothing", error=DataError)
    full = manifest.parent / texts["path"]
    require(full.is_file(), who, "path", "an existing file", repr(texts["path"]), error=DataError)
    start, end = (_seconds(who, name, texts.get(name, "")) for name in ("start", "end"))
    first = start or 0.0
    require(end is None or end > first, who, "end", f"> start, {first:g}", end, error=DataError)
    part = "" if start is None and end is None else f"#{first:g}-{'' if end is None else f'{end:g}'}"
    split = texts.get("split", "")
    group = texts.get("group", "") or texts.get("speaker", "")
    return SoundRow(
        texts["path"].replace("\\", "/") + part, str(full), texts.get("label") or None, group or None,
        _split(split) if split else None, first, end,
    )  # fmt: skip


def _seconds(who: str, name: str, text: str) -> float | None:
    if not text or text.lower() == "nan":
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    require(math.isfinite(value) and value >= 0, who, name, "seconds >= 0", repr(text), error=DataError)
    return value


def _split(text: str) -> str:
    return split_name(text) or text


def _columns(manifest: Path) -> dict[str, Sequence[Any]]:
    if manifest.suffix.lower() == ".parquet":
        return _from_parquet(manifest)
    delimiter = "\t" if manifest.suffix.lower() == ".tsv" else ","
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            header = [name.strip() for name in next(reader, [])]
            table = [row for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{manifest}: cannot be read as CSV ({error}); save it as UTF-8 with commas") from None
    _check_header(manifest, header)
    for number, row in enumerate(table):
        who = f"{manifest}: row {number + 1}"
        require(len(row) == len(header), who, "the number of fields", str(len(header)), len(row), error=DataError)
    return {name: [row[header.index(name)] for row in table] for name in COLUMNS if name in header}


def _from_parquet(manifest: Path) -> dict[str, Sequence[Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        header = list(pyarrow.parquet.read_schema(manifest).names)
        _check_header(manifest, header)
        table = pyarrow.parquet.read_table(manifest, columns=[name for name in COLUMNS if name in header])
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{manifest}: cannot be read as Parquet ({str(error).partition(chr(10))[0]})") from None
    return {name: table.column(name).to_pylist() for name in table.column_names}


def _check_header(manifest: Path, header: Iterable[str]) -> None:
    names = list(header)
    fix = f"found {', '.join(names)}; {nearest('path', names)}" if names else "the file is empty"
    must = "path and, optionally, start, end, label, group and split"
    require("path" in names, str(manifest), "the columns", must, "no path", fix, error=DataError)
