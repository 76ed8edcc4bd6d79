"""One Lance table of encoded images, read at any row wherever it lies; needs the extra ``lance``.

Chang She et al., the Lance format, https://lance.org/format
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from nearfar.data.image_columns import class_names_of, encoded, find_columns, is_encoded
from nearfar.data.source import digest
from nearfar.errors import DataError, extra, require

__all__ = ["LanceShard", "is_lance", "is_lance_place"]

ENDING = ".lance"


def is_lance_place(place: str) -> bool:
    """Whether a path or URL is that of a Lance table, by its ending."""
    return place.rstrip("/").lower().endswith(ENDING)


def is_lance(data: Any) -> bool:
    """Whether an object is an open Lance table; asks only when somebody has imported Lance."""
    module = sys.modules.get("lance")
    return module is not None and isinstance(data, module.LanceDataset)


class LanceShard:
    """The images of one Lance table, as it was when it was opened; rows that others add later are not seen.

    Args:
        table: path or URL that ends in ``.lance`` (S3, GCS and Azure are Lance's own), or an open table (of LanceDB,
            what ``table.to_lance()`` returns). A column of bytes, of blobs, or of structs with ``bytes``, and,
            optionally, one of labels; see `nearfar.data.image_columns` for their names.

    Raises:
        MissingExtraError: when Lance is not installed.
        DataError: when the table cannot be read or has no such column.
    """

    def __init__(self, table: Any) -> None:
        self.path = str(table.uri if is_lance(table) else table).rstrip("/")
        lance = extra("lance", "lance", self.path)
        try:
            self._table = table if is_lance(table) else lance.dataset(self.path)
            schema, count = self._table.schema, self._table.count_rows()
            self._image, label = find_columns(self.path, schema.names)
            read = None if label is None else self._table.to_table(columns=[label]).column(0).to_pylist()
        except (OSError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{self.path}: cannot be read as a Lance table ({_first_line(error)})") from None
        field = schema.field(self._image)
        self._blobs = _is_blob(field)
        must = "bytes or blobs"
        fits = self._blobs or is_encoded(field.type)
        require(fits, self.path, f"the column {self._image!r}", must, field.type, error=DataError)
        require(count >= 1, self.path, "the number of rows", ">= 1", count, error=DataError)
        self.keys = [str(row) for row in range(count)]
        self.labels: list[Any] = [None] * count if read is None else read
        self.class_names = class_names_of(schema.metadata, label)

    def content(self, row: int) -> bytes:
        """Return the encoded image of a row; empty where it is null."""
        return self.contents([row])[0]

    def contents(self, rows: Sequence[int]) -> list[bytes]:
        """Return the encoded images of several rows, in their order, with one request."""
        asked = [int(row) for row in rows]
        try:
            if self._blobs:
                read = self._table.read_blobs(self._image, indices=asked, preserve_order=True)
                return [blob or b"" for _, blob in read]
            cells = self._table.take(asked, columns=[self._image]).column(0).to_pylist()
        except (OSError, ValueError) as error:
            raise OSError(_first_line(error)) from None
        return [encoded(cell) for cell in cells]

    def stamp(self) -> str:
        """A text that differs when the table does: the names of its files, which no two writings share."""
        parts = [
            f"{fragment.deletion_file()} " + " ".join(file.path for file in fragment.data_files())
            for fragment in self._table.get_fragments()
        ]
        return digest("lance", parts)


def _is_blob(field: Any) -> bool:
    """Whether Lance keeps a column's values apart from its rows, in either of its two encodings."""
    old = (field.metadata or {}).get(b"lance-encoding:blob") == b"true"
    return old or getattr(field.type, "extension_name", "") == "lance.blob.v2"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
