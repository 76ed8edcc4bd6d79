r"""Decoded images on disk, memory-mapped, found again by the fingerprint of what was decoded.

::

    FOLDER/KEY.lock             held by the process that builds; the system frees it when that process dies
    FOLDER/KEY.building/        while it is built; finished shards in it are used by the next builder
        plan.json               how many rows a shard has
        00000.bin               the pixels of the shard's images, one after the other
        00000.parquet           row, id, label, place, size and type of each image, or why it was skipped
    FOLDER/KEY/                 the same, renamed once all shards and cache.json are there

Every file is written under another name, synced and renamed; a shard counts once its table, written last, names the
size that its pixels have. So a builder may be killed at any moment, and what is found under KEY is whole.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfar.data.decoding import decode_rows, mean_bytes
from nearfar.data.memory import size_text
from nearfar.data.skipped import Skipped, check_skipped
from nearfar.data.source import Source, digest
from nearfar.errors import DataError, RunError, require
from nearfar.files import atomic_path, write_atomic
from nearfar.progress import say, track

if TYPE_CHECKING:
    from filelock import FileLock

__all__ = ["ShardSource", "default_folder", "open_or_build"]

FORMAT = 1
"""The version of the files' layout; a cache of another one is built anew."""

_SHARD_BYTES = 128 << 20
_MOST_ROWS = 65_536
_TABLE = "cache.json"
_COLUMNS = ("row", "id", "label", "offset", "height", "width", "channels", "bits", "reason")
_NUMBERS = ("row", "offset", "height", "width", "channels", "bits")


class _Shard(NamedTuple):
    """One shard's table as arrays (one entry a readable image) and its pixels."""

    rows: NDArray[np.int64]
    offsets: NDArray[np.int64]
    shapes: NDArray[np.int64]
    bits: NDArray[np.int64]
    skipped: list[Skipped]
    pixels: NDArray[np.uint8]


class ShardSource:
    """The images of a finished cache.

    Args:
        shards: all shards, in order.
        source: what was decoded; its readable rows give ids, labels and class names.
        fingerprint: the source's.
    """

    def __init__(self, shards: Sequence[_Shard], source: Source, fingerprint: str) -> None:
        self._pixels = [shard.pixels for shard in shards]
        self._shard = np.concatenate([np.full(len(shard.rows), number) for number, shard in enumerate(shards)])
        self._offsets = np.concatenate([shard.offsets for shard in shards])
        self._shapes = np.concatenate([shard.shapes for shard in shards])
        self._bits = np.concatenate([shard.bits for shard in shards])
        rows = np.concatenate([shard.rows for shard in shards])
        self.ids: Sequence[str] = [source.ids[int(row)] for row in rows]
        self.labels = None if source.labels is None else source.labels[rows]
        self.class_names = source.class_names
        self._print = digest("cached", fingerprint, self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, index: int) -> NDArray[Any]:
        """Return one (H, W, C) image, copied out of the mapped file."""
        height, width, channels = (int(length) for length in self._shapes[index])
        kind = np.dtype(f"<u{int(self._bits[index]) // 8}")
        start = int(self._offsets[index])
        raw = self._pixels[int(self._shard[index])][start : start + height * width * channels * kind.itemsize]
        return raw.copy().view(kind).reshape(height, width, channels)

    def read_many(self, indices: NDArray[np.int64]) -> NDArray[Any] | list[NDArray[Any]]:
        """Return several images: (M, H, W, C) when they are of one size, else a list."""
        images = [self.read(int(index)) for index in indices]
        same = len({(image.shape, image.dtype) for image in images}) == 1
        return np.stack(images) if same else images

    def fingerprint(self) -> str:
        """That of the readable rows."""
        return self._print


def default_folder() -> Path:
    """``$NEARFAR_CACHE``, else ``nearfar/decoded`` in the user's cache folder."""
    given = os.environ.get("NEARFAR_CACHE")
    user = os.environ.get("XDG_CACHE_HOME")
    return Path(given) if given else (Path(user) if user else Path.home() / ".cache") / "nearfar" / "decoded"


