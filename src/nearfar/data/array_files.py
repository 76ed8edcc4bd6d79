"""Images and labels in ``.npy`` and ``.npz`` files; pickled objects are refused."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data.arrays import ArraySource
from nearfar.data.folder import split_name
from nearfar.data.labels import encode_labels
from nearfar.data.source import Joined, Source
from nearfar.errors import DataError, require
from nearfar.progress import say

__all__ = ["ARRAY_FILES", "open_array_file"]

ARRAY_FILES = frozenset({".npy", ".npz"})
"""The endings of array files, in lower case."""

_IMAGES = ("images", "image", "x", "X", "data")
_LABELS = ("labels", "label", "y", "Y", "targets", "target")


def open_array_file(path: Path, *, only: str | None = None) -> dict[str, Source]:
    """Open the images of an array file.

    A ``.npy`` holds the images alone and is memory-mapped. In a ``.npz`` images are under ``images``, ``image``,
    ``x``, ``X`` or ``data``, labels under ``labels``, ``label``, ``y``, ``Y``, ``targets`` or ``target``; with
    ``train``, ``val`` or ``test`` before or after the name (``x_train``, ``train_images``) they are splits. Where none
    of these is found, the only array of three or four axes is taken. Which were taken is said on standard error.

    Args:
        path: the file.
        only: read only this split.

    Returns:
        Under ``""`` everything, and each split under its name.

    Raises:
        DataError: when the file cannot be read, holds pickled objects, or images cannot be found in it.
    """
    try:
        if path.suffix.lower() == ".npy":
            return {"": ArraySource(np.load(path, mmap_mode="r", allow_pickle=False), who=str(path))}
        with np.load(path, allow_pickle=False) as file:
            return _from_npz(path, file, only)
    except DataError:
        raise
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        fix = "save numbers and texts, no objects"
        raise DataError(f"{path}: cannot be read as an array file ({str(error).partition(';')[0]}); {fix}") from None


def _from_npz(path: Path, file: Any, only: str | None) -> dict[str, Source]:
    keys = _keys(path, file)
    wanted = None if only is None else split_name(only) or only
    chosen = {wanted: keys[wanted]} if wanted is not None and wanted in keys else keys
    for images, key in chosen.values():
        say(f"{path.name}: images from {images!r}, {'no labels' if key is None else f'labels from {key!r}'}")
    values = {split: _flat(file[key]) for split, (_, key) in keys.items() if key is not None}
    # All splits together, so that a class has one number in all of them.
    _, names = encode_labels([value for some in values.values() for value in some])
    parts: dict[str, Source] = {}
    for split, (images, _) in chosen.items():
        array = file[images]
        ids = [f"{split}/{row}" for row in range(len(array))] if split else None
        who = f"{path} ({split})" if split else str(path)
        parts[split] = ArraySource(array, values.get(split), class_names=names, ids=ids, who=who)
    return parts if only is not None or "" in parts else {"": Joined(list(parts.values())), **parts}


def _flat(labels: NDArray[Any]) -> list[Any]:
    """Return one label a row; a column of them is common in published files."""
    flat: list[Any] = (labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels).tolist()
    return flat


def _keys(path: Path, file: Any) -> dict[str, tuple[str, str | None]]:
    """Return for each split, or ``""``, the names of its images and labels."""
    names: dict[tuple[str, str], str] = {}
    for key in file.files:
        split, stem = _split_and_stem(key)
        role = "images" if stem in _IMAGES else "labels" if stem in _LABELS else ""
        if role:
            names.setdefault((split, role), key)
    found = {split: (key, names.get((split, "labels"))) for (split, role), key in names.items() if role == "images"}
    if "" in found:
        return {"": found[""]}
    if found:
        return found
    large = [key for key in file.files if file[key].ndim in (3, 4)]
    fix = f"name them 'images' and 'labels'; found {', '.join(file.files) or 'nothing'}"
    require(len(large) == 1, str(path), "the images", "under 'images' or 'x'", "no such name", fix, error=DataError)
    return {"": (large[0], names.get(("", "labels")))}


def _split_and_stem(key: str) -> tuple[str, str]:
    head, _, tail = key.partition("_")
    if tail and split_name(head):
        return split_name(head) or "", tail
    if tail and split_name(tail):
        return split_name(tail) or "", head
    return "", key
