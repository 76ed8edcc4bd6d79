"""The settings of fine-tuning and of distillation: frozen records, from which flags, YAML and Python derive."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any, Literal

from nearfar.errors import ConfigError, require

__all__ = [
    "DistillConfig",
    "FinetuneConfig",
    "LabelChoice",
    "Optimizer",
    "Precision",
    "PseudoLabels",
    "SemiConfig",
    "Task",
]

Task = Literal["classes", "multilabel", "regression"]
PseudoLabels = Literal["none", "fixmatch", "self-training"]
Optimizer = Literal["lars", "sgd", "adamw"]
Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelChoice:
    """Which labels may be learnt from, and what is scored.

    Attributes:
        labels: a CSV or TSV file with the columns id and label: only these are known. Several labels of an item are
            parted by |.
        test_labels: the same for the items that are scored, where the data has no labels of its own.
        fraction: that share of every class, at least one item each.
        per_class: that many items of every class.
        task: classes, multilabel (any number of classes an item) or regression (a number an item, or several by |).
        train_split: the split to learn from. By default train, else everything that is not held out.
        test_split: the split to score. By default test or val, else a fifth is held out; none scores nothing.
        draw: the number of the draw: another one draws other items.
        draw_seed: of the draws, and of what is held out.
        input_options: how the data are read, where they differ from the run's: another name of the label column.
    """

    labels: str | None = None
    test_labels: str | None = None
    fraction: float | None = None
    per_class: int | None = None
    task: Task = "classes"
    train_split: str | None = None
    test_split: str | None = None
    draw: int = 0
    draw_seed: int = 0
    input_options: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        _convert(self, "labels")
        one = self.fraction is None or self.per_class is None
        require(one, "labels", "fraction and per-class", "given one at a time", "both", error=ConfigError)
        if self.fraction is not None:
            require(0 < self.fraction <= 1, "labels", "fraction", "in (0, 1]", self.fraction, error=ConfigError)
        _at_least(self, "labels", {"per_class": 1, "draw": 0, "draw_seed": 0})
        drawn = self.fraction is not None or self.per_class is not None
        fits = not drawn or self.task == "classes"
        fix = "give a CSV with the labels to use"
        require(fits, "labels", "fraction and per-class", "given for classes alone", self.task, fix, error=ConfigError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Everything that decides what a fine-tuning does.

    Attributes:
        from_layer: how many layers of the projection head are kept below the classifier. By default 1 for at most 10 %
            of the labels, 0 for more, as in SimCLRv2.
        scratch: train the same encoder from random weights instead: the baseline. It takes AdamW by default.
        freeze: hold the stem and that many stages of the encoder fast.
        layer_decay: factor on the learning rate from one stage to the one below it.
        epochs: passes over the labelled items.
        least_steps: optimiser steps at the least, however few labels there are.
        batch_size: labelled items a step; at most as many as there are.
        optimizer: lars, sgd (Nesterov) or adamw.
        lr: the peak learning rate. By default 0.005 sqrt(batch) for lars, 0.05 batch / 256 for sgd, 0.001 for adamw.
        momentum: of lars and sgd.
        weight_decay: of weights; SimCLR and SimCLRv2 fine-tune without.
        warmup: share of the steps with a linear warm-up; the papers have none.
        label_smoothing: share of a label that is spread over all classes.
        mixup: alpha of mixup's Beta distribution; 0 is none.
        clip: the largest norm of the gradient.
        view_options: settings of the view: by default the crop and the mirror of the run's views and nothing else.
        pseudo_labels: learn from the unlabelled items as well: fixmatch, or self-training.
        unlabelled_batch: unlabelled items a step of fixmatch, each seen twice.
        unlabelled_epochs: passes over the unlabelled items, where pseudo-labels are learnt from.
        threshold: the least confidence of a pseudo-label.
        unlabelled_weight: of the loss on pseudo-labels.
        align: let the pseudo-labels have the frequencies of the labels (distribution alignment).
        rounds: of self-training: label the rest, train again from the run's weights.
        precision: auto takes bf16 where the device computes in it.
        accelerator: auto takes CUDA where there is any.
        threads: threads that read items and make views; they change no number.
        seed: of order, views and fresh weights.
        log_every: optimiser steps between two rows of metrics.
        checkpoint_seconds: the longest time between two checkpoints.
    """

    from_layer: int | None = None
    scratch: bool = False
    freeze: int | None = None
    layer_decay: float = 1.0
    epochs: int = 60
    least_steps: int = 200
    batch_size: int = 256
    optimizer: Optimizer | None = None
    lr: float | None = None
    momentum: float = 0.9
    weight_decay: float = 0.0
    warmup: float = 0.0
    label_smoothing: float = 0.0
    mixup: float = 0.0
    clip: float | None = None
    view_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    pseudo_labels: PseudoLabels = "none"
    unlabelled_batch: int = 192
    unlabelled_epochs: int = 10
    threshold: float = 0.95
    unlabelled_weight: float = 1.0
    align: bool = True
    rounds: int = 1
    precision: Precision = "auto"
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    threads: int | None = None
    seed: int = 0
    log_every: int = 10
    checkpoint_seconds: float = 60.0

    def __post_init__(self) -> None:
        who = "finetune"
        _convert(self, who)
        _at_least(
            self, who, {"from_layer": 0, "freeze": 0, "rounds": 1, "unlabelled_weight": 0, "unlabelled_epochs": 1}
        )
        _at_least(self, who, {"unlabelled_batch": 2})
        _check_training(self, who)
        for name in ("label_smoothing", "threshold"):
            value = getattr(self, name)
            require(0 <= value < 1, who, name, "in [0, 1)", value, error=ConfigError)
        require(0 < self.layer_decay <= 1, who, "layer_decay", "in (0, 1]", self.layer_decay, error=ConfigError)
        require(self.mixup >= 0, who, "mixup", ">= 0", self.mixup, error=ConfigError)
        alone = not (self.scratch and self.from_layer)
        require(alone, who, "from-layer", "0 with scratch", self.from_layer, "leave it out", error=ConfigError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """Everything that decides what a distillation does.

    Attributes:
        student: same for the teacher's encoder with fresh weights, small, any timm model, or a run folder whose
            encoder the student begins from.
        student_options: settings of the student's encoder, such as --student-options.width 16.
        temperature: tau of both distributions. By default 0.1 for a student like its teacher, 1 for another one.
        labelled_weight: share of the loss that is cross-entropy on labels, in [0, 1); the paper has none.
        views: crop gives both the same random crop; fixed gives both the view that is scored, and keeps the teacher's
            answers on disk.
        view_options: settings of the crop, as in finetune.
        epochs: passes over the unlabelled items.
        batch_size: items a step.
        optimizer: lars, sgd or adamw.
        lr: the peak learning rate. By default 0.1 sqrt(batch) for lars, 0.05 batch / 256 for sgd, 0.002 for adamw.
        momentum: of lars and sgd.
        weight_decay: of weights; biases and norms have none.
        warmup: share of the steps with a linear warm-up.
        clip: the largest norm of the gradient.
        limit: distil on that many items only, drawn by the seed.
        precision: auto takes bf16 where the device computes in it.
        accelerator: auto takes CUDA where there is any.
        threads: threads that read items and make views; they change no number.
        seed: of order, views and fresh weights.
        log_every: optimiser steps between two rows of metrics.
        checkpoint_seconds: the longest time between two checkpoints.
    """

    student: str = "same"
    student_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    temperature: float | None = None
    labelled_weight: float = 0.0
    views: Literal["crop", "fixed"] = "crop"
    view_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    epochs: int = 50
    batch_size: int = 256
    optimizer: Optimizer = "adamw"
    lr: float | None = None
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warmup: float = 0.05
    clip: float | None = None
    limit: int | None = None
    precision: Precision = "auto"
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    threads: int | None = None
    seed: int = 0
    log_every: int = 10
    checkpoint_seconds: float = 60.0

    def __post_init__(self) -> None:
        who = "distill"
        _convert(self, who)
        _at_least(self, who, {"limit": 2})
        _check_training(self, who)
        warm = self.temperature is None or self.temperature > 0
        require(warm, who, "temperature", "> 0", self.temperature, error=ConfigError)
        weight = self.labelled_weight
        require(0 <= weight < 1, who, "labelled_weight", "in [0, 1)", weight, error=ConfigError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SemiConfig:
    """Everything that decides what the three phases do.

    Attributes:
        run: a finished pretraining run, in place of the first phase.
        recipe: the settings of the first phase by name. By default SimCLR with the head of three layers of SimCLRv2.
        pretrain: settings of the first phase, such as --pretrain.epochs 20.
        finetune: settings of the second, such as --finetune.from-layer 1.
        distill: settings of the third, such as --distill.epochs 20.
        student: a further student, learnt from the distilled one: small, or any timm model; none when absent.
        student_options: settings of its encoder, such as --student-options.width 16.
        pseudo_labels: baselines that learn from their own answers; none for neither.
        sweep: labels per class to do all with, such as --sweep 1 2 5 10 50 100.
        draws: how often labels are drawn; more than one gives intervals over draws.
        modality: what the data are; auto looks.
        accelerator: auto takes CUDA where there is any.
        precision: auto takes bf16 where the device computes in it.
        threads: threads that read items and make views; they change no number.
        seed: of weights, order and views in all phases.
    """

    run: str | None = None
    recipe: str | None = None
    pretrain: dict[str, Any] = dataclasses.field(default_factory=dict)
    finetune: dict[str, Any] = dataclasses.field(default_factory=dict)
    distill: dict[str, Any] = dataclasses.field(default_factory=dict)
    student: str | None = None
    student_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    pseudo_labels: tuple[PseudoLabels, ...] = ("fixmatch", "self-training")
    sweep: tuple[int, ...] = ()
    draws: int = 1
    modality: str = "auto"
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    precision: Precision = "auto"
    threads: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        who = "semi"
        _convert(self, who)
        for name in ("pretrain", "finetune", "distill", "student_options"):  # --finetune.least-steps 20
            values = {key.replace("-", "_"): value for key, value in getattr(self, name).items()}
            object.__setattr__(self, name, values)
        _at_least(self, who, {"draws": 1, "threads": 1, "seed": 0})
        rising = all(number >= 1 for number in self.sweep) and len(set(self.sweep)) == len(self.sweep)
        require(rising, who, "sweep", "different numbers >= 1", self.sweep, error=ConfigError)
        alone = self.run is None or not (self.recipe or self.pretrain)
        fix = "leave run out, or recipe and pretrain"
        require(alone, who, "run", "given without settings of a pretraining", "both", fix, error=ConfigError)


def _check_training(config: FinetuneConfig | DistillConfig, who: str) -> None:
    least = {"epochs": 1, "least_steps": 1, "threads": 1, "seed": 0, "log_every": 1}
    least |= {"weight_decay": 0, "checkpoint_seconds": 0, "batch_size": 2}
    _at_least(config, who, {name: value for name, value in least.items() if hasattr(config, name)})
    for name in ("lr", "clip"):
        value = getattr(config, name)
        require(value is None or value > 0, who, name, "> 0", value, error=ConfigError)
    require(0 <= config.momentum < 1, who, "momentum", "in [0, 1)", config.momentum, error=ConfigError)
    require(0 <= config.warmup < 1, who, "warmup", "in [0, 1)", config.warmup, error=ConfigError)


def _at_least(config: Any, who: str, least: dict[str, int]) -> None:
    for name, smallest in least.items():
        value = getattr(config, name)
        require(value is None or value >= smallest, who, name, f">= {smallest}", value, error=ConfigError)


def _convert(config: Any, who: str) -> None:
    """Convert what is no default to its field's type."""
    given = [field for field in dataclasses.fields(config) if getattr(config, field.name) != _default(field)]
    if not given:
        return
    from nearfar.config import check  # loads pydantic, which the defaults, and so every --help, do without

    hints = typing.get_type_hints(type(config))
    for field in given:
        object.__setattr__(config, field.name, check(who, field.name, hints[field.name], getattr(config, field.name)))


def _default(field: dataclasses.Field[Any]) -> Any:
    made = field.default_factory
    return field.default if made is dataclasses.MISSING else made()
