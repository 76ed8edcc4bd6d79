"""Images: read from folders, manifests and arrays; seen through crops and colours; encoded by convolutions or ViTs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from nearfar.data import Views, open_images
from nearfar.modalities.base import Modality
from nearfar.views import VIEWS, ImageView, make_views
from nearfar.views.ready import evaluation

__all__ = ["IMAGE"]

SMALL = 64
"""Images of at most that many pixels a side get small encoders and no blur."""


def _default_views(size: int, channels: int) -> str:
    if channels != 3:
        return "gray"
    return "cifar" if size <= SMALL else "simclr"


def _views(name: str, size: int, channels: int) -> tuple[ImageView, ...]:
    return tuple(VIEWS.get(_default_views(size, channels) if name == "auto" else name)(size))


def _evaluation_view(size: int, *, mean: tuple[float, ...], std: tuple[float, ...]) -> ImageView:
    view = evaluation(size)[0]
    proportion = 1.0 if size <= SMALL else view.proportion
    return dataclasses.replace(view, proportion=proportion, mean=mean, std=std)


def _make(images: Any, views: Sequence[Any], rng: np.random.Generator) -> Sequence[Views]:
    return make_views(images, views, rng, threads=1)  # the loader runs several batches at once


def _encoder(size: int) -> str:
    return "small" if size <= SMALL else "resnet18"


IMAGE = Modality(
    name="image",
    open=open_images,
    default_views=_default_views,
    views=_views,
    evaluation_view=_evaluation_view,
    make_views=_make,
    default_encoder=_encoder,
)
