"""Which views the recipes for digits and for grey pictures use, chosen on training images alone.

Run with: uv run python -m benchmarks.choose FOLDER, which holds Fashion-MNIST as train/ with a folder per class.

Each candidate is pretrained on one part of the training images and scored on another part of them; test images are
never opened. The score is the mean accuracy over kNN and linear probes with few labels per class.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.model_selection import train_test_split

from benchmarks.main_job import embedded, pretrained
from benchmarks.record import Timer, table, write
from nearfar.data import Source, decode_all, open_splits, take
from nearfar.demonstration import digits
from nearfar.evaluation import FewShot, evaluate
from nearfar.pipeline.data import limit_source
from nearfar.pipeline.features import Subject, pixels
from nearfar.pipeline.settings import PretrainConfig
from nearfar.recipes.digits import simclr as simclr_digits
from nearfar.recipes.small import GRAY, simclr_gray

DIGITS = {
    "the `digits` views as they are": {},
    "turn 15, shift 0.2, zoom 0.75 to 1.25": {"rotate": 15.0, "translate": 0.2, "zoom": (0.75, 1.25)},
    "turn 20, shift 0.15, zoom 0.7 to 1.35, stretch 0.6 to 1.67": simclr_digits().view_options,
    "turn 30, shift 0.15, zoom 0.7 to 1.35, stretch 0.6 to 1.67": {**simclr_digits().view_options, "rotate": 30.0},
}
CLOTHES = {
    "the `gray` views as they are": {},
    "not turned": {"rotate": 0.0},
    "not turned, crops from 20 %": GRAY,
    "not turned, crops from 8 %": {"rotate": 0.0, "scale": (0.08, 1.0)},
}
SHOTS = {"digits": (1, 5, 10), "clothes": (1, 10, 100)}


def split(source: Source, held_out: int) -> tuple[Source, Source]:
    """Return the part to pretrain on and the part to score on, the classes evenly in both (seed 1)."""
    assert source.labels is not None
    rows = np.arange(len(source))
    fit, validation = train_test_split(rows, test_size=held_out, stratify=source.labels, random_state=1)
    return take(source, np.sort(fit)), take(source, np.sort(validation))


def choose(
    name: str, config: PretrainConfig, candidates: dict[str, dict], fit: Source, held_out: Source, seeds: Sequence[int]
) -> list[list[str]]:
    """Pretrain and score each candidate; raw pixels stand below."""
    rows = []
    subject: Subject | None = None
    for title, options in candidates.items():
        scores = []
        for seed in seeds:
            subject, _ = pretrained(dataclasses.replace(config, view_options=options), fit, seed)
            scores.append(few_labels(subject, fit, held_out, SHOTS[name]))
        rows.append(row(title, scores))
        print(rows[-1], flush=True)
    assert subject is not None
    rows.append(row("raw pixels", [few_labels(pixels(subject.spec), fit, held_out, SHOTS[name])]))
    return rows


def few_labels(subject: Subject, fit: Source, held_out: Source, shots: Sequence[int]) -> list[float]:
    protocol = FewShot(per_class=tuple(shots), draws=5, seed=0)
    report = evaluate(*embedded(subject, fit, held_out), [protocol], subject=subject.name)
    return [100 * report[f"{kind}, {n} per class"].value for n in shots for kind in ("knn", "linear")]


def row(title: str, scores: Sequence[Sequence[float]]) -> list[str]:
    means = np.mean(scores, axis=0)
    return [title, *(f"{value:.1f}" for value in means), f"{means.mean():.1f}"]


def columns(name: str) -> list[str]:
    return ["views", *(f"{kind}, {n}" for n in SHOTS[name] for kind in ("kNN", "linear")), "mean"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--quick", action="store_true", help="one epoch, prints, writes nothing")
    arguments = parser.parse_args()
    short = {"epochs": 1} if arguments.quick else {}
    with Timer() as timer:
        drawn = digits()[1]
        fit, held_out = split(drawn, 300)
        config = dataclasses.replace(simclr_digits(), **short)
        first = choose("digits", config, DIGITS, fit, held_out, arguments.seeds)
        source = decode_all(limit_source(open_splits(arguments.folder)["train"], 14_000, seed=1))
        fit, held_out = split(source, 4_000)
        config = dataclasses.replace(simclr_gray(), **({"epochs": 10} | short))
        second = choose("clothes", config, CLOTHES, fit, held_out, arguments.seeds[:1])
    if arguments.quick:
        return
    tables = [
        table("Digits: accuracy in % on 300 of the 1,297 training digits", columns("digits"), first),
        table("Fashion-MNIST: accuracy in % on 4,000 training images, 10 epochs", columns("clothes"), second),
    ]
    write(
        "choices",
        title="Choosing the views of the recipes for digits and for grey pictures, on training images",
        tables=tables,
        notes=[
            f"seeds {arguments.seeds} for digits, {arguments.seeds[:1]} for Fashion-MNIST; 5 draws of the labels each",
            "no test image was opened; the candidate with the best mean is the recipe",
            f"took {timer.seconds:.0f} s",
        ],
        command="uv run python -m benchmarks.choose FOLDER",
    )


if __name__ == "__main__":
    main()
