"""Data sets of the ``datasets`` library: memory-mapped Arrow files, read at any row; needs the extra ``datasets``.

Lhoest et al., "Datasets: a community library for natural language processing", EMNLP 2021 (demonstrations),
https://arxiv.org/abs/2109.02846
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nearfar.data.image_columns import IMAGE_COLUMNS, LABEL_COLUMNS, encoded, find_columns, is_encoded
from nearfar.data.remote import stamp
from nearfar.data.source import digest
from nearfar.errors import DataError, extra, require

__all__ = ["HuggingFaceShard", "has_images", "hugging_face_parts", "is_hugging_face", "is_saved"]


def is_saved(folder: Path) -> bool:
    """Whether a folder was written by ``save_to_disk`` of a data set or of a dictionary of them."""
    return (folder / "dataset_dict.json").is_file() or (
        (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()
    )


def is_hugging_face(data: Any) -> bool:
    """Whether an object is one of the library's; asks only when somebody has imported it."""
    module = sys.modules.get("datasets")
    kinds = ("Dataset", "DatasetDict", "IterableDataset", "IterableDatasetDict")
    return module is not None and isinstance(data, tuple(getattr(module, kind) for kind in kinds))


def has_images(data: Any) -> bool:
    """Whether the library's object is to be read here: all but a data set of arrays, or with a user's transform."""
    features = getattr(data, "features", None)
    if not hasattr(data, "format") or features is None:
        return True
    picture = importlib.import_module("datasets").Image
    encoded_ones = [
        name for name in IMAGE_COLUMNS if name in features and is_encoded(features.arrow_schema.field(name).type)
    ]
    typed = any(isinstance(feature, picture) for feature in features.values())
    return (typed or bool(encoded_ones)) and data.format["type"] != "custom"


def hugging_face_parts(data: Any) -> dict[str, Any]:
    """Return the data sets in a saved folder or an object, by their splits; one without a split is under "data".

    Raises:
        MissingExtraError: when the library is not installed.
        DataError: when the folder cannot be read, or the data set can only be gone through from its start.
    """
    who = str(data) if isinstance(data, Path) else type(data).__name__
    datasets = extra("datasets", "datasets", who)
    if isinstance(data, Path):
        try:
            data = datasets.load_from_disk(str(data))
        except Exception as error:  # the library raises errors of many kinds on broken folders
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise DataError(f"{who}: cannot be read as a saved data set ({first})") from None
    if isinstance(data, datasets.IterableDataset | datasets.IterableDatasetDict):
        raise DataError(
            f"{who}: a data set must have rows that can be read in any order, got a stream; give the URL of its "
            "Parquet files (hf://datasets/OWNER/NAME/FOLDER), which are then read where they lie"
        )
    if isinstance(data, datasets.DatasetDict):
        return dict(data)
    return {"data" if data.split is None else str(data.split): data}


class HuggingFaceShard:
    """The images of one data set.

    Args:
        name: of its split; ids begin with it.
        dataset: has a column of images or of bytes and, optionally, one of labels: the first of the type ``Image`` and
            of ``ClassLabel``, else by the names in `nearfar.data.image_columns`.

    Raises:
        DataError: when it is empty or has no such column.
    """

    def __init__(self, name: str, dataset: Any) -> None:
        library = importlib.import_module("datasets")  # by name: its types are not followed
        self.path = name
        self._dataset = dataset.with_format(None)
        features = self._dataset.features
        typed = [column for column, feature in features.items() if isinstance(feature, library.Image)]
        classes = [column for column, feature in features.items() if isinstance(feature, library.ClassLabel)]
        image, label = (typed[0], None) if typed else find_columns(name, list(features))
        label = next((column for column in LABEL_COLUMNS if column in features), classes[0] if classes else label)
        images = self._dataset.select_columns([image])
        if typed:
            images = images.cast_column(image, library.Image(decode=False))
        kind = images.features.arrow_schema.field(image).type
        require(is_encoded(kind), name, f"the column {image!r}", "images or bytes", kind, error=DataError)
        require(len(dataset) >= 1, name, "the number of rows", ">= 1", 0, error=DataError)
        self._images, self._image = images, image
        self.keys = [str(row) for row in range(len(dataset))]
        self.labels: list[Any] = [None] * len(dataset)
        self.class_names: list[str] | None = None
        if label is not None:
            self.labels = list(self._dataset.select_columns([label])[:][label])
            self.class_names = list(features[label].names) if isinstance(features[label], library.ClassLabel) else None

    def content(self, row: int) -> bytes:
        """Return the encoded image of a row; empty where it is null."""
        return self._bytes(self._images[row][self._image])

    def contents(self, rows: Sequence[int]) -> list[bytes]:
        """Return the encoded images of several rows, in their order."""
        return [self._bytes(cell) for cell in self._images[[int(row) for row in rows]][self._image]]

    def stamp(self) -> str:
        """A text that differs when the data set does: the library's fingerprint of it, and its files' times."""
        files = [stamp(file["filename"]) for file in self._dataset.cache_files]
        return digest("hugging face", str(getattr(self._dataset, "_fingerprint", "")), files)

    def _bytes(self, cell: Any) -> bytes:
        path = cell.get("path") if isinstance(cell, dict) else None
        if path and not cell.get("bytes"):  # the data set names the file and does not hold it
            return Path(path).read_bytes()
        return encoded(cell)
