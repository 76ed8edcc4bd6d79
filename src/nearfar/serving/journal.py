"""A journal of writes beside an index that lives in memory, so that no acknowledged write is lost, even by a kill.

One line a write: the CRC-32 of the rest as eight hexadecimal digits, a space, and JSON, in which vectors are base64 of
little-endian float32. A write is acknowledged once its line is synced to the disk. When the index is saved as a whole
the journal is begun anew. Lines say what holds after them ("put" or "remove"), so going through them twice does no
harm, and the last line may be torn, because then nobody was told that it was written.
"""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from nearfar.errors import RunError
from nearfar.indexing import Id, Records

__all__ = ["Journal", "Write"]


class Write(NamedTuple):
    """One write: items that are put in, or ids that are taken out.

    Attributes:
        put: the items; ``None`` of a removal.
        remove: the ids; empty otherwise.
    """

    put: Records | None
    remove: list[Id]


class Journal:
    """Append-only; one writer.

    Args:
        path: its file, made when first written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] | None = None

    @property
    def size(self) -> int:
        """Its bytes on disk."""
        return self.path.stat().st_size if self.path.exists() else 0

    def append(self, write: Write) -> None:
        """Add a line and sync it; on an error the file is as it was.

        Raises:
            OSError: when the disk refuses.
        """
        line = _line(write)
        if self._file is None:
            fresh = not self.path.exists()
            self._file = self.path.open("ab", buffering=0)
            if fresh:
                _sync_folder(self.path.parent)
        before = os.fstat(self._file.fileno()).st_size
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError:
            os.ftruncate(self._file.fileno(), before)
            raise

    def read(self) -> Iterator[Write]:
        """Yield all writes; a torn last line is cut off.

        Raises:
            RunError: when a line before the last is damaged.
        """
        if not self.path.exists():
            return
        good = 0
        with self.path.open("rb") as file:
            for line in file:
                write = _parsed(line)
                if write is None:
                    if file.read(1):
                        fix = "move it away to go on without its writes"
                        raise RunError(f"{self.path}: is damaged after byte {good}; {fix}")
                    break
                yield write
                good += len(line)
        if good < self.size:
            os.truncate(self.path, good)

    def clear(self) -> None:
        """Begin anew, because everything stands in the index now."""
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _line(write: Write) -> bytes:
    content: dict[str, Any] = {"remove": write.remove} if write.put is None else _packed(write.put)
    text = json.dumps(content, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _packed(put: Records) -> dict[str, Any]:
    raw = np.ascontiguousarray(put.vectors, dtype="<f4").tobytes()
    pictures = [None if one is None else base64.b64encode(one).decode() for one in put.thumbnails]
    return {
        "put": put.ids,
        "vectors": base64.b64encode(raw).decode(),
        "labels": put.labels,
        "metadata": put.metadata,
        "thumbnails": pictures,
    }


def _parsed(line: bytes) -> Write | None:
    checksum, text = line[:8], line[9:-1]
    if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(text):
        return None
    content = json.loads(text)
    if "remove" in content:
        return Write(None, content["remove"])
    ids = content["put"]
    vectors = np.frombuffer(base64.b64decode(content["vectors"]), dtype="<f4").reshape(len(ids), -1)
    pictures = [None if one is None else base64.b64decode(one) for one in content["thumbnails"]]
    return Write(Records(ids, vectors.astype(np.float32), content["labels"], content["metadata"], pictures), [])


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
