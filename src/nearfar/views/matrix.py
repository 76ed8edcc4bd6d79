"""The approximate jitter, ``color="matrix"``: the four steps of each picture composed as one affine map of its colours.

The contrast blends with the mean grey of the picture as it is at that point, which is affine in the picture's mean
colour as long as nothing is clamped. So everything but that one number per picture is known before a pixel is read.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfar.views.plan import BRIGHTNESS, CONTRAST, HUE, SATURATION, Plan
from nearfar.views.reference import GRAY

__all__ = ["ColorMaps", "compose"]

_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])  # NTSC


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
    for place in range(4 if n else 0):
        for step in (BRIGHTNESS, CONTRAST, SATURATION, HUE):
            rows = np.flatnonzero(plan.order[:, place] == step)
            if len(rows):
                _append(maps, rows, step, plan.factors[rows, step], gray, plan.view.brightness_mode == "add")
    return maps


def _append(
    maps: ColorMaps,
    rows: NDArray[np.int64],
    step: int,
    factor: NDArray[np.float64],
    gray: NDArray[np.float64],
    add: bool,
) -> None:
    """Let the maps of these rows be followed by one step."""
    matrix, offset, slope, probe = maps
    if step == BRIGHTNESS and add:
        offset[rows] += factor[:, None]
    elif step == BRIGHTNESS:
        matrix[rows] *= factor[:, None, None]
        offset[rows] *= factor[:, None]
        slope[rows] *= factor[:, None]
    elif step == CONTRAST:  # blends with gray · (matrix x + offset), which the mean colour gives
        probe[rows] = np.column_stack([gray @ matrix[rows], offset[rows] @ gray])
        matrix[rows] *= factor[:, None, None]
        offset[rows] *= factor[:, None]
        slope[rows] = 1 - factor[:, None]
    else:
        turn = _hue_matrices(factor) if step == HUE else _saturation_matrices(factor, gray)
        matrix[rows] = turn @ matrix[rows]
        offset[rows] = (turn @ offset[rows, :, None])[..., 0]
        slope[rows] = (turn @ slope[rows, :, None])[..., 0]


def _saturation_matrices(factor: NDArray[np.float64], gray: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, C, C): blends with the grey colour."""
    factor = factor[:, None, None]
    return factor * np.eye(len(gray)) + (1 - factor) * gray


def _hue_matrices(turns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n, 3, 3): rotations of the colour plane of YIQ, from red by yellow to green as in HSV."""
    plane = np.zeros((len(turns), 3, 3))
    plane[:, 0, 0] = 1
    plane[:, 1, 1] = plane[:, 2, 2] = np.cos(2 * np.pi * turns)
    plane[:, 1, 2] = np.sin(2 * np.pi * turns)
    plane[:, 2, 1] = -plane[:, 1, 2]
    return np.asarray(np.linalg.inv(_YIQ) @ plane @ _YIQ)
