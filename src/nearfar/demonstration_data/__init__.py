"""The main job on data of one's own, whatever they are: a fifth is held out, the rest learnt from, a report written."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table as RichTable

from nearfar.data import Source
from nearfar.demonstration_data.page import Told, story, write_page
from nearfar.errors import ConfigError, RunError, require
from nearfar.evaluation import KNN, FewShot, Labelled, Report, evaluate
from nearfar.files import write_atomic
from nearfar.modalities import choose
from nearfar.pipeline.data import limit_source
from nearfar.pipeline.embed import embed
from nearfar.pipeline.environment import environment
from nearfar.pipeline.features import Subject, features, open_subject, raw, untrained
from nearfar.pipeline.index import index
from nearfar.pipeline.pairs import paired_protocols, score_pairs
from nearfar.pipeline.pretrain import pretrain
from nearfar.pipeline.settings import PretrainConfig
from nearfar.pipeline.split import training_and_test
from nearfar.progress import say
from nearfar.recipes import RECIPES
from nearfar.report import Column, MeanSd, Table, to_rich
from nearfar.training.run import Run

__all__ = ["DataDemo", "demo_on_data"]

SHOTS = (1, 5, 10)
ON_MAP = 2_000
MOST = 20_000
"""Items that are learnt from, so that the demo takes minutes."""

WHERE = {
    "text": "a file of texts: lines in a .txt, or a .csv with columns text and label, or sentence1 and sentence2",
    "audio": "a folder of sound files, its folders being classes, or a manifest with the column path",
    "image-text": "a .csv with columns path and caption, and perhaps label",
}
"""What to point the demo at."""


class DataDemo(NamedTuple):
    """What the demo leaves: the report's path, the table for the terminal, and the numbers by subject."""

    report: Path
    table: RichTable | None
    numbers: dict[str, Report]


