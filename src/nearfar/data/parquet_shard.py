"""One Parquet file that holds encoded images, read a row group at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nearfar.data.image_columns import IMAGE_COLUMNS, class_names_of, encoded, find_columns, is_encoded
from nearfar.data.kept import Kept
from nearfar.data.remote import open_file, stamp
from nearfar.errors import DataError, require

__all__ = ["ParquetShard", "holds_images"]


def holds_images(names: Sequence[str]) -> bool:
    """Whether a Parquet file with these columns holds images rather than paths of them."""
    return "path" not in names and any(name in names for name in IMAGE_COLUMNS)


class ParquetShard:
    """The images of one Parquet file.

    Args:
        path: path or URL; a column of bytes, or of structs with ``bytes``, and, optionally, one of labels; see
            `nearfar.data.image_columns` for their names.
        kept: holds the row groups read last, of this file and of others.

    Raises:
        DataError: when it cannot be read or has no such column.
    """

    def __init__(self, path: str, kept: Kept | None = None) -> None:
        import pyarrow
        import pyarrow.parquet

        self.path = path
        try:
            with open_file(path) as file:
                parquet = pyarrow.parquet.ParquetFile(file)
                schema, metadata = parquet.schema_arrow, parquet.metadata
                self._image, label = find_columns(path, schema.names)
                kind = schema.field(self._image).type
                require(is_encoded(kind), path, f"the column {self._image!r}", "bytes", kind, error=DataError)
                groups = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
                read = None if label is None else parquet.read([label]).column(0).to_pylist()
                self.labels: list[Any] = [None] * sum(groups) if read is None else read
        except (OSError, pyarrow.ArrowException) as error:
            raise DataError(f"{path}: cannot be read as Parquet ({str(error).partition(chr(10))[0]})") from None
        self.keys = [str(row) for row in range(sum(groups))]
        require(bool(self.keys), path, "the number of rows", ">= 1", 0, error=DataError)
        self.class_names = class_names_of(schema.metadata, label)
        self._starts = np.cumsum([0, *groups])
        self._kept = kept or Kept()

    def content(self, row: int) -> bytes:
        """Return the encoded image of a row; empty where it is null."""
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        images = self._kept.get((self.path, group), lambda: self._read(group))
        return encoded(images[row - int(self._starts[group])].as_py())

    def contents(self, rows: Sequence[int]) -> list[bytes]:
        """Return the encoded images of several rows."""
        return [self.content(row) for row in rows]

    def stamp(self) -> str:
        """A text that differs when the file does."""
        return stamp(self.path)

    def _read(self, group: int) -> Any:
        """Return the images of a row group."""
        import pyarrow
        import pyarrow.parquet

        try:
            with open_file(self.path) as file:
                table = pyarrow.parquet.ParquetFile(file).read_row_group(group, columns=[self._image])
        except pyarrow.ArrowException as error:
            raise OSError(str(error).partition("\n")[0]) from None
        return table.column(0)
