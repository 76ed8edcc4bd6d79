"""What a pretraining run refuses before it begins: wrong names and sizes before items are read, then too few items."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import nn

from nearfar.config import check_options, settings
from nearfar.data import RelatedSource, Source
from nearfar.errors import ConfigError, DataError, extra, require
from nearfar.methods import METHODS
from nearfar.modalities import CUSTOM, Modality
from nearfar.pipeline.relating import check_sampler
from nearfar.pipeline.settings import PretrainConfig
from nearfar.pipeline.view_settings import check_named_views

__all__ = ["check_data", "check_names", "check_sizes"]

QUEUES = ("queue_size", "memory")
"""What methods call the rows that they keep of past batches; 0 stands for none."""


def check_names(config: PretrainConfig, modality: Modality, module: nn.Module | None) -> PretrainConfig:
    """Refuse what can be refused before any item is read; return the options converted to their types.

    Raises:
        ConfigError: on an unknown name or option, or a queue smaller than the batch.
        InputError: on a batch of one, or a module without ``dim``.
    """
    method, encoder = config.method, config.encoder
    config = config.with_reading(modality.check_options(config.reading))
    changes: dict[str, Any] = {
        "method_options": check_options(f"method {method}", METHODS.get(method), config.method_options)
    }
    if module is None and encoder not in ("auto", CUSTOM):
        changes["encoder_options"] = modality.check_encoder(encoder, config.encoder_options)
    config = check_sampler(check_named_views(modality, config))
    for tracker in config.track:
        extra(tracker, tracker, f"--track {tracker}")
    check_sizes(config, changes["method_options"])
    if module is not None:
        dim = getattr(module, "dim", None)
        fix = "set it to the length of what it returns"
        require(isinstance(dim, int), "pretrain", "module.dim", "an integer", dim, fix)
        changes |= {"encoder": CUSTOM, "encoder_options": {}}
    return dataclasses.replace(config, **changes)


def check_sizes(config: PretrainConfig, options: Mapping[str, Any]) -> None:
    """Refuse a batch without negatives, and a queue that a batch overflows, whose first keys nothing would ever see.

    Args:
        config: names method and batch.
        options: the method's settings, of their types.

    Raises:
        InputError: on a batch of one.
        ConfigError: on a queue smaller than the batch.
    """
    batch = config.batch_size
    require(batch >= 2, "pretrain", "batch-size", ">= 2, as BatchNorm and negatives need", batch)
    known = settings(METHODS.get(config.method))
    for name in [name for name in QUEUES if name in known]:
        size = options.get(name, known[name].default)
        flag, least = f"method-options.{name.replace('_', '-')}", f">= {batch}, the batch size"
        fix = f"give it {batch} or more, or lower --batch-size to {size} or less"
        who = f"method {config.method}"
        require(size == 0 or size >= batch, who, flag, least, size, fix, error=ConfigError)


def check_data(config: PretrainConfig, modality: Modality, source: Source) -> None:
    """Refuse items of which there are too few for a batch, and missing labels.

    Raises:
        InputError: on a batch that does not fit.
        DataError: on too few items, or none with a label where the method needs them.
    """
    count, items = len(source), modality.items
    fix = f"lower --batch-size to {count} or less"
    require(
        count >= 2, "pretrain", f"number of {items}", ">= 2", count, "there is nothing to tell apart", error=DataError
    )
    require(
        config.batch_size <= count,
        "pretrain",
        "batch-size",
        f"<= {count}, the number of {items}",
        config.batch_size,
        fix,
    )
    ranks = (config.devices or 1) * config.nodes
    require(
        config.batch_size % ranks == 0, "pretrain", "batch-size", f"divisible by {ranks} devices", config.batch_size
    )
    if METHODS.get(config.method).info.labels and not isinstance(source, RelatedSource):
        known = source.labels is not None and bool((source.labels >= 0).any())
        require(known, f"method {config.method}", "labels", "given", "none", modality.labels_fix, error=DataError)
