"""Pieces of HTML that a page is put together from; every text that comes in is escaped here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import require
from nearfar.report.pictures import data_uri, fit, shared_range, to_image
from nearfar.report.records import Query, ViewGrid, check_views
from nearfar.report.tables import Table, to_html

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "facts",
    "highlights",
    "image_figure",
    "neighbours",
    "picture",
    "pictures",
    "side_by_side",
    "svg_figure",
    "table",
    "views",
]

EDGE = 192
"""Pictures in grids are shrunk to this many pixels; the page shows them at about half, sharp on dense screens."""
PIXELATED_UP_TO = 48
LARGE = 96
"""Pictures of so many pixels a side or more stand larger on the page."""
PLOT = '<figure class="plot">'


def highlights(items: Sequence[tuple[str, str, str]]) -> str:
    """Return a row of large numbers: (number, what it is, detail)."""
    cards = (
        f'<li><span class="value">{escape(value)}</span> <span class="label">{escape(label)}</span> '
        f'<span class="detail">{escape(detail)}</span></li>'
        for value, label, detail in items
    )
    return f'<ul class="highlights">{"".join(cards)}</ul>'


def facts(values: Mapping[str, object]) -> str:
    """Return names and values as a description list."""
    rows = (f"<div><dt>{escape(name)}</dt><dd>{escape(str(value))}</dd></div>" for name, value in values.items())
    return f'<dl class="facts">{"".join(rows)}</dl>'


def table(record: Table) -> str:
    """Return a table that scrolls by itself when the page is narrow, with its notes."""
    notes = "".join(f"<li>{escape(note)}</li>" for note in record.notes)
    label = escape(record.title or "Table")
    return f'<div class="scroll" role="region" aria-label="{label}" tabindex="0">{to_html(record)}</div>' + (
        f'<ul class="notes">{notes}</ul>' if notes else ""
    )


def side_by_side(parts: Sequence[str]) -> list[str]:
    """Put plots that follow one another into one row, which wraps where the page is narrow."""
    rows: list[str] = []
    for is_plot, run in groupby(parts, lambda part: part.startswith(PLOT)):
        some = list(run)
        rows += [f'<div class="plots">{"".join(some)}</div>'] if is_plot and len(some) > 1 else some
    return rows


def svg_figure(svg: str, alt: str, caption: str) -> str:
    """Return an SVG element of our own drawing as a figure; ``alt`` is what a screen reader says."""
    named = svg.replace("<svg", f'<svg role="img" aria-label="{escape(alt)}"', 1)
    return f"{PLOT}{named}{_caption(caption)}</figure>"


def image_figure(content: bytes, alt: str, caption: str) -> str:
    """Return the bytes of a PNG or JPEG file as a figure."""
    return f'{PLOT}<img src="{data_uri(content)}" alt="{escape(alt)}">{_caption(caption)}</figure>'


def picture(image: Image, alt: str) -> str:
    """Return a picture as an ``img``; tiny ones are enlarged pixel by pixel, large ones are shrunk before."""
    tiny = ' class="tiny"' if max(image.size) <= PIXELATED_UP_TO else ""
    small = fit(image, EDGE)
    size = f'width="{small.width}" height="{small.height}"'
    return f'<img{tiny} src="{data_uri(small)}" alt="{escape(alt)}" {size} decoding="async">'


def pictures(
    images: Sequence[NDArray[Any]] | NDArray[Any], captions: Sequence[str], alts: Sequence[str] | None = None
) -> str:
    """Return a grid of pictures with captions.

    Raises:
        InputError: when there are not as many captions (or alts) as pictures.
    """
    require(len(captions) == len(images), "pictures", "captions", f"{len(images)} texts", len(captions))
    texts = captions if alts is None else alts
    require(len(texts) == len(images), "pictures", "alts", f"{len(images)} texts", len(texts))
    shown = (_cell(image, alt, caption) for image, alt, caption in zip(_images(images), texts, captions, strict=True))
    return f'<ul class="grid">{"".join(f"<li>{one}</li>" for one in shown)}</ul>'


def views(grid: ViewGrid) -> str:
    """Return a table of pictures: one row an image, the original first."""
    check_views("views", grid)
    names = list(grid.names) or [f"view {v + 1}" for v in range(len(grid.views))]
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in ["original", *names])
    originals = _images(grid.originals)
    shown = _images([image for view in grid.views for image in view])
    count = len(originals)
    rows = []
    for n in range(count):
        cells = [f'<th scope="row">{_cell(originals[n], f"original {n + 1}", "")}</th>']
        for v, name in enumerate(names):
            caption = grid.captions[v][n] if grid.captions else ""
            cells.append(f"<td>{_cell(shown[v * count + n], f'{name} of original {n + 1}', caption)}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    kind = f" views{_size(originals)}"
    return _picture_table("Views", kind, f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody>")


def neighbours(queries: Sequence[Query]) -> str:
    """Return a table of pictures: one row a query, neighbours nearest first; right and wrong differ in sign and frame.

    Raises:
        InputError: when there is no query.
    """
    require(len(queries) > 0, "neighbours", "queries", "at least one", 0)
    most = max(len(query.neighbours) for query in queries)
    heads = "".join(f'<th scope="col">{rank + 1}</th>' for rank in range(most))
    images = _images([array for q in queries for array in (q.image, *(found.image for found in q.neighbours))])
    shown, rows = iter(images), []
    for query in queries:
        name = " ".join(part for part in (query.label, query.id) if part)
        cells = [f'<th scope="row">{_cell(next(shown), f"query {name}".strip(), query.label, query.id)}</th>']
        for found in query.neighbours:
            state = {True: "right", False: "wrong", None: "unknown"}[found.right]
            sign = {True: "✓", False: "✗", None: ""}[found.right]
            words = f"{found.label or found.id or 'neighbour'}, distance {found.distance:.3f}"
            alt = f"{words}, {state}" if found.right is not None else words
            label = f"{sign} {found.label}".strip()
            cells.append(f'<td class="{state}">{_cell(next(shown), alt, label, f"{found.distance:.3f}")}</td>')
        rows.append(f"<tr>{''.join(cells)}</tr>")
    inner = f'<thead><tr><th scope="col">query</th>{heads}</tr></thead><tbody>{"".join(rows)}</tbody>'
    return _picture_table("Queries and their nearest neighbours", _size(images), inner)


def _images(arrays: Sequence[NDArray[Any]] | NDArray[Any]) -> list[Image]:
    ranged = shared_range(np.asarray(array) for array in arrays)
    return [to_image(np.asarray(array), value_range=ranged) for array in arrays]


def _size(images: Sequence[Image]) -> str:
    """Return the class of pictures that have something to show at a larger size, such as drawn texts."""
    return " large" if max(max(image.size) for image in images) >= LARGE else ""


def _cell(image: Image, alt: str, caption: str, detail: str = "") -> str:
    lines = "".join(f"<span>{escape(line)}</span>" for line in caption.splitlines())
    small = f"<small>{escape(detail)}</small>" if detail else ""
    return picture(image, alt) + (f'<span class="caption">{lines}{small}</span>' if lines or small else "")


def _picture_table(label: str, kind: str, inner: str) -> str:
    name = escape(label)
    return (
        f'<div class="scroll" role="region" aria-label="{name}" tabindex="0">'
        f'<table class="pictures{kind}"><caption class="unseen">{name}</caption>{inner}</table></div>'
    )


def _caption(text: str) -> str:
    return f"<figcaption>{escape(text)}</figcaption>" if text else ""
