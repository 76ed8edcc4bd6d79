"""Pictures from strangers: told by their header, refused when too large or of another format, and only then decoded."""

from __future__ import annotations

import io
from typing import Any

from numpy.typing import NDArray

from nearfar.serving.refusal import Refused

__all__ = ["FORMATS", "MEDIA_TYPES", "check_picture", "open_picture"]

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
"""What is decoded. Pillow knows many more; some of them call other programs."""

MEDIA_TYPES = ("image/jpeg", "image/png", "image/webp", "image/bmp", "image/tiff")


def check_picture(content: bytes, pixels: int) -> None:
    """Look at the header alone.

    Raises:
        Refused: 415 when it is no picture of these formats, 413 when it has more pixels, over all its frames.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            frames = int(getattr(image, "n_frames", 1)) if image.format == "TIFF" else 1
            size = (*image.size, frames)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Refused(413, _too_large(pixels, "many more")) from None
    except Exception:  # Pillow's plugins raise errors of many kinds on broken files
        raise Refused(415, f"picture: must be a readable {', '.join(FORMATS)} file, got something else") from None
    if size[0] * size[1] * size[2] > pixels:
        raise Refused(413, _too_large(pixels, " x ".join(str(one) for one in size if one > 1)))


def open_picture(content: bytes, *, pixels: int, channels: int) -> NDArray[Any]:
    """Decode a picture to (H, W, C) uint8.

    Raises:
        Refused: as `check_picture`.
        ItemError: when it is broken.
    """
    from nearfar.data.picture import Kind, read_picture

    check_picture(content, pixels)
    return read_picture(content, kind=Kind(channels, 8), name="picture")


def _too_large(pixels: int, got: str) -> str:
    return f"picture: must have at most {pixels:,} pixels, got {got}; make it smaller first"
