"""Views a second: nearfar's back ends beside torchvision v2 (tensors and PIL), kornia and albumentations.

    uv run python -m benchmarks.views            # measures and writes benchmarks/results/views.json
    uv run python -m benchmarks.views --quick    # small batches, prints, writes nothing

kornia and albumentations are no dependencies of the project; what cannot be imported is left out, and the script says
how to install it outside the project's environment. All contenders get the same decoded uint8 pictures (crops of the
two photographs that scikit-learn ships) and the settings of the same `ImageView`, and give one float32 batch a view.

Per core: one thread, the process's CPU time, all contenders in turns, median of the rounds. Two threads: wall clock.

From JPEG files without a cache: nearfar's loader on two threads beside a DataLoader of two workers, wall clock; and the
share of the time that the step of a real pretraining waits for its data.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_sample_images
from torch import Tensor

from benchmarks.loading import whole_path
from benchmarks.record import table, write
from benchmarks.turns import in_turns
from nearfar.views import VIEWS, ImageView, make_views

Maker = Callable[[], Sequence[Tensor]]

INSTALL = {
    "kornia": "uv pip install --no-deps --target .bench kornia kornia-rs",
    "albumentations": (
        "uv pip install --no-deps --target .bench albumentations==2.0.8 albucore==0.0.24 "
        "'opencv-python-headless<5' 'stringzilla<4' 'simsimd<7'"
    ),
}
OURS, MATRIX, BICUBIC, CHANNELS_FIRST = (
    "nearfar", 'nearfar, color="matrix"', "nearfar, bicubic", "nearfar, channels first",
)  # fmt: skip
THEIRS = ("torchvision v2, uint8 tensors", "torchvision v2, PIL", "kornia, batched", "albumentations")


@dataclasses.dataclass(frozen=True)
class Case:
    """One recipe on one kind of pictures."""

    title: str
    side: int
    batch: int
    views: Sequence[ImageView]


def cases(quick: bool) -> list[Case]:
    """The recipes; all bilinear, so that every library resizes alike."""

    def bilinear(views: Sequence[ImageView]) -> list[ImageView]:
        return [dataclasses.replace(view, interpolation="bilinear") for view in views]

    small, large = (64, 8) if quick else (512, 48)
    cifar = bilinear(VIEWS.get("cifar")(32))
    return [
        Case("32 px from 32 px, SimCLR for CIFAR", 32, small, cifar),
        Case("32 px, the same with blur (p 0.5, 3 x 3)", 32, small, [dataclasses.replace(v, blur=0.5) for v in cifar]),
        Case("224 px from 256 px, SimCLR with blur (p 0.5, 23 x 23)", 256, large, bilinear(VIEWS.get("simclr")(224))),
        Case("2 x 224 px + 6 x 96 px from 256 px, SwAV", 256, large // 2, bilinear(VIEWS.get("swav")(224))),
    ]


def pictures(side: int, n: int) -> NDArray[np.uint8]:
    """(n, side, side, 3): random crops of two photographs."""
    rng = np.random.default_rng(0)
    photographs = load_sample_images().images
    crops = []
    for i in range(n):
        photograph = photographs[i % 2]
        top, left = (int(rng.integers(0, length - side)) for length in photograph.shape[:2])
        crops.append(photograph[top : top + side, left : left + side])
    return np.stack(crops)


# The contenders: each from the settings of an ImageView


def nearfar_maker(
    images: NDArray[np.uint8], views: Sequence[ImageView], threads: int = 1, *, channels_last: bool = True
) -> Maker:
    rng = np.random.default_rng(0)
    return lambda: make_views(images, views, rng, threads=threads, channels_last=channels_last)


def torchvision_transforms(views: Sequence[ImageView]) -> list[Any]:
    from torchvision.transforms import v2

    def transform(view: ImageView) -> Any:
        steps: list[Any] = [
            v2.RandomResizedCrop(view.size, view.scale, view.ratio, antialias=True),
            v2.RandomHorizontalFlip(view.hflip),
            v2.RandomApply([v2.ColorJitter(view.brightness, view.contrast, view.saturation, view.hue)], view.jitter),
            v2.RandomGrayscale(view.grayscale),
        ]
        if view.blur:
            steps.append(v2.RandomApply([v2.GaussianBlur(view.kernel_size, view.sigma)], view.blur))
        steps += [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
        if view.mean and view.std:
            steps.append(v2.Normalize(list(view.mean), list(view.std)))
        return v2.Compose(steps)

    return [transform(view) for view in views]


def torchvision_maker(images: NDArray[np.uint8], views: Sequence[ImageView], *, pil: bool) -> Maker:
    from PIL import Image

    transforms = torchvision_transforms(views)
    if pil:
        items: list[Any] = [Image.fromarray(image) for image in images]
    else:
        items = list(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous())
    return lambda: [torch.stack([one(item) for item in items]) for one in transforms]


def kornia_maker(images: NDArray[np.uint8], views: Sequence[ImageView]) -> Maker:
    import kornia.augmentation as K

    def transform(view: ImageView) -> Any:
        steps: list[Any] = [
            K.RandomResizedCrop((view.size, view.size), view.scale, view.ratio),
            K.RandomHorizontalFlip(p=view.hflip),
            K.ColorJitter(view.brightness, view.contrast, view.saturation, view.hue, p=view.jitter),
            K.RandomGrayscale(p=view.grayscale),
        ]
        if view.blur:
            steps.append(K.RandomGaussianBlur((view.kernel_size, view.kernel_size), view.sigma, p=view.blur))
        if view.mean and view.std:
            steps.append(K.Normalize(torch.tensor(view.mean), torch.tensor(view.std)))
        return torch.nn.Sequential(*steps)

    transforms = [transform(view) for view in views]
    batch = torch.from_numpy(images)

    def make() -> list[Tensor]:
        with torch.no_grad():
            floats = batch.permute(0, 3, 1, 2).float().div_(255)
            return [one(floats) for one in transforms]

    return make


def albumentations_maker(images: NDArray[np.uint8], views: Sequence[ImageView]) -> Maker:
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    import albumentations as A
    import cv2
    from albumentations.pytorch import ToTensorV2

    cv2.setNumThreads(1)

    def around(strength: float) -> tuple[float, float]:
        return max(0.0, 1 - strength), 1 + strength

    def transform(view: ImageView) -> Any:
        steps: list[Any] = [
            A.RandomResizedCrop((view.size, view.size), scale=view.scale, ratio=view.ratio),
            A.HorizontalFlip(p=view.hflip),
            A.ColorJitter(
                around(view.brightness), around(view.contrast), around(view.saturation), (-view.hue, view.hue),
                p=view.jitter,
            ),
            A.ToGray(p=view.grayscale),
        ]  # fmt: skip
        if view.blur:
            kernel = (view.kernel_size, view.kernel_size)
            steps.append(A.GaussianBlur(blur_limit=kernel, sigma_limit=view.sigma, p=view.blur))
        steps.append(A.Normalize(view.mean, view.std) if view.mean else A.ToFloat(max_value=255))
        return A.Compose([*steps, ToTensorV2()])

    transforms = [transform(view) for view in views]
    return lambda: [torch.stack([one(image=image)["image"] for image in images]) for one in transforms]


def contenders(case: Case, images: NDArray[np.uint8]) -> dict[str, Maker]:
    """All that can be imported."""
    matrix = [dataclasses.replace(view, color="matrix") for view in case.views]
    bicubic = [dataclasses.replace(view, interpolation="bicubic") for view in case.views]
    makers = {
        OURS: nearfar_maker(images, case.views),
        MATRIX: nearfar_maker(images, matrix),
        BICUBIC: nearfar_maker(images, bicubic),
        CHANNELS_FIRST: nearfar_maker(images, case.views, channels_last=False),
        THEIRS[0]: torchvision_maker(images, case.views, pil=False),
        THEIRS[1]: torchvision_maker(images, case.views, pil=True),
    }
    others = {"kornia": (THEIRS[2], kornia_maker), "albumentations": (THEIRS[3], albumentations_maker)}
    for package, (name, maker) in others.items():
        if importlib.util.find_spec(package) is not None:
            makers[name] = maker(images, case.views)
    return makers


# Measuring


def measure(case: Case, rounds: int, least: float) -> tuple[list[list[Any]], list[list[Any]]]:
    """Return the rows per core and the rows of two threads."""
    images = pictures(case.side, case.batch)
    n = case.batch * len(case.views)
    per_core = in_turns(contenders(case, images), rounds, time.process_time, least)
    torchvision = min(per_core[name] for name in THEIRS[:2])  # the faster of the two
    albumentations = per_core.get(THEIRS[3])
    rows = [
        [
            name, n / seconds, seconds / n * 1e6, torchvision / seconds,
            albumentations / seconds if albumentations else None,
        ]
        for name, seconds in per_core.items()
    ]  # fmt: skip
    threads = {str(count): nearfar_maker(images, case.views, count) for count in (1, 2)}
    wall = in_turns(threads, rounds, time.perf_counter, least)
    return rows, [[case.title, n / wall["1"], n / wall["2"], wall["1"] / wall["2"]]]


FIRST_CALL = """
import time
import numpy as np
from nearfar.views import VIEWS, make_views
images = np.zeros((2, 32, 32, 3), np.uint8)
begin = time.perf_counter()
make_views(images, VIEWS.get("cifar")(32), np.random.default_rng(0))
print(time.perf_counter() - begin)
"""


def first_calls() -> list[list[Any]]:
    """Seconds of the first call in a new process: with nothing compiled yet, and with what that one kept."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("first ever: compiles", "first of a process: loads"):
            done = subprocess.run(
                [sys.executable, "-c", FIRST_CALL], env=os.environ | {"NUMBA_CACHE_DIR": folder}, check=True,
                capture_output=True, text=True,
            )  # fmt: skip
            rows.append([name, float(done.stdout)])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small batches, prints, writes nothing")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of the other libraries
    load = os.getloadavg()[0]
    absent = [package for package in INSTALL if importlib.util.find_spec(package) is None]
    for package in absent:
        print(f"{package} is left out: install it with {INSTALL[package]}, and set PYTHONPATH=.bench")
    columns = ["maker", "views/s per core", "us per view", "x torchvision", "x albumentations"]
    tables, threads = [], []
    for case in cases(quick):
        rows, two = measure(case, rounds=2 if quick else 5, least=0.1 if quick else 0.5)
        tables.append(table(case.title, columns, rows))
        threads += two
        print(f"\n{case.title}")
        for row in rows:
            print(f"  {row[0]:32s}", *(f"{value:12.1f}" if value is not None else "" for value in row[1:]))
    titles = ["recipe", "views/s, one thread", "views/s, two threads", "ratio"]
    tables.append(table("nearfar on two threads, wall clock", titles, threads))
    tables.append(table("The first call", ["call", "s"], first_calls()))
    simclr = cases(quick)[2].views
    tables += whole_path(simclr, torchvision_transforms(simclr), pictures(32, 512 if quick else 10_240), quick=quick)
    for one in tables[-4:]:
        print(f"\n{one['title']}", *one["rows"], sep="\n  ")
    if not quick:
        notes = [
            "Per core: one thread, CPU time of the process, contenders in turns, median of 5 rounds of at least 0.5 s.",
            "All resize bilinearly but the row that says bicubic; albumentations resizes without antialiasing.",
            "'x torchvision' is against the faster of its two rows. nearfar's time contains drawing the plan.",
            "Files: 512 mosaics of the same photographs at quality 90; median of 3 epochs after one, batches of 64.",
            "The step waits: SimCLR, batch 256, medians of 4 epochs after one, as metrics.jsonl has them.",
            "Pictures: crops of the two photographs of scikit-learn, already decoded; a view is one float32 batch.",
        ]
        notes.append(
            f"Other work kept {load:.1f} of the cores busy before the run; it spoils wall clock, CPU time less."
        )
        notes += [f"Not installed, so not measured: {package}." for package in absent]
        print(write("views", title="Making views, per core", tables=tables, notes=notes))


if __name__ == "__main__":
    main()
