"""Scores as figures of a page: bars with intervals, and lines over epochs or labels, each with its numbers in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nearfar.report.page import Section
from nearfar.report.plots import Line, bars, curves

__all__ = ["Bars", "add_bars", "add_curves"]

LINES = 6
"""The most lines in one plot: what has more is drawn as several plots over the same axis."""


class Bars(NamedTuple):
    """One number a row: its names, the means, and the ends of the intervals (N, 2), NaN where there is none."""

    title: str
    names: Sequence[str]
    means: Sequence[float]
    intervals: Sequence[tuple[float, float]]


def add_bars(section: Section, one: Bars, *, x_label: str, intervals: str) -> None:
    """Add a plot of shares in [0, 1], one bar a row.

    Args:
        section: where to.
        one: the shares; without intervals unless all rows have one.
        x_label: of the axis.
        intervals: what the intervals are, in words.
    """
    ends = np.asarray(one.intervals, dtype=np.float64)
    known = bool(np.isfinite(ends).all())
    said = ", ".join(f"{name} {value:.1%}" for name, value in zip(one.names, one.means, strict=True))
    section.figure(
        bars(one.names, one.means, x_label=x_label, intervals=ends if known else None, percent=True),
        alt=f"{one.title}: {said}.",
        caption=f"{one.title}; the lines are {intervals}." if known else one.title,
    )


def add_curves(
    section: Section,
    what: str,
    lines: Sequence[Line],
    *,
    x_label: str,
    y_label: str,
    ticks: Mapping[float, str] | None = None,
    percent: bool = False,
) -> None:
    """Add a plot of lines, or several where they are many.

    Args:
        section: where to.
        what: the caption.
        lines: one a row.
        x_label: of the axis.
        y_label: of the other one.
        ticks: x positions and their texts.
        percent: the values are shares in [0, 1].
    """
    for start in range(0, len(lines), LINES):
        some = lines[start : start + LINES]
        section.figure(
            curves(some, x_label=x_label, y_label=y_label, percent=percent, ticks=ticks),
            alt=f"{what} over {x_label}: {'; '.join(_said(line, percent=percent) for line in some)}.",
            caption=what,
        )


def _said(line: Line, *, percent: bool) -> str:
    first, last = (f"{float(value):.1%}" if percent else f"{float(value):.3g}" for value in (line.y[0], line.y[-1]))
    return f"{line.name} from {first} to {last}"
