"""Pictures that a verb leaves behind: what a method saw."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data import Source
from nearfar.errors import DataError
from nearfar.files import write_atomic
from nearfar.views import apply, draw

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["draw_sheet", "seen", "write_sheet", "write_views"]

ROWS = 8


def seen(
    source: Source, views: Sequence[Any], *, seed: int = 0, rows: int = ROWS, who: str = "pretrain"
) -> tuple[list[np.ndarray[Any, Any]], list[np.ndarray[Any, Any]], list[list[str]]]:
    """Return a few images, their views (channels last, in [0, 1]), and what was drawn for each view, in words."""
    rng = np.random.default_rng([seed, 0x51EE])
    images = _readable(source, rng.permutation(len(source)), rows, who)
    sizes = np.array([image.shape[:2] for image in images])
    made, captions = [], []
    for view in views:
        plain = dataclasses.replace(view, mean=None, std=None)
        plan = draw(plain, sizes, rng, channels=images[0].shape[2])
        made.append(apply(plan, images).permute(0, 2, 3, 1).numpy())
        captions.append(
            ["\n".join(f"{key} {value}" for key, value in plan.describe(i).items()) for i in range(len(images))]
        )
    return images, made, captions


def _readable(source: Source, order: NDArray[np.int64], rows: int, who: str) -> list[np.ndarray[Any, Any]]:
    """Return the first readable images of an order, as they stand in the source."""
    found: dict[int, np.ndarray[Any, Any]] = {}
    for index in order:
        if len(found) == rows:
            break
        with contextlib.suppress(DataError):
            found[int(index)] = np.asarray(source.read(int(index)))
    if not found:
        raise DataError(f"{who}: one image or more must be readable, got none; check the files")
    return [found[index] for index in sorted(found)]


def draw_sheet(source: Source, views: Sequence[Any], *, seed: int, rows: int = ROWS, who: str = "pretrain") -> Image:
    """Return a sheet of a few images and their views, with what was drawn under each."""
    from nearfar.report import views_sheet

    images, made, captions = seen(source, views, seed=seed, rows=rows, who=who)
    return views_sheet(images, made, captions, value_range=(0.0, 1.0))


def write_sheet(path: Path, sheet: Image) -> None:
    """Write a picture as PNG, all at once."""
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    write_atomic(path, buffer.getvalue())


def write_views(path: Path, source: Source, views: Sequence[Any], *, seed: int) -> None:
    """Write a sheet of a few images and their views as PNG."""
    write_sheet(path, draw_sheet(source, views, seed=seed))
