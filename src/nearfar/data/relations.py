"""Images that are told apart by pairs, triplets, graded scores or sets of labels, rather than by one class each.

A CSV, TSV or Parquet file says so by its columns; paths are relative to its folder, or absolute:

======================================  =========  ===============================================================
columns                                 kind       what a row says
======================================  =========  ===============================================================
``a``, ``b``, ``same``                  pairs      two images belong together (1) or not (0)
``a``, ``b``, ``score``                 scores     how alike two images are, any number, larger for more alike
``anchor``, ``positive``, ``negative``  triplets   the first is nearer to the second than to the third
``path``, ``labels``                    sets       an image has these labels, written ``red;dress``
======================================  =========  ===============================================================
"""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nearfar.data.images import FileSource, open_images
from nearfar.data.manifest import MANIFESTS
from nearfar.data.picture import SUFFIXES
from nearfar.data.source import Source, digest, read_many, take
from nearfar.errors import DataError, require

__all__ = ["RelatedSource", "Relation", "Relations", "read_relations"]

Relation: TypeAlias = Literal["pairs", "scores", "triplets", "sets"]

_COLUMNS: dict[Relation, tuple[str, ...]] = {
    "pairs": ("a", "b", "same"),
    "scores": ("a", "b", "score"),
    "triplets": ("anchor", "positive", "negative"),
    "sets": ("path", "labels"),
}
_YES, _NO = frozenset({"1", "true", "yes", "same"}), frozenset({"0", "false", "no", "different"})


@dataclasses.dataclass(frozen=True)
class Relations:
    """What a file says about images.

    Attributes:
        kind: what a row is.
        images: the distinct images, without labels.
        rows: (P, T) int64: T images a row, as places in ``images``.
        labels: (P,) int64, 1 where a pair is different; None but for pairs.
        targets: (P,) float32 scores, or (P, C) float32 label sets; None for pairs and triplets.
        names: of the C labels of sets.
    """

    kind: Relation
    images: Source
    rows: NDArray[np.int64]
    labels: NDArray[np.int64] | None
    targets: NDArray[np.float32] | None
    names: tuple[str, ...] = ()

    def digest(self) -> str:
        """Return a text that differs when the rows or what they say differ; the images are not looked at."""
        said = [b"" if part is None else part.tobytes() for part in (self.labels, self.targets)]
        return digest(self.kind, self.names, self.rows.astype("<i8").tobytes(), *said)

    def over(self, images: Source, limit: int | None = None, *, seed: int = 0) -> RelatedSource:
        """Return the rows as a source for the loader, over images that were decoded.

        Args:
            images: some or all of ``self.images``, by their ids; rows with one that is not there are left out.
            limit: keep that many rows, drawn by the seed.
            seed: of the draw.

        Raises:
            DataError: when no row is left.
        """
        place = {name: row for row, name in enumerate(images.ids)}
        at = np.array([place.get(name, -1) for name in self.images.ids], dtype=np.int64)[self.rows]
        keep = np.flatnonzero((at >= 0).all(axis=1))
        require(len(keep) > 0, "relations", f"{self.kind} of readable images", ">= 1", 0, error=DataError)
        if limit is not None and limit < len(keep):
            keep = np.sort(np.random.default_rng([seed, limit]).permutation(keep)[:limit])
        labels = None if self.labels is None else self.labels[keep]
        targets = None if self.targets is None else self.targets[keep]
        return RelatedSource(images, at[keep], labels, targets, self.kind)


class RelatedSource:
    """Rows of one, two or three images; made by `Relations.over`.

    Attributes:
        kind: what a row is.
        labels: (P,) 1 where a pair is different, else None.
        targets: scores or label sets, else None.
    """

    class_names: tuple[str, ...] | None = None

    def __init__(
        self,
        images: Source,
        rows: NDArray[np.int64],
        labels: NDArray[np.int64] | None,
        targets: NDArray[np.float32] | None,
        kind: Relation,
    ) -> None:
        self.images, self.rows, self.labels, self.targets, self.kind = images, rows, labels, targets, kind
        self.ids: Sequence[str] = [str(row) for row in range(len(rows))]

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: int) -> Any:
        """Return the one image of a row, or the list of its images."""
        items = [self.images.read(int(row)) for row in self.rows[index]]
        return items[0] if self.kind == "sets" else items

    def read_many(self, indices: NDArray[np.int64]) -> Sequence[Any] | NDArray[Any]:
        """Return several rows; for sets the images themselves."""
        if self.kind == "sets":
            return read_many(self.images, self.rows[indices, 0])
        return [self.read(int(index)) for index in indices]

    def fingerprint(self) -> str | None:
        """The images', with the rows and what they say."""
        whole = self.images.fingerprint()
        said = [b"" if part is None else part.tobytes() for part in (self.labels, self.targets)]
        return None if whole is None else digest("related", whole, self.rows.astype("<i8").tobytes(), *said)