def demo_on_data(
    data: Any,
    *,
    modality: str = "auto",
    out: str | Path = "nearfar-demo",
    epochs: int | None = None,
    limit: int = MOST,
    input_options: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> DataDemo:
    """Pretrain on four fifths of the data, score the rest, embed, index, search, and write a report for the browser.

    Beside the pretrained encoder stand the raw items and the untrained encoder, under the same protocols: few labels
    and kNN where there are labels, correlation with people's scores and finding one's partner where items have two
    sides, naming by class names where there are images with captions. ``train`` and ``test`` splits are used as given.

    Args:
        data: as for `nearfar.pretrain`.
        modality: what they are.
        out: the folder to write; an older demo there is replaced.
        epochs: passes over the data; those of the recipe when absent.
        limit: learn from that many items at most.
        input_options: how the data are read.
        seed: of everything random.

    Raises:
        ConfigError: when no data are given; the sentence says which to give.
        DataError: when they cannot be used.
        RunError: when ``out`` holds something else.
    """
    where = WHERE.get(modality, "data, as for pretrain")
    require(data is not None, f"demo of {modality}", "DATA", f"given: {where}", "none", error=ConfigError)
    began = time.monotonic()
    kind = choose(modality, data)
    options = kind.check_options(input_options or {})
    train, test = training_and_test(kind, data, options, limit=limit, seed=seed)
    config = _config(kind.name, train, seed)
    config = dataclasses.replace(config, epochs=epochs or config.epochs, batch_size=min(config.batch_size, len(train)))
    folder = _fresh(Path(out))
    say(f"1/4 pretrain: {config.method} on {len(train):,} {kind.items}; {len(test):,} are held out")
    reading = {**config.input_options, **options}
    run = pretrain(
        train, out=folder / "run", config=dataclasses.replace(config, input_options=reading), modality=kind.name
    )
    trained = time.monotonic() - began
    say("2/4 evaluate what was held out")
    subject = open_subject(run.path)
    numbers = _scores(subject, train, test, seed)
    for name, report in numbers.items():
        write_atomic(folder / f"evaluation-{name.replace(' ', '-')}.json", report.to_json())
    say("3/4 embed and index what was held out")
    shown = limit_source(test, ON_MAP, seed=seed)
    embed(run.path, shown, out=folder / "embeddings.parquet", overwrite=True)
    index(folder / "embeddings.parquet", out=folder / "index", overwrite=True)
    say("4/4 search and report")
    table = _table(numbers)
    facts = _facts(run, kind.items, len(train), len(test), trained, time.monotonic() - began)
    told = story(numbers)
    path = write_page(folder, Told(run, subject, shown, table, told, facts))
    for sentence in told:
        say(sentence)
    return DataDemo(path, None if table is None else to_rich(_narrow(table)), numbers)


def _fresh(folder: Path) -> Path:
    if folder.exists() and any(folder.iterdir()):
        if not (folder / "run" / "config.yaml").is_file():
            raise RunError(f"{folder}: must be a new folder or an older demo, got other files; choose another --out")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _config(modality: str, train: Source, seed: int) -> PretrainConfig:
    """Return the recipe that fits: of texts, the one for pairs where a row has two."""
    names = {"audio": "simclr/audio", "text": "simcse/small", "image-text": "clip/small"}
    name = names.get(modality, "simclr/small")
    if modality == "text" and len(train.read(0)) > 1:
        name = "simcse/pairs"
    config = RECIPES.get(name)()
    if name == "simclr/small":
        config = dataclasses.replace(config, encoder="auto")
    return dataclasses.replace(config, seed=seed)


def _scores(subject: Subject, train: Source, test: Source, seed: int) -> dict[str, Report]:
    """Score the raw items, the untrained and the pretrained encoder by all that the data allow."""
    fresh = untrained(subject.spec, seed=seed, inputs=subject.inputs)
    subjects = {subject.inputs.raw_name: raw(subject.inputs), "untrained encoder": fresh, "pretrained encoder": subject}
    names = _possible(subject, test)
    if "pairs" in names and subject.inputs.modality == "image-text":
        subjects.pop(subject.inputs.raw_name)  # pixels and words have no space in common
    numbers = {}
    for name, one in subjects.items():
        reports = []
        if train.labels is not None and test.labels is not None:
            sets = []
            for split, source in (("train", train), ("test", test)):
                rows, vectors = features(one, source, description=f"{name}, {split}")
                assert source.labels is not None
                sets.append(Labelled(vectors, source.labels[rows], split=split, view=one.view))
            reports.append(evaluate(sets[0], sets[1], [FewShot(per_class=SHOTS, seed=seed), KNN()], subject=name))
        protocols, _ = paired_protocols(names, {}, seed)
        if protocols:
            reports.append(score_pairs(dataclasses.replace(one, name=name), test, protocols, None))
        if reports:
            results = tuple(result for report in reports for result in report.results)
            numbers[name] = dataclasses.replace(reports[0], results=results)
    return numbers


def _possible(subject: Subject, test: Source) -> list[str]:
    """Return the protocols of pairs and names that the held-out items allow."""
    from nearfar.data.source import origin
    from nearfar.errors import DataError

    found = []
    try:
        subject.inputs.sides(test.read(0))
    except DataError:
        return []
    whole, _ = origin(test, 0)
    if getattr(whole, "scores", None) is not None:
        found.append("sts")
    found.append("pairs")
    if subject.inputs.modality == "image-text" and test.labels is not None:
        found.append("zero-shot")
    return found


def _table(numbers: Mapping[str, Report]) -> Table | None:
    """Return a row per score and a column per subject."""
    if not numbers:
        return None
    first = next(iter(numbers.values()))
    columns = [Column("score"), *(Column(name, better=None, digits=3) for name in numbers)]
    rows: list[list[Any]] = []
    for score in (score for result in first.results for score in result.scores):
        found = [report[score.name] for report in numbers.values()]
        rows.append([score.name, *(MeanSd(one.value, one.sd) if one.sd is not None else one.value for one in found)])
    notes = [first.train, first.test, *(f"{result.protocol}: {result.sentence}" for result in first.results)]
    return Table(columns, rows, title="What was held out", notes=notes)


def _narrow(table: Table) -> Table:
    """Shorten the headings and leave out the notes, so that eighty columns hold the table."""
    columns = [dataclasses.replace(column, name=column.name.removesuffix(" encoder")) for column in table.columns]
    return Table(columns, table.rows, title=table.title)


def _facts(run: Run, items: str, learnt: int, held: int, trained: float, seconds: float) -> dict[str, object]:
    config, machine = run.config(), environment()
    return {
        "data": f"{learnt:,} {items} to learn from, {held:,} held out",
        "method": f"{config['method']}, {config['method_options']}",
        "encoder": f"{config['encoder']}, {config['encoder_options']}",
        "training": f"{config['epochs']} epochs, batch {config['batch_size']}, learning rate {config['lr']}",
        "seed": config["seed"],
        "machine": f"{machine['cpu']}, {machine['cores']} cores",
        "time": f"{trained:.0f} s of training, {seconds:.0f} s in all",
        "run folder": run.path.name,
    }
