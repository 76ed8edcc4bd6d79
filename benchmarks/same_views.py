"""Pretraining on nearfar's views and on torchvision's: the same accuracy, or not.

    uv run python -m benchmarks.same_views FOLDER   # FOLDER holds train/ and test/ with a folder per class

SimCLR with the small encoder on 10,000 images of Fashion-MNIST. Everything but the back end of the views is the same:
weights, order of the batches, loss, optimiser. The drawn crops differ, since each side has a generator of its own; what
is compared is the accuracy over seeds.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.main_job import load
from benchmarks.record import Timer, table, write
from benchmarks.views import torchvision_transforms
from nearfar.data import Loader, Source
from nearfar.encoders import build
from nearfar.evaluation import KNN, Labelled, Linear, Report, evaluate
from nearfar.evaluation.seeds import paired_difference
from nearfar.methods import build as build_method
from nearfar.optim import build_optimizer, warmup_cosine
from nearfar.views import ImageView, make_views
from nearfar.views.ready import evaluation

BATCH, LR, DECAY = 256, 2e-3, 1e-4
MEAN, STD = (0.5,), (0.25,)

MakeViews = Callable[[Any, np.random.Generator], Sequence[Tensor]]


def recipe(size: int) -> list[ImageView]:
    """Crops of 20 to 100 %, mirrored, brightness and contrast, some blur: steps that both sides have."""
    view = ImageView(
        size=size, scale=(0.2, 1.0), hflip=0.5, jitter=0.8, brightness=0.4, contrast=0.4, blur=0.5, kernel=3,
        sigma=(0.1, 1.0), mean=MEAN, std=STD,
    )  # fmt: skip
    return [view] * 2


def by_nearfar(views: Sequence[ImageView]) -> MakeViews:
    return lambda images, rng: [view for view in make_views(images, views, rng) if isinstance(view, Tensor)]


def by_torchvision(views: Sequence[ImageView]) -> MakeViews:
    transforms = torchvision_transforms(views)

    def make(images: NDArray[np.uint8], rng: np.random.Generator) -> list[Tensor]:
        # torchvision draws from torch's own generator, so its batches are made one after the other
        with torch.random.fork_rng():
            torch.manual_seed(int(rng.integers(2**62)))
            tensors = [torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))) for image in images]
            return [torch.stack([transform(one) for one in tensors]) for transform in transforms]

    return make


def train(source: Source, make: MakeViews, *, epochs: int, seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    size = source.read(0).shape[0]
    encoder, _ = build("small", in_channels=1, image_size=size)
    method = build_method("simclr", encoder, {"temperature": 0.2}).to(memory_format=torch.channels_last)
    loader = Loader(source, make, batch_size=BATCH, seed=seed, threads=0)
    optimizer = build_optimizer("adamw", method, lr=LR, weight_decay=DECAY, momentum=0.9)
    total = epochs * len(loader)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: warmup_cosine(step, total=total, warmup=total // 10)
    )
    for _ in range(epochs):
        for batch in loader:
            seen = [view.to(memory_format=torch.channels_last) for view in batch.views]
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = method.step(batch._replace(views=seen, labels=None)).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return encoder.eval()


def score(encoder: torch.nn.Module, parts: tuple[Source, Source], seed: int) -> Report:
    sets = []
    for name, source in zip(("train", "test"), parts, strict=True):
        view = dataclasses.replace(evaluation(source.read(0).shape[0])[0], proportion=1.0, mean=MEAN, std=STD)
        loader = Loader(
            source, lambda images, rng, view=view: make_views(images, [view], rng), batch_size=500, shuffle=False,
            drop_last=False,
        )  # fmt: skip
        with torch.inference_mode():
            vectors = np.concatenate([encoder(batch.views[0]).float().numpy() for batch in loader])
        sets.append(Labelled(vectors, source.labels, split=name, view="whole image"))
    return evaluate(sets[0], sets[1], [KNN(), Linear(grid=(1e-2, 1e-1), seed=seed)], subject="small")


def main(folder: Path, epochs: int, seeds: Sequence[int]) -> None:
    parts = load(folder, 10_000)
    views = recipe(parts[0].read(0).shape[0])
    makers = {"nearfar": by_nearfar(views), "torchvision": by_torchvision(views)}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in makers}
    for seed in seeds:
        for name, make in makers.items():
            with Timer() as timer:
                encoder = train(parts[0], make, epochs=epochs, seed=seed)
            report = score(encoder, parts, seed)
            found[name].append({"knn": report["knn"].value, "linear": report["linear"].value, "s": timer.seconds})
            print(name, seed, found[name][-1], flush=True)
    rows = []
    for name, runs in found.items():
        cells = [f"{100 * np.mean(v):.2f} ± {100 * np.std(v, ddof=1):.2f}" for v in _columns(runs, ("knn", "linear"))]
        rows.append([name, *cells, f"{np.mean([run['s'] for run in runs]):.0f}"])
    differences = []
    for key in ("knn", "linear"):
        pairs = [[run[key] for run in found[name]] for name in makers]
        gap = paired_difference(pairs[0], pairs[1])
        inside = gap.low <= 0 <= gap.high
        interval = f"[{100 * gap.low:.2f}, {100 * gap.high:.2f}]"
        differences.append([key, f"{100 * gap.mean:+.2f}", interval, "yes" if inside else "no"])
    tables = [
        table("Test accuracy, %", ["views", "kNN", "linear", "s per run"], rows),
        table("nearfar - torchvision, points", ["score", "mean", "95 % t-interval", "within noise"], differences),
    ]
    notes = [
        f"SimCLR, small encoder, {epochs} epochs, batch {BATCH}, AdamW {LR}, tau 0.2, bf16; 10,000 training images, "
        f"all 10,000 test images; mean ± standard deviation over seeds {list(seeds)}, last epoch",
        "views: crop 20 to 100 %, mirrored, brightness and contrast 0.4 (p 0.8), blur 3 x 3 (p 0.5); torchvision."
        "transforms.v2 on uint8 tensors, one image at a time",
        "both sides make views in the training process, between the steps; seconds contain them and suffer from "
        f"whatever else the machine did (load average at the end: {os.getloadavg()[0]:.1f})",
    ]
    print(
        write("same_views", title="The same accuracy on nearfar's and torchvision's views", tables=tables, notes=notes)
    )


def _columns(runs: Sequence[dict[str, float]], keys: Sequence[str]) -> list[list[float]]:
    return [[run[key] for run in runs] for key in keys]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    main(options.folder, options.epochs, options.seeds)
