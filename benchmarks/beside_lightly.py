"""SimCLR here and with lightly: the same encoder, pictures, epochs, batch, seeds and optimiser; accuracy, time, memory.

Run with: uv run python -m benchmarks.beside_lightly FOLDER, which holds train/ and test/ with a folder per class, on a
machine that does nothing else. Every run is a process of its own. lightly's side is its ``SimCLRTransform``,
``SimCLRProjectionHead`` and ``NTXentLoss`` in a plain float32 loop with torch's ``DataLoader``, as its examples are;
its pictures are decoded into memory before the clock starts, as ours are.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import peak_memory_mib, table, write

TEMPERATURE, LR, DECAY, HIDDEN, OUTPUT = 0.2, 2e-3, 1e-4, 256, 128
MEAN, STD = 0.5, 0.25
SIDES = {"lightly": "lightly, float32", "nearfar": "nearfar, automatic precision", "nearfar32": "nearfar, float32"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--workers", type=int, default=2, help="of lightly's DataLoader; threads here")
    parser.add_argument("--name", default="beside_lightly", help="of the record")
    parser.add_argument("--note", action="append", default=[], help="a sentence for the record")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(measure(arguments)))
        return
    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for seed in arguments.seeds:
        for side in SIDES:  # in turn, so that what changes on the machine meets all
            if side == "nearfar32" and seed != arguments.seeds[0]:
                continue
            found[side].append(_child(arguments, side, seed))
            print(side, seed, found[side][-1], file=sys.stderr)
    record(arguments, found)


def _child(arguments: argparse.Namespace, side: str, seed: int) -> dict[str, float]:
    names = ("images", "epochs", "batch", "workers")
    flags = [text for name in names for text in (f"--{name}", str(getattr(arguments, name)))]
    command = [sys.executable, "-m", "benchmarks.beside_lightly", str(arguments.folder), *flags]
    start = time.perf_counter()
    done = subprocess.run([*command, "--side", side, "--seeds", str(seed)], stdout=subprocess.PIPE, check=True)
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return {**answer, "whole": time.perf_counter() - start}


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """Train one encoder and score it: what a process of its own does."""
    from nearfar.data import decode_all, open_splits
    from nearfar.evaluation import KNN, Linear, evaluate
    from nearfar.pipeline.data import limit_source

    parts = {name: part for name, part in open_splits(arguments.folder, channels=3).items() if name}
    train = decode_all(limit_source(parts["train"], arguments.images, seed=0))
    test = decode_all(limit_source(parts["test"], 4000, seed=0))
    seed = arguments.seeds[0]
    start = time.perf_counter()
    if arguments.side == "lightly":
        encoder, spec, loop = with_lightly(train, arguments, seed)
    else:
        encoder, spec, loop = with_nearfar(train, arguments, seed)
    seconds, memory = time.perf_counter() - start, peak_memory_mib()
    report = evaluate(*(embedded(encoder, spec, part) for part in (train, test)), [KNN(), Linear(grid=(1e-2, 1e-1))])
    return {
        "knn": report["knn"].value, "linear": report["linear"].value, "loop": loop, "training": seconds,
        "memory": memory,
    }  # fmt: skip


def embedded(encoder: Any, spec: Any, source: Any) -> Any:
    """Embed with the one evaluation view of both sides: the whole picture, normalised alike."""
    from nearfar.evaluation import Labelled
    from nearfar.pipeline.features import Subject, features

    rows, vectors = features(Subject("encoder", encoder.eval(), spec, ""), source)
    return Labelled(vectors, source.labels[rows])


def with_nearfar(train: Any, arguments: argparse.Namespace, seed: int) -> tuple[Any, Any, float]:
    """Pretrain by the verb; its seconds include Lightning, run folder, sheet of views and checkpoint."""
    import nearfar

    with tempfile.TemporaryDirectory() as folder:
        run = nearfar.pretrain(
            train, out=Path(folder) / "run", method="simclr", views="cifar", encoder="small", probe=False, seed=seed,
            method_options={"temperature": TEMPERATURE, "hidden_dim": HIDDEN, "output_dim": OUTPUT},
            epochs=arguments.epochs, batch_size=arguments.batch, optimizer="adamw", lr=LR, weight_decay=DECAY,
            threads=arguments.workers, precision="32-true" if arguments.side == "nearfar32" else "auto",
        )  # fmt: skip
        loop = sum(row["seconds"] for row in run.metrics() if "epoch_loss" in row)
        return *nearfar.load_encoder(run.path), loop


def with_lightly(train: Any, arguments: argparse.Namespace, seed: int) -> tuple[Any, Any, float]:
    """Train with lightly's parts as its examples do; schedule, decay and views are those of the other side."""
    import torch
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms import SimCLRTransform
    from PIL import Image
    from torch.utils.data import DataLoader

    from nearfar.encoders import build
    from nearfar.optim import build_optimizer, warmup_cosine

    torch.manual_seed(seed)
    side = train.read(0).shape[0]
    transform = SimCLRTransform(
        input_size=side, cj_strength=0.5, gaussian_blur=0.0, min_scale=0.08,
        normalize={"mean": [MEAN] * 3, "std": [STD] * 3},
    )  # fmt: skip
    pictures = [Image.fromarray(np.asarray(train.read(row))) for row in range(len(train))]

    class Pictures(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return len(pictures)

        def __getitem__(self, row: int) -> Any:
            return transform(pictures[row])

    encoder, spec = build("small", in_channels=3, image_size=side)
    head = SimCLRProjectionHead(spec.dim, HIDDEN, OUTPUT)
    both = torch.nn.ModuleList([encoder, head])
    loss_of = NTXentLoss(temperature=TEMPERATURE)
    optimizer = build_optimizer("adamw", both, lr=LR, weight_decay=DECAY)
    loader = DataLoader(
        Pictures(), batch_size=arguments.batch, shuffle=True, drop_last=True, num_workers=arguments.workers,
        persistent_workers=arguments.workers > 0,
    )  # fmt: skip
    total = arguments.epochs * len(loader)
    warmup = round(min(10.0, arguments.epochs / 10) * len(loader))
    step, start = 0, time.perf_counter()
    both.train()
    for _ in range(arguments.epochs):
        for views in loader:
            for group in optimizer.param_groups:
                group["lr"] = LR * warmup_cosine(step, total=total, warmup=warmup)
            loss = loss_of(*(head(encoder(view)) for view in views))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    if not math.isfinite(float(loss.detach())):
        raise SystemExit("lightly: the loss is not finite")
    return encoder, spec, time.perf_counter() - start


def record(arguments: argparse.Namespace, found: dict[str, list[dict[str, float]]]) -> None:
    """Write both sides and their ratios."""
    keys = {"knn": "kNN, %", "linear": "linear, %", "loop": "epochs, s", "training": "training, s",
            "whole": "whole process, s", "memory": "peak memory, MiB"}  # fmt: skip
    base = {key: np.mean([run[key] for run in found["lightly"]]) for key in keys}
    rows = [[SIDES[side], *(_cell(runs, key) for key in keys)] for side, runs in found.items()]
    for side in ("nearfar", "nearfar32"):
        means = {key: np.mean([run[key] for run in found[side]]) for key in keys}
        rows.append(
            [
                f"{SIDES[side]}, against lightly",
                *(f"{100 * (means[key] - base[key]):+.1f} points" for key in ("knn", "linear")),
                *(f"{base[key] / means[key]:.2f} x faster" for key in ("loop", "training", "whole")),
                f"{means['memory'] / base['memory']:.2f} x",
            ]
        )
    write(
        arguments.name,
        title=f"SimCLR beside lightly: Fashion-MNIST, {arguments.images:,} images, {arguments.epochs} epochs",
        tables=[table("The same encoder, pictures, views, batch, optimiser and schedule", ["", *keys.values()], rows)],
        notes=[
            *arguments.note,
            f"mean ± sd over seeds {arguments.seeds}, the sides in turn; nearfar in float32: the first seed alone",
            f"28 x 28, grey as three channels; small encoder of width 32; batch {arguments.batch}; AdamW {LR:g} with "
            "warm-up and cosine; SimCLR's views for CIFAR (strength 0.5, no blur)",
            f"lightly: torch's DataLoader with {arguments.workers} workers, pictures decoded into memory beforehand; "
            f"nearfar: {arguments.workers} threads",
            "epochs: the loop over batches; training: with all that the verb does around it (Lightning's import, run "
            "folder, sheet of views, checkpoint); whole process: with start, decoding and scoring",
            "peak memory of the main process up to the end of training; lightly's workers are processes of their own, "
            "which it leaves out",
            "kNN and linear probe on 4,000 test pictures; protocols of nearfar.evaluation; last epoch",
        ],
        command="uv run python -m benchmarks.beside_lightly FOLDER"
        f" --images {arguments.images} --epochs {arguments.epochs} --seeds {' '.join(map(str, arguments.seeds))}",
    )


def _cell(runs: list[dict[str, float]], key: str) -> str:
    values = np.array([run[key] for run in runs]) * (100 if key in ("knn", "linear") else 1)
    spread = f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else ""
    return f"{values.mean():.1f}{spread}"


if __name__ == "__main__":
    main()
