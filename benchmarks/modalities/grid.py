"""Four methods on four kinds of data with small budgets: does every pair run, does any encoder collapse, does it learn?

FOLDER holds ``fashion-mnist/fashion_mnist_images``, ``banking77/banking_data``, ``fsdd/recordings`` and
``mice-protein/Data_Cortex_Nuclear.csv``. Nothing here is tuned: this is no comparison of methods.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.modalities._text_data import banking
from benchmarks.modalities.audio import UNHEARD
from benchmarks.modalities.table import mice
from benchmarks.record import Timer, table, write
from nearfar.data import Source, hold_out, open_splits, take
from nearfar.data.sounds import open_sound_splits
from nearfar.evaluation import KNN, Geometry, Labelled, evaluate
from nearfar.pipeline.data import limit_source
from nearfar.pipeline.features import Subject, features, open_subject, untrained
from nearfar.pipeline.pretrain import pretrain
from nearfar.pipeline.settings import PretrainConfig

METHODS: dict[str, dict[str, Any]] = {
    "simclr": {"temperature": 0.2},
    "byol": {"momentum": 0.95},  # a few hundred steps are few for a slower teacher
    "vicreg": {"hidden_dim": 512, "output_dim": 512, "head_layers": 2},  # as vicreg/small; 8,192 take hours here
    "supcon": {"temperature": 0.1},
}

COLLAPSED = 0.05
"""A spread below this is called a collapse; 1 is a set of representations that is spread evenly over the sphere."""

RANK = 2.0
"""An effective rank below this is one as well: all representations lie along one line."""


class Kind(NamedTuple):
    """One kind of data: what is trained on, what is scored, and the settings of a cell's budget."""

    train: Source
    test: Source
    config: PretrainConfig
    words: str


class Cell(NamedTuple):
    """What one method made of one kind of data with one seed."""

    knn: float
    spread: float
    rank: float
    seconds: float


def kinds(folder: Path, quick: bool) -> dict[str, Kind]:
    """Open the four sets, at most so many items of each, and say how each is trained on."""
    plain = PretrainConfig(batch_size=64, lr=1e-3, probe=False, threads=1, accelerator="cpu")
    most = 128 if quick else 2_000
    clothes = open_splits(folder / "fashion-mnist" / "fashion_mnist_images")
    sounds = open_sound_splits(folder / "fsdd" / "recordings", pattern="{label}_{group}_{take}")[""]
    heard = ~np.isin(np.array(sounds.groups), UNHEARD)  # type: ignore[attr-defined]
    questions = banking(folder)
    proteins = hold_out(mice(folder / "mice-protein" / "Data_Cortex_Nuclear.csv"), share=0.3)
    parts: dict[str, tuple[Source, Source, dict[str, Any], int, str]] = {
        "image": (clothes["train"], clothes["test"], {"encoder": "small", "views": "gray"}, 8,
                  "Fashion-MNIST, ten kinds of clothes"),
        "text": (*questions, {"encoder": "text-small", "encoder_options": {"depth": 1, "hidden": 512},
                              "views": "deletion", "view_options": {"delete": 0.3}, "input_options": {"length": 32}}, 4,
                 "banking77, 77 intents of customers' questions"),
        "audio": (take(sounds, np.flatnonzero(heard)), take(sounds, np.flatnonzero(~heard)),
                  {"encoder": "sound", "encoder_options": {"width": 16}, "views": "speech",
                   "input_options": {"mels": 40, "seconds": 0.7}}, 5,
                  "spoken digits, ten words, tested on two speakers never heard"),
        "table": (*proteins, {"encoder": "table-mlp", "views": "scarf", "lr": 1e-3}, 60,
                  "proteins of mice, eight classes, tested on other mice"),
    }  # fmt: skip
    made = {}
    for name, (train, test, options, epochs, words) in parts.items():
        config = dataclasses.replace(plain, modality=name, epochs=1 if quick else epochs, **options)
        made[name] = Kind(limit_source(train, most, seed=0), limit_source(test, most, seed=0), config, words)
    return made


