"""The page of learning from few labels: numbers first, then curves, mistakes, calibration and costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from nearfar.report.calibration import reliability_diagram
from nearfar.report.page import Page
from nearfar.report.plots import Line
from nearfar.report.score_figures import Bars, add_bars, add_curves
from nearfar.report.tables import Table

__all__ = ["Mistakes", "few_labels_page"]


class Mistakes(NamedTuple):
    """What a model was most sure of and wrong about: pictures with a line each."""

    title: str
    pictures: Sequence[NDArray[Any]]
    captions: Sequence[str]


def few_labels_page(
    path: Path,
    *,
    title: str,
    subtitle: str,
    highlights: Sequence[tuple[str, str, str]],
    tables: Sequence[Table],
    bars_of: Sequence[Bars],
    label_curves: Mapping[str, Sequence[Line]],
    label_ticks: Mapping[float, str],
    labels: Table,
    learnt: Mistakes | None,
    mistakes: Mistakes | None,
    reliability: Mapping[str, Mapping[str, tuple[NDArray[Any], NDArray[Any]]]],
    costs: Table,
    protocols: Sequence[str],
    facts: Mapping[str, object],
) -> Path:
    """Write the report of the three phases as one HTML file.

    Args:
        path: where to write it.
        title: the heading.
        subtitle: what was done, in a sentence.
        highlights: the few numbers to be seen first: (number, what it is, detail).
        tables: the numbers of every amount of labels.
        bars_of: the first score of every amount, a bar a phase.
        label_curves: for each score its value over the labels per class, a line a phase; empty without a sweep.
        label_ticks: x positions of these curves and their texts.
        labels: how many labels of each class were used.
        learnt: some of the items whose labels were used.
        mistakes: the most confident mistakes.
        reliability: for each amount the reliability diagram's points, a line a phase.
        costs: parameters and throughput.
        protocols: how the numbers were made, a sentence each.
        facts: data, settings, versions.

    Raises:
        RunError: when the file cannot be written; an older one is then untouched.
    """
    page = Page(title, subtitle)
    page.highlights(highlights)
    numbers = page.section("Numbers", "All rows learn from the same labels and are scored on the same test items.")
    for table in tables:
        numbers.table(table)
    for one in bars_of:
        add_bars(numbers, one, x_label="[%]", intervals="95 % intervals")
    if label_curves:
        over = page.section("Over the number of labels", "One line a phase or baseline.")
        for name, lines in label_curves.items():
            add_curves(
                over, name, lines, x_label="labels per class", y_label=f"{name} [%]", ticks=label_ticks, percent=True
            )
    used = page.section("Labels", "The items whose labels were used are in labels.csv of every run.")
    used.table(labels)
    if learnt is not None and len(learnt.pictures):
        used.text(learnt.title).pictures(learnt.pictures, learnt.captions)
    if mistakes is not None and len(mistakes.pictures):
        wrong = page.section("Most confident mistakes", mistakes.title)
        wrong.pictures(mistakes.pictures, mistakes.captions)
    if reliability:
        lead = "On the dotted line a model that is 80 % sure is right in 80 of 100 cases; below it, it is too sure."
        calibration = page.section("Calibration", lead)
        for name, points in reliability.items():
            calibration.figure(
                reliability_diagram(points),
                caption=name,
                alt=f"{name}: accuracy over confidence of {', '.join(points)}.",
            )
    page.section("Costs").table(costs)
    page.section("How the numbers were made").text(*protocols)
    page.section("Facts").facts(facts)
    return page.write(path)
