"""Fine-tuning a run on labels: the verb as a function, and the same on data that is open already."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nearfar.data import Loader, Source
from nearfar.encoders import first_layers, freeze_stages
from nearfar.encoders.base import Encoder
from nearfar.encoders.build import describe
from nearfar.errors import ConfigError, RunError, require
from nearfar.fewlabels.finish import Outcome, close, finished
from nearfar.fewlabels.folders import begin, data_name, opened
from nearfar.fewlabels.loop import Device, Objective, Steps, train
from nearfar.fewlabels.objectives import FixMatch, Supervised
from nearfar.fewlabels.parts import Data, open_data
from nearfar.fewlabels.predictor import Predictor
from nearfar.fewlabels.prepare import kept, labelled_source, unlabelled_source
from nearfar.fewlabels.self_training import self_train
from nearfar.fewlabels.settings import FinetuneConfig, LabelChoice
from nearfar.fewlabels.start import Start, open_start, pretrained, reading
from nearfar.fewlabels.steps import count_steps, layer_rules, learning_rate
from nearfar.fewlabels.targets import soft
from nearfar.fewlabels.views import light, loader, strong
from nearfar.pipeline.data import content_digest
from nearfar.pipeline.environment import check_same_data
from nearfar.progress import say

__all__ = ["FEW", "finetune", "finetune_on"]

FEW = 0.1
"""The share of labels up to which fine-tuning begins at the first layer of the projection head, as in SimCLRv2."""


def finetune(
    run: str | Path,
    data: Any,
    *,
    out: str | Path,
    config: FinetuneConfig | None = None,
    choice: LabelChoice | None = None,
    resume: bool = False,
    overwrite: bool = False,
    module: nn.Module | None = None,
    **changes: Any,
) -> Outcome:
    """Train a pretrained encoder on labels, from a layer of its projection head on, and score it.

    Chen et al., "Big Self-Supervised Models are Strong Semi-Supervised Learners", NeurIPS 2020,
    https://arxiv.org/abs/2006.10029, section 2: the whole network is trained, the classifier begins at zero, views are
    crops and mirrors alone, and there is no weight decay.

    Args:
        run: a run folder, or the name of a stock encoder.
        data: as for `nearfar.pretrain`.
        out: the run folder to make: ``encoder.*`` and ``classifier.*`` with the weights, ``labels.csv`` with the items
            whose labels were used, ``scores.json``, ``predictions.npz``, ``metrics.jsonl``, ``config.yaml``.
        config: the settings; all defaults when absent.
        choice: which labels may be used; all that the data has when absent.
        resume: go on from the last checkpoint of ``out``, with the settings it was begun with.
        overwrite: delete the run in ``out`` first.
        module: a freshly built encoder of your own, for a run that trained one.
        changes: single settings of both records, such as ``per_class=10`` or ``from_layer=1``.

    Returns:
        The run and its scores; ``nearfar.load_encoder(result.path)`` reads the encoder.

    Raises:
        ConfigError: on an unknown or wrong setting.
        DataError: when labels or data cannot be used.
        RunError: when ``run`` or ``out`` cannot be used.
    """
    folder = Path(out)
    settings, labels, done = opened(
        "finetune", folder, config or FinetuneConfig(), choice, changes, resume=resume, overwrite=overwrite
    )
    if done is not None:
        return finished(done)
    start = open_start(run, data, labels.input_options, module)
    found = open_data(data, labels, *reading(start.inputs, labels))
    facts = {"run": str(run), "data": data_name(data)}
    return finetune_on(start, found, folder, settings, labels, facts, resume=resume, overwrite=overwrite)


def finetune_on(
    start: Start,
    data: Data,
    out: Path,
    config: FinetuneConfig,
    choice: LabelChoice,
    facts: Mapping[str, Any],
    *,
    resume: bool,
    overwrite: bool = False,
) -> Outcome:
    """Do what `finetune` does, on an encoder and data that are open already."""
    config = _settled(config, start, data)
    digest = content_digest(data.train)
    if resume:
        check_same_data(out / "environment.json", digest)
    _check(config, start, data)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        settings = {**facts, **pretrained(start.settings)}
        run = begin(out, "finetune", settings, (choice, config), data=digest, resume=resume, overwrite=overwrite)
        kept(run, data)
        say(f"{describe(start.spec, start.encoder)}; {len(data.rows)} labels of {len(data.train):,} items")
        if config.pseudo_labels == "self-training":
            model = self_train(run, config, start, data, partial(_model, config, start, data), partial(_moves, config))
        else:
            model = _model(config, start, data)
            objective, total = _objective(model, config, start, data)
            train(objective, _moves(config, model, total, len(data.rows)), run, run.checkpoint, "finetune")
    return close(
        run, model, start.spec, start.inputs, data, config, {"from_layer": config.from_layer, "scratch": config.scratch}
    )


def _moves(config: FinetuneConfig, model: Predictor, total: int, items: int) -> Steps:
    assert config.optimizer is not None
    return Steps.of(
        config,
        total=total,
        optimizer=config.optimizer,
        lr=config.lr or learning_rate(config.optimizer, min(config.batch_size, items)),
        special=layer_rules(model, config.layer_decay),
    )


def _settled(config: FinetuneConfig, start: Start, data: Data) -> FinetuneConfig:
    """Write out what follows from the data and the run."""
    from_layer = config.from_layer
    if from_layer is None:
        from_layer = 1 if data.share <= FEW and not config.scratch and start.head is not None else 0
    optimizer = config.optimizer or ("adamw" if config.scratch else "lars")
    return dataclasses.replace(config, from_layer=from_layer, optimizer=optimizer)


def _check(config: FinetuneConfig, start: Start, data: Data) -> None:
    """Refuse, before anything is written, what does not fit the run or the data."""
    if config.from_layer:
        fix = "take 0, or pretrain again: runs keep their head now"
        got = "a run that kept none"
        must = "0 where the run has no plain projection head"
        require(start.head is not None, start.name, "from-layer", must, got, fix, error=RunError)
        assert start.head is not None
        first_layers(start.head, config.from_layer)
    if config.pseudo_labels != "none":
        fits, fix = data.targets.task == "classes", "leave pseudo-labels out"
        require(fits, "finetune", "pseudo-labels", "none", config.pseudo_labels, fix, error=ConfigError)
    if config.freeze is not None:
        knows = isinstance(start.encoder, Encoder)
        must = "none for an encoder that does not know its stages"
        require(knows, "finetune", "freeze", must, config.freeze, error=ConfigError)


def _model(config: FinetuneConfig, start: Start, data: Data) -> Predictor:
    encoder = start.fresh(config.seed) if config.scratch else start.copy()
    neck = nn.Sequential()
    if config.from_layer:
        assert start.head is not None
        neck = first_layers(start.head, config.from_layer)
    model = Predictor(encoder, neck, data.targets.outputs)
    model.requires_grad_(True)
    if config.freeze is not None:
        assert isinstance(encoder, Encoder)
        freeze_stages(encoder, config.freeze)
    return model


def _objective(model: Predictor, config: FinetuneConfig, start: Start, data: Data) -> tuple[Objective, int]:
    """Return what is minimised, and in how many steps."""
    place = Device(config.accelerator, config.precision)
    source, values = labelled_source(data, start.inputs, config.threads)
    wanted = soft(data.targets, values)
    view = light(start.inputs, start.settings, config.view_options)
    labelled = loader(
        start.inputs, source, [view], batch_size=config.batch_size, seed=config.seed, threads=config.threads
    )
    if config.pseudo_labels == "none":
        objective = Supervised(
            model, place, labelled, wanted, task=data.targets.task, label_smoothing=config.label_smoothing,
            mixup=config.mixup, seed=config.seed,
        )  # fmt: skip
        return objective, count_steps(config, len(labelled))
    everything = _two_views(start, config, unlabelled_source(data, start.inputs, config.threads))
    fix_match = FixMatch(
        model, place, labelled, everything, wanted, label_smoothing=config.label_smoothing,
        threshold=config.threshold, weight=config.unlabelled_weight, align=config.align,
    )  # fmt: skip
    return fix_match, max(config.least_steps, config.unlabelled_epochs * len(everything))


def _two_views(start: Start, config: FinetuneConfig, source: Source) -> Loader:
    views = [light(start.inputs, start.settings, config.view_options), strong(start.inputs, start.settings)]
    return loader(
        start.inputs, source, views, batch_size=config.unlabelled_batch, seed=config.seed, threads=config.threads
    )
