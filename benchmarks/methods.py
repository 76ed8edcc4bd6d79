"""All methods on Fashion-MNIST by `nearfar compare`: one encoder, the same images, epochs and evaluation.

Run with: uv run python -m benchmarks.methods FOLDER --out WHERE, where FOLDER holds train/ and test/ with a folder per
class. Three comparisons stand in WHERE: all methods that train the small encoder, those that need a vision transformer,
and distillation from the SimCLR encoder of the first. Stopped, the same command goes on; what is finished is not run
again. Seeds of several runs (--first-seed) come together in benchmarks/seeds; those that other clones measured come by
--join and their files benchmarks/seeds/methods.json, which runs nothing.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nearfar
from benchmarks.merging import join, merge
from benchmarks.record import table, write
from nearfar.comparing import work
from nearfar.comparing.child import JOBS
from nearfar.comparing.process import ChildError
from nearfar.errors import NearfarError
from nearfar.methods import METHODS
from nearfar.pipeline.settings import PretrainConfig
from nearfar.recipes import RECIPES
from nearfar.recipes.masked import mae_small
from nearfar.recipes.small import GRAY

TEACHER = "NEARFAR_BENCHMARK_TEACHER"

VITS = ("mae", "ibot")
PATCH = 7
"""Pixels; the recipes have 4, with whose 49 patches SimCLR trained at 176 images a second on one core."""
LABELLED = ("supcon", "siamese", "triplet", "metric")
COLLAPSED = 0.2
"""The standard deviation of normalised embeddings, 1 when even, below which a run is called collapsed."""

COLUMNS = {
    "knn@10": "kNN, 10 a class", "knn@all": "kNN", "linear@1": "linear, 1 a class", "linear@10": "linear, 10 a class",
    "linear@all": "linear",
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, help="where the comparisons are kept")
    parser.add_argument("--join", type=Path, nargs="+", help="files of seeds of other clones")
    parser.add_argument("--methods", nargs="+", help="of the small encoder; all by default")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--width", type=int, default=32, help="of the small encoder")
    parser.add_argument("--more", action=argparse.BooleanOptionalAction, default=True, help="ViTs, distillation")
    parser.add_argument("--here", action="store_true", help="no process of its own for a run: faster, no memory told")
    parser.add_argument("--note", action="append", default=[], help="a sentence for the record")
    arguments = parser.parse_args()
    if arguments.join:
        record(arguments, join("methods", arguments.join))
        return
    if arguments.folder is None or arguments.out is None:
        parser.error("FOLDER and --out are needed to run anything")
    if arguments.here:
        work.run_child = _here
    one_net = [name for name in METHODS.names() if name not in (*VITS, "distill")]
    methods = arguments.methods or one_net
    same = {
        "views": "gray", "view_options": GRAY, "budget": f"{arguments.epochs}epochs", "seeds": arguments.seeds,
        "first_seed": arguments.first_seed,
        "limit": arguments.images, "per_class": (1, 10), "batch_size": arguments.batch,
    }  # fmt: skip
    small = {"encoder": "small", "encoder_options": {"width": arguments.width}}
    found = {"small": run(arguments, "small", methods, **same, **small)}
    if arguments.more and "simclr" in methods:
        teacher = arguments.out / "small" / "runs" / f"simclr-{arguments.first_seed}"
        found["distill"] = run(arguments, "distill", ["distill"], **same, **small, recipe_set=_distilling(teacher))
    if arguments.more:
        vit = mae_small()
        options = {**vit.encoder_options, "patch_size": PATCH}
        of_vit = {"encoder": vit.encoder, "encoder_options": options, "image_size": vit.image_size or 28}
        found["vit"] = run(arguments, "vit", VITS, **same, **of_vit)
    settings = {name: same[name] for name in ("views", "budget", "limit", "batch_size")} | small["encoder_options"]
    record(arguments, merge("methods", settings, found, arguments.first_seed))


def _here(job: Mapping[str, Any]) -> dict[str, Any]:
    """Do in this process what a child would do, which saves its start."""
    try:
        return JOBS[job["kind"]](job)
    except NearfarError as error:
        raise ChildError(str(error), type(error).__name__) from None


def run(arguments: argparse.Namespace, part: str, methods: Sequence[str], **settings: Any) -> dict[str, Any]:
    """Compare, and return the rows as ``results.json`` has them."""
    result = nearfar.compare(arguments.folder, methods=methods, out=arguments.out / part, **settings)
    found: dict[str, Any] = json.loads((result.path / "results.json").read_text(encoding="utf-8"))
    return found


def distill_here() -> PretrainConfig:
    """Distillation from an encoder that was trained here: a recipe for this script alone."""
    options = {"teacher": os.environ[TEACHER]}
    return PretrainConfig(method="distill", method_options=options, optimizer="adamw", lr=2e-3)


def _distilling(teacher: Path) -> str:
    """Name the set of recipes in which the teacher is that run."""
    os.environ[TEACHER] = str(teacher.resolve())
    RECIPES.builtin["distill/here"] = f"{__name__}:distill_here"
    return "here"


def record(arguments: argparse.Namespace, found: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Write the tables over all seeds that there are, and what is below the baselines, in words."""
    tables, remarks = [], []
    titles = {
        "small": f"small encoder, width {arguments.width}: test accuracy, % (10,000 test images)",
        "distill": "the same encoder, distilled from the SimCLR encoder above",
        "vit": f"the vision transformer of mae/small with patches of {PATCH} pixels",
    }
    for part, rows in found.items():
        tables.append(table(titles[part], _columns(), [_row(row, memory=not arguments.here) for row in rows]))
        remarks += judged(rows, titles[part].partition(":")[0])
    first = found["small"]
    remarks += supervised(first)
    sentences = next(row["protocols"] for row in first if row["protocols"] and not row["baseline"])
    write(
        "methods",
        title=f"All methods on Fashion-MNIST: {arguments.images:,} training images, {arguments.epochs} epochs",
        tables=tables,
        notes=[
            *remarks,
            *arguments.note,
            "mean ± sd over seeds, of one seed no spread is known; a seed draws weights, views, order and labels",
            "the same for all: views gray, never turned, "
            f"crops from 20 %, batch {arguments.batch}; options, optimiser and learning rate from METHOD/small, of "
            "which nothing was tuned but CPC's patches, on training images",
            "spread: standard deviation of the normalised test embeddings, 1 even, 0 collapsed; rank: their effective "
            "rank; seconds of the training loop and the most memory of its process",
            *(text for text in sentences if not text.startswith("geometry")),
        ],
        command="uv run python -m benchmarks.methods FOLDER --out WHERE"
        f" --epochs {arguments.epochs} --images {arguments.images} --seeds {arguments.seeds} --batch {arguments.batch}"
        f" --width {arguments.width}",
    )


