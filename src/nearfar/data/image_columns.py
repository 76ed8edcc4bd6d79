"""Which column of a table holds the images, and which the labels, by one rule for Parquet, Arrow and Lance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from nearfar.errors import DataError, nearest, require

__all__ = ["IMAGE_COLUMNS", "LABEL_COLUMNS", "class_names_of", "encoded", "find_columns", "is_encoded"]

IMAGE_COLUMNS = ("image", "img", "jpg", "png")
"""Names of the column with encoded images, the first that is there."""

LABEL_COLUMNS = ("label", "labels", "cls", "fine_label", "target")
"""Names of the column with class labels, the first that is there."""


def find_columns(who: str, names: Sequence[str]) -> tuple[str, str | None]:
    """Return the names of the column of images and of the column of labels, if any.

    Raises:
        DataError: when no column has one of the names of `IMAGE_COLUMNS`.
    """
    image = next((name for name in IMAGE_COLUMNS if name in names), None)
    must = f"{', '.join(IMAGE_COLUMNS[:-1])} or {IMAGE_COLUMNS[-1]}"
    fix = nearest(IMAGE_COLUMNS[0], names)
    require(image is not None, who, "the name of the column of images", must, ", ".join(names[:10]), fix,
            error=DataError)  # fmt: skip
    return image or "", next((name for name in LABEL_COLUMNS if name in names), None)


def is_encoded(kind: Any) -> bool:
    """Whether an Arrow type holds encoded images: bytes, or structs with the field ``bytes``."""
    from pyarrow import types

    if types.is_struct(kind):
        return any(kind.field(at).name == "bytes" for at in range(kind.num_fields))
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))


def encoded(value: Any) -> bytes:
    """Return the bytes of one cell: bytes themselves, or a struct's field ``bytes``; empty where it is null."""
    content = value.get("bytes") if isinstance(value, dict) else value
    return content if isinstance(content, bytes) else b""


def class_names_of(metadata: dict[bytes, bytes] | None, label: str | None) -> list[str] | None:
    """Return the class names that the ``datasets`` library notes in a file's schema."""
    try:
        info = json.loads((metadata or {})[b"huggingface"])
        return [str(name) for name in info["info"]["features"][label]["names"]]
    except (KeyError, ValueError, TypeError):
        return None
