"""The end of a fine-tuning or a distillation: weights, predictions and scores are written, the encoder last."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nearfar.encoders import EncoderSpec
from nearfar.evaluation import Score
from nearfar.fewlabels.folders import read_scores, write_arrays
from nearfar.fewlabels.parts import Data
from nearfar.fewlabels.predictor import Predictor, predict, save_classifier
from nearfar.fewlabels.prepare import ready
from nearfar.fewlabels.scores import SENTENCE, score
from nearfar.files import write_atomic
from nearfar.modalities import Inputs
from nearfar.pipeline.inputs import save_with_inputs
from nearfar.progress import say
from nearfar.training.run import Run

__all__ = ["Outcome", "close", "finished"]


class Outcome(NamedTuple):
    """What a fine-tuning or a distillation leaves.

    Attributes:
        path: the run folder.
        scores: on the test items; empty where nothing was scored.
        labels: how many labels of each class were used.
    """

    path: Path
    scores: list[Score]
    labels: dict[str, int]

    def __getitem__(self, key: Any) -> Any:
        """Return a score by its name, such as ``"top-1"``; a number is a place, as in every tuple."""
        if isinstance(key, str):
            return next(one for one in self.scores if one.name == key)
        return tuple(self)[key]

    def text(self) -> str:
        """Return the scores, one a line."""
        lines = []
        for one in self.scores:
            ends = "" if one.low is None or one.high is None else f"  95 % interval {one.low:.4f} to {one.high:.4f}"
            lines.append(f"{one.name:32} {one.value:.4f}{ends}  ({one.n:,} items)")
        return "\n".join(lines or ["nothing was scored: no test items, or none with labels"])


def close(
    run: Run,
    model: Predictor,
    spec: EncoderSpec,
    inputs: Inputs,
    data: Data,
    config: Any,
    extra: Mapping[str, Any],
) -> Outcome:
    """Score a model, and write everything that makes a run finished."""
    scores: list[Score] = []
    model = model.cpu().eval()
    if data.test is not None:
        test = ready(data.test, inputs, config.threads, whole=True)
        rows, outputs, _ = predict(
            model, inputs, test, threads=config.threads, accelerator=config.accelerator, description="score"
        )
        ids = [test.ids[int(row)] for row in rows]
        place = {text: row for row, text in enumerate(data.test.ids)}
        at = np.array([place[text] for text in ids])
        arrays = {"ids": np.array(ids, dtype=np.str_), "outputs": outputs}
        if data.test_values is not None:
            wanted = data.test_values[at]
            arrays["wanted"] = wanted
            scores = score(data.targets, outputs, wanted)
        write_arrays(run.path / "predictions.npz", **arrays)
    card = {
        "task": data.targets.task,
        "labels": data.per_class(),
        "sentence": SENTENCE,
        "scores": [one._asdict() for one in scores],
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    write_atomic(run.path / "scores.json", json.dumps(card, indent=2, ensure_ascii=False))
    save_classifier(run.path, model, data.targets)
    save_with_inputs(run.path, model.encoder, spec, inputs, {"method": run.config()["method"], **extra})
    say(f"done: {run.path}")
    return Outcome(run.path, scores, data.per_class())


def finished(run: Run) -> Outcome:
    """Return what a finished run has left."""
    card = read_scores(run.path) or {"scores": [], "labels": {}}
    return Outcome(run.path, [Score(**one) for one in card["scores"]], dict(card["labels"]))
