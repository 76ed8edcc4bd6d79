"""What an item looks or sounds like: its thumbnail and its content, as bytes with a media type.

A modality is a function from an id to bytes. Ids of requests are looked up among the ids known; none is ever a path.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import DataError

if TYPE_CHECKING:
    from nearfar.data import Source

__all__ = ["EDGE", "Content", "Media", "SourceMedia", "encoded", "media_type"]

EDGE = 128
"""Pixels of the longer side of a thumbnail."""
LARGEST = 1024
"""Pixels of the longer side of an item that is looked at."""
KEPT = 20_000
"""Thumbnails kept in memory."""


class Content(NamedTuple):
    """Bytes and what they are."""

    media_type: str
    data: bytes


class Media(Protocol):
    """What a modality shows of its items.

    Attributes:
        kind: the modality's name, by which a page knows how to show the content.
    """

    kind: str

    def thumbnail(self, name: str) -> Content | None:
        """Return a small picture of an item, or ``None`` when there is none."""
        ...

    def content(self, name: str) -> Content | None:
        """Return the item as a browser shows or plays it, or ``None`` when there is none."""
        ...


class SourceMedia:
    """Items of a source, shown by two functions of their modality.

    Args:
        source: the items.
        kind: the modality's name.
        picture: from an item to an (H, W, C) array: the image itself, a spectrogram, a heat map.
        play: from an item to what a browser shows or plays; ``None`` where the picture is all there is.
    """

    def __init__(
        self,
        source: Source,
        kind: str = "image",
        *,
        picture: Callable[[Any], NDArray[Any]] = np.asarray,
        play: Callable[[Any], Content | None] = lambda item: None,
    ) -> None:
        self.source, self.kind = source, kind
        self._picture, self._play = picture, play
        self._rows = {name: row for row, name in enumerate(source.ids)}
        self._kept: OrderedDict[str, Content] = OrderedDict()
        self._lock = threading.Lock()

    def thumbnail(self, name: str) -> Content | None:
        """Return a picture of at most 128 pixels a side; the last 20,000 are kept in memory."""
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
        item = self._read(name)
        if item is None:
            return None
        made = encoded(self._picture(item), EDGE)
        with self._lock:
            self._kept[name] = made
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return made

    def content(self, name: str) -> Content | None:
        """Return what the modality plays or shows, else the picture with at most 1024 pixels a side."""
        item = self._read(name)
        return None if item is None else self._play(item) or encoded(self._picture(item), LARGEST)

    def _read(self, name: str) -> Any:
        row = self._rows.get(name)
        if row is None:
            return None
        try:
            return self.source.read(row)
        except DataError:
            return None


def encoded(image: NDArray[Any], edge: int) -> Content:
    """Return an (H, W, C) image of at most ``edge`` pixels a side: small ones as PNG, others as JPEG."""
    from PIL import Image

    pixels = np.asarray(image)
    if pixels.dtype != np.uint8:
        top = np.iinfo(pixels.dtype).max if pixels.dtype.kind in "iu" else 1.0
        pixels = (pixels.astype(np.float64) / top * 255).clip(0, 255).astype(np.uint8)
    pixels = pixels[..., 0] if pixels.shape[2] not in (3, 4) else pixels[..., :3]
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((edge, edge), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if max(picture.size) <= 48:
        picture.save(buffer, format="PNG")
        return Content("image/png", buffer.getvalue())
    picture.save(buffer, format="JPEG", quality=85)
    return Content("image/jpeg", buffer.getvalue())


def media_type(picture: bytes) -> str:
    """Return the type of an encoded picture by its first bytes."""
    if picture.startswith(b"\x89PNG"):
        return "image/png"
    return "image/webp" if picture[8:12] == b"WEBP" else "image/jpeg"