def run(folder: Path, seeds: int, *, quick: bool = False) -> None:
    """Measure and write ``modalities_grid``; with ``quick`` one epoch on few items, printed alone."""
    found: dict[str, dict[str, list[Cell]]] = {}
    with Timer() as timer:
        opened = kinds(folder, quick)
        for name, kind in opened.items():
            found[name] = measure(name, kind, range(seeds))
    tables = [
        table(f"{name}: {opened[name].words}", COLUMNS, [_row(method, cells) for method, cells in rows.items()])
        for name, rows in found.items()
    ]
    for one in tables:
        print(one["title"], *one["rows"], sep="\n", flush=True)
    if quick:
        return
    write(
        "modalities_grid",
        title="Four methods on images, texts, sounds and tables: all run, and what collapses is said",
        tables=tables,
        notes=[*(_note(name, kind) for name, kind in opened.items()), *NOTES,
               f"{seeds} seeds of weights, views and order; whole script: {timer.seconds:.0f} s"],
        command=f"uv run python -m benchmarks.modalities grid FOLDER --seeds {seeds}",
    )  # fmt: skip


COLUMNS = ["encoder", "kNN accuracy, %", "spread", "effective rank", "collapsed", "s of training"]
NOTES = (
    "kNN: k = 200 but at most the mean number of training items per class, cosine, labels of all training items; "
    "SupCon has seen those labels, the other methods none",
    "spread: standard deviation of the features of the normalised test representations, times the root of their "
    "number: 1 when spread evenly over the sphere, 0 when collapsed to a point (Chen and He 2021); effective rank: "
    "RankMe (Garrido et al. 2023) of the same rows",
    f"collapsed: spread below {COLLAPSED} or effective rank below {RANK:g}, in any seed",
    "representations h, before the projection head; the last epoch; nothing is tuned, so this is no comparison of "
    "methods",
)


def _note(name: str, kind: Kind) -> str:
    config = kind.config
    return (
        f"{name}: {len(kind.train):,} items to train on, {len(kind.test):,} to test; {config.encoder}, views "
        f"{config.views}, {config.epochs} epochs, batch {config.batch_size}, AdamW, learning rate {config.lr:g}"
    )


def measure(name: str, kind: Kind, seeds: Sequence[int]) -> dict[str, list[Cell]]:
    """Return the untrained encoder's cells and those of each method, one a seed."""
    found: dict[str, list[Cell]] = {"untrained": []}
    for method, options in METHODS.items():
        for seed in seeds:
            config = dataclasses.replace(kind.config, method=method, method_options=options, seed=seed)
            with tempfile.TemporaryDirectory() as temporary:
                with Timer() as timer:
                    made = pretrain(kind.train, out=Path(temporary) / "run", config=config)
                subject = open_subject(made.path)
            if len(found["untrained"]) <= seed:
                found["untrained"].append(score(untrained(subject.spec, seed=seed, inputs=subject.inputs), kind, 0.0))
            found.setdefault(method, []).append(score(subject, kind, timer.seconds))
            print(name, method, seed, found[method][-1], flush=True)
    return found


def score(subject: Subject, kind: Kind, seconds: float) -> Cell:
    """Score one encoder on what was held out."""
    sets = []
    for split, source in (("train", kind.train), ("test", kind.test)):
        rows, vectors = features(subject, source, threads=1, description=f"{subject.name}, {split}")
        assert source.labels is not None
        sets.append(Labelled(vectors, source.labels[rows], split=split, view=subject.view))
    report = evaluate(sets[0], sets[1], [KNN(), Geometry()], subject=subject.name)
    spread = report["feature-std"].value * np.sqrt(sets[1].embeddings.shape[1])
    return Cell(100 * report["knn"].value, float(spread), report["rankme"].value, seconds)


def collapsed(cells: Sequence[Cell]) -> bool:
    """Whether the representations of any seed stand in one point or along one line."""
    return any(cell.spread < COLLAPSED or cell.rank < RANK for cell in cells)


def _row(method: str, cells: Sequence[Cell]) -> list[Any]:
    seconds = None if method == "untrained" else round(float(np.mean([cell.seconds for cell in cells])), 1)
    numbers = [_mean_sd([cell[place] for cell in cells], digits) for place, digits in ((0, 1), (1, 3), (2, 1))]
    return [method, *numbers, "yes" if collapsed(cells) else "no", seconds]


def _mean_sd(values: Sequence[float], digits: int) -> str:
    mean = f"{np.mean(values):.{digits}f}"
    return f"{mean} ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else mean
