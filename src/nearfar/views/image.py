"""What a view of an image is: which random steps may happen to it, and how strong they are.

The steps act in one fixed order, the one that BYOL, MoCo v3, SwAV and DINO publish:

    crop, resize, flip, shift and rotate, colour jitter, grey, blur, solarise, normalise, erase

Grill et al., "Bootstrap your own latent", NeurIPS 2020, appendix B, https://arxiv.org/abs/2006.07733
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from nearfar.errors import require

__all__ = ["ImageView"]

_PROBABILITIES = ("hflip", "vflip", "jitter", "grayscale", "blur", "solarize", "erase")
_STRENGTHS = ("brightness", "contrast", "saturation")
_CHOICES = {
    "crop": ("random", "center"),
    "interpolation": ("bilinear", "bicubic"),
    "border": ("fill", "reflect"),
    "brightness_mode": ("multiply", "add"),
    "color": ("exact", "matrix"),
}


@dataclass(frozen=True, kw_only=True)
class ImageView:
    """One view of an image, declared: nothing is drawn and no pixel is read here.

    With its defaults a view is a random resized crop and nothing else; every other step is off until asked for.
    Values of pixels are in [0, 1]: 0.5 means 127.5 of 255 and 32,767.5 of 65,535. Saturation, hue and grayscale
    need three channels and leave themselves out for any other number.

    Attributes:
        size: side S of the square view, in pixels.
        crop: ``"random"`` is torchvision's RandomResizedCrop; ``"center"`` resizes the shorter side to
            ``size / proportion`` and takes the centre (evaluation).
        scale: smallest and largest share of the picture's area in a random crop; (0.08, 1) is Inception's and SimCLR's.
        ratio: smallest and largest width : height of a random crop.
        proportion: share of the shorter side kept by a centre crop; 0.875 = 224 of 256.
        interpolation: of the resize, always antialiased: ``"bilinear"`` or ``"bicubic"`` (a = -0.5, clamped).
        hflip: probability of mirroring left and right.
        vflip: probability of mirroring top and bottom.
        rotate: largest angle in degrees, drawn from U(-rotate, rotate), counter-clockwise is negative.
        translate: largest shift on each axis as a share of ``size``, drawn from U(-translate, translate).
        zoom: smallest and largest magnification about the centre.
        border: what lies outside the picture when it is moved: ``"fill"`` (one value) or ``"reflect"``.
        fill: that one value, in [0, 1].
        jitter: probability of the colour jitter, whose four steps come in random order.
        brightness: b of U(max(0, 1 - b), 1 + b).
        contrast: likewise, about the mean of the grey picture.
        saturation: likewise, about the grey picture.
        hue: h of U(-h, h) in turns of the HSV hue, at most 0.5.
        brightness_mode: ``"multiply"`` (torchvision, SimCLR v2) or ``"add"`` U(-b, b) (SimCLR v1).
        color: ``"exact"`` is torchvision's jitter, clamped after each step, hue in HSV; ``"matrix"`` is one colour
            matrix, clamped once, hue as a rotation in YIQ: faster, close, not the same.
        grayscale: probability of taking the colour away.
        blur: probability of the Gaussian blur.
        sigma: smallest and largest standard deviation of the blur, in pixels of the view.
        kernel: odd width of the blur's kernel; ``None`` is SimCLR's ``size // 10`` made odd, at least 3.
        solarize: probability of inverting all values that are at least ``threshold``.
        threshold: of solarize, in [0, 1].
        erase: probability of blanking a rectangle, as torchvision's RandomErasing does.
        erase_scale: smallest and largest share of the area erased.
        erase_ratio: smallest and largest height : width of the rectangle erased.
        mean: subtracted per channel at the end, in [0, 1]; ``None`` leaves values in [0, 1]. One value serves all
            channels; three values serve any other number of channels by their average.
        std: divided by per channel at the end; given exactly when ``mean`` is.

    Raises:
        InputError: when a value is outside its range.
    """

    size: int = 224
    crop: Literal["random", "center"] = "random"
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    proportion: float = 0.875
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    hflip: float = 0.0
    vflip: float = 0.0
    rotate: float = 0.0
    translate: float = 0.0
    zoom: tuple[float, float] = (1.0, 1.0)
    border: Literal["fill", "reflect"] = "fill"
    fill: float = 0.0
    jitter: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    brightness_mode: Literal["multiply", "add"] = "multiply"
    color: Literal["exact", "matrix"] = "exact"
    grayscale: float = 0.0
    blur: float = 0.0
    sigma: tuple[float, float] = (0.1, 2.0)
    kernel: int | None = None
    solarize: float = 0.0
    threshold: float = 0.5
    erase: float = 0.0
    erase_scale: tuple[float, float] = (0.02, 0.33)
    erase_ratio: tuple[float, float] = (0.3, 3.3)
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, list):  # a list from YAML or JSON
                object.__setattr__(self, field.name, tuple(value))
        self._check_numbers()
        self._check_pairs()
        self._check_kernel()
        self._check_normalisation()

    @property
    def kernel_size(self) -> int:
        """Odd width of the blur's kernel, SimCLR's rule applied when none is given."""
        return self.kernel if self.kernel is not None else max(3, (self.size // 10) | 1)

    @property
    def moves(self) -> bool:
        """Whether the view may be rotated, shifted or zoomed after the crop."""
        return self.rotate > 0 or self.translate > 0 or self.zoom != (1.0, 1.0)

    def normalisation(self, channels: int) -> tuple[list[float], list[float]]:
        """Return (mean, std) per channel; (0, 1) when the view does not normalise.

        Raises:
            InputError: when mean has a length other than 1, 3 or ``channels``.
        """
        mean, std = self.mean or (0.0,), self.std or (1.0,)
        if len(mean) not in (1, channels):
            fix = "give one value, or one per channel"
            require(len(mean) == 3, "ImageView", "mean", f"of length 1, 3 or {channels}", len(mean), fix)
            mean, std = (sum(mean) / 3,), (sum(std) / 3,)
        repeat = channels if len(mean) == 1 else 1
        return list(mean) * repeat, list(std) * repeat

    def _require(self, ok: bool, what: str, must: str, fix: str = "") -> None:
        require(ok, "ImageView", what, must, repr(getattr(self, what)), fix)

    def _check_numbers(self) -> None:
        self._require(_integer(self.size) and 1 <= self.size <= 16384, "size", "an integer from 1 to 16384")
        for name, choices in _CHOICES.items():
            self._require(getattr(self, name) in choices, name, f"one of {', '.join(choices)}")
        for name in (*_PROBABILITIES, "fill", "threshold"):
            self._require(_within(getattr(self, name), 0, 1), name, "from 0 to 1")
        for name in _STRENGTHS:
            self._require(_within(getattr(self, name), 0, 10), name, "from 0 to 10")
        self._require(_within(self.hue, 0, 0.5), "hue", "from 0 to 0.5", "hue is in turns")
        self._require(_within(self.rotate, 0, 180), "rotate", "from 0 to 180", "it is in degrees")
        self._require(_within(self.translate, 0, 1), "translate", "from 0 to 1", "it is a share of size")
        self._require(_within(self.proportion, 0.01, 1), "proportion", "from 0.01 to 1")

    def _check_pairs(self) -> None:
        limits = {"scale": (0, 1), "ratio": (0.01, 100), "zoom": (0.01, 100), "sigma": (0.01, 1000)}
        limits |= {"erase_scale": (0, 1), "erase_ratio": (0.01, 100)}
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            ok = isinstance(value, tuple) and len(value) == 2 and all(_within(x, low, high) for x in value)
            self._require(ok and value[0] <= value[1], name, f"two rising numbers from {low} to {high}")

    def _check_kernel(self) -> None:
        if self.kernel is not None:
            ok = _integer(self.kernel) and self.kernel >= 1 and self.kernel % 2 == 1
            self._require(ok, "kernel", "an odd integer >= 1")
        if self.blur > 0:
            fits = self.kernel_size // 2 < self.size
            fix = f"choose a smaller kernel than {self.kernel_size}, or no blur"
            self._require(fits, "size", f"> {self.kernel_size // 2}, half the blur's kernel", fix)

    def _check_normalisation(self) -> None:
        given = (self.mean is None) == (self.std is None)
        self._require(given, "std", "given exactly when mean is")
        if self.mean is None or self.std is None:
            return
        for name in ("mean", "std"):
            value = getattr(self, name)
            ok = isinstance(value, tuple) and len(value) >= 1 and all(_within(x, 0, 100) for x in value)
            self._require(ok, name, "a tuple of numbers in the units of [0, 1]")
        self._require(len(self.std) == len(self.mean), "std", f"as long as mean, {len(self.mean)}")
        self._require(min(self.std) > 0, "std", "> 0 in every channel")


def _integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _within(value: object, low: float, high: float) -> bool:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return math.isfinite(value) and low <= value <= high
