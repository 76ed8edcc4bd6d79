"""The main job on data that needs no download: scikit-learn's handwritten digits, from images to a report."""

from __future__ import annotations

import dataclasses
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data import ArraySource, Source, take
from nearfar.demonstration import Demo
from nearfar.errors import RunError
from nearfar.evaluation import KNN, FewShot, Labelled, Linear, Report, evaluate
from nearfar.files import write_atomic
from nearfar.pipeline.embed import embed
from nearfar.pipeline.environment import environment
from nearfar.pipeline.features import Subject, features, open_subject, raw, untrained
from nearfar.pipeline.index import index
from nearfar.pipeline.pretrain import pretrain
from nearfar.pipeline.sheets import seen
from nearfar.progress import say
from nearfar.recipes.digits import simclr
from nearfar.report import (
    Column,
    Line,
    MeanSd,
    Neighbour,
    PointMap,
    Query,
    Table,
    ViewGrid,
    demo_page,
    project,
    to_rich,
)
from nearfar.searching import search_ids
from nearfar.training.run import Run

__all__ = ["digits", "fresh", "tell"]

SHOTS = (1, 5, 10)
TEST = 500
QUERIES = 10


def tell(*, out: str | Path, epochs: int | None, seed: int) -> Demo:
    """Tell the story; see `nearfar.demonstration.demo`.

    Args:
        out: the folder to write: a run, ``embeddings.parquet``, ``index`` and ``report.html``.
        epochs: passes over the data; those of the recipe ``simclr/digits`` when absent.
        seed: of everything random.
    """
    began = time.monotonic()
    folder = fresh(Path(out))
    images, train, test = digits()
    recipe = simclr()
    config = dataclasses.replace(recipe, seed=seed, epochs=epochs or recipe.epochs)
    say(f"1/5 pretrain: SimCLR on {len(train)} digits, without their labels")
    run = pretrain(train, out=folder / "run", config=config)
    trained = time.monotonic() - began
    say("2/5 evaluate: raw pixels, the untrained and the pretrained encoder under the same protocols")
    subject = open_subject(run.path)
    subjects = [raw(subject.inputs), untrained(subject.spec, seed=seed), subject]
    names = ("raw pixels", "untrained encoder", "pretrained encoder")
    numbers = {name: _score(one, name, train, test, seed) for name, one in zip(names, subjects, strict=True)}
    for name, report in numbers.items():
        write_atomic(folder / f"evaluation-{name.replace(' ', '-')}.json", report.to_json())
    say("3/5 embed and 4/5 index: all digits")
    embed(run.path, images, out=folder / "embeddings.parquet", overwrite=True)
    index(folder / "embeddings.parquet", out=folder / "index", overwrite=True)
    say("5/5 search and report")
    table = _table(numbers)
    path = _report(folder, run, images, test, subject, numbers, table, config, seed, (trained, began))
    return Demo(path, to_rich(_terminal_table(table)), numbers)


