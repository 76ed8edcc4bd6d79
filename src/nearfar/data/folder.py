"""Finding the image files of a folder, their classes and their splits, without opening any."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from nearfar.data.picture import SUFFIXES
from nearfar.errors import DataError

__all__ = ["Row", "list_folder", "split_name"]

_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
    "unlabelled": "unlabelled",
    "unlabeled": "unlabelled",
}
_UNLABELLED = frozenset({"unlabelled", "unlabeled"})


class Row(NamedTuple):
    """One image file: its id, its path, its class (``None`` unknown) and its split (``None`` in none)."""

    id: str
    path: str
    label: str | None
    split: str | None


def split_name(text: str) -> str | None:
    """Return the usual name of a split (train, val, test, unlabelled), or ``None`` when it is none of them."""
    return _SPLITS.get(text.strip().lower())


def list_folder(root: Path, *, suffixes: frozenset[str] = SUFFIXES, what: str = "image") -> list[Row]:
    """List the image files below a folder, or files of other endings, sorted by their path in it.

    A file's class is the first folder below the root, or below its split; files directly there, and those in a folder
    named ``unlabelled``, have none. The top folders are splits when all that hold images are named as splits are
    (train, val, test, unlabelled and their usual variants) and one of them is ``train`` or ``test``. Files with
    other endings than an image's, hidden files and hidden folders are ignored; links are followed, loops are not.

    Args:
        root: the folder.
        suffixes: the endings looked for, in lower case.
        what: what files of those endings are, for the error.

    Raises:
        DataError: when the folder, or one in it, cannot be read, or there is no image file.
    """
    found = list(_walk(root, suffixes))
    if not found:
        endings = ", ".join(sorted(suffixes))
        raise DataError(f"{root}: must hold at least one {what} file, got none; the endings looked for are {endings}")
    found.sort()
    splits = _top_folders_are_splits(parts for parts, _ in found)
    return [_row(parts, path, splits=splits) for parts, path in found]


def _row(parts: tuple[str, ...], path: str, *, splits: bool) -> Row:
    split = split_name(parts[0]) if splits and len(parts) > 1 else None
    below = parts[1:] if split is not None else parts
    label = below[0] if len(below) > 1 and below[0].lower() not in _UNLABELLED else None
    # A name that is no valid UTF-8 must still fit into a CSV, a Parquet and a JSON file.
    return Row("/".join(parts).encode("utf-8", "backslashreplace").decode(), path, label, split)


def _top_folders_are_splits(files: Iterator[tuple[str, ...]]) -> bool:
    tops = {parts[0] for parts in files if len(parts) > 1}
    names = {split_name(top) for top in tops}
    return bool(tops) and None not in names and bool(names & {"train", "test"})


def _walk(root: Path, suffixes: frozenset[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield (parts of the path below root, path) of every file of these endings."""
    waiting: list[tuple[str, tuple[str, ...], frozenset[tuple[int, int]]]] = [(str(root), (), frozenset())]
    while waiting:
        folder, parts, above = waiting.pop()
        try:
            status = Path(folder).stat()
            here = (status.st_dev, status.st_ino)
            if here in above:
                continue
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = entry.name
                    if name.startswith("."):
                        continue
                    # Texts, not a Path for each: 100,000 files are then a matter of a second.
                    if os.path.splitext(name)[1].lower() in suffixes and entry.is_file():  # noqa: PTH122
                        yield (*parts, name), entry.path
                    elif entry.is_dir():
                        waiting.append((entry.path, (*parts, name), above | {here}))
        except OSError as error:
            raise DataError(f"{folder}: cannot be listed ({error.strerror or error}); check its permissions") from None
