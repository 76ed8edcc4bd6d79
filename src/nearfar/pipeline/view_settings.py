"""From settings and data to the views of a run, as pretraining makes them and as `nearfar.show_views` shows them."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.config import check
from nearfar.data import Source
from nearfar.errors import ConfigError, DataError, nearest
from nearfar.methods import METHODS
from nearfar.modalities import IMAGE
from nearfar.pipeline.settings import PretrainConfig
from nearfar.pipeline.view_count import fit_views

__all__ = ["SIDE", "check_view_options", "decoded_side", "first_image", "resolve_views", "run_views"]

SIDE = 224
"""The longest side of images by default, in pixels."""

_LOOKED_AT = 100


def check_view_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of the views of that name, converted to their types.

    Raises:
        ConfigError: on an unknown setting or a value of the wrong type.
    """
    view, who = IMAGE.views(name, SIDE, 3)[0], f"views {name}"
    hints = typing.get_type_hints(type(view))
    known = {field.name for field in dataclasses.fields(view)} - {"size", "mean", "std"}
    for key in options:
        if key not in known:
            raise ConfigError(f"{who}: unknown setting {key!r}; {nearest(key, known)}")
    return {key: check(who, key, hints[key], value) for key, value in options.items()}


def first_image(source: Source, *, who: str = "pretrain") -> NDArray[Any]:
    """Return the first readable image, which size and channels follow when no setting gives them.

    Raises:
        DataError: when none of the first 100 can be read.
    """
    reason = ""
    for index in range(min(_LOOKED_AT, len(source))):
        try:
            return np.asarray(source.read(index))
        except DataError as error:
            reason = reason or str(error)
    raise DataError(f"{who}: one of the first 100 images must be readable, got none; the first: {reason}")


def resolve_views(config: PretrainConfig, image: NDArray[Any]) -> PretrainConfig:
    """Replace size, channels and views that were left open by what fits an image of the data."""
    size, channels = config.image_size or min(SIDE, *image.shape[:2]), config.channels or image.shape[2]
    views = IMAGE.default_views(size, channels) if config.views == "auto" else config.views
    return dataclasses.replace(config, image_size=size, channels=channels, views=views)


def run_views(config: PretrainConfig, size: int, channels: int, **normalisation: Any) -> tuple[Any, ...]:
    """Return the views that the method gets, with the settings of the run and ``mean`` and ``std``."""
    views = fit_views(METHODS.get(config.method).info, IMAGE.views(config.views, size, channels))
    return tuple(dataclasses.replace(view, **normalisation, **config.view_options) for view in views)


def decoded_side(size: int) -> int:
    """Return the shorter side that images are decoded to for views of ``size`` pixels: 256 for 224."""
    return max(size, round(size / 0.875))
