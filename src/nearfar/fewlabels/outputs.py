"""What is left to be read: ``results.json``, ``table.csv`` and the page."""

from __future__ import annotations

import csv
import io
import json
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nearfar.config import to_mapping
from nearfar.data import Source
from nearfar.data.source import read_many
from nearfar.evaluation import reliability
from nearfar.evaluation.probability_calibration import softmax
from nearfar.fewlabels.baselines import SENTENCES
from nearfar.fewlabels.parts import Data
from nearfar.fewlabels.predictor import Predictor, load_predictor
from nearfar.fewlabels.project import Amount, Project
from nearfar.fewlabels.scores import SENTENCE, probabilities
from nearfar.fewlabels.settings import SemiConfig
from nearfar.fewlabels.start import Start
from nearfar.fewlabels.summary import Row, calibrated, interval_of, predictions, table_of
from nearfar.files import write_atomic
from nearfar.modalities import Inputs
from nearfar.pipeline.environment import environment
from nearfar.report import Bars, Cell, Column, Line, Mistakes, Table, few_labels_page

__all__ = ["confident_mistakes", "write_all"]

SHOWN = 12
"""Mistakes, and labelled items, that are shown."""

TIMED = 256
"""Items that throughput is measured with."""


def write_all(
    project: Project,
    rows: Sequence[Row],
    amounts: Sequence[Amount],
    data: Data,
    start: Start,
    settings: SemiConfig,
    name: str,
) -> None:
    """Write everything that is not a run."""
    speeds = _throughput(project, rows, data, start.inputs, settings)
    content = {
        "data": name,
        "settings": to_mapping(settings),
        "items": {"train": len(data.train), "test": 0 if data.test is None else len(data.test)},
        "items_per_second": speeds,
        "rows": [row.to_json() for row in rows],
        "environment": environment(),
    }
    write_atomic(project.path / "results.json", json.dumps(content, indent=2, ensure_ascii=False))
    write_atomic(project.path / "table.csv", _csv(rows))
    names = list(dict.fromkeys(row.amount for row in rows))
    few = min(amounts, key=lambda amount: _labels(rows, amount.name))
    shown = next(row for row in rows if row.amount == few.name and row.phase == "distilled")
    few_labels_page(
        project.path / "report.html",
        title="The most from few labels",
        subtitle=f"Pretrained on {len(data.train):,} {start.inputs.modality} items without labels, fine-tuned on few, "
        "distilled on all; test items were seen by none of them.",
        highlights=_highlights(rows, few.name),
        tables=[table_of(rows, amount, wide=True) for amount in names],
        bars_of=_bars(rows, names),
        label_curves=_label_curves(rows),
        label_ticks={math.log10(number): str(number) for number in sorted(set(_numbers(rows).values()))},
        labels=_labels_table(rows, names, data),
        learnt=_learnt(data, start.inputs, few, shown),
        mistakes=confident_mistakes(data, start.inputs, shown),
        reliability={amount: _reliability(rows, amount) for amount in names if _reliability(rows, amount)},
        costs=_costs(rows, names[0], speeds),
        protocols=_protocols(rows),
        facts={
            "data": name or "items in memory",
            "pretrained encoder": start.name,
            "encoder": start.spec.name,
            "settings": {key: value for key, value in to_mapping(settings).items() if value not in (None, {}, [])},
            "nearfar": environment()["nearfar"],
            "cpu": environment()["cpu"],
        },
    )


