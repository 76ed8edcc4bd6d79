"""One tar file in WebDataset's layout, indexed once and then read at any place."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import PurePosixPath

from nearfar.data.picture import SUFFIXES
from nearfar.data.remote import open_file, read_range, stamp
from nearfar.errors import DataError, require

__all__ = ["TarShard"]

_MOST_BYTES = 1 << 30


class TarShard:
    """The images of one uncompressed tar file; each is a member whose siblings share its name up to the first dot.

    Args:
        path: path or URL.

    Raises:
        DataError: when it is no tar file, is compressed or cut off, or holds no image.
    """

    class_names: None = None

    def __init__(self, path: str) -> None:
        self.path = path
        places: dict[str, tuple[int, int]] = {}
        labels: dict[str, str] = {}
        try:
            with open_file(path) as file, tarfile.open(fileobj=file, mode="r:") as tar:
                for member in tar:
                    folder, _, name = member.name.rpartition("/")
                    stem, _, ending = name.partition(".")
                    key = f"{folder}/{stem}" if folder else stem
                    if not member.isfile() or not stem:
                        continue
                    if PurePosixPath(f"x.{ending}").suffix.lower() in SUFFIXES:
                        places.setdefault(key, (member.offset_data, member.size))
                    elif ending.lower() == "cls" and member.size < 1024:
                        content = tar.extractfile(member)
                        labels[key] = "" if content is None else content.read().decode("utf-8", "replace").strip()
                size = file.seek(0, 2)
        except (OSError, tarfile.TarError) as error:
            fix = "shards must be plain, uncompressed tar files"
            raise DataError(f"{path}: cannot be read as a tar file ({error}); {fix}") from None
        require(bool(places), path, "a shard's images", ">= 1", 0, error=DataError)
        whole = all(offset + length <= size for offset, length in places.values())
        require(whole, path, "a tar file", "whole", "one that was cut off", "copy it again", error=DataError)
        self.keys = list(places)
        self.labels = [labels.get(key) for key in self.keys]
        self._places = list(places.values())

    def content(self, row: int) -> bytes:
        """Return the encoded image of a row."""
        offset, length = self._places[row]
        if length > _MOST_BYTES:
            raise OSError(f"must have at most {_MOST_BYTES:,} bytes, got {length:,}")
        return read_range(self.path, offset, length)

    def contents(self, rows: Sequence[int]) -> list[bytes]:
        """Return the encoded images of several rows."""
        return [self.content(row) for row in rows]

    def stamp(self) -> str:
        """A text that differs when the file does."""
        return stamp(self.path)
