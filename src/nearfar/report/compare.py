"""The page of a comparison: numbers first, then what is noise, then how every method trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nearfar.report.page import Page
from nearfar.report.plots import Line
from nearfar.report.score_figures import Bars, add_bars, add_curves
from nearfar.report.tables import Table

__all__ = ["compare_page"]


BANDS = "Losses seed by seed; other curves are means over seeds, in a band of one standard deviation."


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
        add_bars(numbers, one, x_label="accuracy [%]", intervals="95 % t-intervals over seeds")
    for protocol, lines in label_curves.items():
        add_curves(
            numbers, protocol, lines, x_label="labels per class", y_label=f"{protocol}: accuracy [%]",
            ticks=label_ticks, percent=True,
        )  # fmt: skip
    page.section("What is noise", f"The {rule}.").text(*verdicts)
    training = page.section("Training", BANDS)
    for method, lines in losses.items():
        add_curves(training, f"loss of {method}", lines, x_label="epoch", y_label=f"loss of {method}")
    for probe, lines in probes.items():
        add_curves(training, probe, lines, x_label="epoch", y_label=f"{probe} [%]", percent=True)
    signs = page.section("Collapse", "Both numbers fall when representations become alike.") if collapse else training
    for sign, lines in collapse.items():
        add_curves(signs, sign, lines, x_label="epoch", y_label=sign)
    page.section("Facts").facts(facts)
    return page.write(path)
