"""Images with captions: a manifest of files and texts; images without a caption are left out and counted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfar.data.folder import split_name
from nearfar.data.images import FileSource, common_kind
from nearfar.data.labels import encode_labels
from nearfar.data.skipped import Skipped, check_skipped
from nearfar.data.source import Source, check_source, digest, read_many
from nearfar.data.text_files import named_column, read_columns
from nearfar.data.texts import MOST_CHARACTERS
from nearfar.errors import DataError, require

__all__ = ["CAPTIONS", "CaptionSource", "ImageText", "open_captions"]

CAPTIONS = ("caption", "text", "title", "description", "sentence")
"""The column of captions when none is named: the first of these that is there."""

PATHS = ("path", "image", "file", "filename")
NO_CAPTION = "no caption"


class ImageText(NamedTuple):
    """An image (H, W, C) and its caption."""

    image: NDArray[Any]
    text: str


class CaptionSource:
    """Images of another source, each with its caption.

    Attributes:
        images: the images.
        captions: N texts, in the images' order.
        skipped: rows that were left out, and why.
        cut: how many captions were longer than `MOST_CHARACTERS`, and were cut.
        groups: the captions: rows of one caption never come apart when rows are held out.
    """

    def __init__(self, images: Source, captions: Sequence[str], *, skipped: Sequence[Skipped] = ()) -> None:
        self.cut = sum(len(text) > MOST_CHARACTERS for text in captions)
        self.images, self.captions = images, [text[:MOST_CHARACTERS] for text in captions]
        self.skipped = list(skipped)
        self.ids, self.labels, self.class_names = images.ids, images.labels, images.class_names
        fits = len(self.captions) == len(images)
        require(fits, "CaptionSource", "captions", f"{len(images)}, one an image", len(captions), error=DataError)
        check_source("CaptionSource", self.ids, self.labels)
        self.groups: Sequence[str] = self.captions

    def __len__(self) -> int:
        return len(self.captions)

    def read(self, index: int) -> ImageText:
        """Return one image with its caption."""
        return ImageText(self.images.read(index), self.captions[index])

    def read_many(self, indices: NDArray[np.int64]) -> list[ImageText]:
        """Return several images with their captions."""
        images = read_many(self.images, indices)
        return [ImageText(image, self.captions[row]) for image, row in zip(images, indices.tolist(), strict=True)]

    def fingerprint(self) -> str | None:
        """The images', with the captions."""
        whole = self.images.fingerprint()
        return None if whole is None else digest("captions", whole, self.captions)


def open_captions(
    manifest: Any, *, caption: str | None = None, channels: int | None = None, encoding: str = "utf-8"
) -> dict[str, Source]:
    """Open a manifest of images and captions, and its splits.

    Args:
        manifest: a ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet`` file with a column ``path`` (relative to the
            manifest's folder, or absolute), a column of captions, and perhaps ``label`` and ``split``.
        caption: the column of captions; found by its usual names when absent.
        channels: bring every image to this many channels.
        encoding: of the manifest.

    Returns:
        Under ``""`` everything, and each split under its name. Rows without a caption are left out; ``skipped`` names
        them. Rows of one caption are one group: they never come apart when rows are held out.

    Raises:
        DataError: when a column is missing, no row has both, or more than one image in a hundred is missing.
    """
    path, who = Path(manifest), str(manifest)
    table = read_columns(path, encoding, [*PATHS, *CAPTIONS, "label", "split"])
    names = {name.lower(): name for name in table.header}
    files = _column(who, table.header, names, PATHS, None)
    texts = _column(who, table.header, names, CAPTIONS, caption)
    places, kept, missing = _split_rows(path.parent, table.columns[files], table.columns[texts])
    without = [Skipped(str(table.columns[files][row]), NO_CAPTION) for row in missing]
    gone = [Skipped(str(table.columns[files][row]), "no such file") for row in places if row not in kept]
    check_skipped([*table.skipped, *gone], len(table.rows) + len(table.skipped), who=who)
    require(len(kept) > 0, who, "the number of images with a caption", ">= 1", 0, error=DataError)
    rows = list(kept)
    source = _source(path.parent, table, names, files, rows, channels)
    captions = [str(table.columns[texts][row]).strip() for row in rows]
    whole = CaptionSource(source, captions, skipped=[*table.skipped, *gone, *without])
    parts: dict[str, Source] = {"": whole}
    if "split" in names:
        splits = np.array([str(table.columns[names["split"]][row] or "").strip() for row in rows])
        for name in np.unique(splits[splits != ""]):
            chosen = np.flatnonzero(splits == name)
            part = CaptionSource(source.part(chosen), [captions[row] for row in chosen], skipped=whole.skipped)
            parts[split_name(str(name)) or str(name)] = part
    return parts


def _split_rows(
    folder: Path, files: Sequence[Any], texts: Sequence[Any]
) -> tuple[list[int], dict[int, None], list[int]]:
    """Return the rows with a caption, those of them whose file is there, and the rows without a caption."""
    have = [row for row, text in enumerate(texts) if text is not None and str(text).strip()]
    present = set(have)
    kept = dict.fromkeys(row for row in have if (folder / str(files[row]).strip()).is_file())
    return have, kept, [row for row in range(len(texts)) if row not in present]


def _source(
    folder: Path, table: Any, names: dict[str, str], files: str, rows: list[int], channels: int | None
) -> FileSource:
    """Return the images of some rows; their number of channels is that of most of them."""
    labels, classes = None, None
    if "label" in names:
        labels, classes = encode_labels([table.columns[names["label"]][row] for row in rows])
    ids = [str(table.columns[files][row]).strip().replace(os.sep, "/") for row in rows]
    paths = [str(folder / name) for name in ids]
    return FileSource(paths, ids, labels, classes, common_kind(paths, channels), who=str(folder))


def _column(who: str, header: Sequence[str], names: dict[str, str], usual: Sequence[str], asked: str | None) -> str:
    if asked is not None:
        return named_column(who, asked, header)
    found = next((names[name] for name in usual if name in names), None)
    got = ", ".join(header) or "none"
    require(found is not None, who, "columns", f"with one named {' or '.join(usual)}", got, error=DataError)
    assert found is not None
    return found