def read_relations(data: Any, *, channels: int | None = None, split: str | None = None) -> Relations | None:
    """Open a file of pairs, triplets, scores or sets.

    Args:
        data: what the user gave; None is returned for all but a CSV, TSV or Parquet file with such columns of image
            files.
        channels: bring every image to this many.
        split: keep the rows whose column ``split`` says so.

    Raises:
        DataError: when the file has such columns and a row is wrong; it is counted from 1, without the header.
    """
    path = Path(data) if isinstance(data, str | Path) and "://" not in str(data) else None
    if path is None or path.suffix.lower() not in MANIFESTS or not path.is_file():
        return None
    header, table = _read(path)
    kind = next((kind for kind, columns in _COLUMNS.items() if set(columns) <= set(header)), None)
    if kind is None or (table and Path(str(table[0][_COLUMNS[kind][0]]).strip()).suffix.lower() not in SUFFIXES):
        return None  # a table of something else, whose columns happen to be called so
    if split is not None:
        require("split" in header, str(path), "columns", "one named split", ", ".join(header), error=DataError)
        table = [row for row in table if str(row["split"]).strip() == split]
    require(len(table) > 0, str(path), "the number of rows", ">= 1", 0, error=DataError)
    columns = [name for name in _COLUMNS[kind] if name not in ("same", "score", "labels")]
    names = {str(row[column]).strip(): 0 for row in table for column in columns}
    place = {name: number for number, name in enumerate(names)}
    rows = np.array([[place[str(row[column]).strip()] for column in columns] for row in table], dtype=np.int64)
    images = _images(path, list(names), channels)
    labels = np.array([_different(path, n, row["same"]) for n, row in enumerate(table)]) if kind == "pairs" else None
    targets: NDArray[np.float32] | None = None
    sets: tuple[str, ...] = ()
    if kind == "scores":
        targets = np.array([_score(path, n, row["score"]) for n, row in enumerate(table)], dtype=np.float32)
    elif kind == "sets":
        targets, sets = _sets(path, [row["labels"] for row in table])
    return Relations(kind, images, rows, labels, targets, sets)


def _read(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    try:
        if path.suffix.lower() == ".parquet":
            import pyarrow
            import pyarrow.parquet

            header = [str(name) for name in pyarrow.parquet.read_schema(path).names]
            if not _relates(header):
                return header, []
            wanted = [name for name in header if any(name in c for c in (*_COLUMNS.values(), ("split",)))]
            return header, pyarrow.parquet.read_table(path, columns=wanted).to_pylist()
        delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            first = [name.strip() for name in next(csv.reader(file, delimiter=delimiter), [])]
        if not _relates(first):
            return first, []  # a table of another reader, which may take what is no UTF-8
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            header = [name.strip() for name in next(reader, [])]
            return header, [dict(zip(header, row, strict=True)) for row in reader if row]
    except (OSError, ValueError, csv.Error) as error:  # pyarrow's errors are ValueErrors or OSErrors as well
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path}: cannot be read as a table ({reason})") from None


def _relates(header: Sequence[str]) -> bool:
    return any(set(columns) <= set(header) for columns in _COLUMNS.values())


def _images(path: Path, names: list[str], channels: int | None) -> Source:
    for name in names:
        ok = name != "" and (path.parent / name).is_file()
        require(ok, str(path), "every image", "an existing file", repr(name), error=DataError)
    paths = [str(path.parent / name) for name in names]
    probe = open_images(paths[0], channels=channels)  # tells channels and bits, as for any other data
    assert isinstance(probe, FileSource)
    return take(FileSource(paths, names, None, None, probe.kind, who=str(path)), np.arange(len(names)))


def _different(path: Path, number: int, value: Any) -> int:
    text = str(int(value) if isinstance(value, bool | float) else value).strip().lower()
    must = "1 or 0, yes or no, true or false"
    require(text in _YES | _NO, f"{path}: row {number + 1}", "same", must, repr(value), error=DataError)
    return int(text in _NO)


def _score(path: Path, number: int, value: Any) -> float:
    try:
        score = float(value)
    except (TypeError, ValueError):
        score = math.nan
    require(math.isfinite(score), f"{path}: row {number + 1}", "score", "a finite number", repr(value), error=DataError)
    return score


def _sets(path: Path, values: Sequence[Any]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    sets = [_split(value) for value in values]
    names = tuple(sorted({name for one in sets for name in one}))
    require(len(names) > 0, str(path), "labels", "given for some rows", "none", error=DataError)
    place = {name: column for column, name in enumerate(names)}
    targets = np.zeros((len(sets), len(names)), dtype=np.float32)
    for row, one in enumerate(sets):
        targets[row, [place[name] for name in one]] = 1
    return targets, names


def _split(value: Any) -> list[str]:
    parts = value if isinstance(value, list) else [] if value is None else str(value).replace("|", ";").split(";")
    return [text for part in parts if (text := str(part).strip())]
