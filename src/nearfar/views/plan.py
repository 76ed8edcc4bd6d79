"""What happens to each picture of a batch: every random number of a view, drawn at once from one generator.

A plan is a struct of arrays. The same plan gives the same pictures on every back end, in any number of threads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nearfar.errors import require
from nearfar.views.image import ImageView

__all__ = ["BRIGHTNESS", "CONTRAST", "HUE", "SATURATION", "Plan", "draw"]

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
_STEPS = ("brightness", "contrast", "saturation", "hue")
_ATTEMPTS = 10  # torchvision's number of tries before it falls back to the centre


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One view of N pictures, with all its random numbers.

    Attributes:
        view: the description that the plan was drawn from.
        sizes: (N, 2) int64, height and width of each picture.
        channels: number of channels that the plan was drawn for.
        box: (N, 4) float64, top, left, height, width of the part that fills the view, in pixels of the picture.
        window: (N, 4) int64, top, left, bottom, right of the pixels that may be read: the crop itself for a random
            crop (it is resized alone), the whole picture for a centre crop (it is resized first).
        hflip: (N,) bool.
        vflip: (N,) bool.
        angle: (N,) float64, degrees.
        shift: (N, 2) float64, right and down, in pixels of the view.
        zoom: (N,) float64.
        order: (N, 4) int64, the steps of the jitter in their order (0 brightness, 1 contrast, 2 saturation, 3 hue),
            -1 for none.
        factors: (N, 4) float64, by step (not by order).
        gray: (N,) bool.
        sigma: (N,) float64, 0 for no blur.
        solarize: (N,) bool.
        erase: (N, 4) int64, top, left, height, width in pixels of the view, zeros for none.
    """

    view: ImageView
    sizes: NDArray[np.int64]
    channels: int
    box: NDArray[np.float64]
    window: NDArray[np.int64]
    hflip: NDArray[np.bool_]
    vflip: NDArray[np.bool_]
    angle: NDArray[np.float64]
    shift: NDArray[np.float64]
    zoom: NDArray[np.float64]
    order: NDArray[np.int64]
    factors: NDArray[np.float64]
    gray: NDArray[np.bool_]
    sigma: NDArray[np.float64]
    solarize: NDArray[np.bool_]
    erase: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sizes)

    def describe(self, i: int) -> dict[str, str]:
        """Return what happens to picture ``i``, step by step in the order of the steps, for a sheet or a log."""
        top, left, height, width = self.box[i]
        rows, columns = self.sizes[i]
        said = {"crop": f"{height:.0f} x {width:.0f} at ({top:.0f}, {left:.0f}) of {rows} x {columns}"}
        flips = [name for name, on in (("horizontal", self.hflip[i]), ("vertical", self.vflip[i])) if on]
        if flips:
            said["flip"] = " and ".join(flips)
        if self.view.moves:
            right, down = self.shift[i]
            said["move"] = f"{self.angle[i]:+.1f} deg, ({right:+.1f}, {down:+.1f}) px, zoom {self.zoom[i]:.2f}"
        for step in self.order[i]:
            if step >= 0:
                said[_STEPS[step]] = f"{self.factors[i, step]:.2f}"
        if self.gray[i]:
            said["gray"] = "yes"
        if self.sigma[i] > 0:
            said["blur"] = f"sigma {self.sigma[i]:.2f}"
        if self.solarize[i]:
            said["solarize"] = f">= {self.view.threshold:.2f}"
        if self.erase[i, 2] > 0:
            top, left, height, width = self.erase[i]
            said["erase"] = f"{height} x {width} at ({top}, {left})"
        return said


def draw(view: ImageView, sizes: ArrayLike, rng: np.random.Generator, *, channels: int = 3) -> Plan:
    """Draw a plan for a batch.

    Crop, jitter and erasing follow the distributions of torchvision's ``RandomResizedCrop.get_params``,
    ``ColorJitter`` and ``RandomErasing.get_params``, fall-backs included
    (https://docs.pytorch.org/vision/stable/transforms.html).

    Args:
        view: what may happen.
        sizes: (N, 2) height and width of each picture, all >= 1; (0, 2) is an empty batch.
        rng: the only source of randomness; the same state gives the same plan.
        channels: of the pictures; colour steps are planned for three only.

    Raises:
        InputError: when ``sizes`` is not (N, 2), a side is < 1, or the view's mean does not fit the channels.
    """
    sizes_N2 = np.asarray(sizes, dtype=np.int64).reshape(-1, 2) if np.size(sizes) == 0 else np.asarray(sizes)
    require(sizes_N2.ndim == 2 and sizes_N2.shape[1] == 2, "draw", "sizes", "(N, 2)", sizes_N2.shape)
    sizes_N2 = sizes_N2.astype(np.int64)
    require(bool((sizes_N2 >= 1).all()), "draw", "sizes", ">= 1", sizes_N2.min(initial=1))
    require(channels >= 1, "draw", "channels", ">= 1", channels)
    n = len(sizes_N2)
    box, window = _random_crop(view, sizes_N2, rng) if view.crop == "random" else _center_crop(view, sizes_N2)
    hflip, vflip = rng.random(n) < view.hflip, rng.random(n) < view.vflip
    angle = rng.uniform(-view.rotate, view.rotate, n)
    shift = rng.uniform(-view.translate, view.translate, (n, 2)) * view.size
    zoom = rng.uniform(*view.zoom, n)
    order, factors = _jitter(view, n, rng, channels)
    gray = (rng.random(n) < view.grayscale) & (channels == 3)
    sigma = np.where(rng.random(n) < view.blur, rng.uniform(*view.sigma, n), 0.0)
    solarize = rng.random(n) < view.solarize
    erase = _erasing(view, n, rng)
    return Plan(
        view=view, sizes=sizes_N2, channels=channels, box=box, window=window, hflip=hflip, vflip=vflip,
        angle=angle, shift=shift, zoom=zoom, order=order, factors=factors, gray=gray, sigma=sigma,
        solarize=solarize, erase=erase,
    )  # fmt: skip


