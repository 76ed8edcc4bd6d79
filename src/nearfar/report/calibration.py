"""The reliability diagram: what a classifier says of its own answers, and how often it is right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import require
from nearfar.report.plots import Line, curves
from nearfar.report.style import LIGHT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["reliability_diagram"]


def reliability_diagram(points: Mapping[str, tuple[NDArray[Any], NDArray[Any]]]) -> Figure:
    """Draw accuracy over confidence, one line a model, with the diagonal that honest confidence gives.

    Args:
        points: for each model the mean confidence and the accuracy of its bins; NaN where a bin is empty.

    Raises:
        InputError: when a model has no bin with anything in it.
    """
    lines = []
    for name, (confidence, accuracy) in points.items():
        full = np.isfinite(confidence) & np.isfinite(accuracy)
        require(bool(full.any()), "reliability_diagram", name, "one bin or more that is not empty", "none")
        lines.append(Line(name, confidence[full], accuracy[full]))
    figure = curves(lines, x_label="confidence", y_label="accuracy")
    axes = figure.axes[0]
    axes.plot([0, 1], [0, 1], color=LIGHT.soft, linewidth=0.8, linestyle=":")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal", anchor="W")
    return figure