def fresh(folder: Path) -> Path:
    """Return the folder of a demo, empty.

    Raises:
        RunError: when it holds something that is no older demo.
    """
    marker = folder / "run" / "config.yaml"
    if folder.exists() and any(folder.iterdir()):
        if not marker.is_file():
            raise RunError(f"{folder}: must be a new folder or an older demo, got other files; choose another --out")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def digits() -> tuple[ArraySource, Source, Source]:
    """Return all digits as uint8 images, and their training and test parts (the classes evenly in both)."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels_, labels = load_digits(return_X_y=True)
    array = np.round(pixels_ * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    source = ArraySource(array, labels=labels.astype(np.int64), class_names=[str(digit) for digit in range(10)])
    train, test = train_test_split(np.arange(len(labels)), test_size=TEST, stratify=labels, random_state=0)
    return source, take(source, np.sort(train)), take(source, np.sort(test))


def _score(subject: Subject, name: str, train: Source, test: Source, seed: int) -> Report:
    sets = []
    for split, source in (("train", train), ("test", test)):
        rows, vectors = features(subject, source, description=f"{name}, {split}")
        assert source.labels is not None
        sets.append(Labelled(vectors, source.labels[rows], split=split, view=subject.view))
    protocols = [FewShot(per_class=SHOTS, draws=5, seed=seed), KNN(), Linear(seed=seed)]
    return evaluate(sets[0], sets[1], protocols, subject=name)


def _table(numbers: dict[str, Report]) -> Table:
    columns = [Column("labels per class")]
    for kind in ("knn", "linear"):
        group = "kNN" if kind == "knn" else "linear"
        shown = [*map(str, SHOTS), "all"]
        columns += [Column(name, group=group, better="higher", digits=1, percent=True) for name in shown]
    rows: list[list[Any]] = []
    for name, report in numbers.items():
        row: list[Any] = [name]
        for kind in ("knn", "linear"):
            few = [report[f"{kind}, {n} per class"] for n in SHOTS]
            row += [MeanSd(score.value, score.sd or 0.0) for score in few]
            row.append(report[kind].value)
        rows.append(row)
    first = next(iter(numbers.values()))
    notes = [first.train, first.test, *(f"{result.protocol}: {result.sentence}" for result in first.results)]
    return Table(columns, rows, title="Accuracy on held-out digits, by the number of labels per class", notes=notes)


def _terminal_table(table: Table) -> Table:
    """Turn the table on its side: eighty columns hold three encoders, but not eight numbers of each."""
    columns = [
        Column("labels per class"),
        *(Column(str(row[0]), better=None, percent=True, digits=1) for row in table.rows),
    ]
    rows = [
        [f"{column.group}, {column.name}", *(row[place] for row in table.rows)]
        for place, column in enumerate(table.columns)
        if place
    ]
    return Table(columns, rows, title=table.title)


def _report(
    folder: Path,
    run: Run,
    images: ArraySource,
    test: Source,
    subject: Subject,
    numbers: dict[str, Report],
    table: Table,
    config: Any,
    seed: int,
    times: tuple[float, float],
) -> Path:
    rows = run.metrics()
    steps = [row for row in rows if "loss" in row]
    epochs = [row for row in rows if "epoch_loss" in row]
    best, plain = numbers["pretrained encoder"], numbers["raw pixels"]
    ten, ten_plain = best["linear, 10 per class"], plain["linear, 10 per class"]
    highlights = [
        (f"{ten.value:.1%}", "with ten labels per class", f"linear probe; raw pixels reach {ten_plain.value:.1%}"),
        (
            f"{best['linear, 1 per class'].value:.1%}",
            "with one label per class",
            f"linear probe; raw pixels reach {plain['linear, 1 per class'].value:.1%}",
        ),
        (f"{times[0]:.0f} s", "of pretraining", f"{len(epochs)} epochs on this machine, no labels"),
    ]
    views = [dataclasses.replace(view, **config.view_options) for view in subject.inputs.views(config.views)]
    shown = seen(subject.inputs, images, views, seed=seed)
    seconds = time.monotonic() - times[1]
    return demo_page(
        folder / "report.html",
        title="nearfar demo: handwritten digits",
        subtitle="SimCLR learns from digits without their labels; a few labels then go a long way.",
        highlights=highlights,
        table=table,
        label_curves=_curves(numbers),
        label_ticks={float(place): text for place, text in enumerate(("1", "5", "10", "all"))},
        points=_map(folder, images),
        queries=_queries(folder, images, test),
        views=ViewGrid(shown.originals, shown.views, shown.captions),
        loss=Line("loss", [row["step"] for row in steps], [row["loss"] for row in steps]),
        probes=[
            Line(name, [row["epoch"] + 1 for row in epochs], [row[key] for row in epochs])
            for name, key in (("linear probe", "probe_accuracy"), ("kNN", "knn_accuracy"))
            if key in epochs[-1]
        ],
        facts=_facts(run, config, seconds),
    )


def _curves(numbers: dict[str, Report]) -> dict[str, list[Line]]:
    curves: dict[str, list[Line]] = {}
    for title, kind in (("kNN", "knn"), ("Linear probe", "linear")):
        curves[title] = []
        for name, report in numbers.items():
            scores = [*(report[f"{kind}, {n} per class"] for n in SHOTS), report[kind]]
            values, spread = [score.value for score in scores], [score.sd or 0.0 for score in scores]
            curves[title].append(Line(name, [0.0, 1.0, 2.0, 3.0], values, spread))
    return curves


def _map(folder: Path, images: ArraySource) -> PointMap:
    from nearfar.data.embeddings import read_embeddings
    from nearfar.indexing import open_index

    vectors = read_embeddings(folder / "embeddings.parquet").vectors
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    opened = open_index(folder / "index")
    found = opened.search(vectors, 9)
    place: dict[Any, int] = {name: row for row, name in enumerate(images.ids)}
    neighbours = np.zeros((len(unit), 8), dtype=np.int64)
    distances = np.zeros((len(unit), 8), dtype=np.float32)
    for row, names in enumerate(found.ids):
        others = [(place[name], found.distances[row, i]) for i, name in enumerate(names) if place[name] != row][:8]
        neighbours[row], distances[row] = [p for p, _ in others], [max(0.0, float(d)) for _, d in others]
    return PointMap(
        coordinates=project(unit, "tsne"),
        labels=images.labels,
        class_names=list(images.class_names or ()),
        thumbnails=_pictures(images),
        ids=list(images.ids),
        neighbours=neighbours,
        distances=distances,
        axis_note="t-SNE of cosine distances; the axes have no unit.",
    )


def _queries(folder: Path, images: ArraySource, test: Source) -> list[Query]:
    """Ask for one test digit of each class, the first of it in the test part."""
    from nearfar.indexing import open_index

    assert images.labels is not None
    assert test.labels is not None
    first = [test.ids[int(np.flatnonzero(test.labels == digit)[0])] for digit in range(QUERIES)]
    results = search_ids(open_index(folder / "index"), first, 8)
    place: dict[Any, int] = {name: row for row, name in enumerate(images.ids)}
    queries = []
    for name, hits in results.by_query():
        label = int(images.labels[place[name]])
        neighbours = [
            Neighbour(
                image=images.read(place[hit.id]),
                distance=hit.distance,
                label=str(hit.label),
                id=str(hit.id),
                right=str(hit.label) == str(label),
            )
            for hit in hits
        ]
        queries.append(Query(image=images.read(place[name]), neighbours=neighbours, label=str(label), id=str(name)))
    return queries


def _pictures(images: ArraySource) -> list[NDArray[Any]]:
    return [np.asarray(images.read(row)) for row in range(len(images))]


def _facts(run: Run, config: Any, seconds: float) -> dict[str, object]:
    machine = environment()
    return {
        "data": "scikit-learn's digits: 1,797 images of 8 x 8 pixels, 1,297 to learn from, 500 held out",
        "method": f"{config.method}, {config.method_options}",
        "encoder": config.encoder,
        "training": f"{config.epochs} epochs, batch {config.batch_size}, {config.optimizer}, learning rate {config.lr}",
        "seed": config.seed,
        "machine": f"{machine['cpu']}, {machine['cores']} cores",
        "versions": ", ".join(f"{name} {version}" for name, version in dict(machine["packages"]).items()),  # type: ignore[call-overload]
        "time in all": f"{seconds:.0f} s",
        "run folder": run.path.name,
    }
