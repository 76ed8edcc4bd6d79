"""JPEG files through libjpeg-turbo itself where simplejpeg is installed (extra ``fast-jpeg``), else not at all.

Pillow's decoder is the same library behind a buffered file interface, which costs a fifth of the time or more on small
photographs (`benchmarks/decoding.py`). Only plain files are decoded here: grey or YCbCr, 8 bits, complete. For all
others, broken ones too, `decode` returns ``None`` and Pillow reads them and says what is wrong with them.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["Plain", "decode", "header"]

_MAGIC = b"\xff\xd8\xff"
_SIZES = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended and progressive Huffman
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length
_SCAN, _APP1, _APP2, _ADOBE = 0xDA, 0xE1, 0xE2, 0xEE
_EXIF = b"Exif\0\0"
_ORIENTATION = 0x0112


class Plain(NamedTuple):
    """What a plain JPEG file says of itself."""

    height: int
    width: int
    channels: int
    orientation: int


def header(content: bytes) -> Plain | None:
    """Read the markers up to the first scan; ``None`` when the file is anything but plain."""
    if not content.startswith(_MAGIC):
        return None
    at, size, orientation = 2, None, None
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker in _ALONE or marker == 0xFF:
            return None
        length = int.from_bytes(content[at + 2 : at + 4], "big")
        segment = content[at + 4 : at + 2 + length]
        if marker == _SCAN:
            return None if size is None else Plain(*size, orientation or 1)
        if marker in _SIZES:
            size = _size(segment)
        elif marker == _APP1 and segment.startswith(_EXIF):
            orientation = _orientation(segment) if orientation is None else 0  # of two, Pillow chooses
        if orientation == 0 or (marker in _SIZES and size is None) or _strange(marker, segment):
            return None
        at += 2 + length
    return None


def decode(content: bytes, *, side: int | None, most_pixels: int) -> tuple[NDArray[np.uint8], int] | None:
    """Decode a plain JPEG file.

    Args:
        content: the file.
        side: when the shorter side is at least twice this, decode at the smallest of 1/2, 1/4 and 1/8 of the size
            (the DCT's) whose shorter side is not below it, as Pillow's draft mode does.
        most_pixels: larger files are left to others.

    Returns:
        (H, W, C) with C 1 or 3, not turned yet, and its EXIF orientation; ``None`` when this is not for us: no
        simplejpeg, not plain, or broken.
    """
    turbo = _turbo()
    plain = None if turbo is None else header(content)
    if turbo is None or plain is None or plain.height * plain.width > most_pixels:
        return None
    scale = _scale(plain, side)
    color = "GRAY" if plain.channels == 1 else "RGB"
    least: dict[str, Any] = {}
    if scale > 1:
        least = {"min_height": -(-plain.height // scale), "min_width": -(-plain.width // scale), "min_factor": scale}
    try:
        image: NDArray[np.uint8] = turbo.decode_jpeg(content, color, **least)
    except ValueError:  # libjpeg-turbo's complaint, also about what Pillow puts up with
        return None
    return image, plain.orientation


@cache
def _turbo() -> ModuleType | None:
    try:
        return importlib.import_module("simplejpeg")
    except ImportError:
        return None


def _scale(plain: Plain, side: int | None) -> int:
    if side is None or min(plain.height, plain.width) < 2 * side:
        return 1
    ratio = min(plain.height, plain.width) // side
    return next(scale for scale in (8, 4, 2) if scale <= ratio)


def _size(segment: bytes) -> tuple[int, int, int] | None:
    """Return height, width and components of a frame of 8 bits with 1 or 3 of them."""
    if len(segment) < 6 or segment[0] != 8:
        return None
    height, width = int.from_bytes(segment[1:3], "big"), int.from_bytes(segment[3:5], "big")
    return (height, width, segment[5]) if height and width and segment[5] in (1, 3) else None


def _orientation(segment: bytes) -> int:
    """Return the orientation that an EXIF segment tells, 1 when none, 0 when Pillow should find it out."""
    from PIL import Image

    try:
        exif = Image.Exif()
        exif.load(segment)
        found = exif.get(_ORIENTATION, 1)
    except Exception:  # Pillow's parser raises errors of many kinds on broken tags
        return 0
    return found if isinstance(found, int) and 1 <= found <= 8 else 0


def _strange(marker: int, segment: bytes) -> bool:
    """Whether a segment tells what only Pillow reads: other colours, several pictures, an orientation in XMP."""
    if marker == _APP1 and not segment.startswith(_EXIF):
        return b"Orientation" in segment
    if marker == _ADOBE and segment.startswith(b"Adobe"):
        return len(segment) < 12 or segment[11] != 1
    return marker == _APP2 and segment.startswith(b"MPF\0")
