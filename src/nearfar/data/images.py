"""Opening images wherever they are: a folder, one file, a manifest, an array file or a torch data set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data.array_files import ARRAY_FILES, open_array_file
from nearfar.data.arrays import ArraySource
from nearfar.data.folder import Row, list_folder, split_name
from nearfar.data.hugging_face_shard import HuggingFaceShard, has_images, hugging_face_parts, is_hugging_face, is_saved
from nearfar.data.labels import class_order, encode_labels
from nearfar.data.lance_shard import LanceShard, is_lance, is_lance_place
from nearfar.data.manifest import MANIFESTS, parquet_columns, read_manifest
from nearfar.data.parquet_shard import holds_images
from nearfar.data.picture import SUFFIXES, Kind, file_kind, read_picture
from nearfar.data.shards import SHARDS, find_shards, open_shards, pack
from nearfar.data.source import Joined, Source, check_source, digest, file_stamp
from nearfar.data.torch_dataset import DatasetSource
from nearfar.errors import DataError, require

__all__ = ["FileSource", "common_kind", "open_images", "open_splits"]

_KINDS_LOOKED_AT = 512


class FileSource:
    """Image files, decoded when read.

    Attributes:
        paths: N file paths.
        kind: the number of channels and bits that every image is brought to.
    """

    def __init__(
        self,
        paths: Sequence[str],
        ids: Sequence[str],
        labels: NDArray[np.int64] | None,
        class_names: tuple[str, ...] | None,
        kind: Kind,
        *,
        who: str = "FileSource",
    ) -> None:
        self.paths, self.ids, self.labels, self.class_names = paths, ids, labels, class_names
        self.kind = kind
        check_source(who, ids, labels)

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int, *, side: int | None = None) -> NDArray[Any]:
        """Decode one image to (H, W, C), its shorter side at most ``side``."""
        return read_picture(self.paths[index], kind=self.kind, side=side)

    def part(self, rows: NDArray[np.int64]) -> FileSource:
        """Return some of the files, as a source whose fingerprint does not depend on the others."""
        labels = None if self.labels is None else self.labels[rows]
        known = None if labels is None or bool((labels < 0).all()) else labels
        paths, ids = [self.paths[row] for row in rows], [self.ids[row] for row in rows]
        return FileSource(paths, ids, known, self.class_names, self.kind)

    def fingerprint(self) -> str:
        """Digest of ids, labels, sizes and times of change of the files; nothing is opened."""
        labels = b"" if self.labels is None else self.labels.astype("<i8").tobytes()
        stamps = (file_stamp(path) for path in self.paths)
        return digest("files", f"{self.kind}", self.ids, labels, self.class_names or (), stamps)


def open_images(data: Any, *, split: str | None = None, channels: int | None = None) -> Source:
    """Open images of any sort as one source.

    Args:
        data: a folder (nested folders are classes, flat is unlabelled; top folders ``train``, ``val`` and ``test`` are
            splits; see `list_folder`), one image file, a manifest (``.csv``, ``.tsv``, ``.parquet``; see
            `read_manifest`), an array file (``.npy``, ``.npz``; see `open_array_file`), shards (``.tar`` in
            WebDataset's layout, ``.parquet`` with the images in it, or ``.lance`` tables: one, a folder of them, or a
            URL of either; see `open_shards`), a folder that ``datasets`` saved, an array, a data set of ``datasets``,
            an open Lance table, a map-style torch data set, or a source, which is returned as it is.
        split: read only this split; all of them when absent.
        channels: bring every image to this many channels (1 and 3 are converted to each other). When absent, the
            largest number among 512 files spread evenly over all, so that a folder of grey and colour files is read
            in colour; likewise for 8 and 16 bits.

    Returns:
        A source of (H, W, C) uint8 or uint16 images.

    Raises:
        DataError: when there is nothing to read, the path is wrong, or there is no such split.
    """
    parts = open_splits(data, channels=channels, only=split)
    if split is not None:
        wanted = split_name(split) or split
        names = ", ".join(name for name in parts if name) or "none"
        require(wanted in parts, _who(data), "split", f"one of its splits ({names})", repr(split), error=DataError)
        return parts[wanted]
    return parts[""]


def open_splits(data: Any, *, channels: int | None = None, only: str | None = None) -> dict[str, Source]:
    """Open images and their splits, with one number of channels and one numbering of the classes.

    Args:
        data: as for `open_images`.
        channels: as for `open_images`.
        only: spare the work of opening splits other than this.

    Returns:
        Under ``""`` everything, and each split under its name (``train``, ``val``, ``test``, or as in the manifest);
        a data set without splits has only ``""``.

    Raises:
        DataError: as for `open_images`.
    """
    if isinstance(data, str) and "://" in data:
        return _open_url(data, channels)
    if isinstance(data, str | os.PathLike):
        return _open_path(Path(data), channels, only)
    require(channels is None or channels >= 1, _who(data), "channels", ">= 1", channels, error=DataError)
    return _open_object(data, channels)


def _open_url(url: str, channels: int | None) -> dict[str, Source]:
    shards = find_shards(url)
    must, fix = "a URL of .tar, .parquet or .lance, or of a folder of them", "other files are read from local folders"
    require(bool(shards), url, "DATA", must, "none", fix, error=DataError)
    return open_shards(shards, channels=channels)


def _open_object(data: Any, channels: int | None) -> dict[str, Source]:
    if is_lance(data):
        return pack([LanceShard(data)], channels=channels)
    if is_hugging_face(data) and has_images(data):
        return _from_hugging_face(data, channels)
    if isinstance(data, np.ndarray):
        return {"": _checked(ArraySource(data), channels)}
    if callable(getattr(data, "read", None)) and callable(getattr(data, "fingerprint", None)):
        return {"": data}
    require(
        hasattr(data, "__getitem__") or hasattr(data, "__iter__"),
        "open_images",
        "data",
        "a path, an array, a source or a torch data set",
        type(data).__name__,
        error=DataError,
    )
    return {"": DatasetSource(data, channels=channels)}


def _open_path(path: Path, channels: int | None, only: str | None) -> dict[str, Source]:
    fix = "check the spelling and the working folder"
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    require(is_folder or is_file, str(path), "DATA", "an existing folder or file", "neither", fix, error=DataError)
    return _open_folder(path, channels) if is_folder else _open_file(path, channels, only)


def _open_folder(path: Path, channels: int | None) -> dict[str, Source]:
    if is_saved(path):
        return _from_hugging_face(path, channels)
    shards = find_shards(str(path))
    if shards and (is_lance_place(str(path)) or not _has_images(path)):
        return open_shards(shards, channels=channels)
    return _from_rows(path, list_folder(path), channels)


def _open_file(path: Path, channels: int | None, only: str | None) -> dict[str, Source]:
    suffix = path.suffix.lower()
    if suffix == ".tar" or (suffix == ".parquet" and holds_images(parquet_columns(path))):
        return open_shards([str(path)], channels=channels)
    if suffix in MANIFESTS:
        return _from_rows(path, read_manifest(path), channels)
    if suffix in ARRAY_FILES:
        return {name: _checked(part, channels) for name, part in open_array_file(path, only=only).items()}
    known = ", ".join(sorted(SUFFIXES | MANIFESTS | ARRAY_FILES | SHARDS))
    require(suffix in SUFFIXES, str(path), "a file's ending", f"one of {known}", repr(suffix), error=DataError)
    return _from_rows(path, [Row(path.name, str(path), None, None)], channels)


def _from_hugging_face(data: Any, channels: int | None) -> dict[str, Source]:
    return pack([HuggingFaceShard(name, part) for name, part in hugging_face_parts(data).items()], channels=channels)


def _has_images(path: Path) -> bool:
    """Whether a folder with shards in it is a folder of images all the same."""
    try:
        return bool(list_folder(path))
    except DataError:
        return False


def _from_rows(path: Path, rows: list[Row], channels: int | None) -> dict[str, Source]:
    labels, names = encode_labels([row.label for row in rows])
    if path.is_dir() and labels is not None:  # folder names are names, also when they look like numbers
        names = tuple(class_order({row.label for row in rows if row.label is not None}))
        place = {name: number for number, name in enumerate(names)}
        labels = np.array([-1 if row.label is None else place[row.label] for row in rows], dtype=np.int64)
    paths = [row.path for row in rows]
    kind = common_kind(paths, channels)
    whole = FileSource(paths, [row.id for row in rows], labels, names, kind, who=str(path))
    parts: dict[str, Source] = {"": whole}
    splits = np.array([row.split or "" for row in rows])
    for name in np.unique(splits[splits != ""]):
        parts[str(name)] = whole.part(np.flatnonzero(splits == name))
    return parts


def common_kind(paths: Sequence[str], channels: int | None) -> Kind:
    """Return the largest kind among files spread evenly over all; broken files do not count."""
    rows = np.unique(np.linspace(0, len(paths) - 1, _KINDS_LOOKED_AT).round().astype(int))
    kinds = [kind for row in rows if (kind := file_kind(paths[row])) is not None]
    most = max((kind.channels for kind in kinds), default=3)
    return Kind(most if channels is None else channels, max((kind.bits for kind in kinds), default=8))


def _checked(source: Source, channels: int | None) -> Source:
    """Bring an array to the number of channels asked for."""
    if channels is None:
        return source
    if isinstance(source, Joined):
        return Joined([_checked(part, channels) for part in source.parts])
    return source.with_channels(channels) if isinstance(source, ArraySource) else source


def _who(data: Any) -> str:
    return str(data) if isinstance(data, str | os.PathLike) else type(data).__name__
