"""Pretraining: from data to a run folder with an encoder in it."""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from nearfar.config import from_mapping, settings, to_mapping
from nearfar.data import (
    DecodedSource,
    Loader,
    MakeViews,
    Order,
    RelatedSource,
    Relations,
    Skipped,
    Source,
    read_relations,
    write_skipped,
)
from nearfar.data.loader import cpu_count
from nearfar.data.memory import available_bytes
from nearfar.data.source import digest
from nearfar.distributed import launched_rank
from nearfar.encoders import EncoderSpec, load_weights
from nearfar.encoders.build import describe
from nearfar.errors import ConfigError, RunError, require
from nearfar.files import write_atomic
from nearfar.methods import Method
from nearfar.methods import build as build_method
from nearfar.modalities import CUSTOM, Inputs, Modality, choose
from nearfar.optim import scaled_lr
from nearfar.pipeline.checks import check_data, check_names
from nearfar.pipeline.data import content_digest, limit_source, open_training_data
from nearfar.pipeline.environment import check_same_data, write_environment
from nearfar.pipeline.inputs import restored, save_with_inputs, write_inputs
from nearfar.pipeline.relating import (
    check_relation,
    related_views,
    training_order,
    with_relation,
    with_sampler,
)
from nearfar.pipeline.settings import PretrainConfig
from nearfar.pipeline.sheets import write_views
from nearfar.pipeline.unseen import UnseenClasses, hold_out_classes, watch
from nearfar.pipeline.view_settings import check_named_views, run_views
from nearfar.pipeline.waiting import remedy
from nearfar.progress import say
from nearfar.training.run import Run

__all__ = ["pretrain"]

BASE_LR = {"lars": 0.3, "sgd": 0.12, "adamw": 1e-3}
"""Learning rates per 256 items of the linear rule: SimCLR's for LARS (https://arxiv.org/abs/2002.05709), lightly's
CIFAR-10 benchmark's for SGD; AdamW's is ours."""