def _random_crop(
    view: ImageView, sizes: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rows, columns = sizes[:, 0], sizes[:, 1]
    height, width = _fall_back(view, rows, columns)
    top, left = (rows - height) // 2, (columns - width) // 2
    log_ratio = math.log(view.ratio[0]), math.log(view.ratio[1])
    open_ = np.arange(len(sizes))
    for _ in range(_ATTEMPTS):
        if len(open_) == 0:
            break
        area = (rows * columns)[open_] * rng.uniform(*view.scale, len(open_))
        aspect = np.exp(rng.uniform(*log_ratio, len(open_)))
        w, h = np.rint(np.sqrt(area * aspect)).astype(np.int64), np.rint(np.sqrt(area / aspect)).astype(np.int64)
        fits = (w > 0) & (w <= columns[open_]) & (h > 0) & (h <= rows[open_])
        done, w, h = open_[fits], w[fits], h[fits]
        height[done], width[done] = h, w
        top[done] = rng.integers(0, rows[done] - h + 1)
        left[done] = rng.integers(0, columns[done] - w + 1)
        open_ = open_[~fits]
    box = np.stack([top, left, height, width], axis=1).astype(np.float64)
    return box, np.stack([top, left, top + height, left + width], axis=1)


def _fall_back(
    view: ImageView, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The largest centre crop whose ratio is allowed."""
    narrow, wide = columns / rows < view.ratio[0], columns / rows > view.ratio[1]
    # torchvision can ask for no pixel at all here (1 x 40 with ratio 0.01); one is the least that can be shown.
    height = np.where(narrow, np.maximum(1, np.rint(columns / view.ratio[0])), rows).astype(np.int64)
    width = np.where(wide, np.maximum(1, np.rint(rows * view.ratio[1])), columns).astype(np.int64)
    return height, width


def _center_crop(view: ImageView, sizes: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Resize the shorter side to size / proportion, then crop the centre: the box of that crop in the picture."""
    short = max(view.size, round(view.size / view.proportion))
    least = sizes.min(axis=1, keepdims=True)
    resized = np.where(sizes == least, short, short * sizes // np.maximum(least, 1))
    corner = np.rint((resized - view.size) / 2)
    step = sizes / np.maximum(resized, 1)
    box = np.concatenate([corner * step, view.size * step], axis=1)
    return box, np.concatenate([np.zeros_like(sizes), sizes], axis=1)


def _jitter(
    view: ImageView, n: int, rng: np.random.Generator, channels: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    on = rng.random(n) < view.jitter
    order = np.argsort(rng.random((n, 4)), axis=1)
    strengths = view.brightness, view.contrast, view.saturation, view.hue
    least = [max(0.0, 1 - strength) for strength in strengths[:3]]
    most = [1 + strength for strength in strengths[:3]]
    if view.brightness_mode == "add":
        least[0], most[0] = -view.brightness, view.brightness
    factors = rng.uniform([*least, -view.hue], [*most, view.hue], (n, 4))
    acts = np.array([strength > 0 for strength in strengths]) & (np.array([True, True, False, False]) | (channels == 3))
    return np.where(on[:, None] & acts[order], order, -1), factors


def _erasing(view: ImageView, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    erase = np.zeros((n, 4), dtype=np.int64)
    open_ = np.flatnonzero(rng.random(n) < view.erase)
    log_ratio = math.log(view.erase_ratio[0]), math.log(view.erase_ratio[1])
    for _ in range(_ATTEMPTS):
        if len(open_) == 0:
            break
        area = view.size**2 * rng.uniform(*view.erase_scale, len(open_))
        aspect = np.exp(rng.uniform(*log_ratio, len(open_)))
        h, w = np.rint(np.sqrt(area * aspect)).astype(np.int64), np.rint(np.sqrt(area / aspect)).astype(np.int64)
        fits = (h < view.size) & (w < view.size)
        h, w = h[fits], w[fits]
        top, left = rng.integers(0, view.size - h + 1), rng.integers(0, view.size - w + 1)
        erase[open_[fits]] = np.stack([top, left, h, w], axis=1)
        open_ = open_[~fits]
    return erase
