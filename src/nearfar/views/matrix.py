"""The approximate jitter, ``color="matrix"``: the four steps of each picture composed as one affine map of its colours.

The contrast blends with the mean grey of the picture as it is at that point, which is affine in the picture's mean
colour as long as nothing is clamped. So everything but that one number per picture is known before a pixel is read.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfar.views.plan import BRIGHTNESS, CONTRAST, HUE, SATURATION, Plan
from nearfar.views.reference import GRAY, hue_matrix

__all__ = ["ColorMaps", "compose"]


class ColorMaps(NamedTuple):
    """N maps x -> matrix x + offset + slope · (probe · (mean colour of x, 1)).

    Attributes:
        matrix: (N, C, C) float64.
        offset: (N, C) float64.
        slope: (N, C) float64.
        probe: (N, C + 1) float64.
    """

    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]
    slope: NDArray[np.float64]
    probe: NDArray[np.float64]


def compose(plan: Plan) -> ColorMaps:
    """Return the jitter of all pictures as affine maps; empty arrays of the same rank for an exact view."""
    n, c = (len(plan), plan.channels) if plan.view.color == "matrix" else (0, 0)
    gray = np.array(GRAY) if c == 3 else np.full(c, 1 / max(c, 1))
    maps = ColorMaps(np.tile(np.eye(c), (n, 1, 1)), np.zeros((n, c)), np.zeros((n, c)), np.zeros((n, c + 1)))
    for i in range(n):
        for step in plan.order[i]:
            _append(maps, i, int(step), float(plan.factors[i, step]), gray, plan.view.brightness_mode == "add")
    return maps


def _append(maps: ColorMaps, i: int, step: int, factor: float, gray: NDArray[np.float64], add: bool) -> None:
    matrix, offset, slope, probe = maps
    if step == BRIGHTNESS and add:
        offset[i] += factor
    elif step in (BRIGHTNESS, CONTRAST):
        if step == CONTRAST:  # seen from the colours that come in: gray · (matrix x + offset)
            probe[i, :-1], probe[i, -1] = gray @ matrix[i], gray @ offset[i]
            slope[i] = 1 - factor
        for part in (matrix, offset) if step == CONTRAST else (matrix, offset, slope):
            part[i] *= factor
    elif step in (SATURATION, HUE):
        turn = np.eye(3) * factor + (1 - factor) * gray if step == SATURATION else hue_matrix(factor)
        matrix[i], offset[i], slope[i] = turn @ matrix[i], turn @ offset[i], turn @ slope[i]
