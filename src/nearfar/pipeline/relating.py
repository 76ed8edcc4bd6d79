"""Which order the batches come in, what the data say beside items, and how a method is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nearfar.config import check_options
from nearfar.data import SAMPLERS, MakeViews, Order, RelatedSource, Relations, Rows, Source, build_order
from nearfar.data.manifest import MANIFESTS
from nearfar.errors import ConfigError, DataError, require
from nearfar.methods import METHODS, Method
from nearfar.modalities import Inputs
from nearfar.pipeline.settings import PretrainConfig

__all__ = [
    "check_relation",
    "check_sampler",
    "related_views",
    "training_order",
    "with_relation",
    "with_sampler",
]


def with_relation(config: PretrainConfig, relations: Relations | None, source: Source) -> PretrainConfig:
    """Fill in what a method's settings leave to the data: what they give, and the number of classes.

    Args:
        config: whose method's options are filled in where they are not given.
        relations: pairs, triplets, scores or sets; None for classes.
        source: the items.
    """
    options = dict(config.method_options)
    if relations is not None and config.method == "metric":
        options.setdefault("given", relations.kind)
    if relations is not None and config.method == "siamese" and relations.kind == "pairs":
        options.setdefault("pairs", "given")
    if config.method == "metric" and source.labels is not None and not options.get("classes"):
        options["classes"] = int(source.labels.max()) + 1
    return dataclasses.replace(config, method_options=options)


def check_relation(method: Method, name: str, relations: Relations | None) -> None:
    """Refuse data that a method cannot use, and a method that needs what the data do not say.

    Raises:
        DataError: then.
    """
    given = "labels" if relations is None else relations.kind
    fix = "use --method metric" if given != "labels" else "give a CSV of them, or leave the setting out"
    words = "images, with or without labels" if method.relation == "labels" else method.relation
    require(method.relation == given, f"method {name}", "data", words, given, fix, error=DataError)


def training_order(config: PretrainConfig, source: Source, data: Any) -> Order | None:
    """Return the order of the batches, or None for the loader's own.

    Args:
        config: ``sampler``, not ``auto``, and its options.
        source: the items as the loader reads them.
        data: what the user gave: a manifest's columns can name groups.

    Raises:
        ConfigError: on an unknown sampler or setting.
        DataError: when the data do not allow it.
    """
    if config.sampler == "shuffled":
        return None
    fix = "leave one of them out"
    require(config.buffer is None, "pretrain", "sampler and buffer", "given one at a time", "both", fix)
    path = Path(data) if isinstance(data, str | Path) else None
    manifest = path if path is not None and path.suffix.lower() in MANIFESTS and path.is_file() else None
    rows = Rows(source, config.batch_size, config.seed, manifest)
    return build_order(config.sampler, config.sampler_options, rows)


def check_sampler(config: PretrainConfig) -> PretrainConfig:
    """Refuse an unknown sampler or setting of one before any item is read; return the settings converted.

    Raises:
        ConfigError: then; the nearest is offered.
    """
    if config.sampler == "auto":
        ok, fix = not config.sampler_options, "name the sampler too"
        require(ok, "pretrain", "sampler-options", "left out with sampler auto", "given", fix, error=ConfigError)
        return config
    factory = SAMPLERS.get(config.sampler)
    options = check_options(f"sampler {config.sampler}", factory, config.sampler_options)
    return dataclasses.replace(config, sampler_options=options)


def with_sampler(config: PretrainConfig, source: Source) -> PretrainConfig:
    """Replace ``auto`` by what the method wants where there are classes, else by shuffled."""
    if config.sampler != "auto":
        return config
    wanted = METHODS.get(config.method).info.sampler
    plain = source.labels is None or isinstance(source, RelatedSource) or config.buffer is not None
    return dataclasses.replace(config, sampler="shuffled" if plain else wanted)


def related_views(inputs: Inputs, views: Sequence[Any], relations: Relations | None) -> MakeViews:
    """Return what makes the views of a batch: of pairs and triplets, one view of each of their items."""
    if relations is None or relations.kind == "sets":
        return lambda items, rng: inputs.make_views(items, views, rng)
    return lambda rows, rng: [inputs.make_views(list(part), views[:1], rng)[0] for part in zip(*rows, strict=True)]
