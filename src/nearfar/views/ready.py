"""Views as the papers publish them: each function returns the list of views of one recipe.

All take the side of the view; a colour step leaves itself out where a picture has not three channels, so every recipe
serves grey, multi-channel and 16-bit pictures as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from nearfar.errors import require
from nearfar.registry import Registry
from nearfar.views.image import ImageView

__all__ = [
    "VIEWS",
    "barlow_twins",
    "byol",
    "cifar",
    "digits",
    "dino",
    "emp_ssl",
    "evaluation",
    "gray",
    "metric",
    "moco_v1",
    "moco_v2",
    "moco_v3",
    "simclr",
    "supcon",
    "swav",
    "vicreg",
    "weak_strong",
]

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CIFAR_MEAN, _CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


def _simclr(size: int, strength: float) -> ImageView:
    return ImageView(
        size=size, interpolation="bicubic", hflip=0.5, jitter=0.8, brightness=0.8 * strength,
        contrast=0.8 * strength, saturation=0.8 * strength, hue=0.2 * strength, grayscale=0.2,
    )  # fmt: skip


def simclr(size: int = 224, *, strength: float = 1.0, blur: float = 0.5, version: Literal[1, 2] = 2) -> list[ImageView]:
    """SimCLR's two equal views: bicubic crop of 8 to 100 %, strong colours, grey, blur, no normalisation.

    Chen et al., ICML 2020, appendix A, https://arxiv.org/abs/2002.05709. Version 1 adds the brightness, version 2
    (https://arxiv.org/abs/2006.10029) multiplies by it. Contrast and saturation follow torchvision, not TensorFlow.

    Args:
        size: side of the views.
        strength: s of the colour jitter; 1.0 on ImageNet, 0.5 on CIFAR-10.
        blur: probability of the blur; leave it out (0) for views of 32 pixels.
        version: of the paper's code, 1 or 2.
    """
    require(version in (1, 2), "simclr", "version", "1 or 2", version)
    mode: Literal["add", "multiply"] = "add" if version == 1 else "multiply"
    return [replace(_simclr(size, strength), blur=blur, brightness_mode=mode)] * 2


def cifar(size: int = 32) -> list[ImageView]:
    """SimCLR's two views for CIFAR: half the colour strength and no blur (appendix B.9 of the paper)."""
    return simclr(size, strength=0.5, blur=0.0)


def moco_v1(size: int = 224) -> list[ImageView]:
    """MoCo v1's two views, https://arxiv.org/abs/1911.05722: crop of 20 to 100 %, jitter always, grey, no blur."""
    return [
        ImageView(
            size=size, scale=(0.2, 1.0), hflip=0.5, jitter=1.0, brightness=0.4, contrast=0.4, saturation=0.4,
            hue=0.4, grayscale=0.2, mean=_IMAGENET_MEAN, std=_IMAGENET_STD,
        )
    ] * 2  # fmt: skip


def moco_v2(size: int = 224) -> list[ImageView]:
    """MoCo v2's two views, https://arxiv.org/abs/2003.04297: weaker hue, jitter at 0.8, blur; SimSiam's as well."""
    return [replace(view, jitter=0.8, hue=0.1, blur=0.5) for view in moco_v1(size)]


def byol(size: int = 224) -> list[ImageView]:
    """BYOL's pair, https://arxiv.org/abs/2006.07733, table 6: blur 1.0 and 0.1, solarise 0 and 0.2, bicubic."""
    first = ImageView(
        size=size, interpolation="bicubic", hflip=0.5, jitter=0.8, brightness=0.4, contrast=0.4, saturation=0.2,
        hue=0.1, grayscale=0.2, blur=1.0, mean=_IMAGENET_MEAN, std=_IMAGENET_STD,
    )  # fmt: skip
    return [first, replace(first, blur=0.1, solarize=0.2)]


def barlow_twins(size: int = 224) -> list[ImageView]:
    """Barlow Twins' pair, https://arxiv.org/abs/2103.03230: BYOL's."""
    return byol(size)


def vicreg(size: int = 224) -> list[ImageView]:
    """VICReg's two equal views, https://arxiv.org/abs/2105.04906, appendix C.1: blur 0.5, solarise 0.1."""
    return [replace(byol(size)[0], blur=0.5, solarize=0.1)] * 2


def moco_v3(size: int = 224) -> list[ImageView]:
    """MoCo v3's pair, https://arxiv.org/abs/2104.02057: BYOL's with crops of 20 to 100 %, bilinear."""
    return [replace(view, scale=(0.2, 1.0), interpolation="bilinear") for view in byol(size)]


def swav(size: int = 224, *, small: int | None = None, n_small: int = 6) -> list[ImageView]:
    """SwAV's crops, https://arxiv.org/abs/2006.09882: 2 of 14 to 100 % at 224 and 6 of 5 to 14 % at 96 pixels.

    Args:
        size: side of the large crops.
        small: side of the small crops; 96 / 224 of ``size`` when not given.
        n_small: number of small crops.
    """
    large = ImageView(
        size=size, scale=(0.14, 1.0), hflip=0.5, jitter=0.8, brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2,
        grayscale=0.2, blur=0.5, mean=_IMAGENET_MEAN, std=_IMAGENET_STD,
    )  # fmt: skip
    return [large] * 2 + [replace(large, size=small or _small(size), scale=(0.05, 0.14))] * n_small


def _small(size: int) -> int:
    return max(1, round(size * 96 / 224))


def dino(size: int = 224, *, small: int | None = None, n_small: int = 8, split: float = 0.4) -> list[ImageView]:
    """DINO's crops, https://arxiv.org/abs/2104.14294: 2 large ones first (for the teacher), then the small ones.

    Args:
        size: side of the large crops.
        small: side of the small crops; 96 / 224 of ``size`` when not given.
        n_small: number of small crops.
        split: share of the area that parts small from large; 0.4 for ViT, 0.14 for ResNet-50.
    """
    first, second = (replace(view, scale=(split, 1.0)) for view in byol(size))
    local = replace(first, size=small or _small(size), scale=(0.05, split), blur=0.5)
    return [first, second] + [local] * n_small


def supcon(size: int = 32) -> list[ImageView]:
    """SupCon's two views for CIFAR, https://arxiv.org/abs/2004.11362: crop of 20 to 100 %, no blur."""
    return [
        ImageView(
            size=size, scale=(0.2, 1.0), hflip=0.5, jitter=0.8, brightness=0.4, contrast=0.4, saturation=0.4,
            hue=0.1, grayscale=0.2, mean=_CIFAR_MEAN, std=_CIFAR_STD,
        )
    ] * 2  # fmt: skip


def weak_strong(size: int = 32) -> list[ImageView]:
    """A weak view and a strong one, as consistency methods want them.

    The weak view is FixMatch's (https://arxiv.org/abs/2001.07685): the whole picture, mirrored or not, shifted by up
    to 12.5 % with reflected borders. The strong view is ReSSL's (https://arxiv.org/abs/2107.09282), which stands in
    for FixMatch's RandAugment: crop of 20 to 100 %, jitter, grey, and blur above 32 pixels.
    """
    weak = ImageView(size=size, crop="center", proportion=1.0, hflip=0.5, translate=0.125, border="reflect")
    strong = replace(moco_v2(size)[0], blur=0.5 if size > 32 else 0.0, mean=None, std=None)
    return [weak, strong]


def metric(size: int = 32) -> list[ImageView]:
    """One view for metric learning with labels: a crop of 16 to 100 %, mirrored or not, its colours as they are.

    Musgrave et al., https://arxiv.org/abs/2003.08505, section 3.1. Colours tell things apart where labels say which
    belong together, so they are left alone; one view is enough, for a batch holds several items of each class.
    """
    return [ImageView(size=size, scale=(0.16, 1.0), hflip=0.5)]


def emp_ssl(size: int = 32, *, n: int = 20) -> list[ImageView]:
    """EMP-SSL's many small crops, https://arxiv.org/abs/2304.03977: n squares of a quarter of the area each."""
    return [
        ImageView(
            size=size, scale=(0.25, 0.25), ratio=(1.0, 1.0), hflip=0.5, jitter=0.8, brightness=0.4, contrast=0.4,
            saturation=0.4, hue=0.2, grayscale=0.2, blur=0.1, solarize=0.1, mean=(0.5,), std=(0.5,),
        )
    ] * n  # fmt: skip


def digits(size: int = 28, *, background: float = 0.0) -> list[ImageView]:
    """Two views of small drawings (digits, letters, symbols): mild crop, shift, turn and zoom, never mirrored.

    Our own choice: a mirrored 2 is no digit, and colours carry nothing.

    Args:
        size: side of the views.
        background: value of the paper, in [0, 1], that moves in at the borders; 1 for dark ink on white.
    """
    return [
        ImageView(
            size=size, scale=(0.6, 1.0), rotate=15, translate=0.1, zoom=(0.85, 1.15), fill=background,
            jitter=0.8, brightness=0.4, contrast=0.4,
        )
    ] * 2  # fmt: skip


def gray(size: int = 224) -> list[ImageView]:
    """Two views of objects in grey, such as X-rays: crop of 30 to 100 %, mirrored, turned a little, blur.

    Our own choice, close to MoCo-CXR's (https://arxiv.org/abs/2010.05352): its rotation of 10 degrees and mirroring,
    and weaker crops and brightness than for photographs, because the findings are small and faint.
    """
    kernel_fits = size > 32
    return [
        ImageView(
            size=size, scale=(0.3, 1.0), hflip=0.5, rotate=10, border="reflect", jitter=0.8, brightness=0.4,
            contrast=0.4, blur=0.5 if kernel_fits else 0.0, sigma=(0.1, 1.0), mean=(0.5,), std=(0.25,),
        )
    ] * 2  # fmt: skip


def evaluation(size: int = 224, *, like: ImageView | None = None) -> list[ImageView]:
    """The one view that embeds: shorter side resized to size / 0.875, centre cropped; at most 32 pixels: no crop.

    Args:
        size: side of the view.
        like: a view of the training recipe, whose interpolation and normalisation are kept; bicubic and none otherwise.
    """
    proportion = 0.875 if size > 32 else 1.0
    if like is None:
        return [ImageView(size=size, crop="center", proportion=proportion, interpolation="bicubic")]
    return [
        ImageView(
            size=size, crop="center", proportion=proportion, interpolation=like.interpolation,
            mean=like.mean, std=like.std,
        )
    ]  # fmt: skip


VIEWS: Registry[Callable[..., list[ImageView]]] = Registry(
    "views",
    group="nearfar.views",
    builtin={
        name.replace("_", "-"): f"{__name__}:{name}"
        for name in (
            "simclr", "cifar", "moco_v1", "moco_v2", "moco_v3", "byol", "barlow_twins", "vicreg", "swav", "dino",
            "supcon", "weak_strong", "emp_ssl", "metric", "digits", "gray", "evaluation",
        )
    },
)  # fmt: skip
"""Name to a function of ``size`` (and options of its own) that returns a list of views."""
