"""The story of a table: does pretraining help where columns already mean something? Often not, and then it says so."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data import Source, hold_out, take
from nearfar.data.embeddings import read_embeddings
from nearfar.data.table import open_table
from nearfar.demonstration import Demo
from nearfar.demonstration.digits import fresh
from nearfar.errors import DataError, require
from nearfar.evaluation import Auc, Labelled, Repeated, evaluate
from nearfar.files import write_atomic
from nearfar.indexing import open_index
from nearfar.modalities import Inputs
from nearfar.modalities.table import TABLE
from nearfar.pipeline.data import limit_source
from nearfar.pipeline.embed import embed
from nearfar.pipeline.environment import environment
from nearfar.pipeline.features import features, open_subject
from nearfar.pipeline.index import index
from nearfar.pipeline.pretrain import pretrain
from nearfar.pipeline.repeats import Repeats, repeat_splits
from nearfar.pipeline.sheets import seen
from nearfar.progress import say
from nearfar.recipes.tables import scarf
from nearfar.report import (
    Column,
    MeanSd,
    Measured,
    Neighbour,
    Page,
    PointMap,
    Query,
    Table,
    ViewGrid,
    project,
    to_rich,
    verdict,
)
from nearfar.searching import search_ids

__all__ = ["tell", "tumours"]

SHOTS = (5, 20, 0)
SPLITS = 3
QUERIES = 6
EPOCHS = 60


def tell(
    *,
    data: Any = None,
    out: str | Path,
    epochs: int | None,
    limit: int | None = None,
    options: Mapping[str, Any] | None = None,
    seed: int,
) -> Demo:
    """Tell the story; see `nearfar.demonstration.demo`.

    Args:
        data: a table with labels; scikit-learn's breast-cancer table when absent.
        out: the folder to write: a run, ``embeddings.parquet``, ``index`` and ``report.html``.
        epochs: passes over the data.
        limit: take that many rows at most.
        options: how the table is read.
        seed: of everything random.

    Raises:
        DataError: when the table has no labels.
    """
    began = time.monotonic()
    source = tumours() if data is None else TABLE.open_splits(data, TABLE.check_options(options or {}))[""]
    require(source.labels is not None, "demo", "labels", "given", "none", TABLE.labels_fix, error=DataError)
    source = limit_source(source, limit, seed=seed) if limit else source
    folder = fresh(Path(out))
    config = dataclasses.replace(scarf(), epochs=epochs or EPOCHS, seed=seed)
    train, test = hold_out(source, share=0.3, seed=seed)
    config = dataclasses.replace(config, batch_size=min(config.batch_size, len(train)))
    say(f"1/4 pretrain: SCARF on {len(train)} rows, without their labels")
    run = pretrain(train, out=folder / "run", config=config)
    subject = open_subject(run.path)
    sets = [_labelled(subject, part, name) for name, part in (("train", train), ("test", test))]
    numbers = evaluate(sets[0], sets[1], [Auc(seed=seed)], subject="pretrained encoder")
    write_atomic(folder / "evaluation.json", numbers.to_json())
    say("2/4 embed and index: all rows")
    embed(run.path, source, out=folder / "embeddings.parquet", overwrite=True)
    index(folder / "embeddings.parquet", out=folder / "index", overwrite=True)
    say(f"3/4 evaluate: {SPLITS} splits, each pretrained anew, beside classical methods on the columns themselves")
    repeats = repeat_splits(source, config, repeats=SPLITS, shots=SHOTS, seed=seed)
    say("4/4 search and report")
    table = _table(repeats)
    story = _story(repeats)
    path = _report(folder, source, subject.inputs, table, story, config, seed, time.monotonic() - began)
    return Demo(path, to_rich(_short(table)), {"repeats": repeats, "one split": numbers, "story": story})


def tumours() -> Source:
    """Return scikit-learn's breast-cancer table: 569 tumours, 30 measurements of cell nuclei, benign or malignant."""
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer()
    columns: dict[str, NDArray[Any]] = {
        str(name): np.asarray(found.data[:, place], dtype=np.float64) for place, name in enumerate(found.feature_names)
    }
    columns["diagnosis"] = np.array([str(found.target_names[label]) for label in found.target], dtype=object)
    return open_table(columns, {"diagnosis": "label"}, quiet=True)[""]


def _labelled(subject: Any, source: Source, split: str) -> Labelled:
    rows, vectors = features(subject, source, description=split)
    assert source.labels is not None
    return Labelled(vectors, source.labels[rows], split=split, view=subject.view)


