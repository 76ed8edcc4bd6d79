"""Numbers as small pictures: what shows an item that is no picture by itself."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["heat_map"]

_COLD, _ZERO, _HOT, _MISSING = (33, 102, 172), (247, 247, 247), (178, 24, 43), (160, 160, 160)
_MOST = 256
"""The longest edge in cells; longer ones are averaged."""


def heat_map(values: NDArray[np.float32], *, limit: float | None = None) -> NDArray[np.uint8]:
    """Draw numbers as cells: blue below 0, white at 0, red above, grey where there is none.

    Args:
        values: (d,), laid out row after row in a rectangle that is nearly square; or (H, W); further axes are joined
            with the first.
        limit: the size of a number that has the full colour; the 98th percentile of the sizes when absent.

    Returns:
        (H, W, 3) uint8.
    """
    values = np.asarray(values, dtype=np.float32)
    if values.ndim < 2:
        flat = values.reshape(-1)
        width = max(1, math.ceil(math.sqrt(len(flat))))
        cells = np.full(width * math.ceil(max(1, len(flat)) / width), np.nan, np.float32)
        cells[: len(flat)] = flat
        grid = cells.reshape(-1, width)
    else:
        grid = values.reshape(-1, values.shape[-1])
    grid = _shrunk(_shrunk(grid).T).T
    known = np.isfinite(grid)
    size = limit or (float(np.quantile(np.abs(grid[known]), 0.98)) if known.any() else 1.0) or 1.0
    strength = np.clip(np.where(known, grid, 0) / size, -1, 1)[..., None]
    hot, cold, zero = (np.array(color, np.float32) for color in (_HOT, _COLD, _ZERO))
    colors = zero + np.abs(strength) * (np.where(strength > 0, hot, cold) - zero)
    colors[~known] = _MISSING
    picture: NDArray[np.uint8] = colors.round().astype(np.uint8)
    return picture


def _shrunk(grid: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average neighbouring rows until there are at most 256."""
    step = math.ceil(len(grid) / _MOST)
    if step <= 1:
        return grid
    edges = np.arange(0, len(grid), step)
    known = np.isfinite(grid)
    sums = np.add.reduceat(np.where(known, grid, 0), edges, axis=0)
    counts = np.add.reduceat(known.astype(np.float32), edges, axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan).astype(np.float32)
