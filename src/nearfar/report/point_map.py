"""A 2-D map of many points for a page: the data a browser draws from, and the picture that stands in for it."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import require
from nearfar.report.pictures import data_uri, shared_range, to_bytes, to_image
from nearfar.report.style import LIGHT, MARKERS, figure_png, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

__all__ = ["MAX_POINTS", "PointMap", "map_figure", "map_fragment", "sprite_sheets"]

MAX_POINTS = 20_000
TILES_A_SIDE = 40
LOSSLESS_UP_TO = 2_000_000
"""Bytes of raw thumbnails up to which they are kept as PNG; more become JPEG."""
EDGES = ((2_500, 64), (5_000, 48), (MAX_POINTS, 32))
"""Points up to which thumbnails are kept at this edge, so that a page stays within a few MB."""
NAMES_UP_TO = 30
HINT = (
    "Point at one to see it; click it for its nearest neighbours. Drag to move; zoom with + and −, or with the wheel "
    "once the map was clicked. By keyboard: arrows walk from point to point, with Shift they move the map, 0 shows "
    "all, Escape lets go."
)


@dataclass(frozen=True)
class PointMap:
    """N points on a plane and what is known of them.

    Attributes:
        coordinates: (N, 2) numbers, for example from `nearfar.report.project`; at most 20,000 points.
        labels: (N,) class numbers into ``class_names``, -1 = unknown; None = no classes.
        class_names: the classes in words.
        thumbnails: N pictures, channels last; None = none.
        ids: N names of the samples; None = their numbers.
        neighbours: (N, k) numbers of each point's nearest neighbours in the embedding space, nearest first, without the
            point itself; None = none are shown.
        distances: (N, k) the neighbours' distances, >= 0.
        axis_note: what the axes are, for example "t-SNE of cosine distances".
    """

    coordinates: NDArray[Any]
    labels: NDArray[Any] | None = None
    class_names: Sequence[str] = ()
    thumbnails: Sequence[NDArray[Any]] | NDArray[Any] | None = None
    ids: Sequence[str] | None = None
    neighbours: NDArray[Any] | None = None
    distances: NDArray[Any] | None = None
    axis_note: str = ""

    def __post_init__(self) -> None:
        shape, who = self.coordinates.shape, "PointMap"
        require(len(shape) == 2 and shape[1] == 2 and shape[0] > 0, who, "coordinates", "of shape (N > 0, 2)", shape)
        count = shape[0]
        fix = "draw a sample of the points"
        require(count <= MAX_POINTS, who, "number of points", f"<= {MAX_POINTS:,}", f"{count:,}", fix)
        require(bool(np.isfinite(self.coordinates).all()), who, "coordinates", "finite", "NaN or infinity")
        if self.labels is not None:
            require(self.labels.shape == (count,), who, "labels", f"of shape ({count},)", self.labels.shape)
            low, high = int(self.labels.min()), int(self.labels.max())
            must = f"within -1 and {len(self.class_names) - 1}, the last of class_names"
            require(low >= -1 and high < len(self.class_names), who, "labels", must, f"{low} to {high}")
        for name, rows in (("thumbnails", self.thumbnails), ("ids", self.ids)):
            require(
                rows is None or len(rows) == count, who, name, f"{count}, one a point", 0 if rows is None else len(rows)
            )
        self._check_neighbours(count)

    def _check_neighbours(self, count: int) -> None:
        found, who = self.neighbours, "PointMap"
        if found is None:
            require(self.distances is None, who, "distances", "None without neighbours", "an array")
            return
        require(found.ndim == 2 and len(found) == count, who, "neighbours", f"of shape ({count}, k)", found.shape)
        inside = found.size == 0 or (int(found.min()) >= 0 and int(found.max()) < count)
        require(inside, who, "neighbours", f"numbers of points, 0 to {count - 1}", "one outside")
        if self.distances is not None:
            require(
                self.distances.shape == found.shape, who, "distances", f"of shape {found.shape}", self.distances.shape
            )
            ok = bool(np.isfinite(self.distances).all() and (self.distances >= 0).all())
            require(ok, who, "distances", "finite and >= 0", "another")


def map_figure(points: PointMap, *, size: float = 6.4) -> Figure:
    """Draw the map as a picture: colours and shapes a class, and each class's name where its middle is."""
    from matplotlib.figure import Figure
    from matplotlib.patheffects import withStroke

    figure = Figure(figsize=(size, size * 0.72), layout="constrained", facecolor=LIGHT.paper)
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_aspect("equal", adjustable="datalim")
    xy = points.coordinates
    labels = np.zeros(len(xy), dtype=np.int64) if points.labels is None else points.labels
    marker_area = float(np.clip(14_000 / len(xy), 3, 22))
    for label in np.unique(labels):
        chosen = xy[labels == label]
        colour = LIGHT.soft if label < 0 else LIGHT.series[label % len(LIGHT.series)]
        shape = MARKERS[_shape(label)]
        axes.scatter(chosen[:, 0], chosen[:, 1], s=marker_area, c=colour, marker=shape, linewidths=0, alpha=0.8)
    if points.labels is not None and len(points.class_names) <= NAMES_UP_TO:
        for label in np.unique(labels[labels >= 0]):
            x, y = np.median(xy[labels == label], axis=0)
            outline = [withStroke(linewidth=3, foreground="#ffffff")]
            axes.text(
                x, y, plain(points.class_names[label]), ha="center", va="center", fontsize=10, fontweight="bold",
                color="#000000", path_effects=outline,
            )  # fmt: skip
    return figure


