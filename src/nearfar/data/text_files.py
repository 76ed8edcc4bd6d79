"""Reading texts from files: lines, and columns of CSV, TSV, JSON lines and Parquet; broken lines are named."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nearfar.data.skipped import Skipped
from nearfar.errors import DataError, nearest, require

__all__ = [
    "LINES",
    "TABLES",
    "Columns",
    "holds_lines",
    "named_column",
    "read_columns",
    "read_lines",
    "stem_of",
    "suffix_of",
]

LINES = frozenset({".txt", ".text"})
"""The endings of files of lines; each of these and of `TABLES` but Parquet may be followed by ``.gz``."""

TABLES = frozenset({".csv", ".tsv", ".jsonl", ".parquet"})
"""The endings of tables."""

MOST_BYTES = 8 << 30
"""A file, unpacked, may have that many bytes: texts are held in memory."""


class Columns(NamedTuple):
    """A table of texts.

    Attributes:
        header: the columns' names; "1", "2", ... where the file names none.
        columns: name to one value a row.
        rows: the rows' numbers in the file, from 1 and without the header.
        skipped: rows that could not be read.
    """

    header: list[str]
    columns: dict[str, Sequence[Any]]
    rows: list[int]
    skipped: list[Skipped]


def named_column(who: str, name: str, header: Sequence[str]) -> str:
    """Return the name of a column that was asked for.

    Raises:
        DataError: when there is none of that name; the sentence names the nearest.
    """
    if name not in header:
        raise DataError(f"{who}: has no column {name!r}; {nearest(name, header)}")
    return name


def holds_lines(suffix: str) -> bool:
    """Whether a file of this ending holds lines: ``.txt``, or a language's two letters, as in ``train.de``."""
    return suffix in LINES or (len(suffix) == 3 and suffix[1:].isalpha())


def suffix_of(path: Path) -> str:
    """Return the ending in lower case, that below ``.gz`` for packed files."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix == ".gz" else suffix


def stem_of(path: Path) -> str:
    """Return the name without ``.gz`` and the ending below it."""
    return Path(path.stem).stem if path.suffix.lower() == ".gz" else path.stem


def read_lines(path: Path, encoding: str = "utf-8") -> tuple[list[str], list[int], list[Skipped]]:
    """Return the lines that can be read, their numbers from 1, and those that cannot be.

    A line ends with a line feed, which a carriage return may stand before. The mark that some programs put first
    (BOM) is taken away; one of UTF-16 chooses that encoding.

    Raises:
        DataError: when the file cannot be opened, or its encoding has no such name.
    """
    lines: list[str] = []
    numbers: list[int] = []
    skipped: list[Skipped] = []
    for number, line in enumerate(_decoded(path, _bytes_of(path), encoding), start=1):
        if isinstance(line, str):
            lines.append(line)
            numbers.append(number)
        else:
            skipped.append(Skipped(str(number), f"not {encoding}: {line.reason} at byte {line.start}"))
    return lines, numbers, skipped


def _decoded(path: Path, raw: bytes, encoding: str) -> Iterator[str | UnicodeDecodeError]:
    """Yield every line, or why it is none; the whole is tried first, which is many times faster."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
        raw = raw.removeprefix(b"\xef\xbb\xbf")
    try:
        yield from _lines(raw.decode(encoding), "\n")
    except LookupError:
        fix = "give one that Python knows, such as utf-8, latin-1 or utf-16"
        raise DataError(f"{path}: encoding must be known, got {encoding!r}; {fix}") from None
    except UnicodeDecodeError as error:
        if encoding.startswith("utf-16"):
            raise DataError(f"{path}: cannot be read as {encoding} ({error.reason} at byte {error.start})") from None
        for line in _lines(raw, b"\n"):
            try:
                yield line.decode(encoding)
            except UnicodeDecodeError as mistake:
                yield mistake


def _lines(whole: Any, end: Any) -> list[Any]:
    lines = whole.split(end)
    if lines and not lines[-1]:
        lines.pop()
    back = "\r" if isinstance(whole, str) else b"\r"
    return [line.removesuffix(back) for line in lines]


