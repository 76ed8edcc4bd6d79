"""Pretraining: from data to a run folder with an encoder in it."""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from nearfar.config import check, check_options, from_mapping, to_mapping
from nearfar.data import DecodedSource, Loader, Source, decode_all, write_skipped
from nearfar.encoders import EncoderSpec, build, save_encoder
from nearfar.encoders.build import describe
from nearfar.errors import ConfigError, DataError, require
from nearfar.methods import METHODS, Method
from nearfar.methods import build as build_method
from nearfar.modalities import IMAGE
from nearfar.optim import scaled_lr
from nearfar.pipeline.data import limit_source, open_training_data
from nearfar.pipeline.environment import write_environment
from nearfar.pipeline.settings import PretrainConfig
from nearfar.pipeline.sheets import write_views
from nearfar.progress import say
from nearfar.training.run import Run

__all__ = ["pretrain"]

BASE_LR = {"lars": 0.3, "sgd": 0.12, "adamw": 1e-3}
"""Learning rates per 256 items of the linear rule: SimCLR's for LARS (https://arxiv.org/abs/2002.05709), lightly's
CIFAR-10 benchmark's for SGD; AdamW's is ours."""

MEAN, STD = (0.5,), (0.25,)
"""What every view is normalised with, whatever the data set: the encoder then fits data of another kind as well."""


def pretrain(
    data: Any,
    *,
    out: str | Path,
    config: PretrainConfig | None = None,
    resume: bool = False,
    overwrite: bool = False,
    module: nn.Module | None = None,
    **changes: Any,
) -> Run:
    """Train an encoder and write a run folder.

    Args:
        data: a folder of images, a manifest, an array file, an array, or any `torch.utils.data.Dataset`.
        out: the run folder to make.
        config: the settings; all defaults when absent.
        resume: go on from the last checkpoint of the run in ``out``, with the settings it was started with.
        overwrite: delete the run in ``out`` first.
        module: an encoder of your own, with an integer ``dim``; ``config.encoder`` is then only its name.
        changes: single settings that replace those of ``config``, such as ``epochs=20``.

    Returns:
        The run, finished: ``run.path`` holds the encoder, `nearfar.load_encoder` reads it.

    Raises:
        ConfigError: on an unknown or wrong setting.
        DataError: when the data cannot be used.
        RunError: when ``out`` is taken, or training fails.
    """
    config = _changed(config or PretrainConfig(), changes)
    folder = Path(out)
    if resume:
        run, config = _resumed(folder, config)
        if run.finished:
            say(f"{folder}: is finished; nothing to do")
            return run
    _check_names(config)
    source = open_training_data(data, split=config.split, channels=config.channels)
    config = _resolve(config, source)
    _check_data(config, source)
    torch.manual_seed(config.seed)
    encoder, spec = _encoder(config, source, module)
    method = build_method(config.method, encoder, config.method_options)
    views = _views(config, spec)
    if not resume:
        run = Run.create(folder, overwrite=overwrite)
        run.write_config({"data": _name_of(data), **to_mapping(config)})
        write_environment(run.path / "environment.json")
    say(describe(spec, encoder))
    decoded = _decoded(config, source, run.path)
    if not resume:
        write_views(run.path / "views.png", decoded, views, seed=config.seed)
    _train(run, config, method, decoded, views, resume=resume)
    save_encoder(run.path, encoder, spec, {"method": config.method, "epochs": config.epochs})
    if decoded.skipped:
        whole = len(decoded) + len(decoded.skipped)
        say(f"{len(decoded.skipped)} of {whole} files could not be read; see {run.path / 'skipped.csv'}")
    say(f"done: {run.path}")
    return run


def _changed(config: PretrainConfig, changes: dict[str, Any]) -> PretrainConfig:
    return from_mapping(PretrainConfig, {**to_mapping(config), **changes}, "pretrain") if changes else config


def _resumed(folder: Path, given: PretrainConfig) -> tuple[Run, PretrainConfig]:
    run = Run.open(folder)
    values = run.config()
    values.pop("data", None)
    stored = from_mapping(PretrainConfig, values, str(folder / "config.yaml"))
    for field in dataclasses.fields(PretrainConfig):
        value, default = getattr(given, field.name), getattr(PretrainConfig(), field.name)
        before = getattr(stored, field.name)
        if value not in (default, before):
            name = field.name.replace("_", "-")
            raise ConfigError(
                f"--resume: {name} must be {before!r} as the run was started with, got {value!r}; "
                "leave the setting out, or start another run"
            )
    return run, stored


def _check_names(config: PretrainConfig) -> None:
    """Refuse what can be refused before any data is read."""
    check_options(f"method {config.method}", METHODS.get(config.method), config.method_options)
    if config.encoder == "auto":
        return
    from nearfar.encoders import ENCODERS

    if config.encoder in ENCODERS:
        check_options(f"encoder {config.encoder}", ENCODERS.get(config.encoder), config.encoder_options)


