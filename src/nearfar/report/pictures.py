"""From arrays to pictures one can look at: PIL images, PNG bytes and data URIs.

One rule for every kind of picture, said once here:

- (H, W) and one channel are grey; two channels are magenta and green (readable to the colour-blind, as in microscopy);
  three are red, green and blue; of more, the first three are shown as red, green and blue.
- uint8, bool, and floats within [0, 1] are shown as they are. Everything else (uint16, other floats, other integers) is
  stretched linearly over ``value_range``, by default from the smallest to the largest value of the pictures shown
  together, so that brightness can be compared between them. Values that are not finite are shown as the smallest.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import InputError, require

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["as_is", "data_uri", "fit", "shared_range", "to_bytes", "to_image", "to_png"]

JPEG_FROM = 64
"""Colour pictures with a longer edge than this go into pages as JPEG, all others as PNG."""


def as_is(array: NDArray[Any]) -> bool:
    """Whether the values can be shown without stretching: uint8, bool, or floats within [0, 1]."""
    if array.dtype in (np.uint8, np.bool_):
        return True
    if array.dtype.kind != "f":
        return False
    finite = array[np.isfinite(array)]
    return bool(finite.size == 0 or (finite.min() >= 0 and finite.max() <= 1))


def shared_range(arrays: Iterable[NDArray[Any]]) -> tuple[float, float] | None:
    """Return the (smallest, largest) value over all arrays, or None when every array can be shown as it is.

    Arrays of uint8 and bool never take part: they have a range of their own.
    """
    low, high, stretch = np.inf, -np.inf, False
    for array in arrays:
        if array.dtype in (np.uint8, np.bool_):
            continue
        stretch = stretch or not as_is(array)
        finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    return (low, high) if stretch and low <= high else None


def to_image(array: NDArray[Any], *, value_range: tuple[float, float] | None = None) -> Image:
    """Turn an array into a grey or colour PIL image, by the rule at the top of this file.

    Args:
        array: (H, W) or (H, W, C), channels last, C >= 1; bool, integer or float.
        value_range: the values shown as black and white; ignored for uint8 and bool.

    Raises:
        InputError: when the array has another shape, no pixels, or a type that is not a number.
    """
    from PIL import Image

    array = np.asarray(array)
    require(array.ndim in (2, 3), "to_image", "picture", "of shape (H, W) or (H, W, C)", array.shape)
    require(array.size > 0, "to_image", "picture", "of at least one pixel and channel", array.shape)
    require(array.dtype.kind in "biuf", "to_image", "type of the picture", "a number", array.dtype)
    pixels = _to_uint8(array, value_range)
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return Image.fromarray(np.ascontiguousarray(pixels.reshape(pixels.shape[:2])))
    if pixels.shape[2] == 2:
        pixels = pixels[:, :, [0, 1, 0]]
    return Image.fromarray(np.ascontiguousarray(pixels[:, :, :3]))


def _to_uint8(array: NDArray[Any], value_range: tuple[float, float] | None) -> NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if value_range is None:
        value_range = shared_range([array]) or (0.0, 1.0)
    low, high = value_range
    require(high >= low, "to_image", "value_range", "(low, high) with low <= high", value_range)
    values = np.where(np.isfinite(array), array, low).astype(np.float64)
    scaled = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return np.asarray(np.rint(np.clip(scaled, 0, 1) * 255), dtype=np.uint8)


def to_png(array: NDArray[Any], *, value_range: tuple[float, float] | None = None) -> bytes:
    """Return a picture as the bytes of a PNG file; see `to_image` for the rule and the errors."""
    return to_bytes(to_image(array, value_range=value_range), "PNG")


def to_bytes(image: Image, kind: str) -> bytes:
    """Encode a PIL image as ``"PNG"`` or ``"JPEG"``."""
    buffer = io.BytesIO()
    options: dict[str, Any] = {"optimize": True} if kind == "PNG" else {"quality": 82}
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def fit(image: Image, edge: int) -> Image:
    """Shrink an image so that its longer edge is at most ``edge`` pixels; a smaller one is returned as it is."""
    from PIL.Image import Resampling

    require(edge >= 1, "fit", "edge", ">= 1", edge)
    longest = max(image.size)
    if longest <= edge:
        return image
    width, height = (max(1, round(side * edge / longest)) for side in image.size)
    return image.resize((width, height), Resampling.LANCZOS)


def data_uri(content: Image | bytes) -> str:
    """Return a PIL image, or the bytes of a PNG or JPEG file, as a ``data:`` address that needs no file.

    Raises:
        InputError: when the bytes are neither PNG nor JPEG.
    """
    if not isinstance(content, bytes):
        kind = "JPEG" if content.mode == "RGB" and max(content.size) > JPEG_FROM else "PNG"
        content = to_bytes(content, kind)
    if content.startswith(b"\x89PNG"):
        media = "image/png"
    elif content.startswith(b"\xff\xd8"):
        media = "image/jpeg"
    else:
        raise InputError(f"data_uri: content must be a PNG or JPEG file, got bytes that begin with {content[:4]!r}")
    return f"data:{media};base64,{base64.b64encode(content).decode('ascii')}"
