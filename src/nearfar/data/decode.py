"""Decoding every image once, before training: into memory, into a cache on disk, or only to see what is broken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nearfar.data.arrays import ArraySource
from nearfar.data.cache import default_folder, open_or_build
from nearfar.data.decoding import Resized, decode_rows, mean_bytes
from nearfar.data.memory import available_bytes, size_text
from nearfar.data.skipped import MOST_BROKEN, Skipped, check_skipped
from nearfar.data.source import Source, digest, groups_of, read_many, take
from nearfar.errors import require
from nearfar.progress import say, track

__all__ = ["DecodedSource", "decode_all"]


class DecodedSource:
    """The readable items of a source, decoded where possible; of images made by `decode_all`.

    Attributes:
        source: what items are read from.
        skipped: the items that could not be read; they are not among the rows.
        where: ``"memory"``, ``"disk"``, or ``"files"`` when images are decoded each time they are read.
        notes: how many items were odd but kept, by what was noticed about them.
        images: (N, H, W, C) when all images are in memory and of one size, else ``None``.
    """

    def __init__(
        self,
        source: Source,
        skipped: Sequence[Skipped],
        where: Literal["memory", "disk", "files"],
        *,
        notes: Mapping[str, int] | None = None,
    ) -> None:
        self.notes = dict(notes or {})
        self.source, self.skipped, self.where = source, tuple(skipped), where
        self.ids, self.labels, self.class_names = source.ids, source.labels, source.class_names
        self.groups = groups_of(source)
        held = source.images if isinstance(source, ArraySource | _Held) else None
        self.images: NDArray[Any] | None = held if isinstance(held, np.ndarray) else None

    def __len__(self) -> int:
        return len(self.source)

    def read(self, index: int) -> Any:
        """Return one item: of images, (H, W, C)."""
        return self.source.read(index)

    def read_many(self, indices: NDArray[np.int64]) -> Sequence[Any] | NDArray[Any]:
        """Return several images: (M, H, W, C) when they are kept as one array, else a list."""
        return read_many(self.source, indices)

    def fingerprint(self) -> str | None:
        """That of the readable rows of what was decoded."""
        return self.source.fingerprint()


class _Held:
    """Images in memory, as one array or a list, with the ids and labels of ``rows``."""

    def __init__(self, images: NDArray[Any] | list[NDArray[Any]], rows: Source) -> None:
        self.images, self.rows = images, rows
        self.ids, self.labels, self.class_names = rows.ids, rows.labels, rows.class_names

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> NDArray[Any]:
        return self.images[index]

    def read_many(self, indices: NDArray[np.int64]) -> NDArray[Any] | list[NDArray[Any]]:
        images = self.images
        return images[indices] if isinstance(images, np.ndarray) else [images[int(index)] for index in indices]

    def fingerprint(self) -> str | None:
        whole = self.rows.fingerprint()
        return None if whole is None else digest("held", whole)


class _Store:
    """Takes images in, into one array for as long as they are of one size; notices when there is no more room."""

    def __init__(self, count: int, limit: int) -> None:
        self.count, self.limit = count, limit
        self.bytes = 0
        self.full = False
        self._block: NDArray[Any] | None = None
        self._loose: list[NDArray[Any]] = []
        self._rows = 0

    def add(self, image: NDArray[Any]) -> None:
        self.bytes += image.nbytes
        if self.full or self.bytes > self.limit:
            self.full, self._block, self._loose = True, None, []
            return
        if self._rows == 0:
            self._block = np.empty((self.count, *image.shape), image.dtype)
        block = self._block
        if block is not None and (image.shape, image.dtype) == (block.shape[1:], block.dtype):
            block[self._rows] = image
        else:
            if block is not None:
                self._loose, self._block = [row.copy() for row in block[: self._rows]], None
            self._loose.append(image)
        self._rows += 1

    def images(self) -> NDArray[Any] | list[NDArray[Any]]:
        return self._loose if self._block is None else self._block[: self._rows]


def decode_all(
    source: Source,
    *,
    side: int | None = None,
    cache: Literal["memory", "disk", "off"] = "memory",
    threads: int | None = None,
    limit_bytes: int | None = None,
    folder: Path | str | None = None,
    most_broken: float = MOST_BROKEN,
) -> DecodedSource:
    """Decode all images once, leaving out the broken ones; the size is announced on standard error first.

    Args:
        source: images; see `open_images`.
        side: resize images whose shorter side is longer than this many pixels to it (bicubic, antialiased).
        cache: ``"memory"`` keeps the decoded images in memory, as one array when all are of one size. ``"disk"``
            keeps them in memory-mapped files that later runs and other processes find again while ids, labels, sizes
            and times of the files are the same. ``"off"`` keeps nothing and looks at nothing: broken images are then
            met when they are read.
        threads: that decode; the number of cores when absent, at most 8.
        limit_bytes: when more than this would be kept in memory, nothing is kept: every image is decoded once to find
            the broken ones, and again whenever it is read. A quarter of the memory that is left when absent; where
            several processes decode on one machine, divide it among them.
        folder: where ``"disk"`` keeps its files; ``$NEARFAR_CACHE``, else ``nearfar`` in the user's cache folder.
        most_broken: the largest share of broken images.

    Returns:
        The readable images, and what was skipped.

    Raises:
        DataError: when none can be read, more than ``most_broken`` are broken, or ``"disk"`` is asked for a source
            whose contents have no fingerprint.
        RunError: when the disk cannot take the cache.
    """
    require(side is None or side >= 1, "decode_all", "side", ">= 1", side)
    require(cache in ("memory", "disk", "off"), "decode_all", "cache", "'memory', 'disk' or 'off'", repr(cache))
    if isinstance(source, ArraySource) and (side is None or min(source.images.shape[1:3]) <= side):
        return DecodedSource(source, (), "memory")
    sized: Source = source if side is None else Resized(source, side)
    if cache == "off":
        return DecodedSource(sized, (), "files")
    if cache == "disk":
        found, skipped = open_or_build(sized, Path(folder or default_folder()), threads, most_broken)
        return DecodedSource(found, skipped, "disk")
    limit = available_bytes() // 4 if limit_bytes is None else limit_bytes
    return _into_memory(sized, threads, limit, most_broken)


def _into_memory(source: Source, threads: int | None, limit: int, most_broken: float) -> DecodedSource:
    expected = mean_bytes(source) * len(source)
    fits = expected <= limit
    over = f"more than the {size_text(limit)} allowed: images are decoded again whenever they are read"
    say(f"Decoding {len(source):,} images: about {size_text(expected)}{' in memory' if fits else f', {over}'}")
    store = _Store(len(source), limit if fits else 0)
    kept: list[int] = []
    skipped: list[Skipped] = []
    stream = decode_rows(source, range(len(source)), threads)
    for row, outcome in track(stream, "Decoding", total=len(source)):
        if isinstance(outcome, Skipped):
            skipped.append(outcome)
            continue
        kept.append(row)
        store.add(outcome)
    check_skipped(skipped, len(source), most=most_broken)
    if fits and store.full:
        say(f"The images take {size_text(store.bytes)}, {over}")
    rows = take(source, kept) if skipped else source
    if store.full:
        return DecodedSource(rows, skipped, "files")
    return DecodedSource(_Held(store.images(), rows), skipped, "memory")