def _bytes_of(path: Path) -> bytes:
    try:
        if path.suffix.lower() != ".gz":
            require(path.stat().st_size <= MOST_BYTES, str(path), "size", f"<= {MOST_BYTES >> 30} GiB", "more",
                    "split the file", error=DataError)  # fmt: skip
            return path.read_bytes()
        with gzip.open(path) as file:
            raw = file.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    require(len(raw) <= MOST_BYTES, str(path), "size", f"<= {MOST_BYTES >> 30} GiB unpacked", "more", error=DataError)
    return raw


def read_columns(path: Path, encoding: str = "utf-8", known: Sequence[str] = ()) -> Columns:
    """Read a table: ``.csv``, ``.tsv``, ``.jsonl`` (an object a line) or ``.parquet``.

    Args:
        path: the file; all but Parquet may be packed as ``.gz``.
        encoding: of all but Parquet.
        known: names that a header has; a CSV file whose first row has none of them has no header.

    Raises:
        DataError: when it cannot be read as what its ending says.
    """
    suffix = suffix_of(path)
    if suffix == ".parquet":
        return _read_parquet(path)
    lines, numbers, skipped = read_lines(path, encoding)
    if suffix == ".jsonl":
        return _read_jsonl(path, lines, numbers, skipped)
    return _read_csv(path, lines, skipped, "\t" if suffix == ".tsv" else ",", known)


def _read_csv(path: Path, lines: list[str], skipped: list[Skipped], delimiter: str, known: Sequence[str]) -> Columns:
    csv.field_size_limit(sys.maxsize)
    text = io.StringIO("\n".join(lines), newline="")
    try:
        if delimiter == ",":
            table = list(csv.reader(text, strict=True))
        else:  # quotes in TSV files are mostly of the text
            table = list(csv.reader(text, delimiter=delimiter, quoting=csv.QUOTE_NONE))
    except csv.Error as error:
        fix = "save it as UTF-8 with commas, and quotes around texts"
        raise DataError(f"{path}: cannot be read as CSV ({error}); {fix}") from None
    require(len(table) > 0, str(path), "the number of rows", ">= 1", 0, error=DataError)
    first = [name.strip() for name in table[0]]
    named = any(name.lower() in known for name in first)
    header = first if named else [str(number + 1) for number in range(len(first))]
    body = table[1:] if named else table
    require(len(set(header)) == len(header), str(path), "column names", "all different", header, error=DataError)
    rows, kept = [], []
    for number, row in enumerate(body, start=1):
        if len(row) == len(header):
            rows.append(number)
            kept.append(row)
        else:
            what = f"{len(row)} fields instead of {len(header)}" if row else "empty"
            skipped.append(Skipped(str(number), what))
    columns: dict[str, Sequence[Any]] = {name: [row[i] for row in kept] for i, name in enumerate(header)}
    return Columns(header, columns, rows, skipped)


def _read_jsonl(path: Path, lines: list[str], numbers: list[int], skipped: list[Skipped]) -> Columns:
    items: list[dict[str, Any]] = []
    rows: list[int] = []
    for number, line in zip(numbers, lines, strict=True):
        try:
            item = json.loads(line) if line.strip() else None
        except ValueError:
            item = line
        if isinstance(item, dict):
            items.append(item)
            rows.append(number)
        else:
            skipped.append(Skipped(str(number), "empty" if item is None else "no JSON object"))
    require(len(items) > 0, str(path), "the number of JSON objects", ">= 1", 0, "write one a line", error=DataError)
    header = list(dict.fromkeys(key for item in items for key in item))
    return Columns(header, {name: [item.get(name) for item in items] for name in header}, rows, skipped)


def _read_parquet(path: Path) -> Columns:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path}: cannot be read as Parquet ({reason})") from None
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    return Columns(list(table.column_names), columns, list(range(1, table.num_rows + 1)), [])