def _columns() -> list[str]:
    return ["", "seeds", *COLUMNS.values(), "spread", "rank", "s", "MiB"]


def _row(row: Mapping[str, Any], *, memory: bool) -> list[Any]:
    name = f"{row['name']} (labels)" if row["name"] in LABELLED else row["name"]
    cells: list[Any] = [name, len(row["seeds"])]
    for key in COLUMNS:
        over = row["over_seeds"].get(key)
        text = None if over is None else f"{100 * over['mean']:.1f}"
        cells.append(text if text is None or over["sd"] is None else f"{text} ± {100 * over['sd']:.1f}")
    for key, digits in (("spread", 2), ("rank", 1), ("seconds", 0), ("peak_mib", 0)):
        known = [value for value in row[key] if value is not None and (memory or key != "peak_mib")]
        cells.append(f"{sum(known) / len(known):.{digits}f}" if known else None)
    return cells


def judged(rows: Sequence[Mapping[str, Any]], what: str) -> list[str]:
    """Return which methods without labels are collapsed, or below the untrained encoder or raw pixels."""
    named = {row["name"]: row for row in rows}
    methods = [row for row in rows if not row["baseline"] and row["name"] not in LABELLED]
    flat = [row["name"] for row in methods if any(s is not None and s < COLLAPSED for s in row["spread"])]
    remarks = [f"{what}: collapsed (spread below {COLLAPSED}): {', '.join(flat) or 'none'}"]
    for key, label in COLUMNS.items():
        for baseline in ("untrained", "raw pixels"):
            pairs = [(row, _mean(row, key), _mean(named[baseline], key, row["seeds"])) for row in methods]
            below = [f"{row['name']} ({own:.1%}, {least:.1%})" for row, own, least in pairs if own < least]
            if below:
                remarks.append(f"{what}, {label}: below {baseline} with the same seeds: {', '.join(below)}")
    return remarks


def supervised(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return whether SupCon stands above all methods without labels, with all labels."""
    scores = {row["name"]: row for row in rows if not row["baseline"]}
    if "supcon" not in scores:
        return []
    remarks = []
    for key in ("knn@all", "linear@all"):
        most = _mean(scores["supcon"], key)
        others = {name: _mean(row, key) for name, row in scores.items() if name not in LABELLED}
        above = [f"{name} ({value:.1%})" for name, value in others.items() if value >= most]
        said = f"not above {', '.join(above)}" if above else "above every method without labels"
        remarks.append(f"SupCon, {COLUMNS[key]} ({most:.1%}): {said}")
    return remarks


def _mean(row: Mapping[str, Any], key: str, seeds: Sequence[int] | None = None) -> float:
    """Return the mean over those seeds, or over all that the row has; nan where there is no number."""
    pairs = zip(row["seeds"], row["by_seed"], strict=True)
    values = [scores[key] for seed, scores in pairs if key in scores and (seeds is None or seed in seeds)]
    return sum(values) / len(values) if values else float("nan")


if __name__ == "__main__":
    main()
