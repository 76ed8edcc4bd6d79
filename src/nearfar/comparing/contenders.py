"""Who is compared: every method with the settings of its recipe, on the encoder and batch that all share."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from nearfar.comparing.parts import Parts
from nearfar.comparing.settings import CompareConfig
from nearfar.encoders import ENCODERS, EncoderSpec
from nearfar.errors import ConfigError, nearest
from nearfar.methods import METHODS
from nearfar.methods import build as build_method
from nearfar.modalities import MODALITIES
from nearfar.pipeline.checks import check_sizes
from nearfar.pipeline.settings import PretrainConfig
from nearfar.pipeline.view_count import check_views
from nearfar.pipeline.view_settings import check_view_options
from nearfar.recipes import RECIPES

__all__ = ["OWN", "Contender", "check_names", "contenders", "encoder_spec", "settled", "shared"]

OWN = ("method_options", "views", "view_options", "view_count", "optimizer", "lr", "weight_decay", "momentum", "clip")
"""What a method takes from its recipe. Encoder, epochs, batch and warm-up are the same for all."""


class Contender(NamedTuple):
    """A method and how it is run.

    Attributes:
        name: the method.
        origin: where its settings are from: the name of a recipe, or ``"defaults"``.
        config: without its epochs and its seed.
    """

    name: str
    origin: str
    config: PretrainConfig

    def own(self) -> dict[str, Any]:
        """Return the settings that are this method's alone, and where they are from."""
        return {"origin": self.origin, **{key: getattr(self.config, key) for key in OWN}}


def check_names(config: CompareConfig) -> None:
    """Refuse unknown methods and sets of recipes, before any data is read.

    Raises:
        ConfigError: the nearest name is offered.
    """
    for name in config.methods:
        METHODS.get(name)
    sets = {"none", *(recipe.partition("/")[2] for recipe in RECIPES.names())}
    if config.recipe_set not in sets:
        near = nearest(config.recipe_set, sets)
        raise ConfigError(f"compare: recipe-set must be a set of recipes or none, got {config.recipe_set!r}; {near}")


def settled(config: CompareConfig, parts: Parts) -> CompareConfig:
    """Return the settings with the options of encoder and views written out and of their types.

    Raises:
        ConfigError: on an unknown encoder, views or option.
    """
    changes: dict[str, Any] = {}
    if shared(config, parts).encoder in ENCODERS:
        changes["encoder_options"] = dict(encoder_spec(config, parts).options)
    if config.views != "auto":
        modality = MODALITIES.get(parts.inputs.modality)
        changes["view_options"] = check_view_options(modality, config.views, config.view_options)
    return dataclasses.replace(config, **changes)


def contenders(config: CompareConfig, parts: Parts) -> list[Contender]:
    """Return all methods with their settings, each tried out on the encoder before any training begins.

    Raises:
        ConfigError: on an unknown encoder or view, or a method that does not fit encoder or batch.
    """
    found = [_contender(name, config, parts) for name in config.methods]
    encoder, _ = _build(config, parts)
    for one in found:
        check_views(one.name, one.config.views, parts.inputs.views(one.config.views))
        check_sizes(one.config, one.config.method_options)
        build_method(one.name, encoder, one.config.method_options)
    return found


def shared(config: CompareConfig, parts: Parts) -> PretrainConfig:
    """Return the settings that all runs have in common."""
    plain = PretrainConfig(
        modality=parts.inputs.modality,
        encoder=parts.inputs.default_encoder if config.encoder == "auto" else config.encoder,
        encoder_options=config.encoder_options,
        views=config.views,
        view_options=config.view_options,
        batch_size=config.batch_size,
        precision=config.precision,
        accelerator=config.accelerator,
        devices=1,
        threads=config.threads,
    )
    return plain.with_reading(parts.inputs.options)


def encoder_spec(config: CompareConfig, parts: Parts) -> EncoderSpec:
    """Return the specification of the encoder that all runs train."""
    return _build(config, parts)[1]


def _build(config: CompareConfig, parts: Parts) -> tuple[Any, EncoderSpec]:
    name = shared(config, parts).encoder
    return parts.inputs.build_encoder(name, config.encoder_options)


def _contender(name: str, config: CompareConfig, parts: Parts) -> Contender:
    recipe = f"{name}/{config.recipe_set}"
    found = recipe in RECIPES
    plain = RECIPES.get(recipe)() if found else PretrainConfig()
    own = {key: getattr(plain, key) for key in OWN}
    if config.views != "auto":
        own |= {"views": config.views, "view_options": config.view_options}
    if own["views"] not in (*MODALITIES.get(parts.inputs.modality).view_names(), "auto"):
        own |= {"views": "auto", "view_options": {}}  # a recipe for another modality
    if own["views"] == "auto":
        own["views"] = parts.inputs.default_views
    whole = dataclasses.replace(shared(config, parts), method=name, **own)
    return Contender(name, recipe if found else "defaults", whole)
