"""One image file, or one Pillow image, to a (H, W, C) array, by stated rules.

Channels
    Grey is 1 channel, colour 3. Palette, CMYK, YCbCr, LAB and HSV images are colour. Transparent pixels are laid over
    white, unless 4 channels are asked for. A TIFF of several grey pages of one size has a channel a page; of any other
    file with several frames the first is read. From grey to colour the channel is repeated; from colour to grey
    the ITU-R 601-2 luma is taken; no other change of the number of channels is made.
Depth
    8 and 16 bits. 16-bit colour PNG is read with 8 bits, which is what Pillow can. From 8 to 16 bits values are
    multiplied by 257, back they are divided by it.
Orientation
    The EXIF orientation is applied.
JPEG
    Plain files are decoded by simplejpeg where it is installed, all others by Pillow; see `nearfar.data.jpeg`.
Size
    At most 178,956,970 pixels, Pillow's own limit against decompression bombs.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfar.data import jpeg
from nearfar.data.source import ItemError
from nearfar.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["SUFFIXES", "Kind", "file_kind", "fit_kind", "picture_array", "read_picture", "resize_shorter"]

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
"""The endings, in lower case, of the files that count as images."""

_MOST_PIXELS = 178_956_970
_ORIENTATION = 0x0112
_ONE_CHANNEL = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F"})
_SIXTEEN_BITS = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
_EXIF_TRANSPOSE = (2, 3, 4, 5, 6, 7, 8)


class Kind(NamedTuple):
    """The number of channels and the bits of each (8 or 16)."""

    channels: int
    bits: int


def read_picture(
    file: Path | str | bytes, *, kind: Kind | None = None, side: int | None = None, name: str | None = None
) -> NDArray[Any]:
    """Decode one image file.

    Args:
        file: its path, or its content.
        kind: what to bring it to; as the file is when absent.
        side: when the shorter side is longer than this many pixels, the image is resized to it. Large JPEGs are
            decoded at a reduced scale (the DCT's) not below it.
        name: what stands first in the error; the path when absent.

    Returns:
        (H, W, C) uint8 or uint16.

    Raises:
        ItemError: ``NAME: cannot be read (reason)`` when the file is missing, empty, truncated, no image, or of
            another kind.
    """
    from PIL import Image, UnidentifiedImageError

    who = name or (str(file) if isinstance(file, Path | str) else "image")
    try:
        content = _jpeg_content(file)
        plain = None if content is None else jpeg.decode(content, side=side, most_pixels=_MOST_PIXELS)
        if plain is not None:
            return _fitted(_turned(*plain), kind, side)
        with Image.open(_openable(file if content is None else content)) as image:
            if side is not None and image.format == "JPEG" and min(image.size) >= 2 * side:
                image.draft(None, (side, side))
            return picture_array(image, kind=kind, side=side)
    except MemoryError:
        raise
    except UnidentifiedImageError:
        raise ItemError(who, _why_no_image(file)) from None
    except OSError as error:
        raise ItemError(who, error.strerror or str(error) or type(error).__name__) from None
    # Pillow's plugins raise errors of many other kinds (SyntaxError, struct.error, ...) on broken files.
    except Exception as error:
        raise ItemError(who, str(error) or type(error).__name__) from None


def picture_array(image: Image, *, kind: Kind | None = None, side: int | None = None) -> NDArray[Any]:
    """Turn a Pillow image into a (H, W, C) array, as `read_picture` does.

    Raises:
        DataError: when its mode or size is not supported.
    """
    if image.width * image.height > _MOST_PIXELS:
        raise DataError(f"must have at most {_MOST_PIXELS:,} pixels, got {image.width} x {image.height}")
    pages = _tiff_channels(image)
    if pages > 1:
        array = _read_pages(image, pages)
    else:
        array = _single(image, keep_alpha=kind is not None and kind.channels == 4)
    return _fitted(array, kind, side)


def _fitted(array: NDArray[Any], kind: Kind | None, side: int | None) -> NDArray[Any]:
    if kind is not None:
        array = fit_kind(array, kind)
    return array if side is None else resize_shorter(array, side)


def _jpeg_content(file: Path | str | bytes) -> bytes | None:
    """Return the content of what may be a JPEG file by its ending or its first bytes."""
    if isinstance(file, bytes):
        return file if file.startswith(b"\xff\xd8") else None
    return Path(file).read_bytes() if str(file).lower().endswith((".jpg", ".jpeg")) else None


def file_kind(file: Path | str | bytes) -> Kind | None:
    """Return a file's kind from its header alone; ``None`` when the header cannot be read."""
    from PIL import Image

    try:
        with Image.open(_openable(file)) as image:
            pages = _tiff_channels(image)
            channels = pages if pages > 1 else 1 if image.mode in _ONE_CHANNEL else 3
            return Kind(channels, 16 if image.mode in _SIXTEEN_BITS else 8)
    except MemoryError:
        raise
    except Exception:  # a broken file is reported when it is read
        return None


def fit_kind(image: NDArray[Any], kind: Kind) -> NDArray[Any]:
    """Bring a (H, W, C) image to a kind.

    Raises:
        DataError: when the number of channels would change other than between 1 and 3.
    """
    have = image.shape[2]
    if have == 3 and kind.channels == 1:
        luma = image @ np.array([0.299, 0.587, 0.114])
        image = np.rint(luma)[..., None].astype(image.dtype)
    elif have == 1 and kind.channels == 3:
        image = np.repeat(image, 3, axis=2)
    elif have != kind.channels:
        raise DataError(f"must have {kind.channels} channels, got {have}")
    if image.dtype == np.uint8 and kind.bits == 16:
        return image.astype(np.uint16) * np.uint16(257)
    if image.dtype == np.uint16 and kind.bits == 8:
        return ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return image


def resize_shorter(image: NDArray[Any], side: int) -> NDArray[Any]:
    """Resize a (H, W, C) image so that its shorter side is ``side``; smaller ones are returned as they are.

    Bicubic, antialiased; the aspect is kept within a pixel, so that the longer side is never below ``side``.
    """
    from PIL import Image

    height, width, channels = image.shape
    shorter = min(height, width)
    if shorter <= side:
        return image
    size = max(side, round(width * side / shorter)), max(side, round(height * side / shorter))
    if image.dtype == np.uint8 and channels in (1, 3):
        small = Image.fromarray(image[..., 0] if channels == 1 else np.ascontiguousarray(image))
        array = np.asarray(small.resize(size, Image.Resampling.BICUBIC))
        return array[..., None] if channels == 1 else array
    top = np.iinfo(image.dtype).max
    resized = np.empty((size[1], size[0], channels), image.dtype)
    for channel in range(channels):
        plane = Image.fromarray(image[..., channel].astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
        resized[..., channel] = np.rint(np.asarray(plane)).clip(0, top)
    return resized


def _single(image: Image, *, keep_alpha: bool) -> NDArray[Any]:
    """Return the current frame, upright, as (H, W, C)."""
    from PIL import Image as Pillow

    orientation = image.getexif().get(_ORIENTATION, 1)
    if image.mode in _SIXTEEN_BITS:
        array = _sixteen(np.asarray(image))
    elif image.mode == "F":
        raise DataError("must have 8 or 16 bits a channel, got floating point")
    else:
        mode = "L" if image.mode in _ONE_CHANNEL else "RGB"
        if image.has_transparency_data:
            layer = image.convert("RGBA")
            white = Pillow.new("RGBA", layer.size, "white")
            image = layer if keep_alpha else Pillow.alpha_composite(white, layer).convert(mode)
        elif image.mode != mode:
            image = image.convert(mode)
        array = np.array(image)
        array = array if array.ndim == 3 else array[..., None]
    return _turned(array, orientation)


def _sixteen(array: NDArray[Any]) -> NDArray[Any]:
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > 65_535:
        raise DataError(f"must have 8 or 16 bits a channel, got values {low}..{high}")
    return array.astype(np.uint16)[..., None]


def _turned(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Undo an EXIF orientation; 1 is upright, 5 to 8 exchange the axes."""
    if orientation not in _EXIF_TRANSPOSE:
        return array
    if orientation >= 5:
        array = array.transpose(1, 0, 2)
    vertical = orientation in (3, 4, 7, 8)
    horizontal = orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(array[:: -1 if vertical else 1, :: -1 if horizontal else 1])


def _tiff_channels(image: Image) -> int:
    """Return the number of pages of a TIFF whose pages are channels, else 1."""
    pages = int(getattr(image, "n_frames", 1)) if image.format == "TIFF" else 1
    return pages if pages > 1 and image.mode in _ONE_CHANNEL else 1


def _read_pages(image: Image, pages: int) -> NDArray[Any]:
    planes = []
    for page in range(pages):
        image.seek(page)
        planes.append(_single(image, keep_alpha=False))
    shapes = {(plane.shape, plane.dtype.name) for plane in planes}
    if len(shapes) > 1 or planes[0].shape[2] != 1:
        raise DataError("must have pages of one size and one channel each, got pages that differ")
    return np.concatenate(planes, axis=2)


def _openable(file: Path | str | bytes) -> Path | str | io.BytesIO:
    return io.BytesIO(file) if isinstance(file, bytes) else file


def _why_no_image(file: Path | str | bytes) -> str:
    try:
        size = len(file) if isinstance(file, bytes) else Path(file).stat().st_size
    except OSError as error:
        return error.strerror or str(error)
    return "the file is empty" if size == 0 else "not an image, or of an unknown format"
