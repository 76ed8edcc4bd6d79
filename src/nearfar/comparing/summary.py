"""From the folder's scores to rows: what every subject reached, what it cost, and which differences are noise."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nearfar.comparing.contenders import Contender
from nearfar.comparing.folder import Folder, read_json
from nearfar.comparing.work import PIXELS, SCRATCH, UNTRAINED
from nearfar.errors import RunError
from nearfar.evaluation import Report
from nearfar.evaluation.seeds import Difference, OverSeeds, over_seeds, paired_difference
from nearfar.training.run import Run

__all__ = ["BASELINES", "Curves", "Measure", "Pair", "Standing", "measures", "pairs", "seconds_of", "standings"]

BASELINES = {PIXELS: "raw pixels", UNTRAINED: "untrained", SCRATCH: "from scratch"}
"""The baselines in the order of the table, by the names of their results."""

CURVES = ("epoch_loss", "probe_accuracy", "knn_accuracy", "feature_std", "effective_rank")


class Measure(NamedTuple):
    """One accuracy: its name in files, its place in the table, and the name of the score in a report."""

    key: str
    group: str
    labels: str
    score: str

    def __str__(self) -> str:
        """Say it in words."""
        labels = "1 label" if self.labels == "1" else f"{self.labels} labels"
        return f"{self.group}, {labels}" + ("" if self.labels == "all" else " per class")


class Curves(NamedTuple):
    """What one run recorded at the end of every epoch: names to one number an epoch."""

    seed: int
    values: Mapping[str, list[float]]


@dataclass
class Standing:
    """One row: a method or a baseline over all seeds. Lists have one entry a seed; ``None`` stands for no number.

    Attributes:
        name: as in the table.
        origin: where the settings are from.
        baseline: whether it is none of the methods.
        scores: each seed's numbers by the key of the measure, empty for a run that failed.
        seconds: of training.
        peak_mib: the most memory that the training's process held.
        gpu_mib: likewise on the GPU.
        spread: the standard deviation of the normalised test embeddings: 1 even, 0 collapsed.
        rank: their effective rank.
        epochs: of training; ``None`` where there is none.
        failures: the sentences of the runs that failed, with their seed.
        curves: of the runs.
        sentences: what the protocols are, in words.
        parts: what was learnt from and what was scored, in words.
    """

    name: str
    origin: str
    baseline: bool
    epochs: int | None = None
    scores: list[dict[str, float]] = field(default_factory=list)
    seconds: list[float | None] = field(default_factory=list)
    peak_mib: list[float | None] = field(default_factory=list)
    gpu_mib: list[float | None] = field(default_factory=list)
    spread: list[float | None] = field(default_factory=list)
    rank: list[float | None] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    curves: list[Curves] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    parts: tuple[str, str] = ("", "")

    def over(self, key: str) -> OverSeeds | None:
        """Return a measure over the seeds that have it; no accuracy is outside [0, 1], and no end of its interval."""
        known = [scores[key] for scores in self.scores if key in scores]
        if not known:
            return None
        found = over_seeds(known)
        if found.low is None or found.high is None:
            return found
        return found._replace(low=max(0.0, found.low), high=min(1.0, found.high))


class Pair(NamedTuple):
    """Two rows in one measure, over the seeds that both have."""

    measure: Measure
    first: str
    second: str
    difference: Difference


def measures(shots: Sequence[int]) -> list[Measure]:
    """Return every accuracy, in the order of the columns."""
    found = []
    for kind, group in (("knn", "kNN"), ("linear", "linear")):
        found += [Measure(f"{kind}@{n}", group, str(n), f"{kind}, {n} per class") for n in shots]
        found.append(Measure(f"{kind}@all", group, "all", kind))
    return found


def standings(
    folder: Folder, entries: Sequence[Contender], epochs: Mapping[str, int], columns: Sequence[Measure], seeds: range
) -> list[Standing]:
    """Read every row from the folder: the baselines first, then the methods in the order asked for.

    Raises:
        RunError: when a result is missing.
    """
    rows = []
    for key, name in BASELINES.items():
        called = _read(folder, key, seeds[0])["report"]["subject"] if key == PIXELS else name  # pixels, columns, words
        row = Standing(called, "", baseline=True)
        for seed in seeds:
            content = _read(folder, key, seed)
            _add(row, content, columns, seed)
            training = content.get("training", {})
            row.epochs = training.get("epochs", row.epochs)
            _add_costs(row, training.get("seconds"), training)
            if "losses" in training:
                row.curves.append(Curves(seed, {"epoch_loss": training["losses"]}))
        rows.append(row)
    for entry in entries:
        row = Standing(entry.name, entry.origin, baseline=False, epochs=epochs[entry.name])
        for seed in seeds:
            _add(row, _read(folder, entry.name, seed), columns, seed)
            run = folder.run(entry.name, seed)
            whole = run.finished  # a run that failed has no time, and curves that end early
            _add_costs(row, seconds_of(run) if whole else None, read_json(folder.cost(entry.name, seed)) or {})
            if whole:
                row.curves.append(Curves(seed, _curves(run)))
        rows.append(row)
    return rows


def pairs(rows: Sequence[Standing], columns: Sequence[Measure]) -> list[Pair]:
    """Return the differences of all pairs of rows in which there is a method, paired seed by seed."""
    found = []
    for measure in columns:
        for first, second in itertools.combinations(rows, 2):
            if first.baseline and second.baseline:
                continue
            one, two = (second, first) if first.baseline else (first, second)
            both = [
                (a, b) for a, b in zip(one.scores, two.scores, strict=True) if measure.key in a and measure.key in b
            ]
            if len(both) < 2:
                continue
            difference = paired_difference([a[measure.key] for a, _ in both], [b[measure.key] for _, b in both])
            assert difference is not None
            found.append(Pair(measure, one.name, two.name, difference))
    return found


def seconds_of(run: Run) -> float | None:
    """Return the seconds of a run's training: over its epochs, without start and evaluation; ``None`` before any.

    An epoch within which the run was stopped and went on counts by its speed after that.
    """
    rows = [row for row in run.metrics() if "epoch_loss" in row]
    if not rows:
        return None
    images = max(row["seconds"] * row["images_per_second"] for row in rows)
    return float(sum(images / row["images_per_second"] for row in rows))


def _read(folder: Folder, name: str, seed: int) -> dict[str, Any]:
    content = read_json(folder.result(name, seed))
    if content is None:
        raise RunError(f"{folder.result(name, seed)}: is missing; give the same command again")
    return content


def _add(row: Standing, content: Mapping[str, Any], columns: Sequence[Measure], seed: int) -> None:
    if "failed" in content:
        row.failures.append(f"{row.name}, seed {seed}: {content['failed']}")
        row.scores.append({})
        row.spread.append(None)
        row.rank.append(None)
        return
    report = Report.from_json(json.dumps(content["report"]))
    row.scores.append({column.key: report[column.score].value for column in columns})
    row.spread.append(report["feature-std"].value * math.sqrt(content["dim"]))
    row.rank.append(report["rankme"].value)
    said = (f"{result.protocol}: {result.sentence}" for result in report.results)
    row.sentences = [re.sub(rf"\bseed {seed}\b", "the run's seed", sentence) for sentence in said]
    row.parts = (report.train, report.test)


def _add_costs(row: Standing, seconds: float | None, memory: Mapping[str, Any]) -> None:
    row.seconds.append(seconds)
    row.peak_mib.append(memory.get("peak_mib"))
    row.gpu_mib.append(memory.get("gpu_mib"))


def _curves(run: Run) -> dict[str, list[float]]:
    rows = [row for row in run.metrics() if "epoch_loss" in row]
    return {name: [row[name] for row in rows] for name in CURVES if rows and all(name in row for row in rows)}