def _table(repeats: Repeats) -> Table:
    columns = [Column("labels per class")]
    names = [str(n) if n else "all" for n in SHOTS]
    for metric in ("ROC-AUC", "balanced accuracy"):
        columns += [Column(name, group=metric, better="higher", digits=1, percent=True) for name in names]
    rows: list[list[Any]] = []
    for name, per in repeats.numbers.items():
        rows.append([name, *(_cell(per[n][which]) for which in (0, 1) for n in SHOTS)])
    return Table(columns, rows, title="Held-out rows told apart, by labels per class", notes=[repeats.sentence])


def _cell(value: Repeated) -> MeanSd:
    return MeanSd(value.mean, value.sd)


def _short(table: Table) -> Table:
    """Return the ROC-AUCs alone, which fit a terminal."""
    columns = [table.columns[0], *(dataclasses.replace(column, group="") for column in table.columns[1:4])]
    return Table(columns, [row[:4] for row in table.rows], title="ROC-AUC on held-out rows, by labels per class")


def _story(repeats: Repeats) -> list[str]:
    """Return what the numbers say, in sentences that depend on them."""
    said = []
    for n in SHOTS:
        auc = {name: Measured(per[n][0].mean, per[n][0].sd) for name, per in repeats.numbers.items()}
        lead = f"With {n} labels per class" if n else "With all labels"
        said.append(verdict(auc, "pretrained encoder", lead=lead, what="ROC-AUC", margin="sd over splits"))
    return said


def _report(
    folder: Path,
    source: Source,
    inputs: Inputs,
    table: Table,
    story: list[str],
    config: Any,
    seed: int,
    seconds: float,
) -> Path:
    page = Page(
        "nearfar demo: a table of tumours" if len(source) == 569 else "nearfar demo: a table",
        "SCARF learns from rows without their labels: a row, and the same row with 60 % of its columns replaced, are "
        "pulled near.",
    )
    page.section("Numbers", "Everything is done anew in each split; test rows are seen by nothing.").table(table)
    page.section("What they say").text(*story)
    points = _points(folder, source, inputs)
    page.section("Map of the embeddings").map(points, alt="Rows by nearness, coloured by label.")
    lead = "Each cell is a column: blue below the mean, red above."
    page.section("Queries and their nearest neighbours", lead).neighbours(_queries(folder, source, inputs))
    shown = seen(inputs, source, inputs.views(config.views), seed=seed, rows=6)
    page.section("Views", "What the method sees.").views(ViewGrid(shown.originals, shown.views, shown.captions))
    machine = environment()
    page.section("Facts").facts(
        {
            "data": f"{len(source)} rows; {inputs.view_words}",
            "method": f"{config.method}, {config.method_options}",
            "encoder": config.encoder,
            "training": f"{config.epochs} epochs, batch {config.batch_size}, {config.optimizer}, rate {config.lr}",
            "seed": seed,
            "machine": f"{machine['cpu']}, {machine['cores']} cores",
            "time in all": f"{seconds:.0f} s",
        }
    )
    return page.write(folder / "report.html")


def _points(folder: Path, source: Source, inputs: Inputs) -> PointMap:
    vectors = read_embeddings(folder / "embeddings.parquet").vectors
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    found = open_index(folder / "index").search(vectors, 9)
    place: dict[str | int, int] = {name: row for row, name in enumerate(source.ids)}
    neighbours = np.zeros((len(unit), 8), dtype=np.int64)
    distances = np.zeros((len(unit), 8), dtype=np.float32)
    for row, names in enumerate(found.ids):
        others = [(place[name], found.distances[row, i]) for i, name in enumerate(names) if place[name] != row][:8]
        neighbours[row], distances[row] = [p for p, _ in others], [max(0.0, float(d)) for _, d in others]
    return PointMap(
        coordinates=project(unit, "tsne"),
        labels=source.labels,
        class_names=list(source.class_names or ()),
        thumbnails=[inputs.thumbnail(source.read(row)) for row in range(len(source))],
        ids=list(source.ids),
        neighbours=neighbours,
        distances=distances,
        axis_note="t-SNE of cosine distances; the axes have no unit.",
    )


def _queries(folder: Path, source: Source, inputs: Inputs) -> list[Query]:
    assert source.labels is not None
    some = take(source, np.linspace(0, len(source) - 1, QUERIES).astype(np.int64)).ids
    results = search_ids(open_index(folder / "index"), list(some), 6)
    place: dict[str | int, int] = {name: row for row, name in enumerate(source.ids)}
    names = source.class_names or ()
    queries = []
    for name, hits in results.by_query():
        label = names[int(source.labels[place[name]])]
        neighbours = [
            Neighbour(
                image=inputs.thumbnail(source.read(place[hit.id])),
                distance=hit.distance,
                label=str(hit.label),
                id=str(hit.id),
                right=str(hit.label) == label,
            )
            for hit in hits
        ]
        image = inputs.thumbnail(source.read(place[name]))
        queries.append(Query(image=image, neighbours=neighbours, label=label, id=str(name)))
    return queries
