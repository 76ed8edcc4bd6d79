"""Which views and settings the recipes for digits, grey pictures and patches use, chosen on training images alone.

Run with: uv run python -m benchmarks.choose digits
      and: uv run python -m benchmarks.choose clothes --folder FOLDER, which holds Fashion-MNIST as train/ with a folder
           per class
      and: uv run python -m benchmarks.choose patches --folder FOLDER, the same.

Each candidate is pretrained on one part of the training images and scored on another part of them; test images are
never opened. The score is the mean accuracy over kNN and linear probes with few labels per class.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split

from benchmarks.main_job import embedded, pretrained
from benchmarks.record import Timer, table, write
from nearfar.data import Source, decode_all, open_splits, take
from nearfar.demonstration.digits import digits
from nearfar.evaluation import FewShot, evaluate
from nearfar.pipeline.data import limit_source
from nearfar.pipeline.features import Subject, raw, untrained
from nearfar.pipeline.settings import PretrainConfig
from nearfar.recipes.digits import simclr as simclr_digits
from nearfar.recipes.small import GRAY, simclr_gray
from nearfar.recipes.with_negatives_small import cpc_small


def _setting(temperature: float, batch_size: int) -> dict[str, Any]:
    return {"method_options": {"temperature": temperature}, "batch_size": batch_size}


STRONG = {"translate": 0.15, "zoom": (0.7, 1.35), "scale": (0.6, 1.0), "ratio": (0.6, 1.67)}
DIGITS = {
    "the `digits` views as they are": {},
    "turn 20, shift 0.15, zoom 0.7 to 1.35, stretch 0.6 to 1.67": {"rotate": 20.0, **STRONG},
    "turn 30, shift 0.15, zoom 0.7 to 1.35, stretch 0.6 to 1.67": {"rotate": 30.0, **STRONG},
}
SETTINGS = {
    "temperature 0.2, batches of 256": _setting(0.2, 256),
    "temperature 0.5, batches of 256": _setting(0.5, 256),
    "temperature 0.5, batches of 128": _setting(0.5, 128),
    "temperature 0.5, batches of 64": _setting(0.5, 64),
    "temperature 0.7, batches of 128": _setting(0.7, 128),
}
CLOTHES = {
    "the `gray` views as they are": {},
    "not turned": {"rotate": 0.0},
    "not turned, crops from 20 %": GRAY,
}
SHOTS = {"digits": (1, 5, 10), "clothes": (1, 10, 100), "patches": (1, 10, 100)}


def _patches(grid: int, distance: int, directions: int) -> dict[str, Any]:
    shared = {"context_dim": 64, "layers": 2, "least_distance": distance, "most_distance": distance}
    return {"method_options": {"grid": grid, "patch": 0 if grid > 2 else 14, "directions": directions, **shared}}


PATCHES = {
    "5 x 5 patches of 9 pixels, two directions": _patches(5, 2, 2),
    "3 x 3 patches of 14 pixels, two directions": _patches(3, 2, 2),
    "3 x 3 patches of 14 pixels, four directions": _patches(3, 2, 4),
    "2 x 2 patches of 14 pixels, four directions": _patches(2, 1, 4),
}


def split(source: Source, held_out: int) -> tuple[Source, Source]:
    """Return the part to pretrain on and the part to score on, the classes evenly in both (seed 1)."""
    assert source.labels is not None
    rows = np.arange(len(source))
    fit, validation = train_test_split(rows, test_size=held_out, stratify=source.labels, random_state=1)
    return take(source, np.sort(fit)), take(source, np.sort(validation))


def choose(
    name: str,
    config: PretrainConfig,
    candidates: Mapping[str, Mapping[str, Any]],
    fit: Source,
    held_out: Source,
    seeds: Sequence[int],
) -> list[list[str]]:
    """Pretrain and score each candidate; an untrained encoder and raw pixels stand below."""
    rows = []
    subject: Subject | None = None
    for title, changes in candidates.items():
        scores = []
        for seed in seeds:
            subject, _ = pretrained(dataclasses.replace(config, **changes), fit, seed)
            scores.append(few_labels(subject, fit, held_out, SHOTS[name]))
        rows.append(row(title, scores))
        print(rows[-1], flush=True)
    assert subject is not None
    fresh = [few_labels(untrained(subject.spec, seed=seed), fit, held_out, SHOTS[name]) for seed in seeds]
    rows.append(row("untrained", fresh))
    rows.append(row("raw pixels", [few_labels(raw(subject.inputs), fit, held_out, SHOTS[name])]))
    return rows


def few_labels(subject: Subject, fit: Source, held_out: Source, shots: Sequence[int]) -> list[float]:
    protocol = FewShot(per_class=tuple(shots), draws=5, seed=0)
    report = evaluate(*embedded(subject, fit, held_out), [protocol], subject=subject.name)
    return [100 * report[f"{kind}, {n} per class"].value for n in shots for kind in ("knn", "linear")]


def row(title: str, scores: Sequence[Sequence[float]]) -> list[str]:
    means = np.mean(scores, axis=0)
    return [title, *(f"{value:.1f}" for value in means), f"{means.mean():.1f}"]


def views(candidates: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {title: {"view_options": options} for title, options in candidates.items()}


def columns(name: str, what: str = "views") -> list[str]:
    return [what, *(f"{kind}, {n}" for n in SHOTS[name] for kind in ("kNN", "linear")), "mean"]


def digits_tables(seeds: Sequence[int], short: dict) -> list[dict]:
    fit, held_out = split(digits()[1], 300)
    config = dataclasses.replace(simclr_digits(), **short)
    title = f"Accuracy in % on 300 of the 1,297 training digits, {config.epochs} epochs"
    return [
        table(f"{what}: {title}", columns("digits", what), choose("digits", config, candidates, fit, held_out, seeds))
        for what, candidates in (("settings", SETTINGS), ("views", views(DIGITS)))
    ]


def clothes_tables(name: str, seeds: Sequence[int], short: dict, folder: Path) -> list[dict]:
    source = decode_all(limit_source(open_splits(folder)["train"], 8_000, seed=1))
    fit, held_out = split(source, 3_000)
    if name == "patches":
        of_ten = {"views": "gray", "view_options": GRAY, "epochs": 10, "batch_size": 128}
        config = dataclasses.replace(cpc_small(), encoder_options={"width": 16}, **(of_ten | short))
    else:
        config = dataclasses.replace(simclr_gray(), **({"epochs": 8} | short))
    rows = choose(name, config, PATCHES if name == "patches" else views(CLOTHES), fit, held_out, seeds)
    title = f"Accuracy in % on 3,000 training images, pretrained on 5,000 others for {config.epochs} epochs"
    return [table(title, columns(name, "patches" if name == "patches" else "views"), rows)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=tuple(SHOTS))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--quick", action="store_true", help="one epoch, prints, writes nothing")
    arguments = parser.parse_args()
    short = {"epochs": 1} if arguments.quick else {}
    with Timer() as timer:
        if arguments.what == "digits":
            tables = digits_tables(arguments.seeds, short)
        else:
            tables = clothes_tables(arguments.what, arguments.seeds, short, arguments.folder)
    if arguments.quick:
        return
    subjects = {
        "digits": "the recipe for small drawings",
        "clothes": "the recipe for grey pictures of things",
        "patches": "the patches of CPC",
    }
    write(
        f"choices_{arguments.what}",
        title=f"Choosing {subjects[arguments.what]}, on training images",
        tables=tables,
        notes=[
            f"mean over seeds {arguments.seeds}, 5 draws of the labels each",
            "no test image was opened; a difference of a point with one seed is within noise",
            f"took {timer.seconds:.0f} s",
        ],
        command=f"uv run python -m benchmarks.choose {arguments.what}"
        + (" --folder FOLDER" if arguments.folder else "")
        + f" --seeds {' '.join(map(str, arguments.seeds))}",
    )


if __name__ == "__main__":
    main()
