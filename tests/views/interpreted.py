"""Run by test_cuda in a process of its own, where Triton interprets: prints how far each view lies from the reference.

TRITON_INTERPRET must be set before Triton is imported, and holds for the whole process.
"""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import torch

from nearfar.views import ImageView, cuda, draw, reference
from nearfar.views.ready import byol, digits, gray, simclr
from tests.views.pictures import assert_close, scenes

ALL = ImageView(
    size=18, hflip=0.5, vflip=0.5, jitter=1.0, brightness=0.5, contrast=0.5, saturation=0.5, hue=0.2, grayscale=0.3,
    blur=0.5, kernel=5, solarize=0.5, erase=1.0, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4),
)  # fmt: skip
EXACT, MATRIX = ALL, dataclasses.replace(ALL, color="matrix", brightness_mode="add", blur=0.0)

CASES = {
    "all steps": (EXACT, 3, (31, 22)),
    "all steps, five channels": (EXACT, 5, (31, 22)),
    "matrix": (MATRIX, 3, (31, 22)),
    "matrix, one channel": (MATRIX, 1, (31, 22)),
    "simclr": (simclr(18)[0], 3, (70, 50)),
    "byol": (byol(18)[1], 3, (20, 20)),
    "digits": (digits(18, background=0.7)[0], 1, (28, 28)),
    "gray": (dataclasses.replace(gray(18)[0], translate=0.9), 3, (28, 28)),
    "one pixel": (ImageView(size=1), 2, (1, 1)),
    "centre": (ImageView(size=18, crop="center"), 3, (25, 40)),
}


def main() -> None:
    for name, (view, channels, shape) in CASES.items():
        images = np.stack(scenes([shape] * 4, channels))
        plan = draw(view, [shape] * 4, np.random.default_rng(0), channels=channels)
        got, expected = cuda.run(plan, torch.from_numpy(images)), reference.run(plan, images)
        assert_close(view, got, expected, mean=0.01, most=0.2)
        assert got.is_contiguous(memory_format=torch.channels_last)
        sys.stdout.write(f"{name}: {float((got - expected).abs().max()):.1e}\n")
    first = cuda.run(plan, torch.from_numpy(images), channels_last=False, dtype=torch.float16)
    assert first.is_contiguous()
    assert torch.equal(first, got.to(torch.float16))
    assert cuda.run(draw(ALL, [], np.random.default_rng(0)), torch.zeros(0, 8, 8, 3, dtype=torch.uint8)).shape[0] == 0


if __name__ == "__main__":
    main()
