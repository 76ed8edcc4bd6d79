"""Four methods on CIFAR-10 with ResNet-18 and their recipes METHOD/cifar, beside published numbers.

Run with: uv run python -m benchmarks.published FOLDER --out WHERE --epochs 200, on a machine with a GPU; FOLDER holds
train/ and test/ with a folder per class. Stopped at any moment, the same command goes on, and what is finished is not
run again. What counts is the last epoch; the test images are scored once, at the end. --quick trains a narrow encoder
for an epoch on 256 images, prints, and writes nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from pathlib import Path
from typing import Any

import torch

import nearfar
from benchmarks.record import peak_memory_mib, table, write
from nearfar.pipeline.memory import peak_gpu_mib
from nearfar.pipeline.settings import PretrainConfig
from nearfar.progress import say
from nearfar.recipes import RECIPES
from nearfar.training.run import Run

METHODS = ("simclr", "byol", "moco-v2", "supcon")
KNN = {"k": 200, "temperature": 0.1}
"""Those of lightly's and MoCo's published numbers."""
QUICK = {"encoder": "small", "encoder_options": {"width": 4}, "limit": 256, "epochs": 1, "batch_size": 64}
COLUMNS = ["", "epochs", "kNN", "linear", "s per epoch", "GPU, MiB", "process, MiB", "published, with its settings"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="where the runs are kept")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--batch", type=int, help="by default each recipe's; another one scales the learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    rows, sentences = [], []
    for method in arguments.methods:
        run = pretrained(arguments, method)
        report = nearfar.evaluate(run.path, arguments.folder, protocol=("knn", "linear"), options=KNN)
        sentences = [f"{result.protocol}: {result.sentence}" for result in report.results]
        rows.append(row(method, run, {name: report[name].value for name in ("knn", "linear")}))
        say(" | ".join(str(cell) for cell in rows[-1]))
    if arguments.quick:
        return
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    write(
        "published",
        title=f"CIFAR-10, ResNet-18, on {device}",
        tables=[table("Test accuracy at the last epoch, % (10,000 test images)", COLUMNS, rows)],
        notes=[
            *sentences,
            f"seed {arguments.seed}; memory of a method counts from the start of the command or of its continuation",
            "numbers are comparable where epochs and batch are those of the published setting; the first epoch is left "
            "out of the seconds, which are a median",
            "where the folder holds JPEG files, they are re-encoded from the original arrays",
        ],
        command="uv run python -m benchmarks.published FOLDER --out WHERE"
        f" --epochs {arguments.epochs}" + (f" --batch {arguments.batch}" if arguments.batch else ""),
    )


def pretrained(arguments: argparse.Namespace, method: str) -> Run:
    """Train, or go on with, one method's run."""
    out = arguments.out / f"{method}-{arguments.seed}"
    if (out / "config.yaml").is_file():
        return nearfar.pretrain(arguments.folder, out=out, resume=True)
    return nearfar.pretrain(arguments.folder, out=out, config=settings(arguments, method))


def settings(arguments: argparse.Namespace, method: str) -> PretrainConfig:
    """Return the recipe METHOD/cifar with the epochs and batch asked for."""
    recipe = RECIPES.get(f"{method}/cifar")()
    config = dataclasses.replace(recipe, epochs=arguments.epochs, seed=arguments.seed)
    if arguments.batch and config.lr is not None:
        scaled = config.lr * arguments.batch / config.batch_size
        config = dataclasses.replace(config, batch_size=arguments.batch, lr=scaled)
    return dataclasses.replace(config, **QUICK) if arguments.quick else config


def row(method: str, run: Run, scores: dict[str, float]) -> list[Any]:
    """Return one method's cells; the last is what its recipe says."""
    seconds = [entry["seconds"] for entry in run.metrics() if "epoch_loss" in entry][1:]
    told = " ".join((RECIPES.get(f"{method}/cifar").__doc__ or "").split())
    gpu = peak_gpu_mib()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    return [
        method,
        run.config()["epochs"],
        *(f"{100 * scores[name]:.1f}" for name in ("knn", "linear")),
        f"{statistics.median(seconds):.1f}" if seconds else None,
        None if gpu is None else f"{gpu:.0f}",
        f"{peak_memory_mib():.0f}",
        told.partition("Published: ")[2].replace("``", "`"),
    ]


if __name__ == "__main__":
    main()
