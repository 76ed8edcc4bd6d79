"""Small images and folders of them, made on the spot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def noise(*shape: int, seed: int = 0, dtype: type = np.uint8) -> NDArray:
    """Random pixels of any shape."""
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def save(path: Path, pixels: NDArray, **options: object) -> Path:
    """Write pixels, (H, W) or (H, W, 3), in the format of the ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def folder_of(root: Path, *, classes: tuple[str, ...] = ("cat", "dog"), each: int = 3, size: int = 8) -> Path:
    """Write PNG files root/CLASS/NUMBER.png, all different."""
    for number, name in enumerate(classes):
        for item in range(each):
            save(root / name / f"{item:03d}.png", noise(size, size, 3, seed=1000 * number + item))
    return root
