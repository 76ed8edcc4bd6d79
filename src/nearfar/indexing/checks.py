"""The checks of what comes into an index, so that no back end has to repeat them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nearfar.errors import InputError, require, sentence
from nearfar.indexing.metrics import Metric
from nearfar.indexing.records import Floats, Id, Label, Metadata

__all__ = ["check_ids", "check_labels", "check_metadata", "check_one_kind", "check_thumbnails", "check_vectors"]

T = TypeVar("T")

LARGEST = 1e15
"""The largest magnitude of a value, so that no squared norm overflows float32."""

WHOLE = 2**53
"""Whole numbers of metadata lie within ±2⁵³, where every back end and JSON keep them exactly."""

ID_BYTES = 60_000
"""The longest id or label in UTF-8; Milvus holds 65,535 bytes."""

METADATA_BYTES = 60_000
"""The longest metadata of one item as JSON, for the same reason."""

THUMBNAIL_BYTES = 1_000_000
"""The largest thumbnail."""


def check_vectors(who: str, vectors: ArrayLike, dim: int, metric: Metric) -> Floats:
    """Return (N, dim) float32, or say what is wrong with them."""
    array = np.asarray(vectors)
    require(array.dtype.kind in "fiu", who, "vectors", "real numbers", array.dtype)
    require(array.ndim == 2 and array.shape[1] == dim, who, "vectors", f"of shape (N, {dim})", array.shape)
    array = np.ascontiguousarray(array, dtype=np.float32)
    if not array.size:
        return array
    low, high = float(array.min()), float(array.max())
    if not (low >= -LARGEST and high <= LARGEST):  # NaN fails both
        bad = int(np.argmin((np.abs(array) <= LARGEST).all(axis=1)))
        raise InputError(sentence(who, "values", "finite and within ±1e15", f"another in row {bad}"))
    if metric == "cosine":
        _check_norms(who, array)
    return array


def _check_norms(who: str, array: Floats) -> None:
    squares = np.einsum("nd,nd->n", array, array)
    suspects = np.flatnonzero(squares < 1e-28)  # most vectors are far from it, and float32 squares of the rest lie
    if len(suspects):
        few = array[suspects].astype(np.float64)
        tiny = suspects[(np.linalg.norm(few, axis=1) < 1 / LARGEST) & few.any(axis=1)]
        require(not len(tiny), who, "vectors", "zero or of norm >= 1e-15 for cosine", f"row {[*tiny, 0][0]} below")


def check_ids(who: str, ids: Iterable[Any]) -> list[Id]:
    """Return the ids as a list of text or of whole numbers, or say what is wrong with them."""
    require(not isinstance(ids, str | bytes), who, "ids", "a list of ids", repr(ids), "put it in a list")
    listed = ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
    kinds = set(map(type, listed))
    if kinds - {str, int}:
        listed = [_id(who, name) for name in listed]
        kinds = set(map(type, listed))
    if str in kinds:
        for name in listed:
            if type(name) is str and not _plain(name):
                raise InputError(sentence(who, "ids", PLAIN, repr(name[:40])))
    if int in kinds:
        for name in listed:
            if type(name) is int and not -(2**63) <= name < 2**63:
                raise InputError(sentence(who, "ids", "within 64 bits", name))
    return cast(list[Id], listed)


PLAIN = f"text without NUL and lone surrogates, of at most {ID_BYTES} bytes"


def _plain(text: str) -> bool:
    if text.isascii():
        return len(text) <= ID_BYTES and "\0" not in text
    try:
        return len(text.encode()) <= ID_BYTES and "\0" not in text
    except UnicodeEncodeError:
        return False


def _id(who: str, name: object) -> Id:
    if isinstance(name, np.str_):
        return str(name)
    whole = isinstance(name, int | np.integer) and not isinstance(name, bool | np.bool_)
    if not (whole or isinstance(name, str)):
        raise InputError(sentence(who, "ids", "text or whole numbers", repr(name)))
    return str(name) if isinstance(name, str) else int(cast(int, name))


def check_labels(who: str, labels: Iterable[Any] | None, count: int) -> list[Label]:
    """Return as many labels as ids, or say what is wrong with them."""
    if labels is None:
        return [None] * count
    values = labels.tolist() if isinstance(labels, np.ndarray) else list(labels)
    if set(map(type, values)) - {str, int, type(None)}:
        values = [_label(who, value) for value in values]
    require(len(values) == count, who, "labels", f"as many as ids, {count}", len(values))
    for value in set(values):
        if isinstance(value, str):
            require(_plain(value), who, "labels", PLAIN, repr(value[:40]))
        elif value is not None:
            require(-(2**63) <= value < 2**63, who, "labels", "within 64 bits", value)
    return values


def _label(who: str, value: object) -> Label:
    if value is None or isinstance(value, str):
        return None if value is None else str(value)
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value)
    raise InputError(sentence(who, "labels", "text, whole numbers or None", repr(value)))


def check_one_kind(who: str, what: str, values: Iterable[Any], known: type | None) -> None:
    """Refuse values that mix text with whole numbers, among themselves or with what the index holds already."""
    kinds = set(map(type, values)) - {type(None)}
    if len(kinds | ({known} if known is not None else set())) > 1:
        raise InputError(f"{who}: {what} must be all text or all whole numbers within one index, got both")


def check_metadata(who: str, metadata: Sequence[Metadata | None] | None, count: int) -> list[dict[str, Any]]:
    """Return as many dictionaries of JSON values as ids, without fields that are ``None``."""
    if metadata is None:
        return [{} for _ in range(count)]
    require(not isinstance(metadata, Mapping), who, "metadata", "one mapping per id", "one mapping")
    require(len(metadata) == count, who, "metadata", f"as many as ids, {count}", len(metadata))
    return [_one(who, row, given) for row, given in enumerate(metadata)]


SIMPLE = (str, int, float, bool)


def _one(who: str, row: int, given: Metadata | None) -> dict[str, Any]:
    if given is None:
        return {}
    require(isinstance(given, Mapping), who, "metadata", "mappings", f"{type(given).__name__} in row {row}")
    clean = {name: _value(who, row, value, 0) for name, value in given.items() if value is not None}
    for name in clean:
        fine = isinstance(name, str) and 0 < len(name) <= 200 and _plain(name) and name not in ("id", "label")
        must = "text of 1 to 200 characters, and neither 'id' nor 'label'"
        require(fine, who, "the names of metadata", must, f"{name!r} in row {row}"[:100])
    size = sum(len(v) for v in clean.values() if isinstance(v, str)) if _flat(clean) else METADATA_BYTES
    if size * 4 + 300 * len(clean) > METADATA_BYTES:
        length = len(json.dumps(clean, ensure_ascii=False).encode())
        require(
            length <= METADATA_BYTES, who, "metadata", f"of at most {METADATA_BYTES} bytes", f"{length} in row {row}"
        )
    return clean


def _flat(clean: dict[str, Any]) -> bool:
    return all(type(value) in SIMPLE for value in clean.values())


def _value(who: str, row: int, value: Any, depth: int) -> Any:
    kind = type(value)
    if kind in SIMPLE:
        _check_simple(who, row, value)
        return value
    if isinstance(value, np.generic):
        return _value(who, row, value.item(), depth)
    require(depth < 20, who, "metadata", "at most 20 levels deep", f"more in row {row}")
    if isinstance(value, Mapping) and all(isinstance(name, str) and _plain(name) for name in value):
        return {name: None if v is None else _value(who, row, v, depth + 1) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [None if v is None else _value(who, row, v, depth + 1) for v in value]
    must = "text, numbers, booleans, or lists and mappings of them"
    raise InputError(sentence(who, "metadata", must, f"{kind.__name__} in row {row}"))


def _check_simple(who: str, row: int, value: str | int | float | bool) -> None:
    if isinstance(value, str):
        require(_plain(value), who, "metadata", PLAIN, f"{value[:40]!r} in row {row}")
    elif isinstance(value, float):
        require(math.isfinite(value), who, "numbers of metadata", "finite", f"{value} in row {row}")
    else:
        require(-WHOLE <= value <= WHOLE, who, "whole numbers of metadata", "within ±2^53", f"{value} in row {row}")


def check_thumbnails(who: str, thumbnails: Sequence[bytes | None] | None, count: int) -> list[bytes | None]:
    """Return as many thumbnails as ids, or say what is wrong with them."""
    if thumbnails is None:
        return [None] * count
    require(len(thumbnails) == count, who, "thumbnails", f"as many as ids, {count}", len(thumbnails))
    for row, picture in enumerate(thumbnails):
        fine = picture is None or (isinstance(picture, bytes) and 0 < len(picture) <= THUMBNAIL_BYTES)
        must = f"encoded pictures of at most {THUMBNAIL_BYTES} bytes"
        got = f"{type(picture).__name__} of {len(picture) if picture is not None else 0} in row {row}"
        require(fine, who, "thumbnails", must, got)
    return list(thumbnails)


def first_kind(values: NDArray[np.object_] | Sequence[Any]) -> type | None:
    """Return the type of the first value that is not ``None``."""
    return next((type(value) for value in values if value is not None), None)
