"""Opening texts wherever they are: lines, columns of tables, folders of documents, and Python's own lists."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfar.data.folder import split_name
from nearfar.data.labels import encode_labels
from nearfar.data.skipped import MOST_BROKEN, Skipped, check_skipped
from nearfar.data.source import Joined, Source, check_source, digest
from nearfar.data.text_files import (
    LINES,
    TABLES,
    Columns,
    holds_lines,
    named_column,
    read_columns,
    read_lines,
    stem_of,
    suffix_of,
)
from nearfar.errors import DataError, require

__all__ = ["MOST_CHARACTERS", "TextColumns", "TextSource", "open_text_splits", "open_texts"]

MOST_CHARACTERS = 10_000
"""What is kept of a text: no encoder here reads more, and a tokenizer takes long over a line of a megabyte."""

EMPTY = "empty"
"""The reason of rows without text; they are counted, but any number of them is no error."""

TEXTS = (
    ("anchor", "positive", "negative"), ("query", "positive", "negative"), ("query", "passage", "negative"),
    ("sentence1", "sentence2"), ("premise", "hypothesis"), ("question", "answer"), ("text1", "text2"),
    ("text",), ("sentence",), ("caption",), ("document",), ("content",),
)  # fmt: skip
"""Which columns hold the texts when none is named: the first of these whose first two (or only) names are there."""

LABELS = ("label", "category", "class", "intent")
SCORES = ("score", "similarity")
OTHERS = ("split", "id")


class TextColumns(NamedTuple):
    """Which columns of a table are what; what is ``None`` or empty is found by its usual names.

    Attributes:
        texts: one column, or those of a pair, a triplet or several texts of one thing.
        label: the classes'.
        score: how alike the two texts of a pair are.
        where_there: take those named only where the table has them, as for further data of a run.
    """

    texts: tuple[str, ...] = ()
    label: str | None = None
    score: str | None = None
    where_there: bool = False


BY_NAME = TextColumns()
"""All columns by their usual names."""


class TextSource:
    """Rows of one text or several, in memory.

    Args:
        texts: (N,) tuples of as many texts each.
        ids: N unique texts.
        labels: N class numbers or names; see `nearfar.data.labels`.
        class_names: the names of the classes, where they are known.
        scores: (N,) how alike a row's first two texts are.
        skipped: rows that were left out, and why.
        cut: how many texts were longer than `MOST_CHARACTERS`, and were cut.
        who: what stands first in errors.

    Attributes:
        width: texts a row.
    """

    def __init__(
        self,
        texts: Sequence[tuple[str, ...]],
        ids: Sequence[str] | None = None,
        labels: Sequence[Any] | None = None,
        *,
        class_names: Sequence[str] | None = None,
        scores: Sequence[float] | None = None,
        skipped: Sequence[Skipped] = (),
        cut: int = 0,
        who: str = "TextSource",
    ) -> None:
        self.texts = list(texts)
        self.ids: Sequence[str] = [str(row) for row in range(len(texts))] if ids is None else list(ids)
        self.labels, self.class_names = (None, None) if labels is None else encode_labels(labels, class_names)
        self.scores = None if scores is None else np.asarray(scores, np.float64)
        self.skipped, self.cut, self.who = list(skipped), cut, who
        check_source(who, self.ids, self.labels)
        widths = {len(row) for row in self.texts}
        require(len(widths) == 1, who, "texts a row", "the same number in all rows", sorted(widths), error=DataError)
        self.width = widths.pop()

    def __len__(self) -> int:
        return len(self.texts)

    def read(self, index: int) -> tuple[str, ...]:
        """Return the texts of one row."""
        return self.texts[index]

    def read_many(self, indices: NDArray[np.int64]) -> list[tuple[str, ...]]:
        """Return the texts of several rows."""
        return [self.texts[index] for index in indices.tolist()]

    def part(self, rows: NDArray[np.int64]) -> TextSource:
        """Return some of the rows, with their scores and with all that the reader left out, as a source of its own."""
        names = self.class_names
        texts = [self.texts[row] for row in rows]
        return TextSource(
            texts,
            [self.ids[row] for row in rows],
            None if self.labels is None else self.labels[rows].tolist(),
            class_names=names,
            scores=None if self.scores is None else self.scores[rows].tolist(),
            skipped=self.skipped,
            cut=sum(len(text) == MOST_CHARACTERS for row in texts for text in row) if self.cut else 0,
            who=self.who,
        )

    def fingerprint(self) -> str:
        """Digest of texts, ids and labels."""
        labels = b"" if self.labels is None else self.labels.astype("<i8").tobytes()
        scores = b"" if self.scores is None else self.scores.tobytes()
        flat = (text for row in self.texts for text in row)
        return digest("texts", flat, self.ids, labels, scores, self.class_names or ())


def open_texts(
    data: Any, *, split: str | None = None, columns: TextColumns = BY_NAME, encoding: str = "utf-8"
) -> Source:
    """Open texts of any sort as one source; see `open_text_splits`.

    Raises:
        DataError: when there is nothing to read, or no such split.
    """
    parts = open_text_splits(data, columns=columns, encoding=encoding)
    if split is None:
        return parts[""]
    wanted = split_name(split) or split
    names = ", ".join(name for name in parts if name) or "none"
    require(wanted in parts, _who(data), "split", f"one of its splits ({names})", repr(split), error=DataError)
    return parts[wanted]


def open_text_splits(data: Any, *, columns: TextColumns = BY_NAME, encoding: str = "utf-8") -> dict[str, Source]:
    """Open texts and their splits, with one numbering of the classes.

    Args:
        data: a file of lines (``.txt``), a table (``.csv``, ``.tsv``, ``.jsonl``, ``.parquet``; all but the last also
            as ``.gz``), a folder of such files named after the splits (``train.csv``, ``test.csv``), a folder of
            folders of ``.txt`` documents (folders are classes), a list of texts or of tuples of texts, a mapping or a
            data set of ``datasets`` with named columns, or a source, which is returned as it is.
        columns: which columns of tables are what.
        encoding: of the files.

    Returns:
        Under ``""`` everything, and each split under its name; data without splits has only ``""``.

    Raises:
        DataError: when there is nothing to read, a column is missing, or more than one row in a hundred is broken.
            Rows without text are left out and counted, and do not count as broken.
    """
    if isinstance(data, str | os.PathLike):
        return _open_path(Path(data), columns, encoding)
    if callable(getattr(data, "read", None)) and callable(getattr(data, "fingerprint", None)):
        return {"": data}
    names = getattr(data, "column_names", None) or (list(data) if isinstance(data, Mapping) else None)
    if names is not None:
        table = Columns(list(names), {name: list(data[name]) for name in names}, [], [])
        return _from_table("open_texts", table._replace(rows=list(range(len(table.columns[names[0]])))), columns)
    require(isinstance(data, Sequence), "open_texts", "data", "a path, a list of texts, or named columns",
            type(data).__name__, error=DataError)  # fmt: skip
    rows = [(row,) if isinstance(row, str) else tuple(row) for row in data]
    return {"": _source("open_texts", rows, [str(row) for row in range(len(rows))], [])}


def _open_path(path: Path, columns: TextColumns, encoding: str) -> dict[str, Source]:
    fix = "check the spelling and the working folder"
    require(path.exists(), str(path), "DATA", "an existing folder or file", "neither", fix, error=DataError)
    if path.is_dir():
        return _open_folder(path, columns, encoding)
    suffix = suffix_of(path)
    known = f"one of {', '.join(sorted(LINES | TABLES))}, or a language's two letters"
    lines_of_text = holds_lines(suffix)
    require(lines_of_text or suffix in TABLES, str(path), "a file's ending", known, repr(suffix), error=DataError)
    if lines_of_text:
        lines, numbers, skipped = read_lines(path, encoding)
        rows = [(line,) for line in lines]
        return {"": _source(str(path), rows, [str(number) for number in numbers], skipped, encoding=encoding)}
    wanted = [*columns.texts, columns.label or "", columns.score or ""]
    usual = [*(name for group in TEXTS for name in group), *LABELS, *SCORES, *OTHERS]
    table = read_columns(path, encoding, [name.lower() for name in [*usual, *wanted] if name and not name.isdecimal()])
    return _from_table(str(path), table, columns)


def _open_folder(path: Path, columns: TextColumns, encoding: str) -> dict[str, Source]:
    files = sorted(file for file in path.iterdir() if file.is_file() and suffix_of(file) in LINES | TABLES)
    named = {name: file for file in files if (name := split_name(stem_of(file))) is not None}
    if named:
        opened = {name: _open_path(file, columns, encoding)[""] for name, file in named.items()}
        return _joined(str(path), opened)
    documents = sorted(file for file in path.rglob("*.txt") if file.is_file() and file.parent != path)
    must = "one with train.csv, test.txt and the like, or folders of .txt files"
    require(len(documents) > 0, str(path), "DATA", must, "no such files", error=DataError)
    return _open_documents(path, documents, encoding)


def _open_documents(path: Path, documents: Sequence[Path], encoding: str) -> dict[str, Source]:
    """Every file is one text; its first folder below the split's is its class."""
    rows: list[tuple[str, ...]] = []
    ids, labels, splits, skipped = [], [], [], []
    for file in documents:
        parts = file.relative_to(path).parts
        split = split_name(parts[0]) if len(parts) > 2 else None
        lines, _, broken = read_lines(file, encoding)
        name = "/".join(parts)
        skipped += [Skipped(name, broken[0].reason)] if broken else []
        if not broken:
            rows.append(("\n".join(lines),))
            ids.append(name)
            labels.append(parts[1 if split else 0])
            splits.append(split or "")
    return _with_splits(
        _source(str(path), rows, ids, skipped, labels, encoding=encoding), dict(zip(ids, splits, strict=True))
    )


