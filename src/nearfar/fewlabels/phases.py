"""Doing what is not done yet of one number of labels: both phases, further students, and the baselines."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.config import from_mapping
from nearfar.fewlabels.baselines import BASELINES
from nearfar.fewlabels.distill import distill_on, open_teacher
from nearfar.fewlabels.finetune import finetune_on
from nearfar.fewlabels.folders import write_arrays
from nearfar.fewlabels.parts import Data
from nearfar.fewlabels.project import Amount, Project
from nearfar.fewlabels.scores import SENTENCE, score
from nearfar.fewlabels.settings import DistillConfig, FinetuneConfig, SemiConfig
from nearfar.fewlabels.start import Start
from nearfar.files import write_atomic
from nearfar.pipeline.features import Subject, features
from nearfar.progress import say
from nearfar.training.run import Run

__all__ = ["Phases", "phase_names"]

ENCODER_ALONE = ("from_layer", "freeze", "layer_decay", "optimizer", "lr", "pseudo_labels", "scratch")
"""Settings of fine-tuning that training from scratch does not take over: they suit pretrained weights."""


def phase_names(settings: SemiConfig, task: str) -> dict[str, str]:
    """Return what is in the table, in its order, and the folder of each."""
    names = {"fine-tuned": "finetuned", "distilled": "distilled"}
    if settings.student is not None:
        names["student"] = "student"
    names["from scratch"] = "scratch"
    names |= {name: name.replace(" ", "-") for name in BASELINES if task == "classes" or name != "label propagation"}
    pseudo = [name for name in settings.pseudo_labels if name != "none" and task == "classes"]
    return names | {name: name for name in pseudo}


class Phases:
    """What is done for one number of labels, in an order in which each phase finds what it needs.

    Args:
        project: where everything stands.
        start: the pretrained encoder.
        settings: of all phases.
    """

    def __init__(self, project: Project, start: Start, settings: SemiConfig) -> None:
        self.project, self.start, self.settings = project, start, settings
        self._features: dict[str, NDArray[np.float32]] | None = None

    def do(self, amount: Amount, data: Data) -> None:
        """Do all that is missing."""
        say(f"{amount.name}, draw {amount.choice.draw}: {len(data.rows)} labels of {len(data.train):,} items")
        names = phase_names(self.settings, data.targets.task)
        work: dict[str, Callable[[Path], object]] = {
            "fine-tuned": lambda out: self._finetune(amount, data, out, self.settings.finetune),
            "distilled": lambda out: self._distill(amount, data, out, "finetuned", self.settings.distill),
            "student": lambda out: self._distill(amount, data, out, "distilled", self._student()),
            "from scratch": lambda out: self._finetune(amount, data, out, self._scratch()),
            **{name: self._on_features(name, data) for name in BASELINES},
        }
        for name, folder in names.items():
            out = self.project.phase(amount, folder)
            if (out / ("scores.json" if name in BASELINES else "encoder.json")).is_file():
                continue
            say(f"{amount.name}, draw {amount.choice.draw}: {name}")
            if name in work:
                work[name](out)
            else:
                self._finetune(amount, data, out, {**self.settings.finetune, "pseudo_labels": name})

    def _finetune(self, amount: Amount, data: Data, out: Path, given: Mapping[str, Any]) -> None:
        config = from_mapping(FinetuneConfig, {**self._shared(), **given}, "finetune")
        facts = {"run": self.start.name, "data": "see semi.yaml"}
        resume = _begun(out)
        finetune_on(self.start, data, out, config, amount.choice, facts, resume=resume)

    def _distill(self, amount: Amount, data: Data, out: Path, teacher: str, given: Mapping[str, Any]) -> None:
        config = from_mapping(DistillConfig, {**self._shared(), **given}, "distill")
        opened = open_teacher(self.project.phase(amount, teacher))
        facts = {"teacher": teacher, "data": "see semi.yaml"}
        used = data if config.labelled_weight > 0 else dataclasses.replace(data, rows=np.empty(0, np.int64))
        distill_on(opened, used, out, config, amount.choice, facts, resume=_begun(out))

    def _shared(self) -> dict[str, Any]:
        names = ("accelerator", "precision", "threads", "seed")
        return {name: getattr(self.settings, name) for name in names}

    def _student(self) -> dict[str, Any]:
        own = {"student": self.settings.student, "student_options": self.settings.student_options}
        return {**self.settings.distill, **own}

    def _scratch(self) -> dict[str, Any]:
        kept = {name: value for name, value in self.settings.finetune.items() if name not in ENCODER_ALONE}
        return {**kept, "scratch": True}

    def _on_features(self, name: str, data: Data) -> Callable[[Path], None]:
        """Return what scores a baseline on the frozen features of the pretrained encoder."""

        def do(out: Path) -> None:
            found = self._embedded(data)
            out.mkdir(parents=True, exist_ok=True)
            outputs = BASELINES[name](data, found["train"], found["test"])
            assert data.test is not None
            arrays: dict[str, Any] = {"ids": np.array(data.test.ids, dtype=np.str_), "outputs": outputs}
            scores = []
            if data.test_values is not None:
                arrays["wanted"] = data.test_values
                scores = [one._asdict() for one in score(data.targets, outputs, data.test_values)]
            write_arrays(out / "predictions.npz", **arrays)
            card = {"task": data.targets.task, "labels": data.per_class(), "sentence": SENTENCE, "scores": scores}
            write_atomic(out / "scores.json", json.dumps(card, indent=2, ensure_ascii=False))

        return do

    def _embedded(self, data: Data) -> dict[str, NDArray[np.float32]]:
        """Return the features of all training and test items, which all numbers of labels share."""
        if self._features is None:
            subject = Subject("pretrained", self.start.copy(), self.start.spec, "", self.start.inputs)
            assert data.test is not None
            self._features = {
                name: features(
                    subject, part, threads=self.settings.threads, accelerator=self.settings.accelerator,
                    description=f"features, {name}",
                )[1]
                for name, part in (("train", data.train), ("test", data.test))
            }  # fmt: skip
        return self._features


def _begun(out: Path) -> bool:
    """Whether a phase was begun; one that is there but has no settings yet begins anew."""
    return (out / "config.yaml").is_file() and not Run(out).finished
