"""What a page shows: one collection, one map or two of it, media, and the neighbours of all items."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import DataError, require
from nearfar.exploring.collection import Collection
from nearfar.exploring.graph import Graph
from nearfar.indexing import Neighbours
from nearfar.serving import Content, Media

__all__ = ["Hits", "Plane", "View"]

Floats = NDArray[np.float32]
Hits = list[dict[str, Any]]
SHOWN_GROUPS = 200
SHOWN_DOUBTS = 500


@dataclass
class Plane:
    """One encoder's embeddings of the items, with two coordinates each.

    Attributes:
        name: of the encoder or file.
        note: what the axes are.
        collection: the items.
        coordinates: (N, 2) float32, in the order of the first plane's items.
        search: finds neighbours.
    """

    name: str
    note: str
    collection: Collection
    coordinates: Floats
    search: Callable[[Floats, int], Neighbours]


@dataclass
class View:
    """Everything behind a page.

    Attributes:
        planes: one, or two of the same items.
        media: shows the items, if they are at hand.
        k: neighbours that are shown.
        kept: finds thumbnails in the index itself, by text ids, where there is no media.
        upload: what can be searched by (``"image"``, ...), if there is an encoder.
        text: whether there is an encoder of texts.
    """

    planes: list[Plane]
    media: Media | None = None
    kept: Callable[[str], Content | None] | None = None
    k: int = 24
    upload: str | None = None
    text: bool = False
    graph: Graph = field(init=False)

    def __post_init__(self) -> None:
        first = self.planes[0]
        self.graph = Graph(first.collection, first.search)
        for plane in self.planes[1:]:
            missing = next((name for name in first.collection.ids if name not in plane.collection.row), None)
            must, got = f"of the items of {first.collection.name}", f"nothing of {str(missing)[:80]!r}"
            require(missing is None, plane.collection.name, "embeddings", must, got, error=DataError)
        # Page rows to the rows of each plane, whose items may come in another order.
        self._order = [np.array([plane.collection.row[name] for name in first.collection.ids]) for plane in self.planes]

    @property
    def collection(self) -> Collection:
        """The items, as the first plane has them."""
        return self.planes[0].collection

    def rows_of(self, plane: int) -> NDArray[np.int64]:
        """Return (N,) each item's row in one of the planes."""
        return self._order[plane]

    def described(self) -> dict[str, Any]:
        """Return what a page needs before it draws."""
        items = self.collection
        return {
            "name": items.name,
            "count": len(items),
            "dim": int(items.vectors.shape[1]),
            "metric": items.metric,
            "columns": [column.described() for column in items.columns],
            "maps": [{"name": plane.name, "note": plane.note} for plane in self.planes],
            "pictures": self.media is not None or self.has_kept,
            "media": None if self.media is None else self.media.kind,
            "upload": self.upload,
            "text": self.text,
            "findings": items.metric != "dot" and len(items) > 2,
            "k": min(self.k, max(1, len(items) - 1)),
        }

    @property
    def has_kept(self) -> bool:
        """Whether the index has pictures; the first few items tell."""
        if self.kept is None:
            return False
        return any(self.kept(name) is not None for name in self.collection.ids[:5])

    def thumbnail(self, row: int) -> Content | None:
        """Return a small picture of an item."""
        name = self.collection.ids[row]
        shown = None if self.media is None else self.media.thumbnail(name)
        return self.kept(name) if shown is None and self.kept is not None else shown

    def content(self, row: int) -> Content | None:
        """Return the item itself, as a browser shows or plays it."""
        return None if self.media is None else self.media.content(self.collection.ids[row])

    def check_rows(self, rows: list[int]) -> None:
        """Refuse numbers of items that do not exist."""
        wrong = next((row for row in rows if not 0 <= row < len(self.collection)), None)
        require(wrong is None, "explore", "rows", f"within 0 and {len(self.collection) - 1}", wrong)

    def one(self, row: int) -> dict[str, Any]:
        """Return an item as a page shows it."""
        return {"row": row, "id": self.collection.ids[row], "values": self.collection.values(row)}

    def neighbours(self, row: int, k: int, plane: int) -> Hits:
        """Return the nearest others of an item, by one of the planes."""
        self.check_rows([row])
        require(0 <= plane < len(self.planes), "explore", "map", f"within 0 and {len(self.planes) - 1}", plane)
        vectors = self.planes[plane].collection.vectors
        own = int(self._order[plane][row])
        found = self.planes[plane].search(vectors[own : own + 1], min(k + 1, len(self.collection)))
        return [hit for hit in self.hits(found) if hit["row"] != row][:k]

    def hits(self, found: Neighbours) -> Hits:
        """Return the neighbours of one query by their rows; items added since the page was made have none."""
        known = self.collection.row
        pairs = zip(found.ids[0], found.distances[0].tolist(), strict=False)
        return [{"row": known[str(name)], "distance": distance} for name, distance in pairs if str(name) in known]

    def find(self, text: str, most: int = 60) -> list[int]:
        """Return the rows whose ids hold a text; one that is the id itself comes first."""
        wanted, exact = text.lower(), self.collection.row.get(text)
        found = [] if exact is None else [exact]
        for row, name in enumerate(self.collection.ids):
            if len(found) >= most:
                break
            if row != exact and wanted in name.lower():
                found.append(row)
        return found

    def duplicates(self, cut: float | None) -> dict[str, Any]:
        """Return groups of near-duplicates, or how far the search for neighbours is."""
        if not self.graph.ready:
            return {"ready": False, "progress": self.graph.progress}
        usual, most = self.graph.usual_cut()
        limit = usual if cut is None else cut
        groups = self.graph.duplicates(limit)
        shown = [{"rows": group.rows[:200], "distance": group.distance} for group in groups[:SHOWN_GROUPS]]
        items = sum(len(group.rows) for group in groups)
        return {
            "ready": True, "cut": limit, "most": most, "total": len(groups), "items": items, "groups": shown,
        }  # fmt: skip

    def doubts(self) -> dict[str, Any]:
        """Return items whose neighbours have another label, or how far the search for neighbours is."""
        if not self.graph.ready:
            return {"ready": False, "progress": self.graph.progress}
        found = self.graph.doubts()
        return {"ready": True, "total": len(found), "items": [vars(one) for one in found[:SHOWN_DOUBTS]]}

    def csv(self, rows: list[int]) -> str:
        """Return ids and columns of items as CSV (RFC 4180)."""
        import csv
        import io

        self.check_rows(rows)
        names = [column.name for column in self.collection.columns]
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer)
        writer.writerow(["id", *names])
        for row in rows:
            values = self.collection.values(row)
            writer.writerow([self.collection.ids[row], *(values.get(name, "") for name in names)])
        return buffer.getvalue()
