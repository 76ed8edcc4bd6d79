"""Contact sheets: many pictures on one, with captions, from 8 pixels a side to photographs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import require
from nearfar.report.pictures import fit, shared_range, to_image
from nearfar.report.records import Query, ViewGrid, check_views

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

__all__ = ["neighbours_sheet", "sheet", "views_sheet"]

TINY, LARGE = 96, 224
"""Without ``scale``, pictures are enlarged by whole numbers to at least TINY, and shrunk when longer than LARGE."""
MAX_PIXELS = 100_000_000
GAP, TEXT, LINE = 8, 12, 16
PAPER, INK, SOFT, RIGHT, WRONG = "#ffffff", "#1a1d21", "#5b6470", "#0b6e4f", "#b3261e"


def sheet(
    images: Sequence[NDArray[Any]] | NDArray[Any],
    columns: int,
    captions: Sequence[str] | None = None,
    *,
    scale: int | None = None,
    value_range: tuple[float, float] | None = None,
) -> Image:
    """Lay pictures out in rows on one white picture.

    Args:
        images: N pictures (H, W) or (H, W, C), channels last; sizes may differ. Values as in `nearfar.report.pictures`.
        columns: pictures in a row.
        captions: N texts to stand under the pictures; may have several lines; what is too long is cut with an ellipsis.
        scale: whole number by which pictures are enlarged, pixel by pixel; None enlarges tiny pictures and shrinks
            large ones, so that the longest edge of all is between 96 and 224 pixels.
        value_range: the values shown as black and white, see `nearfar.report.pictures.to_image`.

    Raises:
        InputError: when there is no picture, the number of captions differs, or the sheet would be too large.
    """
    require(columns >= 1, "sheet", "columns", ">= 1", columns)
    require(captions is None or len(captions) == len(images), "sheet", "captions", f"{len(images)} texts", captions)
    tiles = _tiles(images, scale, value_range)
    return _lay_out(tiles, columns, captions if captions is not None else [""] * len(tiles))


def views_sheet(
    originals: Sequence[NDArray[Any]] | NDArray[Any],
    views: Sequence[Sequence[NDArray[Any]] | NDArray[Any]],
    captions: Sequence[Sequence[str]] | None = None,
    *,
    scale: int | None = None,
    value_range: tuple[float, float] | None = None,
) -> Image:
    """Draw one row an image: the original, then its views, all at the size of the original.

    Args:
        originals: N pictures (H, W) or (H, W, C), channels last.
        views: V lists or arrays of N pictures each (one list a view, as `nearfar.views.make_views` returns them, but
            with the channels last).
        captions: for each view, N texts to stand under its pictures, for example the values of the plan; long lines
            are broken between words, so that nothing is lost.
        scale: as in `sheet`.
        value_range: the views' values that are black and white; originals are shown by their own range.

    Raises:
        InputError: when the lists do not have the same length.
    """
    grid = ViewGrid(originals, views, captions or ())
    check_views("views_sheet", grid)
    count = len(originals)
    first = _tiles(originals, scale, None)
    ranged = value_range or shared_range(np.asarray(image) for view in views for image in view)
    rows: list[Image] = []
    texts: list[str] = []
    for n in range(count):
        rows.append(first[n])
        texts.append("original")
        for v, view in enumerate(views):
            rows.append(_resize_like(to_image(np.asarray(view[n]), value_range=ranged), first[n]))
            texts.append(grid.captions[v][n] if grid.captions else f"view {v + 1}")
    width = max(picture.width for picture in rows)
    return _lay_out(rows, 1 + len(views), [_wrap(text, width) for text in texts] if grid.captions else texts)


def neighbours_sheet(queries: Sequence[Query], *, scale: int | None = None) -> Image:
    """Draw one row a query: the query, then its neighbours with distance and label.

    Right and wrong neighbours differ by a tick or a cross and by a whole or a broken frame, not by colour alone.

    Args:
        queries: the queries with their neighbours; the numbers of neighbours may differ.
        scale: as in `sheet`.

    Raises:
        InputError: when there is no query.
    """
    import PIL.Image

    require(len(queries) > 0, "neighbours_sheet", "queries", "at least one", 0)
    arrays = [array for query in queries for array in (query.image, *(found.image for found in query.neighbours))]
    tiles = iter(_tiles(arrays, scale, None))
    width = 1 + max(len(query.neighbours) for query in queries)
    pictures: list[Image] = []
    texts: list[str] = []
    for query in queries:
        pictures.append(next(tiles))
        texts.append(f"query {query.label}".strip() + (f"\n{query.id}" if query.id else ""))
        for found in query.neighbours:
            pictures.append(_frame(next(tiles), found.right))
            mark = {True: "✓ ", False: "✗ ", None: ""}[found.right]
            texts.append(f"{mark}{found.label}\n{found.distance:.3f}".strip())
        missing = width - 1 - len(query.neighbours)
        pictures += [PIL.Image.new("RGB", (1, 1), PAPER)] * missing
        texts += [""] * missing
    return _lay_out(pictures, width, texts)


def _tiles(
    arrays: Sequence[NDArray[Any]] | NDArray[Any], scale: int | None, value_range: tuple[float, float] | None
) -> list[Image]:
    """Turn arrays into pictures of one common scale."""
    from PIL.Image import Resampling

    require(len(arrays) > 0, "sheet", "images", "at least one", 0)
    require(scale is None or scale >= 1, "sheet", "scale", "a whole number >= 1", scale)
    ranged = value_range or shared_range(np.asarray(array) for array in arrays)
    pictures = [to_image(np.asarray(array), value_range=ranged) for array in arrays]
    longest = max(max(picture.size) for picture in pictures)
    if scale is None and longest > LARGE:
        return [fit(picture, LARGE) for picture in pictures]
    factor = scale or -(-TINY // longest)
    area = factor**2 * sum(picture.width * picture.height for picture in pictures)
    require(
        area <= MAX_PIXELS, "sheet", "size", f"<= {MAX_PIXELS} pixels", area, "show fewer pictures or a smaller scale"
    )
    return [p.resize((p.width * factor, p.height * factor), Resampling.NEAREST) for p in pictures]


def _resize_like(picture: Image, model: Image) -> Image:
    """Bring a picture into the box of another: pixel by pixel when enlarging, smoothly when shrinking."""
    from PIL.Image import Resampling

    ratio = min(model.width / picture.width, model.height / picture.height)
    size = (max(1, round(picture.width * ratio)), max(1, round(picture.height * ratio)))
    return picture.resize(size, Resampling.NEAREST if ratio >= 1 else Resampling.LANCZOS)


def _frame(picture: Image, right: bool | None) -> Image:
    """Frame a picture: whole for right, broken for wrong, none for unknown."""
    from PIL import ImageDraw, ImageOps

    if right is None:
        return picture
    framed = ImageOps.expand(picture.convert("RGB"), border=4, fill=RIGHT if right else WRONG)
    if not right:
        draw = ImageDraw.Draw(framed)
        for start in range(0, max(framed.size), 12):
            for y in (0, framed.height - 4):
                draw.rectangle((start, y, start + 5, y + 3), fill=PAPER)
            for x in (0, framed.width - 4):
                draw.rectangle((x, start, x + 3, start + 5), fill=PAPER)
    return framed


def _lay_out(pictures: Sequence[Image], columns: int, captions: Sequence[str]) -> Image:
    import PIL.Image
    from PIL import ImageDraw

    lines = max(len(text.splitlines()) for text in captions)
    cell_w, cell_h = max(p.width for p in pictures), max(p.height for p in pictures)
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    step_x, step_y = cell_w + GAP, cell_h + GAP + lines * LINE
    size = (columns * step_x + GAP, rows * step_y + GAP)
    fix = "show fewer pictures or a smaller scale"
    require(size[0] * size[1] <= MAX_PIXELS, "sheet", "size", f"<= {MAX_PIXELS} pixels", f"{size[0]} x {size[1]}", fix)
    canvas = PIL.Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(canvas)
    for n, (picture, text) in enumerate(zip(pictures, captions, strict=True)):
        left, top = GAP + n % columns * step_x, GAP + n // columns * step_y
        canvas.paste(picture, (left + (cell_w - picture.width) // 2, top + (cell_h - picture.height) // 2))
        for row, line in enumerate(text.splitlines()):
            line_top = top + cell_h + 2 + row * LINE
            draw.text((left, line_top), _cut(draw, line, cell_w), fill=SOFT if row else INK, font=_font(TEXT))
    return canvas


@lru_cache(maxsize=4)
def _font(size: int) -> FreeTypeFont:
    """Return DejaVu Sans, which comes with matplotlib and has ticks, crosses, Greek and Cyrillic."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


def _wrap(text: str, width: int) -> str:
    """Break lines between words where they are too long; what goes on is set in a little."""
    font, lines = _font(TEXT), []
    for whole in text.splitlines():
        line, *words = whole.split(" ")
        for word in words:
            if font.getlength(f"{line} {word}") <= width:
                line = f"{line} {word}"
            else:
                lines.append(line)
                line = f"  {word}"
        lines.append(line)
    return "\n".join(lines)


def _cut(draw: ImageDraw, text: str, width: int) -> str:
    """Shorten a line until it fits."""
    font = _font(TEXT)
    if draw.textlength(text, font=font) <= width:
        return text
    while text and draw.textlength(text + "…", font=font) > width:
        text = text[:-1]
    return text + "…"
