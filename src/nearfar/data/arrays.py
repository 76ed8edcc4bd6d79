"""Images that are in memory already, or in a memory-mapped array."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nearfar.data.labels import encode_labels
from nearfar.data.picture import Kind, fit_kind
from nearfar.data.source import check_source, digest
from nearfar.errors import DataError, require

__all__ = ["ArraySource", "image_array"]

_CHUNK_BYTES = 64 << 20


class ArraySource:
    """Images given as one array.

    Args:
        images: (N, H, W) or (N, H, W, C); (N, C, H, W) is taken as such when C is 1, 3 or 4 and H and W exceed 12.
            uint8 and uint16 are kept as they are, without a copy; other types become one of them by the rule of
            `image_array`.
        labels: N class numbers or names, unknown ones -1, ``None`` or NaN; see `nearfar.data.labels`.
        class_names: the names of class 0, 1, ...; taken from ``labels`` when absent.
        ids: N unique texts; the row number when absent.
        who: what stands first in errors, such as the file's name.

    Raises:
        DataError: when shape, type, range or number do not fit; NaN names its first row.
    """

    labels: NDArray[np.int64] | None = None
    class_names: tuple[str, ...] | None = None

    def __init__(
        self,
        images: ArrayLike,
        labels: Sequence[Any] | NDArray[Any] | None = None,
        *,
        class_names: Sequence[str] | None = None,
        ids: Sequence[str] | None = None,
        who: str = "ArraySource",
    ) -> None:
        self.images = image_array(np.asanyarray(images), who)
        self.ids: Sequence[str] = [str(row) for row in range(len(self.images))] if ids is None else list(ids)
        require(
            len(self.ids) == len(self.images),
            who,
            "ids",
            f"{len(self.images)}, one an image",
            len(self.ids),
            error=DataError,
        )
        if labels is not None:
            self._set_labels(labels, class_names, who)
        check_source(who, self.ids, self.labels)

    def _set_labels(self, labels: Sequence[Any] | NDArray[Any], class_names: Sequence[str] | None, who: str) -> None:
        flat = np.asarray(labels)
        flat = flat[:, 0] if flat.ndim == 2 and flat.shape[1] == 1 else flat
        wanted = f"({len(self.images)},)"
        require(
            flat.shape == (len(self.images),), who, "labels", wanted, flat.shape, "give one an image", error=DataError
        )
        self.labels, self.class_names = encode_labels(flat.tolist(), class_names)

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> NDArray[Any]:
        """Return one (H, W, C) image."""
        image: NDArray[Any] = self.images[index]
        # torch warns about arrays it may not write to, such as rows of a memory-mapped file.
        return image if image.flags.writeable else np.array(image)

    def read_many(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        """Return (M, H, W, C) images."""
        return np.asarray(self.images[indices])

    def with_channels(self, channels: int) -> ArraySource:
        """Return the same images with 1 or 3 channels instead of 3 or 1; grey ones are repeated without a copy."""
        have = self.images.shape[3]
        if have == channels:
            return self
        changed = copy.copy(self)
        if (have, channels) == (1, 3):
            changed.images = np.broadcast_to(self.images, (*self.images.shape[:3], 3))
            return changed
        kind = Kind(channels, 8 * self.images.dtype.itemsize)
        changed.images = np.stack([fit_kind(image, kind) for image in self.images])
        return changed

    def fingerprint(self) -> str:
        """Digest of shape, type, pixels, ids and labels."""
        labels = b"" if self.labels is None else self.labels.astype("<i8").tobytes()
        rows = _rows_per_chunk(self.images)
        pixels = (
            digest(np.ascontiguousarray(self.images[at : at + rows]).tobytes())
            for at in range(0, len(self.images), rows)
        )
        kind = f"{self.images.shape} {self.images.dtype.name}"
        return digest("array", kind, pixels, self.ids, labels, self.class_names or ())


def image_array(images: NDArray[Any], who: str) -> NDArray[Any]:
    """Return images as (N, H, W, C) uint8 or uint16.

    uint8 and uint16 stay. bool becomes 0 and 255. Whole numbers within 0..255 become uint8, within 0..65,535 uint16.
    Floating point within 0..1 is multiplied by 255 and rounded to uint8; above that it is rounded as whole numbers are.

    Args:
        images: as for `ArraySource`.
        who: what stands first in errors.

    Raises:
        DataError: for another shape or type, NaN or infinity (the first such row is named), or values out of range.
    """
    require(
        images.ndim in (3, 4), who, "images", "(N, H, W) or (N, H, W, C)", images.shape, "stack them", error=DataError
    )
    require(min(images.shape) > 0, who, "images", "of no empty axis", images.shape, error=DataError)
    if images.ndim == 3:
        images = images[..., None]
    elif images.shape[1] in (1, 3, 4) and min(images.shape[2:]) > 12:
        images = images.transpose(0, 2, 3, 1)
    if images.dtype in (np.uint8, np.uint16):
        return images
    if images.dtype == np.bool_:
        return images.astype(np.uint8) * np.uint8(255)
    numeric = np.issubdtype(images.dtype, np.integer) or np.issubdtype(images.dtype, np.floating)
    require(numeric, who, "images", "numbers", images.dtype, "no objects, texts or complex numbers", error=DataError)
    return _whole(images, who)


def _whole(images: NDArray[Any], who: str) -> NDArray[Any]:
    """Scale and round other numbers into uint8 or uint16, a few rows at a time to bound the memory."""
    rows = _rows_per_chunk(images)
    starts = range(0, len(images), rows)
    low, high = np.inf, -np.inf
    for at in starts:
        part = images[at : at + rows]
        finite = np.isfinite(part).all(axis=(1, 2, 3))
        if not finite.all():
            row = at + int(np.argmin(finite))
            raise DataError(f"{who}: images must be finite, got NaN or infinity in row {row}; remove or mend that row")
        low, high = min(low, float(part.min())), max(high, float(part.max()))
    fix = "scale them to 0..1 or 0..255, before any normalisation"
    require(low >= 0 and high <= 65_535, who, "images", "within 0..65535", f"{low:g}..{high:g}", fix, error=DataError)
    scale = 255.0 if np.issubdtype(images.dtype, np.floating) and high <= 1 else 1.0
    whole = np.empty(images.shape, np.uint8 if high * scale <= 255 else np.uint16)
    for at in starts:
        whole[at : at + rows] = np.rint(images[at : at + rows].astype(np.float64) * scale)
    return whole


def _rows_per_chunk(images: NDArray[Any]) -> int:
    return max(1, int(_CHUNK_BYTES // max(1, images[0].nbytes)))