def _from_table(who: str, table: Columns, asked: TextColumns) -> dict[str, Source]:
    names = {name.lower(): name for name in table.header}
    if asked.where_there:
        there = set(table.header)
        known = asked.texts if there >= set(asked.texts) else ()
        label, score = (name if name in there else None for name in (asked.label, asked.score))
        asked = TextColumns(known, label, score)
    texts = [named_column(who, name, table.header) for name in asked.texts] or _usual_texts(who, names)
    label = named_column(who, asked.label, table.header) if asked.label else _usual(names, LABELS, texts)
    score = named_column(who, asked.score, table.header) if asked.score else _usual(names, SCORES, texts)
    rows = list(zip(*(table.columns[name] for name in texts), strict=True))
    own = _usual(names, ("id",), texts)
    ids = [str(value) for value in table.columns[own]] if own else [str(row) for row in table.rows]
    labels = None if label is None else list(table.columns[label])
    scores = None if score is None else list(table.columns[score])
    whole = _source(who, rows, ids, table.skipped, labels, scores)
    split = _usual(names, ("split",), texts)
    if split is None:
        return {"": whole}
    places = {name: str(value or "").strip() for name, value in zip(ids, table.columns[split], strict=True)}
    return _with_splits(whole, {name: split_name(place) or place for name, place in places.items()})


