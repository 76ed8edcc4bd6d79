"""Plots of what a run and an evaluation leave behind; each returns a figure for `figure_svg` or `write_figure`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import require
from nearfar.report.style import DASHES, LIGHT, MARKERS, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Line", "bars", "curves", "distance_histogram", "loss_curve", "precision_recall", "roc"]

LEGEND_WIDTH = 72
"""Letters, marks included, that fit side by side above a plot."""
MARK_UP_TO = 40
"""Lines of at most this many points get markers."""


@dataclass(frozen=True)
class Line:
    """One line of a plot: M points, and half the height of the band around each (a standard deviation) or None."""

    name: str
    x: Sequence[float] | NDArray[Any]
    y: Sequence[float] | NDArray[Any]
    spread: Sequence[float] | NDArray[Any] | None = None


def curves(
    lines: Sequence[Line],
    *,
    x_label: str,
    y_label: str,
    percent: bool = False,
    ticks: Mapping[float, str] | None = None,
) -> Figure:
    """Draw lines over one axis: probe curves over epochs, accuracy over the number of labels.

    Args:
        lines: up to ten; those with a spread get a band and caps.
        x_label: with its unit in brackets.
        y_label: with its unit in brackets.
        percent: y values are fractions and are shown times 100.
        ticks: where the x axis has marks, and their texts; by default regular ones.

    Raises:
        InputError: when there is no line, too many, or one whose arrays differ in length.
    """
    require(1 <= len(lines) <= len(LIGHT.series), "curves", "lines", f"1 to {len(LIGHT.series)}", len(lines))
    from matplotlib.ticker import MaxNLocator

    figure, axes = new_figure(x_label=x_label, y_label=y_label)
    factor = 100 if percent else 1
    for n, line in enumerate(lines):
        x, y = _pair("curves", line.x, line.y)
        colour, marker = LIGHT.series[n], MARKERS[n % len(MARKERS)] if len(x) <= MARK_UP_TO else None
        style = {"color": colour, "linestyle": DASHES[n % len(DASHES)], "linewidth": 1.8}
        axes.plot(x, y * factor, marker=marker, markersize=5, label=f"\u200b{plain(line.name)}", **style)
        if line.spread is not None:
            spread = _pair("curves", x, line.spread)[1] * factor
            axes.fill_between(x, y * factor - spread, y * factor + spread, color=colour, alpha=0.15, linewidth=0)
    if all(np.equal(np.mod(line.x, 1), 0).all() for line in lines):
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    if ticks is not None:
        axes.set_xticks(list(ticks), [plain(text) for text in ticks.values()])
    _legend(axes)
    return figure


def loss_curve(
    steps: Sequence[float] | NDArray[Any], losses: Sequence[float] | NDArray[Any], *, x_label: str = "optimiser step"
) -> Figure:
    """Draw the loss of every step faintly and its running mean over 2 % of the steps on top.

    Steps whose loss is not finite are left out; they break the running mean nowhere.
    """
    x, y = _pair("loss_curve", steps, losses)
    finite = np.isfinite(y)
    x, y = x[finite], y[finite]
    figure, axes = new_figure(x_label=x_label, y_label="loss")
    window = max(1, len(y) // 50)
    if window == 1:
        axes.plot(x, y, color=LIGHT.series[0], linewidth=1.8)
        return figure
    axes.plot(x, y, color=LIGHT.series[0], linewidth=0.6, alpha=0.35, label="each step")
    total = np.cumsum(np.concatenate([[0.0], y]))
    starts = np.maximum(0, np.arange(1, len(y) + 1) - window)
    mean = (total[1:] - total[starts]) / (np.arange(1, len(y) + 1) - starts)
    axes.plot(x, mean, color=LIGHT.series[0], linewidth=1.8, label=f"mean of {window} steps")
    _legend(axes)
    return figure


def roc(lines: Sequence[Line]) -> Figure:
    """Draw true-positive over false-positive rate, with the diagonal that guessing gives; x and y within [0, 1]."""
    figure = curves(lines, x_label="false-positive rate", y_label="true-positive rate")
    axes = figure.axes[0]
    axes.plot([0, 1], [0, 1], color=LIGHT.soft, linewidth=0.8, linestyle=":")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal", anchor="W")
    return figure


def precision_recall(lines: Sequence[Line]) -> Figure:
    """Draw precision over recall; x and y within [0, 1]."""
    figure = curves(lines, x_label="recall", y_label="precision")
    figure.axes[0].set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    return figure


def distance_histogram(
    same: NDArray[Any], different: NDArray[Any], *, cut: float | None = None, x_label: str = "distance", bins: int = 60
) -> Figure:
    """Draw how distances of same and of different pairs are spread, each as a share of its own pairs.

    Args:
        same: distances of pairs of one class.
        different: distances of pairs of two classes.
        cut: a cut-point to be drawn.
        x_label: which distance.
        bins: number of bins over the range of both.

    Raises:
        InputError: when either is empty or has values that are not finite.
    """
    for name, values in (("same", same), ("different", different)):
        ok = len(values) > 0 and bool(np.isfinite(values).all())
        require(ok, "distance_histogram", name, "finite distances, at least one", f"{len(values)} values")
    edges = np.histogram_bin_edges(np.concatenate([same, different]), bins=bins)
    figure, axes = new_figure(x_label=x_label, y_label="share of pairs [%]")
    for n, (name, values) in enumerate((("same class", same), ("different classes", different))):
        share = np.histogram(values, edges)[0] / len(values) * 100
        axes.stairs(share, edges, color=LIGHT.series[n], fill=True, alpha=0.25)
        axes.stairs(share, edges, color=LIGHT.series[n], linewidth=1.6, linestyle=DASHES[n], label=name)
    if cut is not None:
        axes.axvline(cut, color=LIGHT.ink, linewidth=1, linestyle=":", label=f"cut-point {cut:.3g}")
    _legend(axes)
    return figure


def bars(
    names: Sequence[str],
    values: Sequence[float] | NDArray[Any],
    *,
    x_label: str,
    intervals: NDArray[Any] | None = None,
    percent: bool = False,
    digits: int = 1,
) -> Figure:
    """Draw one horizontal bar a name, first at the top, with its value in writing and an interval if there is one.

    Args:
        names: N names.
        values: N numbers.
        x_label: what they are, with the unit in brackets.
        intervals: (N, 2) lower and upper ends, in the unit of the values.
        percent: values and intervals are fractions and are shown times 100.
        digits: decimals of the values in writing.

    Raises:
        InputError: when the lengths differ.
    """
    factor = 100.0 if percent else 1.0
    y, heights = np.arange(len(names)), np.asarray(values, dtype=np.float64) * factor
    require(heights.shape == y.shape, "bars", "values", f"{len(names)} numbers", heights.shape)
    figure, axes = new_figure(x_label=x_label, y_label="", height=0.7 + 0.42 * len(names), grid="x")
    axes.barh(y, heights, height=0.62, color=LIGHT.series[0])
    ends = heights
    if intervals is not None:
        ends_N2 = np.asarray(intervals, dtype=np.float64) * factor
        require(ends_N2.shape == (len(names), 2), "bars", "intervals", f"of shape ({len(names)}, 2)", ends_N2.shape)
        reach = np.maximum(0, np.stack([heights - ends_N2[:, 0], ends_N2[:, 1] - heights]))
        axes.errorbar(heights, y, xerr=reach, fmt="none", color=LIGHT.ink, ecolor=LIGHT.ink, elinewidth=1.2, capsize=3)
        ends = np.fmax(heights, ends_N2[:, 1])
    for at, value, end in zip(y, heights, ends, strict=True):
        axes.annotate(
            f"{value:.{digits}f}",
            (end, at),
            (6, 0),
            textcoords="offset points",
            va="center",
            color=LIGHT.ink,
            fontsize=9,
        )
    axes.set_yticks(y, [plain(name) for name in names], color=LIGHT.ink)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    return figure


def _pair(who: str, x: Any, y: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    require(xs.ndim == 1 and len(xs) > 0, who, "x", "a list of at least one number", xs.shape)
    require(xs.shape == ys.shape, who, "y", f"as long as x ({len(xs)})", ys.shape)
    return xs, ys


def _legend(axes: Axes) -> None:
    """Put the legend above the axes, in as many columns as its longest text lets stand side by side."""
    handles, texts = axes.get_legend_handles_labels()
    longest = max(len(text) for text in texts)
    columns = max(1, min(len(texts), LEGEND_WIDTH // (longest + 6)))
    axes.figure.legend(
        handles, texts, loc="outside upper left", ncols=columns, frameon=False, labelcolor=LIGHT.ink, fontsize=9,
        columnspacing=1.2, handlelength=2.2, borderaxespad=0.2,
    )  # fmt: skip