def confident_mistakes(data: Data, inputs: Inputs, row: Row, count: int = SHOWN) -> Mistakes | None:
    """Return the test items that the first draw of a row answers wrongly and most surely."""
    found = predictions(row.folders[0])
    if data.targets.task != "classes" or "wanted" not in found or data.test is None:
        return None
    shares = probabilities(data.targets, found["outputs"])
    sure, answer, wanted = shares.max(axis=1), shares.argmax(axis=1), found["wanted"]
    wrong = np.flatnonzero((wanted >= 0) & (answer != wanted))
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][:count]
    place = {text: at for at, text in enumerate(data.test.ids)}
    items = [data.test.read(place[str(found["ids"][at])]) for at in worst]
    names = data.targets.names
    captions = [f"{names[answer[at]]} {sure[at]:.0%}\nis {names[wanted[at]]}" for at in worst]
    title = f"Test items that the {row.phase} model ({row.amount}, first draw) is most sure of and wrong about."
    return Mistakes(title, [inputs.thumbnail(item) for item in items], captions)


def _learnt(data: Data, inputs: Inputs, amount: Amount, row: Row) -> Mistakes:
    from nearfar.fewlabels.label_files import read_labels

    labels = read_labels(row.folders[0].with_name("finetuned") / "labels.csv")
    place = {text: at for at, text in enumerate(data.train.ids)}
    ids = [text for text in labels if text in place][: 2 * SHOWN]
    pictures = [inputs.thumbnail(data.train.read(place[text])) for text in ids]
    return Mistakes(f"The first labelled items of {amount.name}:", pictures, [labels[text] for text in ids])


def _highlights(rows: Sequence[Row], amount: str) -> list[tuple[str, str, str]]:
    found = []
    for row in rows:
        if row.amount == amount and row.phase in ("distilled", "fine-tuned", "from scratch") and row.names():
            name = row.names()[0]
            mean = interval_of(row, name).mean
            found.append((f"{mean:.1%}" if mean <= 1 else f"{mean:.3g}", row.phase, f"{name}, {amount}"))
    return found


def _bars(rows: Sequence[Row], amounts: Sequence[str]) -> list[Bars]:
    found = []
    for amount in amounts:
        mine = [row for row in rows if row.amount == amount and row.names()]
        if not mine or mine[0].names()[0] == "mean absolute error":
            continue
        name = mine[0].names()[0]
        ends = [interval_of(row, name) for row in mine]
        pairs = [(_number(one.low), _number(one.high)) for one in ends]
        found.append(Bars(f"{name}, {amount}", [row.phase for row in mine], [one.mean for one in ends], pairs))
    return found


def _label_curves(rows: Sequence[Row]) -> dict[str, list[Line]]:
    numbers = _numbers(rows)
    if len(set(numbers.values())) < 2:
        return {}
    lines = []
    for phase in dict.fromkeys(row.phase for row in rows):
        mine = sorted((row for row in rows if row.phase == phase and row.amount in numbers), key=lambda r: r.labels)
        if mine and mine[0].names():
            name = mine[0].names()[0]
            found = [interval_of(row, name) for row in mine]
            spread = [one.sd for one in found]
            x = [math.log10(numbers[row.amount]) for row in mine]
            known = None if any(one is None for one in spread) else [float(one or 0) for one in spread]
            lines.append(Line(phase, x, [one.mean for one in found], known))
    return {rows[0].names()[0]: lines} if lines else {}


def _numbers(rows: Sequence[Row]) -> dict[str, int]:
    """Return the amounts that are numbers of labels per class."""
    ending = " per class"
    return {row.amount: int(row.amount.removesuffix(ending)) for row in rows if row.amount.endswith(ending)}


def _labels(rows: Sequence[Row], amount: str) -> int:
    return next(row.labels for row in rows if row.amount == amount)


def _labels_table(rows: Sequence[Row], amounts: Sequence[str], data: Data) -> Table:
    counted = [next(row for row in rows if row.amount == amount).per_class for amount in amounts]
    columns = [Column("class"), *(Column(amount) for amount in amounts)]
    cells: list[list[Cell]] = [[name, *(one.get(name, 0) for one in counted)] for name in counted[0]]
    total: list[Cell] = ["all", *(sum(one.values()) for one in counted)]
    return Table(columns, [*cells, total], title="Labels used", notes=[f"of {len(data.train):,} training items"])


