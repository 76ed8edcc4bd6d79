"""From settings and data to the views of a run, as pretraining makes them and as `nearfar.show_views` shows them."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from nearfar.config import check
from nearfar.errors import ConfigError, nearest
from nearfar.methods import METHODS
from nearfar.modalities import Inputs, Modality
from nearfar.pipeline.settings import PretrainConfig
from nearfar.pipeline.view_count import check_count, check_views, fit_views

__all__ = ["check_named_views", "check_view_options", "run_views"]


def check_view_options(modality: Modality, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of the views of that name, converted to their types.

    Raises:
        ConfigError: on an unknown setting or a value of the wrong type.
    """
    views, who = modality.views(name), f"views {name}"
    hints = {key: hint for view in reversed(views) for key, hint in typing.get_type_hints(type(view)).items()}
    known = {field.name for view in views for field in dataclasses.fields(view)} - modality.fixed
    for key in options:
        if key not in known:
            raise ConfigError(f"{who}: unknown setting {key!r}; {nearest(key, known)}")
    return {key: check(who, key, hints[key], value) for key, value in options.items()}


def check_named_views(modality: Modality, config: PretrainConfig) -> PretrainConfig:
    """Refuse views that the method cannot take, and return the view options converted to their types."""
    check_count(config.method, config.view_count)
    if config.views == "auto":
        return config
    options = check_view_options(modality, config.views, config.view_options)
    check_views(config.method, config.views, modality.views(config.views))
    return dataclasses.replace(config, view_options=options)


def run_views(config: PretrainConfig, inputs: Inputs) -> tuple[Any, ...]:
    """Return the views that the method gets, with the settings of the run.

    A setting goes to the views that have it: a table's clean view has no share to corrupt.
    """
    views = fit_views(METHODS.get(config.method).info, inputs.views(config.views), config.view_count)
    return tuple(with_options(view, config.view_options) for view in views)


def with_options(view: Any, options: Mapping[str, Any]) -> Any:
    """Return a view's description with the settings that it has."""
    names = {field.name for field in dataclasses.fields(view)}
    return dataclasses.replace(view, **{key: value for key, value in options.items() if key in names})
