"""Tables: gene expression, proteins of mice, stays in intensive care.

FOLDER holds ``microarray/NAME.csv.gz`` (github.com/ramhiser/datamicroarray), ``mice-protein/Data_Cortex_Nuclear.csv``
(UCI) and ``physionet2012/set-a`` with ``Outcomes-a.txt`` (PhysioNet/CinC 2012).
"""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.record import Timer, table, write
from nearfar.data import Source
from nearfar.data.table import open_table
from nearfar.evaluation import Repeated, interval
from nearfar.pipeline.repeats import Repeats, repeat_splits
from nearfar.recipes.tables import scarf

GENES = ("alon", "christensen", "golub", "gravier", "khan", "sorlie")
SHOTS = {"genes": (0, 5), "mice": (0, 10), "stays": (0, 10)}
EPOCHS = {"genes": 100, "mice": 60, "stays": 30}
"""Of pretraining: about as many steps for each set as ten seconds hold; chosen by time, not by any number below."""

HOURS = 48.0


def run(folder: Path, seeds: int, *, quick: bool = False) -> None:
    """Measure and write ``modalities_table``; with ``quick`` one epoch on two splits, printed alone."""
    with Timer() as timer:
        found = {name: measure(source, kind, seeds, quick) for name, (kind, source) in data(folder).items()}
    tables = [
        table(f"{metric}, {_labels(place)}", ["row", *found], rows(found, place, which))
        for which, metric in enumerate(("ROC-AUC", "Balanced accuracy"))
        for place in (0, 1)
    ]
    if quick:
        print(*tables, sep="\n")
        return
    notes = [
        *dict.fromkeys(one.sentence for one in found.values()),
        f"few labels: {SHOTS['genes'][1]} per class for gene expression, {SHOTS['mice'][1]} for mice and stays; the "
        "encoder is pretrained on all training rows",
        width(seeds),
        *(f"{name}: pretraining took {one.seconds:.0f} s a split" for name, one in found.items()),
        "mice: 1,080 rows of 72 mice, split by mouse; genotype, treatment and behaviour, which make up the class, are "
        "left out. Stays: set a, in-hospital death (14 %); each variable's count, first, last, mean, least and largest "
        "value over 48 hours, missing where it was not measured",
        f"whole script: {timer.seconds:.0f} s",
    ]
    write(
        "modalities_table",
        title="Tables: SCARF beside what needs no pretraining",
        tables=tables,
        notes=notes,
        command=f"uv run python -m benchmarks.modalities table FOLDER --seeds {seeds}",
    )


def width(seeds: int) -> str:
    """Say how much wider an interval is than the standard deviation in the tables."""
    plain = interval([-1.0, 1.0, *[0.0] * (seeds - 2)], test_share=0.3)
    return (
        "± is the standard deviation over splits, no interval: the 95 % interval (corrected resampled t) is "
        f"{(plain.high - plain.mean) / plain.sd:.1f} times as wide on either side"
    )


def _labels(place: int) -> str:
    return "few labels" if place else "all labels of the training part"


def data(folder: Path) -> dict[str, tuple[str, Source]]:
    """Return the sets with their kind, in the order of the table."""
    sets: dict[str, tuple[str, Source]] = {
        name: ("genes", open_table(folder / "microarray" / f"{name}.csv.gz")[""]) for name in GENES
    }
    sets["mice"] = ("mice", mice(folder / "mice-protein" / "Data_Cortex_Nuclear.csv"))
    sets["ICU stays"] = ("stays", open_table(stays(folder / "physionet2012"), {"death": "label"})[""])
    return sets


def measure(source: Source, kind: str, seeds: int, quick: bool = False) -> Repeats:
    """Repeat the splits of one set."""
    epochs, repeats = (1, 2) if quick else (EPOCHS[kind], seeds)
    config = dataclasses.replace(scarf(), epochs=epochs, batch_size=32 if kind == "genes" else 128, probe=False)
    return repeat_splits(source, config, repeats=repeats, share=0.3, shots=SHOTS[kind])


def rows(found: dict[str, Repeats], place: int, which: int) -> list[list[Any]]:
    """Return the table's rows: all labels (place 0) or few, ROC-AUC (which 0) or balanced accuracy."""
    names = next(iter(found.values())).numbers
    made = []
    for name in names:
        cells = []
        for one in found.values():
            per = one.numbers[name]
            cells.append(_cell(per[list(per)[place]][which]))
        made.append([name, *cells])
    return made


def _cell(value: Repeated) -> str:
    return f"{value.mean:.3f} ± {value.sd:.3f}"


def mice(path: Path) -> Source:
    """Return the proteins with the mouse as the group: fifteen rows each, in order; this copy has no column of it."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns: dict[str, NDArray[Any]] = {
        name: np.array([float(row[name] or "nan") for row in rows]) for name in rows[0] if name.endswith("_N")
    }
    columns["mouse"] = np.array([f"mouse {place // 15}" for place in range(len(rows))], dtype=object)
    columns["class"] = np.array([row["class"] for row in rows], dtype=object)
    return open_table(columns, {"mouse": "group", "class": "label"})[""]


def stays(folder: Path) -> dict[str, NDArray[Any]]:
    """Return one row a stay: statics, and six numbers about each variable that is measured again and again."""
    with (folder / "Outcomes-a.txt").open(newline="") as file:
        deaths = {row["RecordID"]: float(row["In-hospital_death"]) for row in csv.DictReader(file)}
    made = [_stay(folder / "set-a" / f"{name}.txt") for name in deaths]
    names = sorted({key for row in made for key in row})
    columns: dict[str, NDArray[Any]] = {
        name: np.array([row.get(name, np.nan) for row in made], dtype=np.float64) for name in names
    }
    columns["death"] = np.array(list(deaths.values()))
    return columns


STATIC = ("Age", "Gender", "Height", "ICUType")


def _stay(path: Path) -> dict[str, float]:
    series: dict[str, list[float]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            value = float(row["Value"])
            if row["Parameter"] not in ("", "RecordID") and value != -1:  # -1 is this set's word for missing
                series.setdefault(row["Parameter"], []).append(value)
    made: dict[str, float] = {}
    for name, values in series.items():
        if name in STATIC:
            made[name] = values[0]
            continue
        numbers = np.array(values)
        facts = {"count": len(numbers), "first": numbers[0], "last": numbers[-1], "mean": numbers.mean()}
        facts |= {"least": numbers.min(), "largest": numbers.max()}
        made |= {f"{name} {key}": float(value) for key, value in facts.items()}
    return made
