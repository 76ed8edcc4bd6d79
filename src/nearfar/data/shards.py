"""Images packed in shards: tar files in WebDataset's layout, Parquet files, Lance tables, Hugging Face data sets.

Shards are indexed once, by reading tar headers, Parquet footers or a column of labels, and are then sources like any
other: any row can be read, so a batch order is exact over ranks and epochs and goes on at any batch. Where jumping
about is slow, give the loader a ``buffer``. Local paths, or any URL that fsspec (for Lance: Lance itself) opens;
nothing is unpacked or copied, so the data may be larger than the disk.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nearfar.data.folder import split_name
from nearfar.data.kept import Kept
from nearfar.data.labels import encode_labels
from nearfar.data.lance_shard import LanceShard, is_lance_place
from nearfar.data.parquet_shard import ParquetShard
from nearfar.data.picture import Kind, file_kind, read_picture
from nearfar.data.remote import list_files
from nearfar.data.source import ItemError, Source, check_source, digest
from nearfar.data.tar_shard import TarShard
from nearfar.errors import DataError, require

__all__ = ["SHARDS", "PackedSource", "Shard", "find_shards", "open_shards", "pack"]

SHARDS = frozenset({".tar", ".parquet", ".lance"})
"""The endings of shards, in lower case; a Lance table is a folder."""

_KINDS_LOOKED_AT = 64


class Shard(Protocol):
    """One file or table of many encoded images."""

    @property
    def path(self) -> str:
        """The file's path or URL."""
        ...

    @property
    def keys(self) -> Sequence[str]:
        """One text an image, unique in the shard."""
        ...

    @property
    def labels(self) -> Sequence[Any]:
        """One label an image as written, ``None`` where there is none."""
        ...

    @property
    def class_names(self) -> Sequence[str] | None:
        """The names of class 0, 1, ..., where the shard tells them."""
        ...

    def content(self, row: int) -> bytes:
        """Return the encoded image of a row; may be called from several threads at once."""
        ...

    def contents(self, rows: Sequence[int]) -> list[bytes]:
        """Return the encoded images of several rows, in their order; may be faster than one by one."""
        ...

    def stamp(self) -> str:
        """A text that differs when the file does."""
        ...


