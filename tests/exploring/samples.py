"""A small collection with two clear classes, a pair of duplicates and a wrong label."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

COUNT, DIM = 120, 8
WRONG = 11
"""The row whose label is not that of its neighbours."""


def vectors(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(COUNT, DIM)).astype(np.float32) * 0.2
    x[:, 0] += np.where(np.arange(COUNT) % 2, 1.0, -1.0)
    x[5] = x[3] + np.float32(1e-4)
    return x


def write_embeddings(path: Path, *, seed: int = 0, order: Any = None, label: bool = True) -> Path:
    """Write items "pets/0.png", ... with a label and further columns."""
    rows = np.arange(COUNT) if order is None else np.asarray(order)
    x = vectors(seed)[rows]
    labels = [("cat", "dog")[int(row) % 2] for row in rows]
    labels = ["cat" if row == WRONG else name for row, name in zip(rows, labels, strict=True)]
    columns = {
        "id": [f"pets/{row}.png" for row in rows],
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), DIM),
        "weight": [None if row == 7 else float(row) / 7 for row in rows],
        "home": [("old <b>town</b>", "hill", None)[int(row) % 3] for row in rows],
        "note": [f"note {row}" for row in rows],
    }
    if label:
        columns["label"] = labels
    pq.write_table(pa.table(columns), path)
    return path


def write_pictures(folder: Path) -> Path:
    """Write the pictures of the items."""
    (folder / "pets").mkdir(parents=True)
    for row in range(COUNT):
        pixels = np.full((64, 64, 3), (row * 2, 200 * (row % 2), 255 - row * 2), np.uint8)
        Image.fromarray(pixels).save(folder / "pets" / f"{row}.png")
    return folder


def png(colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((16, 16, 3), colour, np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()