def _reliability(rows: Sequence[Row], amount: str) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    points = {}
    for row in rows:
        if row.amount == amount and row.phase in ("fine-tuned", "distilled") and row.calibration:
            found = predictions(row.folders[0])
            known = found["wanted"] >= 0
            outputs, wanted = found["outputs"][known], found["wanted"][known]
            plain = reliability(softmax(outputs), wanted)
            points[f"{row.phase}, ECE {row.calibration[0].before:.1%}"] = (plain.confidence, plain.accuracy)
            scaled = reliability(calibrated(outputs, wanted)[1], wanted)
            name = f"{row.phase}, T = {row.calibration[0].temperature:.2f}, ECE {row.calibration[0].after:.1%}"
            points[name] = (scaled.confidence, scaled.accuracy)
    return points


def _costs(rows: Sequence[Row], amount: str, speeds: dict[str, float]) -> Table:
    columns = [Column("model"), Column("parameters", unit="M", digits=3), Column("items/s", digits=0)]
    cells: list[list[Cell]] = [
        [row.phase, row.parameters / 1e6, speeds.get(row.phase)]
        for row in rows
        if row.amount == amount and row.parameters is not None
    ]
    note = f"items/s: forward pass of {TIMED} items at a time in float32 on this machine's processor or GPU, best of 3"
    return Table(columns, cells, title="Parameters and throughput", notes=[note])


def _throughput(
    project: Project, rows: Sequence[Row], data: Data, inputs: Inputs, settings: SemiConfig
) -> dict[str, float]:
    """Return items/s of teacher and students, measured once."""
    path = project.path / "costs.json"
    try:
        found: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = {}
    for row in rows:
        if row.phase in ("fine-tuned", "distilled", "student") and row.phase not in found and data.test is not None:
            found[row.phase] = _speed(load_predictor(row.folders[0])[0], inputs, data.test, settings.accelerator)
    write_atomic(path, json.dumps(found, indent=2))
    return found


def _speed(model: Predictor, inputs: Inputs, source: Source, accelerator: str) -> float:
    from nearfar.pipeline.features import to_device

    gpu = accelerator != "cpu" and torch.cuda.is_available()
    device = torch.device("cuda" if gpu else "cpu")
    items = read_many(source, np.arange(min(TIMED, len(source))))
    view = inputs.make_views(items, [inputs.evaluation_view()], np.random.default_rng(0))[0]
    moved, model = to_device(view, device), model.to(device).eval()
    times = []
    with torch.inference_mode():
        for _ in range(4):  # the first one warms up
            began = time.perf_counter()
            model(moved).cpu()
            times.append(time.perf_counter() - began)
    return len(items) / min(times[1:])


def _protocols(rows: Sequence[Row]) -> list[str]:
    own = {
        "fine-tuned": "the pretrained encoder with a zero classifier, all weights trained on the labels alone",
        "distilled": "a student of the same kind from random weights, trained on the fine-tuned model's answers to all "
        "training items, same crop for both",
        "student": "another encoder, trained on the distilled model's answers in the same way",
        "from scratch": "the same encoder from random weights, trained on the labels alone, same views and steps",
        "fixmatch": "the pretrained encoder, trained on labels and on its own confident answers to unlabelled items",
        "self-training": "the pretrained encoder, trained on the labels, then again on them and its confident answers",
        **SENTENCES,
    }
    return [f"{name}: {own[name]}" for name in dict.fromkeys(row.phase for row in rows)] + [SENTENCE]


def _csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["amount", "labels", "phase", "score", "mean", "low", "high", "sd", "draws", "parameters", "ece"])
    for row in rows:
        for name in row.names():
            found = interval_of(row, name)
            writer.writerow([
                row.amount, row.labels, row.phase, name, found.mean, found.low, found.high, found.sd, len(row.scores),
                row.parameters, row.ece("before"),
            ])  # fmt: skip
    return text.getvalue()


def _number(value: float | None) -> float:
    return math.nan if value is None else value
