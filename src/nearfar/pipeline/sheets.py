"""Pictures that a verb leaves behind: what a method saw."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data import Source
from nearfar.errors import DataError
from nearfar.files import write_atomic
from nearfar.modalities import Inputs, Seen

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["draw_sheet", "seen", "write_sheet", "write_views"]

ROWS = 8


def seen(
    inputs: Inputs, source: Source, views: Sequence[Any], *, seed: int = 0, rows: int = ROWS, who: str = "pretrain"
) -> Seen:
    """Return a few items and their views as pictures, and what was drawn for each view, in words."""
    rng = np.random.default_rng([seed, 0x51EE])
    items = _readable(source, rng.permutation(len(source)), rows, who)
    return inputs.seen(items, views, rng)


def _readable(source: Source, order: NDArray[np.int64], rows: int, who: str) -> list[Any]:
    """Return the first readable items of an order, as they stand in the source."""
    found: dict[int, Any] = {}
    for index in order:
        if len(found) == rows:
            break
        with contextlib.suppress(DataError):
            found[int(index)] = source.read(int(index))
    if not found:
        raise DataError(f"{who}: one item or more must be readable, got none; check the files")
    return [found[index] for index in sorted(found)]


def draw_sheet(
    inputs: Inputs, source: Source, views: Sequence[Any], *, seed: int, rows: int = ROWS, who: str = "pretrain"
) -> Image:
    """Return a sheet of a few items and their views, with what was drawn under each."""
    from nearfar.report import views_sheet

    found = seen(inputs, source, views, seed=seed, rows=rows, who=who)
    return views_sheet(found.originals, found.views, found.captions, value_range=found.value_range)


def write_sheet(path: Path, sheet: Image) -> None:
    """Write a picture as PNG, all at once."""
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    write_atomic(path, buffer.getvalue())


def write_views(path: Path, inputs: Inputs, source: Source, views: Sequence[Any], *, seed: int) -> None:
    """Write a sheet of a few items and their views as PNG."""
    write_sheet(path, draw_sheet(inputs, source, views, seed=seed))
