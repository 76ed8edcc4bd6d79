"""Views from JPEG files without a cache, and how long a training step waits for them: parts of `benchmarks.views`."""

from __future__ import annotations

import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import nearfar
from benchmarks.decoding import photographs
from benchmarks.record import table
from nearfar.data import Loader, Source, decode_all, open_images
from nearfar.views import ImageView, make_views

__all__ = ["whole_path"]

FROM_FILES = ("loader", "images/s", "views/s", "x torchvision")
WAITS = ("encoder", "images", "threads", "images/s", "time waited for data")
BATCH = 64


class Photographs(Dataset[list[Tensor]]):
    """Files and one transform a view, as the torchvision documentation has it.

    Args:
        paths: JPEG files.
        transforms: one a view; each gets what ``read`` returns.
        read: from a path to a Pillow image or a uint8 tensor.
    """

    def __init__(self, paths: Sequence[str], transforms: Sequence[Any], read: Callable[[str], Any]) -> None:
        self.paths, self.transforms, self.read = paths, transforms, read

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> list[Tensor]:
        image = self.read(self.paths[index])
        return [transform(image) for transform in self.transforms]


def read_pil(path: str) -> Any:
    from PIL import Image

    with Image.open(path) as image:
        return image.convert("RGB")


def read_tensor(path: str) -> Tensor:
    from torchvision.io import ImageReadMode, decode_image

    return decode_image(path, ImageReadMode.RGB)


def whole_path(
    views: Sequence[ImageView], transforms: Sequence[Any], images: NDArray[np.uint8], *, quick: bool
) -> list[dict[str, Any]]:
    """Return a table from files to views, and one of what is left of it for the training step to wait for."""
    title = "SimCLR, 224 px with blur, from 500 x 400 JPEG files without a cache, wall clock"
    files = table(title, FROM_FILES, from_files(views, transforms, quick=quick))
    return [
        files,
        table("Pretraining on 32 px pictures in memory: the step waits", WAITS, step_waits(images, quick=quick)),
    ]


def from_files(views: Sequence[ImageView], transforms: Sequence[Any], *, quick: bool) -> list[list[Any]]:
    """Return a row a loader: JPEG files of 500 x 400 to batches of views, on two threads or two workers.

    Args:
        views: two descriptions, of 224 pixels.
        transforms: torchvision's for the same.
        quick: fewer files and rounds.
    """
    count, rounds = (2 * BATCH, 1) if quick else (8 * BATCH, 3)
    with tempfile.TemporaryDirectory() as folder:
        for number, content in enumerate(photographs(500, 400, count)):
            (Path(folder) / f"{number:04d}.jpg").write_bytes(content)
        source = open_images(folder)
        paths = [str(path) for path in sorted(Path(folder).glob("*.jpg"))]
        loaders = {
            "nearfar, 2 threads, as pretrain reads (256 px first)": _ours(source, views, side=256),
            "nearfar, 2 threads, from all pixels": _ours(source, views, side=None),
            "torchvision DataLoader, 2 workers, PIL": _theirs(Photographs(paths, transforms, read_pil)),
            "torchvision DataLoader, 2 workers, uint8 tensors": _theirs(Photographs(paths, transforms, read_tensor)),
            "nearfar, decoding alone, 2 threads": _decoding(source, views),
        }
        seconds = _epochs(loaders, rounds)
    rates = {name: count / value for name, value in seconds.items()}
    base = max(rate for name, rate in rates.items() if name.startswith("torchvision"))
    return [
        [name, rate, None if "alone" in name else rate * len(views), None if "alone" in name else rate / base]
        for name, rate in rates.items()
    ]


def _ours(source: Source, views: Sequence[ImageView], *, side: int | None) -> Iterable[Any]:
    read = decode_all(source, side=side, cache="off")
    return Loader(read, lambda images, rng: make_views(images, views, rng, threads=1), batch_size=BATCH, threads=2)


def _decoding(source: Source, views: Sequence[ImageView]) -> Iterable[Any]:
    nothing = [torch.zeros(1)] * len(views)
    return Loader(decode_all(source, cache="off"), lambda images, rng: nothing, batch_size=BATCH, threads=2)


def _theirs(dataset: Photographs) -> Iterable[Any]:
    # The workers stay, as they would from epoch to epoch; forked, as is the default on Linux up to Python 3.13.
    return DataLoader(
        dataset, batch_size=BATCH, shuffle=True, drop_last=True, num_workers=2, persistent_workers=True,
        multiprocessing_context="fork",
    )  # fmt: skip


def _epochs(loaders: dict[str, Iterable[Any]], rounds: int) -> dict[str, float]:
    """Return the median wall-clock seconds of an epoch, the loaders in turns, after one epoch of each."""
    seconds: dict[str, list[float]] = {name: [] for name in loaders}
    for number, (name, loader) in itertools.product(range(rounds + 1), loaders.items()):
        begin = time.perf_counter()
        for _ in loader:
            pass
        if number > 0:
            seconds[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in seconds.items()}


def step_waits(images: NDArray[np.uint8], *, quick: bool) -> list[list[Any]]:
    """Return what share of the time a real pretraining of the small encoder waits for data, on 32-pixel pictures.

    Args:
        images: (N, 32, 32, 3).
        quick: one epoch after the first instead of four.
    """
    rows, threads = [], len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for color in ("exact", "matrix"):
            with tempfile.TemporaryDirectory() as folder:
                run = nearfar.pretrain(
                    images, out=Path(folder) / "run", encoder="small", views="cifar", batch_size=min(256, len(images)),
                    epochs=2 if quick else 5, view_options={"color": color}, accelerator="cpu",
                )  # fmt: skip
                found = [row for row in run.metrics() if "waited_share" in row][1:]  # the first epoch starts things up
                width = run.config()["threads"]
            rate = statistics.median(row["images_per_second"] for row in found)
            share = statistics.median(row["waited_share"] for row in found)
            rows.append([f'small, color="{color}"', len(images), width, rate, f"{share:.1%}"])
    finally:
        torch.set_num_threads(before)
    return rows