def _usual(names: Mapping[str, str], usual: Sequence[str], texts: Sequence[str]) -> str | None:
    return next((names[name] for name in usual if name in names and names[name] not in texts), None)


def _usual_texts(who: str, names: Mapping[str, str]) -> list[str]:
    for group in TEXTS:
        if all(name in names for name in group[:2]):
            return [names[name] for name in group if name in names]
    found = ", ".join(names.values())
    must = "named text, or sentence1 and sentence2, anchor and positive, question and answer"
    fix = f"say which they are (columns); found {found}"
    raise DataError(f"{who}: columns of texts must be {must}, got none of these; {fix}")


def _source(
    who: str,
    rows: Sequence[Sequence[Any]],
    ids: Sequence[str],
    broken: Sequence[Skipped],
    labels: Sequence[Any] | None = None,
    scores: Sequence[Any] | None = None,
    *,
    encoding: str = "utf-8",
) -> TextSource:
    """Leave out rows without text or with a wrong score, cut long texts, and count both."""
    kept: list[int] = []
    texts: list[tuple[str, ...]] = []
    skipped, cut = list(broken), 0
    numbers = None if scores is None else [_number(value) for value in scores]
    for place, row in enumerate(rows):
        found = ["" if value is None else str(value).strip() for value in row]
        if not all(found):
            skipped.append(Skipped(ids[place], EMPTY))
        elif numbers is not None and math.isnan(numbers[place]):
            skipped.append(Skipped(ids[place], "the score is no number"))
        else:
            cut += sum(len(text) > MOST_CHARACTERS for text in found)
            texts.append(tuple(text[:MOST_CHARACTERS] for text in found))
            kept.append(place)
    bad = [item for item in skipped if item.reason != EMPTY]
    try:
        check_skipped(bad, len(bad) + len(kept), most=MOST_BROKEN, who=who)
    except DataError as error:
        encodings = any("not " in item.reason for item in bad)
        fix = f", or name the encoding: it is not {encoding}" if encodings else ""
        raise DataError(f"{error}{fix}") from None
    require(len(kept) > 0, who, "the number of rows with text", ">= 1", 0, error=DataError)
    return TextSource(
        texts,
        [ids[place] for place in kept],
        None if labels is None else [labels[place] for place in kept],
        scores=None if numbers is None else [numbers[place] for place in kept],
        skipped=skipped,
        cut=cut,
        who=who,
    )


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _with_splits(whole: TextSource, splits: Mapping[str, str]) -> dict[str, Source]:
    places = np.array([splits[name] for name in whole.ids])
    parts: dict[str, Source] = {"": whole}
    for name in np.unique(places[places != ""]):
        parts[str(name)] = whole.part(np.flatnonzero(places == name))
    return parts


def _joined(who: str, opened: Mapping[str, Source]) -> dict[str, Source]:
    """Number the classes of all splits alike; ids say which split a row is of."""
    labels: list[Any] = []
    for part in opened.values():
        names = part.class_names
        known = [-1] * len(part) if part.labels is None else part.labels.tolist()
        labels += [None if number < 0 else names[number] if names else number for number in known]
    _, class_names = encode_labels(labels)
    parts: dict[str, Source] = {}
    start = 0
    for split, part in opened.items():
        assert isinstance(part, TextSource)
        mine = labels[start : start + len(part)]
        start += len(part)
        parts[split] = TextSource(
            part.texts,
            [f"{split}/{name}" for name in part.ids],
            mine if class_names else None,
            class_names=class_names,
            scores=None if part.scores is None else part.scores.tolist(),
            skipped=[Skipped(f"{split}/{item.id}", item.reason) for item in part.skipped],
            cut=part.cut,
            who=f"{who} ({split})",
        )
    return {"": Joined(list(parts.values())) if len(parts) > 1 else next(iter(parts.values())), **parts}


def _who(data: Any) -> str:
    return str(data) if isinstance(data, str | os.PathLike) else type(data).__name__