class PackedSource:
    """The images of several shards, in the order of the shards, decoded when read; ids are ``SHARD/KEY``.

    Args:
        shards: in order.
        labels: (N,) class numbers of all their images, or ``None``.
        class_names: the classes' names.
        kind: what every image is brought to.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        labels: NDArray[np.int64] | None,
        class_names: tuple[str, ...] | None,
        kind: Kind,
    ) -> None:
        self.shards, self.labels, self.class_names, self.kind = list(shards), labels, class_names, kind
        self._starts = np.cumsum([0] + [len(shard.keys) for shard in shards])
        names = [PurePosixPath(shard.path).stem for shard in shards]
        self.ids: Sequence[str] = [
            f"{name}/{key}" for name, shard in zip(names, shards, strict=True) for key in shard.keys
        ]
        check_source(str(PurePosixPath(shards[0].path).parent), self.ids, labels)

    def __len__(self) -> int:
        return len(self.ids)

    def content(self, index: int) -> bytes:
        """Return the encoded image of a row."""
        shard = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self.shards[shard].content(index - int(self._starts[shard]))

    def read(self, index: int, *, side: int | None = None) -> NDArray[Any]:
        """Decode one image to (H, W, C), its shorter side at most ``side``."""
        try:
            content = self.content(index)
        except OSError as error:
            raise ItemError(self.ids[index], error.strerror or str(error)) from None
        return read_picture(content, kind=self.kind, side=side, name=self.ids[index])

    def read_many(self, indices: NDArray[np.int64], *, side: int | None = None) -> list[NDArray[Any]]:
        """Decode several images, each as `read` does; every shard is asked once."""
        which = np.searchsorted(self._starts, indices, side="right") - 1
        contents = [b""] * len(indices)
        for number in np.unique(which):
            places, shard = np.flatnonzero(which == number), self.shards[int(number)]
            try:
                found = shard.contents((indices[places] - self._starts[number]).tolist())
            except OSError as error:
                raise DataError(f"{shard.path}: cannot be read ({error.strerror or error})") from None
            for place, content in zip(places, found, strict=True):
                contents[place] = content
        names = (self.ids[int(index)] for index in indices)
        return [
            read_picture(content, kind=self.kind, side=side, name=name)
            for content, name in zip(contents, names, strict=True)
        ]

    def fingerprint(self) -> str:
        """Digest of ids, labels, and the sizes and times of change of the shards."""
        labels = b"" if self.labels is None else self.labels.astype("<i8").tobytes()
        stamps = [shard.stamp() for shard in self.shards]
        return digest("packed", f"{self.kind}", self.ids, labels, self.class_names or (), stamps)


def find_shards(place: str) -> list[str]:
    """Return the shards at a path or URL: itself, or those directly in the folder, sorted; none when there are none."""
    folder = "://" not in place and Path(place).is_dir() and not is_lance_place(place)  # photos.parquet/ may be one
    if _ending(place) in SHARDS and not folder:
        return [place]
    try:
        names = list_files(place, folders=".lance")
    except OSError as error:
        raise DataError(f"{place}: cannot be listed ({error.strerror or error}); check its permissions") from None
    endings = {_ending(name) for name in names} & SHARDS
    got = " and ".join(sorted(endings))
    require(len(endings) <= 1, place, "the shards", "all .tar, all .parquet or all .lance", got, error=DataError)
    return sorted(name for name in names if _ending(name) in endings)


def _ending(place: str) -> str:
    return PurePosixPath(place).suffix.lower()


def open_shards(paths: Sequence[str], *, channels: int | None = None) -> dict[str, Source]:
    """Open shards as one source, and as one for each split that the files' names start with (``train-00000.tar``).

    Tar files follow WebDataset's layout: the members of a sample stand together and share their name up to the first
    dot; the image is the member with an image's ending, the label the text of the ``.cls`` member. Parquet files and
    Lance tables have a column ``image`` of bytes, or of structs with ``bytes`` as Hugging Face writes them, and perhaps
    ``label``; `nearfar.data.image_columns` has the other names that are understood.

    Args:
        paths: paths or URLs, one or more.
        channels: as for `open_images`; when absent, 64 images are looked at.

    Returns:
        Under ``""`` everything, and each split under its name.

    Raises:
        DataError: when a shard cannot be read or holds no images.
        MissingExtraError: for Lance tables, when Lance is not installed.
    """
    kept = Kept()
    return pack([_open_shard(path, kept) for path in paths], channels=channels)


def _open_shard(path: str, kept: Kept) -> Shard:
    if is_lance_place(path):
        return LanceShard(path)
    return ParquetShard(path, kept) if _ending(path) == ".parquet" else TarShard(path)


def pack(shards: Sequence[Shard], *, channels: int | None = None) -> dict[str, Source]:
    """Return opened shards as `open_shards` does."""
    names = next((shard.class_names for shard in shards if shard.class_names is not None), None)
    labels, class_names = encode_labels([label for shard in shards for label in shard.labels], names)
    kind = _common_kind(shards, channels)
    starts = np.cumsum([0] + [len(shard.keys) for shard in shards])
    groups: dict[str, list[int]] = {}
    for number, shard in enumerate(shards):
        stem = PurePosixPath(shard.path).stem.replace("_", "-")
        groups.setdefault(split_name(stem.partition("-")[0]) or "", []).append(number)

    def packed(members: Sequence[int]) -> PackedSource:
        parts = None if labels is None else [labels[starts[number] : starts[number + 1]] for number in members]
        some = None if parts is None else np.concatenate(parts)
        known = None if some is None or bool((some < 0).all()) else some
        return PackedSource([shards[number] for number in members], known, class_names, kind)

    whole = packed(range(len(shards)))
    return {"": whole, **{name: packed(members) for name, members in groups.items() if name}}


def _common_kind(shards: Sequence[Shard], channels: int | None) -> Kind:
    """Return the largest kind among images spread evenly over all; broken ones do not count."""
    starts = np.cumsum([0] + [len(shard.keys) for shard in shards])
    rows = np.unique(np.linspace(0, max(0, int(starts[-1]) - 1), _KINDS_LOOKED_AT).round().astype(int))
    which = np.searchsorted(starts, rows, side="right") - 1
    kinds: list[Kind | None] = []
    for number in np.unique(which):
        with contextlib.suppress(OSError):
            contents = shards[number].contents((rows[which == number] - starts[number]).tolist())
            kinds += [file_kind(content) for content in contents]
    found = [kind for kind in kinds if kind is not None]
    most = max((kind.channels for kind in found), default=3)
    return Kind(most if channels is None else channels, max((kind.bits for kind in found), default=8))
