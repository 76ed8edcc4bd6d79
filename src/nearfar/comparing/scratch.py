"""The baseline that knows no pretraining: encoder and classifier trained on labels alone, all of them and few."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.comparing.folder import read_json, write_json
from nearfar.comparing.parts import Parts
from nearfar.comparing.timing import epochs_within, trial
from nearfar.data import Source, take
from nearfar.encoders import EncoderSpec
from nearfar.evaluation import (
    KNN,
    Geometry,
    Labelled,
    Report,
    Result,
    Score,
    draw_labels,
    evaluate,
    knn_predict,
    wilson,
)
from nearfar.evaluation.knn import capped_k
from nearfar.modalities import Inputs
from nearfar.pipeline.data import limit_source
from nearfar.pipeline.features import features
from nearfar.pipeline.scratch import LR, Trained, train_from_scratch
from nearfar.pipeline.settings import PretrainConfig

__all__ = ["FEW_STEPS", "SENTENCE", "scratch_report"]

FEW_STEPS = 300
"""The most optimiser steps on few labels: ten images are learnt by heart in fewer."""

SENTENCE = (
    "from scratch: the same encoder with a linear classifier, trained by cross-entropy from random weights "
    f"on one view of each labelled item (AdamW, peak learning rate {LR:g}, cosine, batch and epochs of the others); "
    "'linear' is the accuracy of its own classifier, kNN is on its features; with few labels a new encoder is trained "
    f"on those of the first draw alone, for as many steps as on all, but at most {FEW_STEPS}"
)


def scratch_report(
    parts: Parts,
    config: PretrainConfig,
    folder: Path,
    *,
    seconds: float | None,
    memory: Callable[[], Mapping[str, Any]],
) -> dict[str, Any]:
    """Train and score every part that is not in the folder yet.

    Args:
        parts: the data.
        config: encoder, batch, views, epochs and seed.
        folder: where finished parts and the checkpoint are kept.
        seconds: the budget, in place of ``config.epochs``.
        memory: tells the peaks of this process.

    Returns:
        ``report``, ``dim`` and ``training`` (epochs, seconds, losses, peaks), as JSON has them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    spec = parts.inputs.build_encoder(config.encoder, config.encoder_options)[1]
    train = parts.inputs.keep(parts.train, threads=config.threads)
    whole = read_json(folder / "all.json")
    if whole is None:
        whole = _all(spec, parts, train, config, folder / "all.ckpt", seconds)
        whole["training"] |= memory()
        write_json(folder / "all.json", whole)
    scores = []
    for shots in parts.shots:
        path = folder / f"{shots}.json"
        few = read_json(path)
        if few is None:
            steps = min(FEW_STEPS, whole["training"]["epochs"] * (len(train) // config.batch_size))
            few = {"scores": _few(spec, parts, train, config, shots, steps)}
            write_json(path, few)
        scores += [Score(**score) for score in few["scores"]]
    report = Report.from_json(json.dumps(whole["report"]))
    *others, own = report.results
    results = (*others, own._replace(scores=(*own.scores, *scores)))
    complete = Report(report.subject, report.train, report.test, results)
    (folder / "all.ckpt").unlink(missing_ok=True)
    return {**whole, "report": json.loads(complete.to_json())}


def _all(
    spec: EncoderSpec, parts: Parts, train: Source, config: PretrainConfig, checkpoint: Path, seconds: float | None
) -> dict[str, Any]:
    epochs = config.epochs if seconds is None else _epochs(spec, parts.inputs, train, config, seconds)
    steps = epochs * (len(train) // config.batch_size)
    trained = train_from_scratch(spec, train, config, steps=steps, checkpoint=checkpoint, inputs=parts.inputs)
    learnt, scored = (_embedded(trained, part, name, config) for name, part in _named(parts))
    report = evaluate(learnt, scored, [KNN(), Geometry(seed=config.seed)], subject=trained.subject.name)
    settings = {"epochs": epochs, "few_steps": FEW_STEPS, "seed": config.seed}
    own = Result("scratch", SENTENCE, settings, (_accuracy("linear", trained, scored),))
    whole = Report(report.subject, report.train, report.test, (*report.results, own))
    training = {"epochs": epochs, "seconds": sum(trained.seconds), "losses": trained.losses}
    return {"report": json.loads(whole.to_json()), "dim": spec.dim, "training": training}


def _few(
    spec: EncoderSpec, parts: Parts, train: Source, config: PretrainConfig, shots: int, steps: int
) -> list[dict[str, Any]]:
    """Train on the items that few-shot evaluation with the same seed draws first, and score."""
    assert train.labels is not None
    few = take(train, draw_labels(train.labels, shots, draw=0, seed=config.seed))
    trained = train_from_scratch(spec, few, config, steps=steps, inputs=parts.inputs)
    learnt = _embedded(trained, few, f"{shots} per class", config)
    scored = _embedded(trained, parts.test, "test", config)
    x, y = learnt.known("from scratch")
    queries, truth = scored.known("from scratch")
    near = knn_predict(x, y, queries, k=capped_k(shots, y))
    knn = Score(f"knn, {shots} per class", float((near == truth).mean()), n=len(truth))
    return [knn._asdict(), _accuracy(f"linear, {shots} per class", trained, scored)._asdict()]


def _epochs(spec: EncoderSpec, inputs: Inputs, train: Source, config: PretrainConfig, seconds: float) -> int:
    """Return the epochs that fit into the budget, and one where none does: it costs less than one of any method."""
    rows, epochs = trial(len(train), config.batch_size)
    some = limit_source(train, rows, seed=0)
    timed = train_from_scratch(spec, some, config, steps=epochs * (rows // config.batch_size), inputs=inputs)
    return max(1, epochs_within(seconds, timed.seconds, items=len(train), batch_size=config.batch_size).epochs)


def _named(parts: Parts) -> tuple[tuple[str, Source], tuple[str, Source]]:
    return ("train", parts.train), ("test", parts.test)


def _embedded(trained: Trained, source: Source, split: str, config: PretrainConfig) -> Labelled:
    rows, vectors = features(
        trained.subject, source, threads=config.threads, accelerator=config.accelerator, description=f"scratch, {split}"
    )
    assert source.labels is not None
    return Labelled(vectors, source.labels[rows], split=split, view=trained.subject.view)


def _accuracy(name: str, trained: Trained, scored: Labelled) -> Score:
    x, truth = scored.known("from scratch")
    answers: NDArray[np.int64] = trained.predict(x)
    right = int((answers == truth).sum())
    low, high = wilson(right, len(truth))
    return Score(name, right / len(truth), low=low, high=high, n=len(truth))
