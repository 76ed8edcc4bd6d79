"""The page of a comparison: numbers first, then what is noise, then how every method trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nearfar.report.page import Page, Section
from nearfar.report.plots import Line, bars, curves
from nearfar.report.tables import Table

__all__ = ["Bars", "compare_page"]

LINES = 6
"""The most lines in one plot: what has more is drawn as several plots over the same axis."""


class Bars(NamedTuple):
    """One number a row: its names, the means, and the ends of the intervals (N, 2), NaN where there is none."""

    title: str
    names: Sequence[str]
    means: Sequence[float]
    intervals: Sequence[tuple[float, float]]


def compare_page(
    path: Path,
    *,
    title: str,
    subtitle: str,
    highlights: Sequence[tuple[str, str, str]],
    tables: Sequence[Table],
    bars_of: Sequence[Bars],
    label_curves: Mapping[str, Sequence[Line]],
    label_ticks: Mapping[float, str],
    verdicts: Sequence[str],
    rule: str,
    losses: Mapping[str, Sequence[Line]],
    probes: Mapping[str, Sequence[Line]],
    collapse: Mapping[str, Sequence[Line]],
    facts: Mapping[str, object],
) -> Path:
    """Write the report of a comparison as one HTML file.

    Args:
        path: where to write it.
        title: the heading.
        subtitle: what was compared, in a sentence.
        highlights: the few numbers to be seen first: (number, what it is, detail).
        tables: accuracies, their intervals, costs; with their notes.
        bars_of: accuracies in [0, 1], one bar a row.
        label_curves: for each protocol the accuracy in [0, 1] over the labels per class, one line a row.
        label_ticks: x positions of the label curves and their texts.
        verdicts: which differences are within noise, a sentence each.
        rule: what "within noise" means.
        losses: for each method the loss over epochs, one line a seed: losses of two methods have no common scale.
        probes: for each online probe the accuracy in [0, 1] over epochs, one line a method.
        collapse: for each sign of collapse its value over epochs, one line a method.
        facts: data, settings, machine, versions.

    Raises:
        RunError: when the file cannot be written; an older one is then untouched.
    """
    page = Page(title, subtitle)
    page.highlights(highlights)
    numbers = page.section("Numbers", "Every row is scored in the same way, on images that no training step has seen.")
    for table in tables:
        numbers.table(table)
    for one in bars_of:
        _bars(numbers, one)
    for protocol, lines in label_curves.items():
        _curves(numbers, protocol, "labels per class", f"{protocol}: accuracy [%]", lines, label_ticks, percent=True)
    page.section("What is noise", f"The {rule}.").text(*verdicts)
    training = page.section("Training", "Means over the seeds of an epoch; the band is one standard deviation.")
    for method, lines in losses.items():
        _curves(training, f"loss of {method}", "epoch", f"loss of {method}", lines)
    for probe, lines in probes.items():
        _curves(training, probe, "epoch", f"{probe} [%]", lines, percent=True)
    signs = page.section("Collapse", "Both numbers fall when representations become alike.") if collapse else training
    for sign, lines in collapse.items():
        _curves(signs, sign, "epoch", sign, lines)
    page.section("Facts").facts(facts)
    return page.write(path)


def _bars(section: Section, one: Bars) -> None:
    ends = np.asarray(one.intervals, dtype=np.float64)
    known = bool(np.isfinite(ends).all())
    said = ", ".join(f"{name} {value:.1%}" for name, value in zip(one.names, one.means, strict=True))
    section.figure(
        bars(one.names, one.means, x_label="accuracy [%]", intervals=ends if known else None, percent=True),
        alt=f"{one.title}: {said}.",
        caption=f"{one.title}; the lines are 95 % t-intervals over seeds." if known else one.title,
    )


def _curves(
    section: Section,
    what: str,
    x_label: str,
    y_label: str,
    lines: Sequence[Line],
    ticks: Mapping[float, str] | None = None,
    *,
    percent: bool = False,
) -> None:
    """Draw lines, in several plots where they are many."""
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
