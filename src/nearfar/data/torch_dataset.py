"""Any map-style ``torch.utils.data.Dataset`` of images as a source."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data.arrays import image_array
from nearfar.data.labels import encode_labels
from nearfar.data.picture import Kind, fit_kind, picture_array
from nearfar.data.source import ItemError, check_source
from nearfar.errors import DataError, require
from nearfar.progress import track

__all__ = ["DatasetSource"]

_IMAGE_KEYS = ("image", "images", "img", "x", "pixel_values", "input")
_LABEL_KEYS = ("label", "labels", "target", "y", "class")
_LABEL_ATTRIBUTES = ("targets", "labels")


class DatasetSource:
    """A torch data set that yields an image, ``(image, label, ...)``, or a mapping with ``image`` and ``label``.

    An image is a Pillow image, a (H, W[, C]) array or a (C, H, W) tensor; numbers follow `image_array`, so views must
    not have been made and nothing normalised yet. Labels come from the data set's ``targets`` or ``labels`` where it
    has them; else one pass through the data set reads them. Items are read one at a time, since few data sets may be
    read from several threads at once. The number of channels is the first item's unless given.

    Args:
        dataset: has ``len`` and ``[]``.
        channels: the number of channels wanted; 1 and 3 are converted to each other.
        read_labels: whether to look for labels at all.

    Raises:
        DataError: when it has no length, is empty, or its first item has no image.
    """

    def __init__(self, dataset: Any, *, channels: int | None = None, read_labels: bool = True) -> None:
        self.dataset = dataset
        self._who = type(dataset).__name__
        self._lock = threading.Lock()
        try:
            count = len(dataset)
        except TypeError:
            fix = "collect its items in a list or an array"
            raise DataError(f"{self._who}: a data set must have a length, got an iterable one; {fix}") from None
        self.ids: Sequence[str] = [str(row) for row in range(count)]
        check_source(self._who, self.ids, None)
        self._kind: Kind | None = None
        first = self.read(0)
        self._kind = Kind(first.shape[2] if channels is None else channels, 8 * first.dtype.itemsize)
        fit_kind(first, self._kind)
        found = self._find_labels() if read_labels else None
        given = getattr(dataset, "classes", None)
        named = isinstance(given, Sequence) and not isinstance(given, str)
        names = [str(name) for name in given] if named and given is not None else None
        self.labels, self.class_names = encode_labels(found, names) if found is not None else (None, None)

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, index: int) -> NDArray[Any]:
        """Return one (H, W, C) image."""
        try:
            image = _image_of(self._item(index))
            array = self._array(image)
            return array if self._kind is None else fit_kind(array, self._kind)
        except MemoryError:
            raise
        except Exception as error:  # a user's data set may raise anything
            raise ItemError(f"{self._who}[{index}]", str(error) or type(error).__name__) from error

    def fingerprint(self) -> None:
        """``None``: only reading everything would tell the contents."""

    def _item(self, index: int) -> Any:
        with self._lock:
            return self.dataset[index]

    def _array(self, image: Any) -> NDArray[Any]:
        from PIL.Image import Image
        from torch import Tensor

        if isinstance(image, Image):
            return picture_array(image)
        if isinstance(image, Tensor):
            array = image.detach().cpu().numpy()
            array = array.transpose(1, 2, 0) if array.ndim == 3 else array
        elif isinstance(image, np.ndarray):
            array = image
        else:
            raise DataError(f"an image must be a Pillow image, an array or a tensor, got {type(image).__name__}")
        require(array.ndim in (2, 3), "an image", "its shape", "(H, W) or (H, W, C)", array.shape, error=DataError)
        array = array[..., None] if array.ndim == 2 else array
        checked: NDArray[Any] = image_array(array[None], "an image")[0]
        return checked

    def _find_labels(self) -> Sequence[Any] | None:
        """Return N labels, or ``None`` when the data set has none."""
        for name in _LABEL_ATTRIBUTES:
            values = getattr(self.dataset, name, None)
            if values is not None and not callable(values) and len(values) == len(self):
                return list(np.asarray(values).tolist())
        if _label_of(self._item(0)) is None:
            return None
        rows = track(range(len(self)), "Reading labels")
        return [_plain(_label_of(self._item(row))) for row in rows]


def _image_of(item: Any) -> Any:
    if isinstance(item, Mapping):
        key = next((key for key in _IMAGE_KEYS if key in item), None)
        if key is None:
            raise DataError(f"an item must have the key 'image', got the keys {', '.join(map(str, item))}")
        return item[key]
    return item[0] if isinstance(item, tuple | list) else item


def _label_of(item: Any) -> Any:
    if isinstance(item, Mapping):
        return next((item[key] for key in _LABEL_KEYS if key in item), None)
    return item[1] if isinstance(item, tuple | list) and len(item) > 1 else None


def _plain(label: Any) -> Any:
    """Unwrap a tensor or array of one number; anything else that is no number or text is no class label."""
    if hasattr(label, "item") and getattr(label, "size", None) is not None:
        label = label.item()
    return label if isinstance(label, str | int | float | np.generic) else None
