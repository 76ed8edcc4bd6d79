"""One Parquet file that holds encoded images, read a row group at a time."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from nearfar.data.remote import open_file, stamp
from nearfar.errors import DataError, nearest, require

__all__ = ["ParquetShard", "holds_images"]

_GROUPS_KEPT = 8


def holds_images(names: Sequence[str]) -> bool:
    """Whether a Parquet file with these columns holds images rather than paths of them."""
    return "image" in names and "path" not in names


class ParquetShard:
    """The images of one Parquet file; the last few row groups read are kept.

    Args:
        path: path or URL; column ``image`` (bytes, or structs with ``bytes``) and, optionally, ``label``.

    Raises:
        DataError: when it cannot be read or has no such column.
    """

    def __init__(self, path: str) -> None:
        import pyarrow
        import pyarrow.parquet

        self.path = path
        try:
            with open_file(path) as file:
                parquet = pyarrow.parquet.ParquetFile(file)
                schema, metadata = parquet.schema_arrow, parquet.metadata
                fix = nearest("image", schema.names)
                require("image" in schema.names, path, "the columns", "image and, optionally, label", "no image", fix,
                        error=DataError)  # fmt: skip
                groups = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
                has = "label" in schema.names
                self.labels: list[Any] = parquet.read(["label"]).column(0).to_pylist() if has else [None] * sum(groups)
        except (OSError, pyarrow.ArrowException) as error:
            raise DataError(f"{path}: cannot be read as Parquet ({str(error).partition(chr(10))[0]})") from None
        self.keys = [str(row) for row in range(sum(groups))]
        require(bool(self.keys), path, "the number of rows", ">= 1", 0, error=DataError)
        self.class_names = _hugging_face_names(schema.metadata)
        self._starts = np.cumsum([0, *groups])
        self._kept: OrderedDict[int, Any] = OrderedDict()
        self._lock = threading.Lock()

    def content(self, row: int) -> bytes:
        """Return the encoded image of a row; empty where it is null."""
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        value = self._group(group)[row - int(self._starts[group])].as_py()
        content = value.get("bytes") if isinstance(value, dict) else value
        return content if isinstance(content, bytes) else b""

    def stamp(self) -> str:
        """A text that differs when the file does."""
        return stamp(self.path)

    def _group(self, group: int) -> Any:
        """Return the images of a row group; one thread reads while the others wait for what it reads."""
        import pyarrow
        import pyarrow.parquet

        with self._lock:
            if group not in self._kept:
                try:
                    with open_file(self.path) as file:
                        table = pyarrow.parquet.ParquetFile(file).read_row_group(group, columns=["image"])
                except pyarrow.ArrowException as error:
                    raise OSError(str(error).partition("\n")[0]) from None
                self._kept[group] = table.column(0)
                if len(self._kept) > _GROUPS_KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(group)
            return self._kept[group]


def _hugging_face_names(metadata: dict[bytes, bytes] | None) -> list[str] | None:
    """Return the class names that the ``datasets`` library notes in a file's schema."""
    try:
        info = json.loads((metadata or {})[b"huggingface"])
        return [str(name) for name in info["info"]["features"]["label"]["names"]]
    except (KeyError, ValueError, TypeError):
        return None