def open_or_build(
    source: Source, folder: Path, threads: int | None, most_broken: float
) -> tuple[ShardSource, list[Skipped]]:
    """Return the cache of a source, building it first unless it is there.

    Args:
        source: images; its fingerprint is the cache's key.
        folder: holds the caches.
        threads: that decode.
        most_broken: the largest share of broken images.

    Raises:
        DataError: when the source has no fingerprint, or too many images are broken.
        RunError: when the folder cannot be written or has no room.
    """
    whole = source.fingerprint()
    fix = "use 'memory' or 'off', or save the images as files or an array"
    require(whole is not None, "decode_all", "cache", "'memory' or 'off' for a torch data set", "'disk'", fix,
            error=DataError)  # fmt: skip
    whole = whole or ""
    key = digest("cache", str(FORMAT), whole)
    final = folder / key
    shards = _open(final, source)
    if shards is None:
        lock = _lock(folder, key)
        try:
            shards = _open(final, source) or _build(final, source, threads, most_broken)
        finally:
            lock.release()
    skipped = [item for shard in shards for item in shard.skipped]
    check_skipped(skipped, len(source), most=most_broken)
    return ShardSource(shards, source, whole), skipped


def _lock(folder: Path, key: str) -> FileLock:
    """Return the held lock of a cache, after waiting for it."""
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{key}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"Another process is building the cache in {folder}; waiting for it")
            lock.acquire()
    except OSError as error:
        raise RunError(f"{folder}: cannot be used for a cache ({error.strerror or error}); choose another") from None
    return lock


def _build(final: Path, source: Source, threads: int | None, most_broken: float) -> list[_Shard]:
    """Decode into ``KEY.building``, going on from the shards there, and rename it; the lock is held."""
    building = final.with_name(f"{final.name}.building")
    try:
        if final.exists():  # it was not whole, or it would have been opened
            shutil.rmtree(final)
        building.mkdir(exist_ok=True)
        for left in building.glob(".*.tmp"):
            left.unlink()
        spans = _plan(building, source)
        todo = [number for number, span in enumerate(spans) if _load(building, number, span, source) is None]
        _check_room(final, source, sum(len(spans[number]) for number in todo))
        _decode(building, spans, todo, source, threads)
        shards = [_load(building, number, span, source) for number, span in enumerate(spans)]
        skipped = [item for shard in shards if shard is not None for item in shard.skipped]
        check_skipped(skipped, len(source), most=most_broken)
        write_atomic(building / _TABLE, json.dumps({"format": FORMAT, "rows": len(spans[0]), "shards": len(spans)}))
        _sync(building)
        building.rename(final)
        _sync(final.parent)
    except DataError:
        shutil.rmtree(building, ignore_errors=True)
        raise
    except OSError as error:
        raise RunError(f"{final.parent}: the cache cannot be written ({error.strerror or error})") from None
    opened = _open(final, source)
    fix = "delete it and try again"
    require(opened is not None, str(final), "a cache just built", "whole", "a changed one", fix, error=RunError)
    return opened or []


def _check_room(final: Path, source: Source, rows: int) -> None:
    """Announce what will be decoded, and raise when the disk has no room for it."""
    expected, free = mean_bytes(source) * rows, shutil.disk_usage(final.parent).free
    say(f"Decoding {rows:,} images into {final}: about {size_text(expected)}")
    must = f"{size_text(expected)} for the decoded images"
    fix = "free some space, or choose another folder or cache"
    require(expected < free, str(final.parent), "the free space", must, size_text(free), fix, error=RunError)


def _open(final: Path, source: Source) -> list[_Shard] | None:
    """Return a finished cache's shards, or ``None`` when there is none or it is not whole."""
    try:
        table = json.loads((final / _TABLE).read_text())
        if table["format"] != FORMAT:
            return None
        spans = _spans(int(table["rows"]), source)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    shards = [shard for number, span in enumerate(spans) if (shard := _load(final, number, span, source)) is not None]
    return shards if len(shards) == len(spans) == table["shards"] else None


