"""A view in one file: everything that its page would ask a service for."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import DataError, require
from nearfar.exploring.graph import find_neighbours
from nearfar.exploring.page import file_page
from nearfar.exploring.view import View
from nearfar.progress import say

__all__ = ["MOST", "contents", "html"]

MOST = 5_000
"""Items in a file; more would make it larger than a mail can carry."""
TILES = 40
PAIRS = 20_000
DOUBTS = 500


def html(view: View) -> str:
    """Return the page of a view as one self-contained file.

    Raises:
        DataError: when there are more than 5,000 items.
    """
    count, fix = len(view.collection), "serve them instead (leave --html out), or take a sample"
    must = f"at most {MOST:,} for one file"
    require(count <= MOST, view.collection.name, "number of items", must, f"{count:,}", fix, error=DataError)
    return file_page(view.collection.name, contents(view))


def contents(view: View) -> dict[str, Any]:
    """Return everything that the page shows, as JSON values; arrays are base64 of little-endian numbers."""
    items = view.collection
    meta = view.described() | {"upload": None, "text": False}
    near = [_neighbours(view, plane, meta["k"]) for plane in range(len(view.planes))]
    sheets, edge = _sheets(view)
    found: dict[str, Any] = {
        "meta": meta | {"pictures": bool(sheets)},
        "ids": list(items.ids),
        "values": {one.name: [items.values(row).get(one.name) for row in range(len(items))] for one in items.columns},
        "columns": [base64.b64encode(column.packed()).decode() for column in items.columns],
        "maps": [_packed(np.ascontiguousarray(plane.coordinates.T), "<f4") for plane in view.planes],
        "near": [{"rows": _packed(rows, "<i4"), "distances": _packed(far, "<f4")} for rows, far in near],
        "k": meta["k"],
        "sheets": sheets,
        "edge": edge,
        "side": TILES,
    }
    if meta["findings"]:
        view.graph.wait()
        usual, most = view.graph.usual_cut()
        found["duplicates"] = {"cut": usual, "most": most, "pairs": view.graph.pairs(most)[:PAIRS]}
        doubts = view.graph.doubts()
        found["doubts"] = {"ready": True, "total": len(doubts), "items": [vars(one) for one in doubts[:DOUBTS]]}
    return found


def _neighbours(view: View, plane: int, k: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return (N, k) neighbours of every item, by the numbers of the first plane."""
    other = view.planes[plane].collection
    rows, distances = find_neighbours(other, k, search=view.planes[plane].search)
    order = view.rows_of(plane)
    back = np.full(len(other), -1, np.int32)
    back[order] = np.arange(len(order), dtype=np.int32)
    found = np.where(rows[order] >= 0, back[rows[order]], -1).astype(np.int32)
    return found, np.where(found >= 0, distances[order], 0).astype(np.float32)


def _sheets(view: View) -> tuple[list[str], int]:
    """Return all thumbnails on sheets of 40 x 40, as data URIs, and the edge of one."""
    if view.media is None and not view.has_kept:
        return [], 0
    import io

    from PIL import Image

    from nearfar.report.pictures import data_uri
    from nearfar.report.point_map import sprite_sheets

    pictures, missing = [], 0
    for row in range(len(view.collection)):
        shown = view.thumbnail(row)
        if shown is None:
            missing += 1
            pictures.append(np.full((64, 64, 3), 200, np.uint8))
            continue
        with Image.open(io.BytesIO(shown.data)) as image:
            pictures.append(np.asarray(image.convert("RGB")))
    if missing:
        say(f"{missing} of {len(view.collection)} items have no picture")
    if missing == len(view.collection):
        return [], 0
    sheets, edge = sprite_sheets(pictures)
    return [data_uri(one) for one in sheets], edge


def _packed(values: NDArray[Any], kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values).astype(kind).tobytes()).decode("ascii")
