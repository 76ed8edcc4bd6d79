"""Time series: vital signs of stays in intensive care, hour by hour.

FOLDER holds ``physionet2012/set-a`` with ``Outcomes-a.txt`` (PhysioNet/CinC 2012).
"""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np

from benchmarks.modalities.table import STATIC, rows, width
from benchmarks.record import Timer, table, write
from nearfar.data import Source
from nearfar.data.series import SeriesSource
from nearfar.data.source import take
from nearfar.pipeline.repeats import repeat_splits
from nearfar.pipeline.settings import PretrainConfig

HOURS, STAYS, SHOTS = 48, 2000, (0, 10)


def run(folder: Path, seeds: int, *, quick: bool = False) -> None:
    """Measure and write ``modalities_series``; with ``quick`` one epoch on two splits, printed alone."""
    plain = PretrainConfig(
        modality="series", encoder="series-conv", encoder_options={"width": 32, "depth": 4, "dim": 128},
        batch_size=64, lr=1e-3, epochs=1 if quick else 10, probe=False,
    )  # fmt: skip
    masked = {**plain.encoder_options, "mask": 0.5}
    configs = {
        "SimCLR, crops": dataclasses.replace(plain, views="crops", method_options={"temperature": 0.5}),
        "TS2Vec": dataclasses.replace(plain, method="ts2vec", views="ts2vec", encoder_options=masked),
    }
    repeats = 2 if quick else seeds
    with Timer() as timer:
        source = stays(folder / "physionet2012")
        found = {name: repeat_splits(source, config, repeats=repeats, shots=SHOTS) for name, config in configs.items()}
    tables = [
        table(f"{metric}, {'few labels' if place else 'all labels of the training part'}", ["row", *found],
              rows(found, place, which))
        for which, metric in enumerate(("ROC-AUC", "Balanced accuracy")) for place in (0, 1)
    ]  # fmt: skip
    if quick:
        print(*tables, sep="\n")
        return
    notes = [
        *dict.fromkeys(one.sentence for one in found.values()),
        "the two columns have the same splits and raw summaries; 'from scratch' differs by the encoder's mask of "
        "moments",
        f"the first {STAYS:,} stays of set a, in-hospital death (14 %); hourly means of all variables that are "
        "measured more than once, over 48 hours, missing where they were not measured; few labels: 10 per class",
        width(seeds),
        *(f"{name}: pretraining took {one.seconds:.0f} s a split" for name, one in found.items()),
        f"whole script: {timer.seconds:.0f} s",
    ]
    write(
        "modalities_series",
        title="Time series: vital signs, beside summaries of them",
        tables=tables,
        notes=notes,
        command=f"uv run python -m benchmarks.modalities series FOLDER --seeds {seeds}",
    )


def stays(folder: Path) -> Source:
    """Return the stays as (48, C) hourly means."""
    with (folder / "Outcomes-a.txt").open(newline="") as file:
        deaths = {row["RecordID"]: int(row["In-hospital_death"]) for row in csv.DictReader(file)}
    names = list(deaths)[:STAYS]
    cells: dict[tuple[int, int, str], list[float]] = {}
    for place, name in enumerate(names):
        with (folder / "set-a" / f"{name}.txt").open(newline="") as file:
            for row in csv.DictReader(file):
                hour, value = int(row["Time"].partition(":")[0]), float(row["Value"])
                if row["Parameter"] not in ("", "RecordID", *STATIC) and value != -1 and hour < HOURS:
                    cells.setdefault((place, hour, row["Parameter"]), []).append(value)
    channels = sorted({name for _, _, name in cells})
    column = {name: place for place, name in enumerate(channels)}
    values = np.full((len(names), HOURS, len(channels)), np.nan)
    for (place, hour, name), found in cells.items():
        values[place, hour, column[name]] = float(np.mean(found))
    labels = np.array([deaths[name] for name in names], dtype=np.int64)
    source = SeriesSource(values, channels, labels=labels, class_names=("survived", "died"), ids=names)
    return take(source, np.arange(len(names)))
