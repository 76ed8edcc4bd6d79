"""The report of the main job, put together from the general parts: numbers, map, neighbours, views, training, facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nearfar.report.page import Page
from nearfar.report.plots import Line, curves, loss_curve
from nearfar.report.point_map import PointMap
from nearfar.report.records import Query, ViewGrid
from nearfar.report.tables import Table

__all__ = ["demo_page"]


def demo_page(
    path: Path,
    *,
    title: str,
    subtitle: str,
    highlights: Sequence[tuple[str, str, str]],
    table: Table,
    label_curves: Mapping[str, Sequence[Line]],
    label_ticks: Mapping[float, str],
    points: PointMap,
    queries: Sequence[Query],
    views: ViewGrid,
    loss: Line,
    probes: Sequence[Line],
    facts: Mapping[str, object],
) -> Path:
    """Write the report of one run of the main job as one HTML file.

    Args:
        path: where to write it.
        title: the heading.
        subtitle: what was done, in a sentence.
        highlights: the few numbers to be seen first: (number, what it is, detail).
        table: every encoder (a row) under every protocol (a column), with the protocols' descriptions as notes.
        label_curves: for each protocol (kNN, linear), the accuracy in [0, 1] over the number of labels per class,
            one line an encoder.
        label_ticks: x positions of the label curves and their texts (1, 5, 10, all).
        points: the map of the embeddings.
        queries: queries with their nearest neighbours.
        views: pictures and the views the method saw.
        loss: the loss over optimiser steps.
        probes: accuracy in [0, 1] of the online probes over epochs; may be empty.
        facts: settings, machine, versions, times.

    Raises:
        RunError: when the file cannot be written; an older one is then untouched.
    """
    page = Page(title, subtitle)
    page.highlights(highlights)
    numbers = page.section(
        "Numbers", "Every encoder is measured in the same way, on test images that no step has seen."
    )
    numbers.table(table)
    for protocol, lines in label_curves.items():
        numbers.figure(
            curves(
                lines, x_label="labels per class", y_label=f"{protocol}: accuracy [%]", percent=True, ticks=label_ticks
            ),
            alt=_describe(f"{protocol}: test accuracy over labels per class", lines, percent=True),
            caption=f"{protocol}, mean over the draws of the labels; the band is one standard deviation.",
        )
    lead = "Each point is an image; images that the encoder takes for similar lie close together. No label was used."
    page.section("Map of the embeddings", lead).map(points, alt=_map_alt(points))
    lead = (
        "Found in the index by the embedding alone; ✓ has the query's class, ✗ has another. The number is the distance."
    )
    page.section("Queries and their nearest neighbours", lead).neighbours(queries)
    lead = "What the encoder was trained on: it must tell that the views of one image belong together."
    page.section("Views", lead).views(views)
    training = page.section("Training")
    alt = _describe("Loss over optimiser steps", [loss], percent=False)
    training.figure(loss_curve(loss.x, loss.y), alt=alt, caption="Loss of the method.")
    if probes:
        training.figure(
            curves(probes, x_label="epoch", y_label="accuracy [%]", percent=True),
            alt=_describe("Accuracy of the online probes over epochs", probes, percent=True),
            caption="Online probes read the features and never train the encoder.",
        )
    page.section("Facts").facts(facts)
    return page.write(path)


def _describe(what: str, lines: Sequence[Line], *, percent: bool) -> str:
    """Say in words where each line begins and ends."""

    def number(value: float) -> str:
        return f"{value:.1%}" if percent else f"{value:.3g}"

    parts = [f"{line.name} from {number(float(line.y[0]))} to {number(float(line.y[-1]))}" for line in lines]
    return f"{what}: {'; '.join(parts)}."


def _map_alt(points: PointMap) -> str:
    classes = f", coloured by {len(points.class_names)} classes" if points.class_names else ""
    return f"Map of {len(points.coordinates)} points{classes}. {points.axis_note}".strip()
