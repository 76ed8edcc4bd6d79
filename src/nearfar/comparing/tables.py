"""The rows of a comparison as tables and sentences."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from nearfar.comparing.summary import Measure, Pair, Standing
from nearfar.evaluation.seeds import OverSeeds, over_seeds
from nearfar.report import Cell, Column, MeanSd, Table

__all__ = ["NOISE_RULE", "accuracy_table", "cost_table", "csv_text", "interval_table", "verdicts"]

NOISE_RULE = (
    "rule for noise: two rows differ in a number beyond noise when the 95 % t-interval of their difference, paired "
    "seed by seed, does not contain 0; each pair is judged by itself, so of twenty without a difference one seems to "
    "have one"
)


MANY = 30
"""Differences in one measure that are still told one by one: those of six methods and the baselines are more."""
SPREAD = "mean ± standard deviation over seeds"


def accuracy_table(
    rows: Sequence[Standing], columns: Sequence[Measure], *, title: str = "Accuracy", notes: Sequence[str] = ()
) -> Table:
    """Return mean ± standard deviation over seeds of every measure, or its value where there is one seed."""
    heads = [Column("labels per class"), *_heads(columns, better=True)]
    cells = [[row.name, *(_cell(row.over(column.key)) for column in columns)] for row in rows]
    spread = any(found.sd is not None for row in rows for column in columns if (found := row.over(column.key)))
    return Table(heads, cells, title=f"{title}, {SPREAD if spread else 'one seed'}", notes=notes)


def interval_table(rows: Sequence[Standing], columns: Sequence[Measure]) -> Table:
    """Return the 95 % intervals of the means as text."""
    heads = [Column("labels per class"), *_heads(columns, better=False)]
    cells = [[row.name, *(_interval(row.over(column.key)) for column in columns)] for row in rows]
    return Table(heads, cells, title="95 % t-intervals of the mean accuracy over seeds")


def cost_table(rows: Sequence[Standing]) -> Table:
    """Return what every row cost, the signs of collapse, and where the settings are from."""
    gpu = any(value is not None for row in rows for value in row.gpu_mib)
    heads = [
        Column("row"),
        Column("epochs"),
        Column("training", unit="s", digits=1),
        Column("memory", unit="MiB", digits=0),
        *([Column("GPU memory", unit="MiB", digits=0)] if gpu else []),
        Column("spread", digits=2),
        Column("rank", digits=1),
        Column("recipe"),
    ]
    cells: list[list[Cell]] = []
    for row in rows:
        memory: list[Cell] = [_largest(row.peak_mib), *([_largest(row.gpu_mib)] if gpu else [])]
        cost: list[Cell] = [row.epochs, _mean(row.seconds), *memory]
        signs = [None if found is None else found.mean for found in (_over(row.spread), _over(row.rank))]
        cells.append([row.name, *cost, *signs, row.origin.rpartition("/")[2] or None])
    notes = [
        "training: seconds of the training loop, without start, decoding and scoring",
        "memory: the most that the training's process held, with interpreter and libraries; the largest of the seeds",
        "spread: standard deviation of the normalised test embeddings, 1 when they fill the sphere evenly and 0 when "
        "all are equal; rank: their effective rank (RankMe)",
    ]
    return Table(heads, cells, title="Cost, and signs of collapse", notes=notes)


def verdicts(found: Sequence[Pair], columns: Sequence[Measure], *, brief: bool = False) -> list[str]:
    """Say for every measure which differences are within noise; ``brief`` leaves out the intervals.

    Of more than `MANY` differences only those from the best method and from the baselines are said one by one.
    """
    sentences, many = [], False
    for measure in columns:
        here = [pair for pair in found if pair.measure == measure]
        noise = [pair for pair in here if pair.difference.within_noise]
        if len(here) > MANY:
            many = True
            sentences.append(f"{measure}: {_summary(here, noise)}")
        elif noise:
            listed = "; ".join(f"{pair.first} and {pair.second}{'' if brief else _said(pair)}" for pair in noise)
            sentences.append(f"{measure}: within noise of each other are {listed}.")
        elif here:
            sentences.append(f"{measure}: every difference that has a method in it is beyond noise.")
    if many:
        sentences.append("Every difference, with its interval, stands in results.json.")
    return sentences or ["One seed says nothing about noise: no difference here is known to be real; take 3 seeds."]


def _summary(here: Sequence[Pair], noise: Sequence[Pair]) -> str:
    methods = dict.fromkeys(pair.first for pair in here)  # a baseline is always the second
    baselines = list(dict.fromkeys(pair.second for pair in here if pair.second not in methods))
    against = [pair for pair in here if pair.second == baselines[0]]
    best = max(against, key=lambda pair: pair.difference.mean).first
    said = [f"{len(noise)} of {len(here)} differences are within noise."]
    for name in (best, *baselines):
        near = [
            pair.second if pair.first == name else pair.first for pair in noise if name in (pair.first, pair.second)
        ]
        what = f"{name}, the best method" if name == best else name
        said.append(f"Within noise of {what}: {', '.join(near) or 'none'}.")
    return " ".join(said)


def csv_text(rows: Sequence[Standing], columns: Sequence[Measure]) -> str:
    """Return one line a row; accuracies as fractions, empty where there is no number."""
    heads = ["row", "settings", "epochs", "seconds", "seconds sd", "peak MiB", "GPU MiB", "spread", "rank"]
    for column in columns:
        heads += [f"{column.key} {what}" for what in ("mean", "sd", "low", "high", "seeds")]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(heads)
    for row in rows:
        seconds = _over(row.seconds)
        line: list[Any] = [row.name, row.origin, row.epochs, *((seconds.mean, seconds.sd) if seconds else (None, None))]
        line += [_largest(row.peak_mib), _largest(row.gpu_mib)]
        line += [None if found is None else found.mean for found in (_over(row.spread), _over(row.rank))]
        for column in columns:
            line += row.over(column.key) or (None, None, None, None, 0)
        writer.writerow(["" if value is None else value for value in line])
    return buffer.getvalue()


def _heads(columns: Sequence[Measure], *, better: bool) -> list[Column]:
    return [
        Column(column.labels, group=column.group, better="higher" if better else None, digits=1, percent=True)
        for column in columns
    ]


def _cell(found: OverSeeds | None) -> Cell:
    if found is None:
        return None
    return found.mean if found.sd is None else MeanSd(found.mean, found.sd)


def _interval(found: OverSeeds | None) -> Cell:
    if found is None or found.low is None or found.high is None:
        return None
    return f"{found.low * 100:.1f} to {found.high * 100:.1f}"


def _mean(values: Sequence[float | None]) -> Cell:
    return _cell(_over(values))


def _over(values: Sequence[float | None]) -> OverSeeds | None:
    known = [value for value in values if value is not None]
    return over_seeds(known) if known else None


def _largest(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _said(pair: Pair) -> str:
    mean, low, high = (100 * value for value in pair.difference[:3])
    return f" ({mean:+.1f} points, {low:+.1f} to {high:+.1f})"
