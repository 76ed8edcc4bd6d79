"""From the labels people write to class numbers, by one rule for arrays, manifests and torch data sets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import DataError, require

__all__ = ["class_order", "encode_labels"]

_LARGEST_NUMBER = 65_535


def class_order(names: Iterable[str]) -> list[str]:
    """Sort distinct class names: as numbers when all of them are whole numbers, else as text."""
    distinct = set(names)
    if all(name.isdecimal() and name.isascii() for name in distinct):
        return sorted(distinct, key=lambda name: (int(name), name))
    return sorted(distinct)


def encode_labels(
    values: Sequence[Any], class_names: Sequence[str] | None = None
) -> tuple[NDArray[np.int64] | None, tuple[str, ...] | None]:
    """Return (N,) int64 labels and the classes' names.

    ``None``, NaN, the empty text and -1 mean unknown. When every other value is a whole number from 0 to 65,535
    (``3``, ``3.0`` or ``"3"``) it *is* the class number, so that data sets opened apart agree. Otherwise values are
    names, numbered in sorted order; `nearfar.data.relabel` makes two such data sets agree.

    Args:
        values: one a row.
        class_names: the names, where they are known beforehand: texts are then looked up in them, and whole numbers
            are places in them.

    Returns:
        ``(None, None)`` when no label is known.

    Raises:
        DataError: when a label is neither in ``class_names`` nor a place in it.
    """
    texts = [_text(value) for value in values]
    known = {text for text in texts if text}
    if not known:
        return None, None
    if class_names is not None:
        place = {str(number): number for number in range(len(class_names))}
        if any(isinstance(value, str) for value in values):
            place |= {name: number for number, name in enumerate(class_names)}
        strange = min(known - place.keys(), default=None)
        must = f"a name or a place among the {len(class_names)} class names"
        require(strange is None, "labels", "every label", must, repr(strange), error=DataError)
        return np.array([place.get(text, -1) for text in texts], dtype=np.int64), tuple(class_names)
    if all(text.isdecimal() and text.isascii() and int(text) <= _LARGEST_NUMBER for text in known):
        numbers = np.array([int(text) if text else -1 for text in texts], dtype=np.int64)
        return numbers, tuple(str(number) for number in range(int(numbers.max()) + 1))
    names = class_order(known)
    place = {name: number for number, name in enumerate(names)}
    return np.array([place[text] if text else -1 for text in texts], dtype=np.int64), tuple(names)


def _text(value: Any) -> str:
    """Return a label as text, whole numbers without a point; empty when unknown."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    text = str(value).strip()
    try:
        number = float(text)
    except ValueError:
        return text
    if math.isnan(number) or number == -1:
        return ""
    return str(int(number)) if math.isfinite(number) and number.is_integer() and abs(number) < 2**53 else text
