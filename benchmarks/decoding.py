"""JPEG decoding per core: Pillow, torchvision, OpenCV, simplejpeg, and what nearfar reads files with.

    uv run python -m benchmarks.decoding            # measures for a minute and writes benchmarks/results/decoding.json
    uv run python -m benchmarks.decoding --quick    # a few pictures, prints, writes nothing

OpenCV is no dependency of the project: ``uv pip install --no-deps --target .bench 'opencv-python-headless<5'``, then
set PYTHONPATH=.bench. All contenders get the same bytes in memory and give (H, W, 3) uint8 pixels in RGB.

Small: 500 x 400, whole. Large: 4000 x 3000 to a shorter side of 256 pixels, with and without decoding at a reduced
scale (the DCT's) first. Per core: one thread, CPU time, contenders in turns, median of the rounds.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images

from benchmarks.record import table, write
from benchmarks.turns import in_turns
from nearfar.data import jpeg, read_picture

Decode = Callable[[bytes], NDArray[np.uint8]]

SIDE = 256
OURS, OURS_BY_PILLOW = "nearfar (simplejpeg)", "nearfar, without simplejpeg"
INSTALL = "uv pip install --no-deps --target .bench 'opencv-python-headless<5'"


def photographs(width: int, height: int, count: int) -> list[bytes]:
    """JPEG files of quality 90: mosaics of scikit-learn's two photographs at their own scale, mirrored and shifted."""
    rng, files, originals = np.random.default_rng(0), [], load_sample_images().images

    def tile() -> NDArray[np.uint8]:
        vertical, horizontal = rng.choice([-1, 1], 2)
        return originals[int(rng.integers(2))][::vertical, ::horizontal]

    for _ in range(count):
        rows = [np.concatenate([tile() for _ in range(width // 640 + 2)], axis=1) for _ in range(height // 427 + 2)]
        mosaic = np.concatenate(rows, axis=0)
        top, left = int(rng.integers(0, mosaic.shape[0] - height)), int(rng.integers(0, mosaic.shape[1] - width))
        file = io.BytesIO()
        Image.fromarray(mosaic[top : top + height, left : left + width]).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


# The contenders


def by_pillow(content: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def by_torchvision(content: bytes) -> NDArray[np.uint8]:
    from torchvision.io import ImageReadMode, decode_jpeg

    pixels = decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8), ImageReadMode.RGB)
    return pixels.permute(1, 2, 0).numpy()


def by_simplejpeg(content: bytes) -> NDArray[np.uint8]:
    import simplejpeg

    return simplejpeg.decode_jpeg(content)


def by_opencv(content: bytes, flag: str = "IMREAD_COLOR_RGB") -> NDArray[np.uint8]:
    import cv2

    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), getattr(cv2, flag))
    return pixels if flag.endswith("RGB") else pixels[..., ::-1]


def by_nearfar(content: bytes) -> NDArray[np.uint8]:
    return read_picture(content)


def without_simplejpeg(decode: Decode) -> Decode:
    def alone(content: bytes) -> NDArray[np.uint8]:
        turbo, jpeg._turbo = jpeg._turbo, lambda: None  # type: ignore[assignment]
        try:
            return decode(content)
        finally:
            jpeg._turbo = turbo

    return alone


def shrunk(decode: Decode) -> Decode:
    """Decode, then resize as nearfar does: bicubic, antialiased."""

    def small(content: bytes) -> NDArray[np.uint8]:
        picture = Image.fromarray(np.ascontiguousarray(decode(content)))
        ratio = SIDE / min(picture.size)
        size = round(picture.width * ratio), round(picture.height * ratio)
        return np.asarray(picture.resize(size, Image.Resampling.BICUBIC))

    return small


def pillow_draft(content: bytes) -> NDArray[np.uint8]:
    picture = Image.open(io.BytesIO(content))
    picture.draft("RGB", (SIDE, SIDE))
    return np.asarray(picture.convert("RGB"))


def simplejpeg_scaled(content: bytes) -> NDArray[np.uint8]:
    import simplejpeg

    return simplejpeg.decode_jpeg(content, min_height=SIDE, min_width=SIDE, min_factor=2)


def nearfar_small(content: bytes) -> NDArray[np.uint8]:
    return read_picture(content, side=SIDE)


def small_makers() -> dict[str, Decode]:
    found = {
        OURS: by_nearfar,
        OURS_BY_PILLOW: without_simplejpeg(by_nearfar),
        "Pillow": by_pillow,
        "torchvision": by_torchvision,
        "simplejpeg": by_simplejpeg,
        "OpenCV": by_opencv,
    }
    return found if _has_opencv() else {name: one for name, one in found.items() if name != "OpenCV"}


def large_makers() -> dict[str, Decode]:
    found = {
        OURS: nearfar_small,
        OURS_BY_PILLOW: without_simplejpeg(nearfar_small),
        "Pillow, draft": shrunk(pillow_draft),
        "simplejpeg, scaled": shrunk(simplejpeg_scaled),
        "Pillow, whole": shrunk(by_pillow),
        "torchvision, whole": shrunk(by_torchvision),
        "simplejpeg, whole": shrunk(by_simplejpeg),
    }
    if _has_opencv():
        found["OpenCV, 1/8"] = shrunk(lambda content: by_opencv(content, "IMREAD_REDUCED_COLOR_8"))
    return found


def _has_opencv() -> bool:
    return importlib.util.find_spec("cv2") is not None


# Measuring


def per_core(makers: dict[str, Decode], files: Sequence[bytes], rounds: int, least: float) -> list[list[Any]]:
    """Return images/s of each, as a multiple of Pillow's, and the largest and mean difference to its pixels."""
    reference = [list(makers.values())[1](content).astype(int) for content in files[:4]]
    turns = {name: _all(decode, files) for name, decode in makers.items()}
    seconds = in_turns(turns, rounds, time.process_time, least)
    base, rows = seconds[OURS_BY_PILLOW], []
    for name, decode in makers.items():
        apart = [
            np.abs(decode(content).astype(int) - expected)
            for content, expected in zip(files[:4], reference, strict=True)
        ]
        mean = float(np.mean([one.mean() for one in apart]))
        rows.append(
            [name, len(files) / seconds[name], base / seconds[name], max(int(one.max()) for one in apart), mean]
        )
    return rows


def on_threads(makers: dict[str, Decode], files: Sequence[bytes], rounds: int, least: float) -> list[list[Any]]:
    """Return images/s on one and on two threads of one process, wall clock: whether decoding lets others run."""
    rows = []
    with ThreadPoolExecutor(2) as pool:
        for name, decode in makers.items():
            turns = {
                "1": _all(decode, files),
                "2": lambda decode=decode: list(pool.map(decode, files)),
            }
            seconds = in_turns(turns, rounds, time.perf_counter, least)
            one, two = (len(files) / seconds[count] for count in ("1", "2"))
            rows.append([name, one, two, two / one])
    return rows


def _all(decode: Decode, files: Sequence[bytes]) -> Callable[[], Any]:
    return lambda: [decode(content) for content in files]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few pictures, prints, writes nothing")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    if _has_opencv():
        import cv2

        cv2.setNumThreads(1)
    else:
        print(f"OpenCV is left out: install it with {INSTALL}, and set PYTHONPATH=.bench")
    rounds, least = (2, 0.05) if quick else (5, 0.3)
    small, large = photographs(500, 400, 4 if quick else 24), photographs(4000, 3000, 1 if quick else 3)
    columns = ["decoder", "images/s per core", "x nearfar with Pillow", "largest difference", "mean difference"]
    threads = {name: one for name, one in small_makers().items() if name != OURS_BY_PILLOW}
    tables = [
        table("500 x 400, whole", columns, per_core(small_makers(), small, rounds, least)),
        table(f"4000 x 3000 to a shorter side of {SIDE}", columns, per_core(large_makers(), large, rounds, least)),
        table(
            "500 x 400 on threads, wall clock",
            ["decoder", "images/s, one thread", "images/s, two threads", "ratio"],
            on_threads(threads, small, 2 if quick else 3, least),
        ),
    ]
    for one in tables:
        print(f"\n{one['title']}")
        for row in one["rows"]:
            print(f"  {row[0]:30s}", *(f"{value:10.2f}" for value in row[1:]))
    if not quick:
        notes = [
            f"Per core: one thread, CPU time, contenders in turns, median of {rounds} rounds of at least {least} s.",
            "Photographs: mosaics of scikit-learn's two at their own scale, JPEG of quality 90 with 4:2:0 colours.",
            "Differences are in levels of 255, to nearfar's pixels without simplejpeg, over four files.",
            "Large: all resize bicubically to the same size by Pillow; what differs is the decoding before it.",
            f"Other work kept {load:.1f} of the cores busy before the run; it spoils wall clock, CPU time less.",
            "'nearfar' includes looking for an orientation and for what only Pillow reads.",
        ]
        print(write("decoding", title="JPEG decoding, per core", tables=tables, notes=notes))


if __name__ == "__main__":
    main()