FAR_BUFFER = 4096
"""How far rows move when they are read over a network each time: a few row groups of a Parquet file."""


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
        data: a folder of images, a manifest, an array file, an array, any `torch.utils.data.Dataset`, or data of
            another modality, such as a table; see `nearfar.modalities.choose`.
        out: the run folder to make.
        config: the settings; all defaults when absent.
        resume: go on from the last checkpoint of the run in ``out``, with the settings it was started with.
        overwrite: delete the run in ``out`` first.
        module: an encoder of your own, with an integer ``dim``, in place of ``config.encoder``.
        changes: single settings that replace those of ``config``, such as ``epochs=20``.

    Returns:
        The run, finished: ``run.path`` holds the encoder, `nearfar.load_encoder` reads it.

    Raises:
        ConfigError: on an unknown or wrong setting.
        DataError: when the data cannot be used.
        RunError: when ``out`` is taken, or training fails.
    """
    config = _changed(config or PretrainConfig(), changes)
    relations = _relations(config, data)
    modality = choose("image" if relations is not None else config.modality, data)
    config = check_names(config, modality, module)
    folder, leads = Path(out), launched_rank() == 0
    if resume:
        run, config = _resumed(folder, config, changes)
        if run.finished:
            say(f"{folder}: is finished; nothing to do")
            return run
    elif leads:
        Run.claim(folder, overwrite=overwrite)
    modality = choose("image" if relations is not None else config.modality, data)
    inputs = restored(modality, folder) if resume else None
    reading = config.reading if inputs is None else inputs.reading("pretrain", {})
    source = open_training_data(modality, data, reading, split=config.split) if relations is None else relations.images
    facts = content_digest(source) if relations is None else digest(content_digest(source), relations.digest())
    if resume:
        check_same_data(folder / "environment.json", facts)
    source, unseen = _training_rows(config, source, relations)
    inputs = inputs or modality.fit_for(config.encoder, source, config.reading)
    config = _resolve(config, inputs)
    check_data(config, modality, source if relations is None else relations.over(source, config.limit))
    config = with_relation(config, relations, source)
    torch.manual_seed(config.seed)
    encoder, spec = _encoder(config, inputs, module)
    loaded = "" if config.init is None or resume else load_weights(encoder, config.init).text()
    method = build_method(config.method, encoder, config.method_options)
    check_relation(method, config.method, relations)
    config = _completed(config, modality, method, spec)
    views = run_views(config, inputs)
    decoded = _decoded(config, inputs, source)
    items = decoded if relations is None else relations.over(decoded, config.limit, seed=config.seed)
    config, order = _ordered(config, items, data, far=decoded.where == "files")
    method.prepare(len(items))
    loader = _loader(config, related_views(inputs, views, relations), items, order)
    watcher = None if unseen is None else watch(inputs, unseen, config)
    run = Run(folder)
    if leads:
        if not resume:
            Run.create(folder, {"data": _name_of(data), **to_mapping(config)}, overwrite=overwrite)
        say("\n".join(filter(None, (describe(spec, encoder), loaded))))
        _write_first(run, inputs, decoded, views, facts, seed=config.seed)
    _train(run, config, method, items, loader, remedy(config, inputs, decoded, views), watcher, resume=resume)
    if leads:
        if watcher is not None:
            say(watcher.write(run.path / "unseen.json", method.kept, f"{run.path}").text())
        save_with_inputs(
            run.path,
            method.kept,
            spec,
            inputs,
            {"method": config.method, "epochs": config.epochs},
            head=method.kept_head,
        )
        _say_skipped(run, [*decoded.skipped, *loader.skipped], len(decoded) + len(decoded.skipped))
        say(f"done: {run.path}")
    return run


def _relations(config: PretrainConfig, data: Any) -> Relations | None:
    if config.modality not in ("auto", "image"):
        return None
    return read_relations(data, channels=config.channels, split=config.split)


def _training_rows(config: PretrainConfig, source: Source, relations: Relations | None) -> tuple[Source, Source | None]:
    """Return the items to train on, and those of classes that training never sees."""
    unseen = None
    if config.hold_out_classes is not None:
        source, unseen = hold_out_classes(source, config.hold_out_classes, seed=config.seed)
    if config.limit is not None and relations is None:
        source = limit_source(source, config.limit, seed=config.seed)
    return source, unseen


def _ordered(config: PretrainConfig, items: Source, data: Any, *, far: bool) -> tuple[PretrainConfig, Order | None]:
    """Choose the order of the batches, and the buffer of a plain shuffle over a network."""
    config = with_sampler(config, items)
    order = training_order(config, items, data)
    if order is None and far and isinstance(data, str) and "://" in data:
        config = dataclasses.replace(config, buffer=config.buffer or FAR_BUFFER)
    return config, order


def _changed(config: PretrainConfig, changes: dict[str, Any]) -> PretrainConfig:
    return from_mapping(PretrainConfig, {**to_mapping(config), **changes}, "pretrain") if changes else config


def _resumed(folder: Path, given: PretrainConfig, changes: Mapping[str, Any]) -> tuple[Run, PretrainConfig]:
    """Open a run and its settings; what was given by name, or is no default, must be as the run was started with."""
    run = Run.open(folder)
    values = run.config()
    values.pop("data", None)
    try:
        stored = from_mapping(PretrainConfig, values, str(folder / "config.yaml"))
    except ConfigError as error:
        raise RunError(f"{error}; start again with --overwrite") from None
    plain, before = to_mapping(PretrainConfig()), to_mapping(stored)
    for name, value in to_mapping(given).items():
        if isinstance(value, dict):
            same = all(before[name].get(key) == item for key, item in value.items())
        else:
            same = value == before[name] or (value == plain[name] and name not in changes)
        if not same:
            flag = name.replace("_", "-")
            raise ConfigError(
                f"--resume: {flag} must be {before[name]!r} as the run was started with, got {value!r}; "
                "leave the setting out, or start another run"
            )
    return run, stored


def _resolve(config: PretrainConfig, inputs: Inputs) -> PretrainConfig:
    """Replace every setting that is chosen from the data or the machine by what was chosen."""
    from nearfar.training.precision import choose_precision

    config = config.with_reading(inputs.options)
    accelerator, devices = _trainer().resolve_devices(config.accelerator, config.devices)
    batch = config.batch_size * config.accumulate
    warmup = min(10.0, config.epochs / 10) if config.warmup_epochs is None else config.warmup_epochs
    return dataclasses.replace(
        config,
        modality=inputs.modality,
        encoder=inputs.default_encoder if config.encoder == "auto" else config.encoder,
        views=inputs.default_views if config.views == "auto" else config.views,
        lr=config.lr or scaled_lr(BASE_LR[config.optimizer], batch),
        warmup_epochs=warmup,
        accelerator=accelerator,
        devices=devices,
        precision=choose_precision(config.precision, accelerator),
        threads=config.threads or min(8, max(1, cpu_count() // devices)),
    )


def _completed(config: PretrainConfig, modality: Modality, method: Method, spec: EncoderSpec) -> PretrainConfig:
    """Write out the options that were left at their defaults, so that a later default changes no old run."""
    names = settings(type(method))
    options = {name: getattr(method, name, config.method_options.get(name, names[name].default)) for name in names}
    return dataclasses.replace(
        config,
        method_options=options,
        encoder_options=dict(spec.options),
        view_options=check_named_views(modality, config).view_options,
    )


def _encoder(config: PretrainConfig, inputs: Inputs, module: nn.Module | None) -> tuple[nn.Module, EncoderSpec]:
    if module is None:
        require(
            config.encoder != CUSTOM, "pretrain", "module", "given for a run with an encoder of your own", "none",
            "pass a freshly built one as module=", error=ConfigError,
        )  # fmt: skip
        return inputs.build_encoder(config.encoder, config.encoder_options, pretrained=config.pretrained)
    return module, inputs.spec(CUSTOM, int(cast(Any, module).dim))


def _decoded(config: PretrainConfig, inputs: Inputs, source: Source) -> DecodedSource:
    devices = config.devices or 1
    room = None if devices == 1 else available_bytes() // (4 * devices)
    return inputs.keep(source, cache=config.cache, threads=config.threads, limit_bytes=room)


def _loader(config: PretrainConfig, make_views: MakeViews, source: Source, order: Order | None) -> Loader:
    ranks = (config.devices or 1) * config.nodes
    return Loader(
        source,
        make_views,
        batch_size=config.batch_size // ranks,
        seed=config.seed,
        order=order,
        buffer=config.buffer,
        threads=config.threads or 1,
        world_size=ranks,
        on_broken="replace",  # with cache "off" broken items are met only here
    )


def _write_first(
    run: Run, inputs: Inputs, decoded: DecodedSource, views: tuple[Any, ...], facts: str, *, seed: int
) -> None:
    """Write what is known before training, unless a run that goes on has it already."""
    if not (run.path / "environment.json").is_file():
        write_environment(run.path / "environment.json", data=facts)
    write_inputs(run.path, inputs)
    if decoded.skipped:
        write_skipped(run.path / "skipped.csv", decoded.skipped)
    if decoded.notes:
        write_atomic(run.path / "notes.json", json.dumps(decoded.notes, indent=2))
    if not (run.path / "views.png").is_file():
        write_views(run.path / "views.png", inputs, decoded, views, seed=seed)


def _say_skipped(run: Run, skipped: list[Skipped], whole: int) -> None:
    if skipped:
        write_skipped(run.path / "skipped.csv", skipped)
        say(f"{len(skipped)} of {whole} items could not be read; see {run.path / 'skipped.csv'}")


def _train(
    run: Run,
    config: PretrainConfig,
    method: Method,
    source: Source,
    loader: Loader,
    advice: str,
    watcher: UnseenClasses | None,
    *,
    resume: bool,
) -> None:
    from nearfar.training.module import Optimization

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
    trainer = _trainer()
    keys = {field.name for field in dataclasses.fields(trainer.FitSettings)}
    fit_settings = trainer.FitSettings(**{key: value for key, value in vars(config).items() if key in keys})
    labels = source.labels if config.probe and not isinstance(source, RelatedSource) else None
    classes = 0 if labels is None else max(len(source.class_names or ()), int(labels.max()) + 1)
    trainer.fit(
        method,
        loader,
        run,
        optimization,
        fit_settings,
        classes=classes,
        resume=resume,
        remedy=advice,
        watch=watcher,
    )


def _trainer() -> Any:
    """Import what wraps Lightning, which takes seconds, and fails wherever torchvision does not fit torch."""
    try:
        return importlib.import_module("nearfar.training.fit")
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        fix = "install lightning and torchvision to fit torch, or remove torchvision"
        raise RunError(f"pretrain: needs Lightning, which cannot be imported ({first}); {fix}") from error


def _name_of(data: Any) -> str:
    return str(data) if isinstance(data, str | Path) else f"<{type(data).__name__}>"
