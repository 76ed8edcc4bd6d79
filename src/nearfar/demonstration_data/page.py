"""The page of the demo on data of one's own: numbers, what they say, neighbours, map, views, training, facts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nearfar.data import Source, take
from nearfar.data.embeddings import read_embeddings
from nearfar.evaluation import Report, Score
from nearfar.indexing import normalised, open_index
from nearfar.modalities import MODALITIES
from nearfar.pipeline.features import Subject
from nearfar.report import Measured, Neighbour, Page, PointMap, Query, Table, loss_curve, project, verdict
from nearfar.searching import search_ids
from nearfar.training.run import Run

__all__ = ["Told", "story", "write_page"]

QUERIES = 8
MAPPED = 50
"""Fewer items than that are mapped by their principal components."""

OWN = "pretrained encoder"

LEADS = {
    **{
        f"linear, {n} per class": (f"With {n} label{'s' if n > 1 else ''} per class", "linear probe")
        for n in (1, 5, 10)
    },
    "spearman": ("Beside people's scores", "Spearman's correlation"),
    "first to second, recall@10": ("Finding the second text of a pair", "recall@10"),
    "image to text, recall@10": ("Finding an image's caption", "recall@10"),
    "zero-shot, top-1": ("Naming images by the classes' names", "accuracy"),
}
"""The scores that are told, with the beginning of the sentence and what the numbers are."""


class Told(NamedTuple):
    """What the page is made of.

    Attributes:
        run: the pretraining run.
        subject: its encoder.
        shown: the held-out items that were embedded.
        table: the numbers; ``None`` where the data allow none.
        story: what they say.
        facts: settings, machine, times.
    """

    run: Run
    subject: Subject
    shown: Source
    table: Table | None
    story: list[str]
    facts: Mapping[str, object]


def story(numbers: Mapping[str, Report]) -> list[str]:
    """Return what the numbers of all subjects say, in sentences that depend on them."""
    if OWN not in numbers or len(numbers) < 2:
        return []
    found: dict[str, dict[str, Score]] = {}
    for name, report in numbers.items():
        for score in (score for result in report.results for score in result.scores):
            found.setdefault(score.name, {})[name] = score
    return [
        verdict({name: _measured(score) for name, score in found[which].items()}, OWN, lead=lead, what=what,
                margin="sd over draws" if found[which][OWN].sd is not None else "half the 95 % interval")
        for which, (lead, what) in LEADS.items() if which in found
    ]  # fmt: skip


def _measured(score: Score) -> Measured:
    if score.sd is not None:
        return Measured(score.value, score.sd)
    wide = score.low is not None and score.high is not None
    return Measured(score.value, (score.high - score.low) / 2 if wide else 0.0)  # type: ignore[operator]


def write_page(folder: Path, told: Told) -> Path:
    """Write ``report.html`` beside the demo's run, embeddings and index."""
    run, subject, shown = told.run, told.subject, told.shown
    inputs, config = subject.inputs, told.run.config()
    page = Page(f"nearfar demo: {MODALITIES.get(inputs.modality).items}", f"{config['method']} on data of your own")
    if told.table is not None:
        lead = "Raw items, the untrained and the pretrained encoder, measured alike on what was not trained on."
        page.section("Numbers", lead).table(told.table)
    if told.story:
        page.section("What they say").text(*told.story)
    queries = _queries(folder, shown, subject)
    lead = "Found in the index by the embedding alone, among what was held out. The number is the distance."
    page.section("Queries and their nearest neighbours", lead).neighbours(queries)
    page.section("Map of the embeddings", "Items that the encoder takes for similar lie close together.").map(
        _map(folder, shown, subject), alt="Map of the embeddings of the items that were held out."
    )
    lead = "What the method sees of a few items: it learns which views are of one item."
    sheet = (run.path / "views.png").read_bytes()
    page.section("Views", lead).figure(sheet, alt="Items, and the views that were made of them.")
    rows = [(row["step"], row["loss"]) for row in run.metrics() if "loss" in row]
    rows = rows or [(row["step"], row["epoch_loss"]) for row in run.metrics() if "epoch_loss" in row]
    figure = loss_curve([step for step, _ in rows], [loss for _, loss in rows])
    page.section("Training").figure(figure, alt="Loss over optimiser steps.", caption="Loss of the method.")
    page.section("Facts").facts({**told.facts, "input": inputs.describe()})
    return page.write(folder / "report.html")


def _queries(folder: Path, shown: Source, subject: Subject) -> list[Query]:
    opened, inputs = open_index(folder / "index"), subject.inputs
    ids = read_embeddings(folder / "embeddings.parquet").ids
    place = {name: row for row, name in enumerate(shown.ids)}
    asked = [ids[row] for row in np.unique(np.linspace(0, len(ids) - 1, QUERIES).astype(int))]
    names = shown.class_names

    def label(name: object) -> str:
        number = -1 if shown.labels is None else int(shown.labels[place[str(name)]])
        return names[number] if names and number >= 0 else ""

    queries = []
    for name, hits in search_ids(opened, asked, 6).by_query():
        neighbours = [
            Neighbour(
                image=inputs.thumbnail(shown.read(place[str(hit.id)])),
                distance=hit.distance,
                label=label(hit.id),
                id=str(hit.id),
                right=label(hit.id) == label(name) if label(name) else None,
            )
            for hit in hits
        ]  # fmt: skip
        image = inputs.thumbnail(shown.read(place[str(name)]))
        queries.append(Query(image=image, neighbours=neighbours, label=label(name), id=str(name)))
    return queries


def _map(folder: Path, shown: Source, subject: Subject) -> PointMap:
    found = read_embeddings(folder / "embeddings.parquet")
    place = {name: row for row, name in enumerate(shown.ids)}
    rows = np.array([place[name] for name in found.ids])
    kept, many = take(shown, rows), len(rows) > MAPPED
    method = "t-SNE of cosine distances" if many else "The first two principal components"
    return PointMap(
        coordinates=project(normalised(found.vectors), "tsne" if many else "pca"),
        labels=None if shown.labels is None else shown.labels[rows],
        class_names=list(shown.class_names or ()),
        thumbnails=[subject.inputs.thumbnail(kept.read(row)) for row in range(len(kept))],
        ids=[_short(subject.inputs.words(kept.read(row)), name) for row, name in enumerate(found.ids)],
        axis_note=f"{method}; the axes have no unit.",
    )


def _short(words: str, name: str) -> str:
    return f"{name}: {words[:80]}" if words else name
