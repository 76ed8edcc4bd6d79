"""Small data sets: everything done anew in each of several splits, beside what needs no encoder.

In each split the training rows alone are looked at: scaling, pretraining, choice of C. A split where scaling or
pretraining had seen the test rows would flatter every number on sixty patients.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from nearfar.data import Source, groups_of, hold_out_rows, take
from nearfar.errors import DataError, require
from nearfar.evaluation import CLASSIFIERS, Repeated, balanced_accuracy, classify, draw_labels, interval, macro_auc
from nearfar.pipeline.features import Subject, features, open_subject, raw, untrained
from nearfar.pipeline.pretrain import pretrain
from nearfar.pipeline.scratch import train_from_scratch
from nearfar.pipeline.settings import PretrainConfig
from nearfar.progress import say

__all__ = ["SCRATCH_STEPS", "Repeats", "repeat_splits"]

SCRATCH_STEPS = 300
"""Optimiser steps of the encoder that is trained on labels alone."""


class Repeats(NamedTuple):
    """What the splits gave.

    Attributes:
        numbers: row's name to labels per class (0 for all) to ``(roc_auc, balanced_accuracy)`` over the splits.
        seconds: of pretraining, a mean over the splits.
        sentence: the protocol in words.
    """

    numbers: dict[str, dict[int, tuple[Repeated, Repeated]]]
    seconds: float
    sentence: str


def repeat_splits(
    source: Source,
    config: PretrainConfig,
    *,
    repeats: int = 5,
    share: float = 0.3,
    shots: Sequence[int] = (0,),
    seed: int = 0,
) -> Repeats:
    """Score pretraining, and what it has to beat, over repeated splits.

    The rows are ``raw`` features under each of `nearfar.evaluation.CLASSIFIERS`, logistic regression on an untrained
    and on the pretrained encoder, and the encoder trained on the same labels alone.

    Args:
        source: labelled items; those of a group stay on one side.
        config: how to pretrain; the batch is cut to the number of training rows.
        repeats: how many splits.
        share: what part is held out.
        shots: labels per class that are learnt from, 0 for all; pretraining sees all training rows without labels.
        seed: split r is drawn, and pretrained, by ``seed + r``.

    Raises:
        DataError: when there are no labels.
    """
    require(source.labels is not None, "repeats", "labels", "given", "none", error=DataError)
    assert source.labels is not None
    labelled = take(source, np.flatnonzero(source.labels >= 0))
    assert labelled.labels is not None
    found: dict[str, dict[int, list[tuple[float, float]]]] = {}
    seconds = []
    for repeat in range(repeats):
        say(f"split {repeat + 1} of {repeats}")
        groups = groups_of(labelled)
        kept, held = hold_out_rows(labelled.labels, len(labelled), share=share, seed=seed + repeat, groups=groups)
        train, test = take(labelled, kept), take(labelled, held)
        own = dataclasses.replace(config, seed=seed + repeat, batch_size=min(config.batch_size, len(train)))
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            run = pretrain(train, out=Path(folder) / "run", config=own)
            seconds.append(time.perf_counter() - began)
            subject = open_subject(run.path)
        for name, numbers in _one(subject, train, test, own, shots).items():
            for n, pair in numbers.items():
                found.setdefault(name, {}).setdefault(n, []).append(pair)
    over = {
        name: {n: (interval([a for a, _ in pairs], test_share=share), interval([b for _, b in pairs], test_share=share))
               for n, pairs in per.items()}
        for name, per in found.items()
    }  # fmt: skip
    return Repeats(over, float(np.mean(seconds)), _sentence(config, repeats, share, labelled))


def _sentence(config: PretrainConfig, repeats: int, share: float, source: Source) -> str:
    together = "whole groups, evenly over the classes" if groups_of(source) is not None else "evenly over the classes"
    return (
        f"mean ± sd over {repeats} random splits with {share:.0%} held out ({together}); scaling, pretraining "
        f"({config.method}, views {config.views}, {config.epochs} epochs, no labels), and the choice of C see the "
        "training part alone; encoders are scored by logistic regression on frozen embeddings; from scratch: the same "
        f"encoder and a linear classifier by cross-entropy, {SCRATCH_STEPS} steps, last step"
    )


def _one(
    subject: Subject, train: Source, test: Source, config: PretrainConfig, shots: Sequence[int]
) -> dict[str, dict[int, tuple[float, float]]]:
    """Return all numbers of one split."""
    assert train.labels is not None
    assert test.labels is not None
    inputs = subject.inputs
    subjects = {
        "raw": raw(inputs),
        "untrained encoder": untrained(subject.spec, seed=config.seed, inputs=inputs),
        "pretrained encoder": subject,
    }
    sets = {
        name: tuple(features(one, part, description=name)[1] for part in (train, test))
        for name, one in subjects.items()
    }
    found: dict[str, dict[int, tuple[float, float]]] = {}
    for n in shots:
        rows = np.arange(len(train)) if n == 0 else draw_labels(train.labels, n, draw=0, seed=config.seed)
        labels = train.labels[rows]
        for name, classifier in CLASSIFIERS.items():
            learnt, asked = sets["raw"]
            pair = classify(learnt[rows], labels, asked, test.labels, classifier=classifier, seed=config.seed)
            found.setdefault(f"{inputs.raw_name}: {name}", {})[n] = pair
        for name in ("untrained encoder", "pretrained encoder"):
            learnt, asked = sets[name]
            found.setdefault(name, {})[n] = classify(learnt[rows], labels, asked, test.labels, seed=config.seed)
        found.setdefault("from scratch", {})[n] = _scratch(subject, take(train, rows), test, config)
    return found


def _scratch(subject: Subject, train: Source, test: Source, config: PretrainConfig) -> tuple[float, float]:
    trained = train_from_scratch(subject.spec, train, config, steps=SCRATCH_STEPS, inputs=subject.inputs)
    vectors = features(trained.subject, test, description="from scratch")[1]
    with torch.inference_mode():
        logits = trained.classifier(torch.from_numpy(vectors)).double().softmax(dim=1).numpy()
    assert test.labels is not None
    truth: NDArray[np.int64] = test.labels
    known = truth < logits.shape[1]
    return macro_auc(truth[known], logits[known]), balanced_accuracy(truth[known], logits[known].argmax(axis=1))