def _shape(label: int) -> int:
    """Return which shape a class has; shifts after each round of colours, so no two of fifty classes look the same."""
    return 0 if label < 0 else int(label + label // len(LIGHT.series)) % len(MARKERS)


def sprite_sheets(thumbnails: Sequence[NDArray[Any]] | NDArray[Any]) -> tuple[list[bytes], int]:
    """Put thumbnails on sheets of 40 x 40 square tiles, row by row; return the sheets' bytes and the tile's edge.

    Tiny pictures keep their pixels (PNG); many or large ones are shrunk to a tile of at most 64 pixels and become JPEG.
    """
    import PIL.Image

    ranged = shared_range(np.asarray(one) for one in thumbnails)
    pictures = [to_image(np.asarray(one), value_range=ranged) for one in thumbnails]
    edge = min(max(max(one.size) for one in pictures), next(edge for most, edge in EDGES if len(pictures) <= most))
    mode = "L" if all(one.mode == "L" for one in pictures) else "RGB"
    lossless = len(pictures) * edge * edge * len(mode) <= LOSSLESS_UP_TO
    if not lossless:
        edge = -(-edge // 16) * 16  # whole blocks of JPEG, so that no tile bleeds into the next
    sheets, per_sheet = [], TILES_A_SIDE**2
    for start in range(0, len(pictures), per_sheet):
        some = pictures[start : start + per_sheet]
        rows = -(-len(some) // TILES_A_SIDE)
        canvas = PIL.Image.new(mode, (TILES_A_SIDE * edge, rows * edge))
        for n, one in enumerate(some):
            tile = _tile(one.convert(mode), edge)
            left, top = n % TILES_A_SIDE * edge, n // TILES_A_SIDE * edge
            canvas.paste(tile, (left + (edge - tile.width) // 2, top + (edge - tile.height) // 2))
        sheets.append(to_bytes(canvas, "PNG" if lossless else "JPEG"))
    return sheets, edge


def _tile(image: Image, edge: int) -> Image:
    from PIL.Image import Resampling

    ratio = edge / max(image.size)
    if ratio == 1:
        return image
    size = (max(1, round(image.width * ratio)), max(1, round(image.height * ratio)))
    return image.resize(size, Resampling.NEAREST if ratio > 1 else Resampling.LANCZOS)


def map_fragment(points: PointMap, alt: str, anchor: str) -> str:
    """Return the map as HTML: the picture, and the data from which the page's script draws the living one."""
    still = data_uri(figure_png(map_figure(points), dpi=150))
    note = f" {escape(points.axis_note)}." if points.axis_note else ""
    hint = f"{anchor}-hint"
    return (
        '<figure class="map"><div class="map-bar"></div><div class="map-body"><div class="map-stage">'
        f'<img class="still" src="{still}" alt="{escape(alt)}">'
        f'<canvas tabindex="0" role="application" aria-label="{escape(alt)}" aria-describedby="{hint}" hidden></canvas>'
        '<div class="map-tip" aria-hidden="true" hidden></div></div>'
        '<div class="map-panel"></div></div><p class="unseen" aria-live="polite"></p>'
        f'<figcaption>{len(points.coordinates):,} points.{note} <span id="{hint}" class="hint" hidden>{HINT}</span>'
        f'</figcaption><script type="application/json">{_payload(points)}</script></figure>'
    )


def _payload(points: PointMap) -> str:
    """Return what the script needs as JSON that cannot end its script element."""
    xy = points.coordinates.astype(np.float64)
    low = xy.min(axis=0)
    reach = float((xy.max(axis=0) - low).max()) or 1.0
    grid = np.rint((xy - low) / reach * 65_535).astype("<u2")
    data: dict[str, Any] = {
        "count": len(xy),
        "x": _pack(grid[:, 0]),
        "y": _pack(grid[:, 1]),
        "names": list(points.class_names),
        "namesUpTo": NAMES_UP_TO,
    }
    if points.labels is not None:
        data["labels"] = _pack(points.labels.astype("<i2"))
    if points.ids is not None:
        data["ids"] = list(points.ids)
    if points.neighbours is not None:
        data["k"] = points.neighbours.shape[1]
        data["neighbours"] = _pack(points.neighbours.astype("<u2"))
    if points.distances is not None and points.distances.size:
        most = float(points.distances.max()) or 1.0
        data["most"] = most
        data["distances"] = _pack(np.rint(points.distances / most * 65_535).astype("<u2"))
    if points.thumbnails is not None:
        sheets, edge = sprite_sheets(points.thumbnails)
        data |= {"sheets": [data_uri(one) for one in sheets], "edge": edge, "side": TILES_A_SIDE}
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _pack(values: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")