def _resolve(config: PretrainConfig, source: Source) -> PretrainConfig:
    """Replace every setting that is chosen from the data or the machine by what was chosen."""
    from nearfar.training.fit import resolve_devices
    from nearfar.training.precision import choose_precision

    first = _first(source)
    size = config.image_size or min(224, *first.shape[:2])
    accelerator, devices = resolve_devices(config.accelerator, config.devices)
    batch = config.batch_size * config.accumulate
    warmup = min(10.0, config.epochs / 10) if config.warmup_epochs is None else config.warmup_epochs
    return dataclasses.replace(
        config,
        image_size=size,
        channels=config.channels or first.shape[2],
        encoder=IMAGE.default_encoder(size) if config.encoder == "auto" else config.encoder,
        lr=config.lr or scaled_lr(BASE_LR[config.optimizer], batch),
        warmup_epochs=warmup,
        accelerator=accelerator,
        devices=devices,
        precision=choose_precision(config.precision, accelerator),
        threads=config.threads or min(8, os.cpu_count() or 1),
    )


def _first(source: Source) -> np.ndarray[Any, Any]:
    for index in range(min(100, len(source))):
        try:
            item = source.read(index)
        except DataError:
            continue
        return np.asarray(item)
    raise DataError("pretrain: one of the first 100 images must be readable, got none; check the files")


def _check_data(config: PretrainConfig, source: Source) -> None:
    count = min(len(source), config.limit or len(source))
    fix = f"lower --batch-size to {count} or less"
    require(
        count >= 2, "pretrain", "number of images", ">= 2", count, "there is nothing to tell apart", error=DataError
    )
    require(
        config.batch_size <= count,
        "pretrain",
        "batch-size",
        f"<= {count}, the number of images",
        config.batch_size,
        fix,
    )
    require(
        config.batch_size >= 2, "pretrain", "batch-size", ">= 2, as BatchNorm and negatives need", config.batch_size
    )
    ranks = (config.devices or 1) * config.nodes
    require(
        config.batch_size % ranks == 0, "pretrain", "batch-size", f"divisible by {ranks} devices", config.batch_size
    )
    if METHODS.get(config.method).info.labels:
        known = source.labels is not None and bool((source.labels >= 0).any())
        fix = "put images into one folder per class, add a label column, or use simclr"
        require(known, f"method {config.method}", "labels", "given", "none", fix, error=DataError)


def _encoder(config: PretrainConfig, source: Source, module: nn.Module | None) -> tuple[nn.Module, EncoderSpec]:
    assert config.image_size is not None
    assert config.channels is not None
    if module is None:
        return build(
            config.encoder,
            in_channels=config.channels,
            image_size=config.image_size,
            pretrained=config.pretrained,
            options=config.encoder_options,
            mean=MEAN,
            std=STD,
        )
    dim = getattr(module, "dim", None)
    require(
        isinstance(dim, int), "pretrain", "module.dim", "an integer", dim, "set it to the length of what it returns"
    )
    spec = EncoderSpec(
        name="custom", dim=int(dim or 0), in_channels=config.channels, image_size=config.image_size, mean=MEAN, std=STD
    )  # fmt: skip
    return module, spec


def _views(config: PretrainConfig, spec: EncoderSpec) -> tuple[Any, ...]:
    views = IMAGE.views(config.views, spec.image_size, spec.in_channels)
    known = {field.name: field for field in dataclasses.fields(views[0])}
    options = {}
    for name, value in config.view_options.items():
        from nearfar.errors import nearest

        if name not in known:
            raise ConfigError(f"views {config.views}: unknown setting {name!r}; {nearest(name, known)}")
        options[name] = check(f"views {config.views}", name, _hints(type(views[0]))[name], value)
    return tuple(dataclasses.replace(view, mean=spec.mean, std=spec.std, **options) for view in views)


def _hints(record: type) -> dict[str, Any]:
    import typing

    return typing.get_type_hints(record)


def _decoded(config: PretrainConfig, source: Source, folder: Path) -> DecodedSource:
    if config.limit is not None:
        source = limit_source(source, config.limit, seed=config.seed)
    assert config.image_size is not None
    side = max(config.image_size, round(config.image_size / 0.875))
    decoded = decode_all(source, side=side, cache=config.cache, threads=config.threads)
    if decoded.skipped:
        write_skipped(folder / "skipped.csv", decoded.skipped)
    return decoded


def _train(
    run: Run, config: PretrainConfig, method: Method, source: Source, views: tuple[Any, ...], *, resume: bool
) -> None:
    from nearfar.training.fit import FitSettings, fit
    from nearfar.training.module import Optimization

    ranks = (config.devices or 1) * config.nodes
    loader = Loader(
        source,
        lambda images, rng: IMAGE.make_views(images, views, rng),
        batch_size=config.batch_size // ranks,
        seed=config.seed,
        threads=config.threads or 1,
        world_size=ranks,
    )
    steps = math.ceil(len(loader) / config.accumulate)
    assert config.lr is not None
    assert config.warmup_epochs is not None
    optimization = Optimization(
        optimizer=config.optimizer,
        lr=config.lr,
        weight_decay=config.weight_decay,
        momentum=config.momentum,
        warmup_steps=round(config.warmup_epochs * steps),
        total_steps=config.epochs * steps,
    )
    keys = {field.name for field in dataclasses.fields(FitSettings)}
    fit_settings = FitSettings(**{key: value for key, value in vars(config).items() if key in keys})
    classes = len(source.class_names or ()) if config.probe and source.labels is not None else 0
    if classes == 0 and config.probe and source.labels is not None:
        classes = int(source.labels.max()) + 1
    fit(method, loader, run, optimization, fit_settings, classes=classes, resume=resume)


def _name_of(data: Any) -> str:
    return str(data) if isinstance(data, str | Path) else f"<{type(data).__name__}>"
