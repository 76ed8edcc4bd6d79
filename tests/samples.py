"""Tiny data sets and runs, made in the test."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import nearfar
from nearfar.training.run import Run

TINY: dict[str, Any] = {
    "epochs": 2,
    "batch_size": 16,
    "encoder": "small",
    "encoder_options": {"width": 4},
    "precision": "32-true",
    "accelerator": "cpu",
    "threads": 1,
    "log_every": 1,
}
"""Settings of a run that takes less than a second once everything is imported."""

TIMES = {"seconds", "images_per_second", "waited_share"}


def pictures(
    count: int = 48, *, size: int = 8, channels: int = 1, classes: int = 4, dtype: Any = np.uint8
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return (N, size, size, C) images and (N,) labels; images of a class have a bright quarter in common."""
    rng = np.random.default_rng([count, size, channels])
    labels = np.arange(count) % classes
    top = np.iinfo(dtype).max
    images = rng.integers(0, top // 3, (count, size, size, channels))
    half = size // 2
    for row, label in enumerate(labels):
        y, x = (label % 4) // 2 * half, label % 2 * half
        images[row, y : y + half, x : x + half] += top // 2
    return images.astype(dtype), labels.astype(np.int64)


def write_folder(root: Path, count: int = 48, *, nested: bool = True, ending: str = "png", **kind: Any) -> Path:
    """Write pictures as files, in a folder a class or in one."""
    images, labels = pictures(count, **kind)
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = root / f"class{label}" if nested else root
        folder.mkdir(parents=True, exist_ok=True)
        plain = image[..., 0] if image.shape[2] == 1 else image
        Image.fromarray(plain).save(folder / f"{row:03d}.{ending}")
    return root


def train(data: Any, out: Path, **changes: Any) -> Run:
    """Pretrain with the tiny settings, changed; resume with the run's own."""
    resume, overwrite, module = (changes.pop(name, None) for name in ("resume", "overwrite", "module"))
    settings = changes if resume else {**TINY, **changes}
    return nearfar.pretrain(data, out=out, resume=bool(resume), overwrite=bool(overwrite), module=module, **settings)


def timeless(run: Run) -> list[dict[str, Any]]:
    """Return the rows of the metrics without what depends on the clock."""
    return [{key: value for key, value in row.items() if key not in TIMES} for row in run.metrics()]


@contextlib.contextmanager
def limited_files(size: int) -> Iterator[None]:
    """Let no file grow beyond a number of bytes: what a full disk looks like to the program."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
