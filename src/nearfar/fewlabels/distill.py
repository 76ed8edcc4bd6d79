"""Distilling a teacher on unlabelled items: the verb as a function, and the same on data that is open already."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nearfar.data import Source
from nearfar.encoders import EncoderSpec, fingerprint, load_encoder
from nearfar.encoders.build import describe
from nearfar.errors import ConfigError, DataError, require
from nearfar.fewlabels.finish import Outcome, close, finished
from nearfar.fewlabels.folders import begin, data_name, opened, write_arrays
from nearfar.fewlabels.loop import Device, Steps, train
from nearfar.fewlabels.objectives import Distilled
from nearfar.fewlabels.parts import Data, open_data
from nearfar.fewlabels.predictor import Predictor, load_predictor, predict
from nearfar.fewlabels.prepare import kept, labelled_source, unlabelled_source
from nearfar.fewlabels.settings import DistillConfig, LabelChoice
from nearfar.fewlabels.start import pretrained, reading, view_settings
from nearfar.fewlabels.targets import Targets, soft
from nearfar.fewlabels.views import light, loader
from nearfar.modalities import CUSTOM, Inputs, inputs_of
from nearfar.pipeline.data import content_digest
from nearfar.pipeline.environment import check_same_data
from nearfar.progress import say
from nearfar.training.run import Run

__all__ = ["Teacher", "distill", "distill_on", "open_teacher"]

SAME = "same"
"""The student that is built like its teacher."""


@dataclasses.dataclass(frozen=True)
class Teacher:
    """A model that answers, as it was found.

    Attributes:
        name: for errors.
        model: in eval mode.
        spec: what builds its encoder.
        inputs: what is known about its items.
        targets: what its outputs stand for.
        settings: ``views`` and ``view_options`` that its encoder was pretrained with.
    """

    name: str
    model: Predictor
    spec: EncoderSpec
    inputs: Inputs
    targets: Targets
    settings: Mapping[str, Any]


def open_teacher(run: str | Path, module: nn.Module | None = None) -> Teacher:
    """Open a fine-tuned or distilled run.

    Raises:
        RunError: when it has no classifier, or is damaged.
    """
    model, spec, inputs, targets = load_predictor(run, module)
    return Teacher(str(run), model, spec, inputs, targets, view_settings(Path(run)))


def distill(
    teacher: str | Path,
    data: Any,
    *,
    out: str | Path,
    config: DistillConfig | None = None,
    choice: LabelChoice | None = None,
    resume: bool = False,
    overwrite: bool = False,
    module: nn.Module | None = None,
    **changes: Any,
) -> Outcome:
    """Train a student on the answers of a teacher to unlabelled items, and score it.

    Chen et al., "Big Self-Supervised Models are Strong Semi-Supervised Learners", NeurIPS 2020,
    https://arxiv.org/abs/2006.10029, eq. 2: teacher and student see the same crop, the teacher is in eval mode.

    Args:
        teacher: a run of `nearfar.finetune` or of `nearfar.distill`.
        data: as for `nearfar.pretrain`; labels are used for the scores, and, with ``labelled_weight``, in the loss.
        out: the run folder to make, with the files of `nearfar.finetune`.
        config: the settings; all defaults when absent.
        choice: which labels may be used where they count.
        resume: go on from the last checkpoint of ``out``, with the settings it was begun with.
        overwrite: delete the run in ``out`` first.
        module: a freshly built encoder of your own, for a teacher that has one.
        changes: single settings of both records, such as ``student="small"``.

    Returns:
        The run and its scores.

    Raises:
        ConfigError: on an unknown or wrong setting.
        DataError: when data or labels cannot be used, or have other classes than the teacher.
        RunError: when a folder cannot be used.
    """
    folder = Path(out)
    settings, labels, done = opened(
        "distill", folder, config or DistillConfig(), choice, changes, resume=resume, overwrite=overwrite
    )
    if done is not None:
        return finished(done)
    opened_teacher = open_teacher(teacher, module)
    labels = dataclasses.replace(labels, task=opened_teacher.targets.task)
    found = _open(data, labels, opened_teacher, needed=settings.labelled_weight > 0)
    facts = {"teacher": str(teacher), "data": data_name(data)}
    return distill_on(opened_teacher, found, folder, settings, labels, facts, resume=resume, overwrite=overwrite)


def distill_on(
    teacher: Teacher,
    data: Data,
    out: Path,
    config: DistillConfig,
    choice: LabelChoice,
    facts: Mapping[str, Any],
    *,
    resume: bool,
    overwrite: bool = False,
) -> Outcome:
    """Do what `distill` does, on a teacher and data that are open already."""
    data = _in_the_teachers_order(teacher, data)
    digest = content_digest(data.train)
    if resume:
        check_same_data(out / "environment.json", digest)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        encoder, spec = _student(config, teacher)
        config = _settled(config, teacher, spec)
        settings = {**facts, **pretrained(teacher.settings)}
        run = begin(out, "distill", settings, (choice, config), data=digest, resume=resume, overwrite=overwrite)
        model = Predictor(encoder, nn.Sequential(), teacher.targets.outputs)
        say(f"student: {describe(spec, encoder)}; teacher: {describe(teacher.spec, teacher.model.encoder)}")
        objective, total = _objective(run, model, teacher, data, config)
        assert config.lr is not None
        steps = Steps.of(config, total=total, optimizer=config.optimizer, lr=config.lr)
        train(objective, steps, run, run.checkpoint, "distill")
    extra = {"teacher": teacher.name, "temperature": config.temperature, "student": config.student}
    return close(run, model, spec, teacher.inputs, data, config, extra)


def _open(data: Any, choice: LabelChoice, teacher: Teacher, *, needed: bool) -> Data:
    found = open_data(data, choice, *reading(teacher.inputs, choice), needed=needed)
    return found if needed else dataclasses.replace(found, rows=np.empty(0, np.int64))


def _in_the_teachers_order(teacher: Teacher, data: Data) -> Data:
    """Return the data with its classes numbered as the teacher numbers them.

    Raises:
        DataError: when the data has a class that the teacher does not know.
    """
    known, own = teacher.targets, data.targets
    if known.task == "regression":
        fits = own.outputs in (0, known.outputs)
        require(fits, teacher.name, "teacher", f"of {own.outputs} numbers", known.outputs, error=DataError)
        return dataclasses.replace(data, targets=known)
    place = {name: number for number, name in enumerate(known.names)}
    strange = sorted(_occurring(data) - place.keys())
    fix = "give a teacher that was fine-tuned on these classes"
    got = f"one of {', '.join(known.names[:8])}"
    must = f"one that knows all classes of the data, {', '.join(map(repr, strange[:3]))} among them"
    require(not strange, teacher.name, "teacher", must, got, fix, error=DataError)
    if known.names == own.names or not own.names:
        return dataclasses.replace(data, targets=known)
    table = np.array([place.get(name, -1) for name in own.names] + [-1], dtype=np.int64)

    def moved(values: Any) -> Any:
        if values is None or values.ndim == 1:
            return None if values is None else table[values]
        wide = np.zeros((len(values), known.outputs), np.float32)
        wide[:, table[:-1][table[:-1] >= 0]] = values[:, table[:-1] >= 0]
        wide[np.isnan(values).any(axis=1)] = np.nan
        return wide

    return dataclasses.replace(data, targets=known, values=moved(data.values), test_values=moved(data.test_values))


def _occurring(data: Data) -> set[str]:
    """Return the names of the classes that any item has."""
    names = data.targets.names
    found: set[str] = set()
    for values in (data.values, data.test_values):
        if values is not None and values.ndim == 1:
            found |= {names[int(number)] for number in np.unique(values[values >= 0])}
        elif values is not None:
            found |= {names[int(number)] for number in np.flatnonzero(np.nan_to_num(values).sum(axis=0))}
    return found


def _student(config: DistillConfig, teacher: Teacher) -> tuple[nn.Module, EncoderSpec]:
    """Return the student's encoder, which sees what the teacher sees.

    Raises:
        ConfigError: when it cannot.
    """
    spec = teacher.spec
    if Path(config.student).is_dir():
        encoder, own = load_encoder(config.student)
        same = inputs_of(own, config.student).to_json() == teacher.inputs.to_json()
        must, got = "one that reads what the teacher reads", "another size, normalisation or kind of items"
        require(same, "distill", f"student {config.student}", must, got, error=ConfigError)
        return encoder.requires_grad_(True), own
    like = config.student == SAME
    named, fix = not (like and spec.name == CUSTOM), "name one, such as --student small"
    require(named, "distill", "student", "an encoder by name: the teacher's is your own", config.student, fix,
            error=ConfigError)  # fmt: skip
    options = {**spec.options, **config.student_options} if like else config.student_options
    return teacher.inputs.build_encoder(spec.name if like else config.student, options)


def _settled(config: DistillConfig, teacher: Teacher, spec: EncoderSpec) -> DistillConfig:
    """Write out what follows from teacher and student."""
    alike = (spec.name, dict(spec.options)) == (teacher.spec.name, dict(teacher.spec.options))
    size = config.batch_size
    usual = {"lars": 0.1 * math.sqrt(size), "sgd": 0.05 * size / 256, "adamw": 2e-3}[config.optimizer]
    return dataclasses.replace(config, temperature=config.temperature or (0.1 if alike else 1.0), lr=config.lr or usual)


def _objective(
    run: Run, model: Predictor, teacher: Teacher, data: Data, config: DistillConfig
) -> tuple[Distilled, int]:
    """Return what is minimised, and in how many steps."""
    place = Device(config.accelerator, config.precision)
    source = unlabelled_source(data, teacher.inputs, config.threads, config.limit, config.seed)
    fixed = config.views == "fixed"
    crop = light(teacher.inputs, teacher.settings, config.view_options)
    view = teacher.inputs.evaluation_view() if fixed else crop
    everything = loader(
        teacher.inputs, source, [view], batch_size=config.batch_size, seed=config.seed, threads=config.threads
    )
    answers = _kept_answers(run, teacher, source, config) if fixed else copy.deepcopy(teacher.model)
    labelled = None
    if config.labelled_weight > 0:
        kept(run, data)
        items, values = labelled_source(data, teacher.inputs, config.threads)
        known = loader(
            teacher.inputs, items, [crop], batch_size=config.batch_size, seed=config.seed, threads=config.threads
        )
        labelled = known, soft(data.targets, values)
    assert config.temperature is not None
    objective = Distilled(
        model, place, everything, answers, temperature=config.temperature, task=data.targets.task, labelled=labelled,
        weight=config.labelled_weight,
    )  # fmt: skip
    return objective, config.epochs * len(everything)


def _kept_answers(run: Run, teacher: Teacher, source: Source, config: DistillConfig) -> Tensor:
    """Return the teacher's outputs (N, C) on the view that is scored, from disk where they are there."""
    path, mark = run.path / "teacher-logits.npz", fingerprint(teacher.model)
    ids = np.array(source.ids, dtype=np.str_)
    try:
        with np.load(path, allow_pickle=False) as found:
            if str(found["teacher"]) == mark and np.array_equal(found["ids"], ids):
                return torch.from_numpy(found["outputs"])
    except (OSError, ValueError, KeyError):
        pass
    rows, outputs, _ = predict(
        teacher.model, teacher.inputs, source, threads=config.threads, accelerator=config.accelerator,
        description="teacher",
    )  # fmt: skip
    whole = np.zeros((len(source), outputs.shape[1]), np.float32)
    whole[rows] = outputs
    write_arrays(path, ids=ids, outputs=whole, teacher=np.array(mark))
    return torch.from_numpy(whole)