def _spans(size: int, source: Source) -> list[range]:
    return [range(at, min(at + size, len(source))) for at in range(0, len(source), size)]


def _plan(building: Path, source: Source) -> list[range]:
    """Cut the rows into shards, as an earlier builder did if there was one."""
    file = building / "plan.json"
    try:
        size = max(1, int(json.loads(file.read_text())["rows"]))
    except (OSError, ValueError, KeyError, TypeError):
        size = int(min(_MOST_ROWS, max(1, _SHARD_BYTES // max(1.0, mean_bytes(source)))))
        write_atomic(file, json.dumps({"rows": size}))
    return _spans(size, source)


def _decode(building: Path, spans: list[range], todo: list[int], source: Source, threads: int | None) -> None:
    """Write the shards ``todo``."""
    rows = [row for number in todo for row in spans[number]]
    with closing(decode_rows(source, rows, threads)) as decoded:
        stream = track(decoded, "Decoding", total=len(rows))
        for number in todo:
            _write(building, number, source, islice(stream, len(spans[number])))


def _write(building: Path, number: int, source: Source, stream: Iterable[tuple[int, NDArray[Any] | Skipped]]) -> None:
    """Write one shard: the pixels, then the table that makes them count."""
    import pyarrow
    import pyarrow.parquet

    columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
    offset = 0
    with atomic_path(building / f"{number:05d}.bin") as path, path.open("wb") as file:
        for row, outcome in stream:
            label = None if source.labels is None else int(source.labels[row])
            if isinstance(outcome, Skipped):
                values = (row, source.ids[row], label, offset, 0, 0, 0, 0, outcome.reason)
            else:
                bits = 8 * outcome.dtype.itemsize
                values = (row, source.ids[row], label, offset, *outcome.shape, bits, None)
                offset += file.write(np.ascontiguousarray(outcome, outcome.dtype.newbyteorder("<")).data)
            for name, value in zip(_COLUMNS, values, strict=True):
                columns[name].append(value)
    table = pyarrow.table(columns, schema=_schema().with_metadata({"bytes": str(offset)}))
    with atomic_path(building / f"{number:05d}.parquet") as path:
        pyarrow.parquet.write_table(table, path)


def _load(folder: Path, number: int, span: range, source: Source) -> _Shard | None:
    """Open one shard, or return ``None`` unless it is whole and holds exactly the rows of ``span``."""
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(folder / f"{number:05d}.parquet")
        size = int((table.schema.metadata or {})[b"bytes"])
        file = folder / f"{number:05d}.bin"
        if file.stat().st_size != size:
            return None
        columns = {name: table.column(name) for name in _COLUMNS}
        ids = columns["id"].to_pylist()
        if columns["row"].to_pylist() != list(span) or ids != [source.ids[row] for row in span]:
            return None
        pixels = np.memmap(file, np.uint8, "r") if size else np.empty(0, np.uint8)
    except (OSError, ValueError, KeyError, pyarrow.ArrowException):
        return None
    reasons = columns["reason"].to_pylist()
    skipped = [Skipped(name, reason) for name, reason in zip(ids, reasons, strict=True) if reason is not None]
    fine = np.array([reason is None for reason in reasons], dtype=bool)
    numbers = {name: columns[name].to_numpy()[fine] for name in _NUMBERS}
    shapes = np.stack([numbers[name] for name in ("height", "width", "channels")], axis=1)
    return _Shard(numbers["row"], numbers["offset"], shapes, numbers["bits"], skipped, np.asarray(pixels))


def _schema() -> Any:
    import pyarrow

    texts = {"id": pyarrow.string(), "reason": pyarrow.string()}
    return pyarrow.schema([(name, texts.get(name, pyarrow.int64())) for name in _COLUMNS])


def _sync(folder: Path) -> None:
    """Make renames in a folder last; not every system lets a folder be synced."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
