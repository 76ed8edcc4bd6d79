"""Self-training: a model labels what it is sure of, and the next one learns from those answers as from labels.

Lee, "Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep Neural Networks", ICML workshop
2013; here in rounds, each from the run's weights again, as in Xie et al., "Self-training with Noisy Student", CVPR
2020, https://arxiv.org/abs/1911.04252, without its noise.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.data import Source, take
from nearfar.errors import DataError
from nearfar.fewlabels.label_files import read_labels, write_labels
from nearfar.fewlabels.loop import Device, Steps, train
from nearfar.fewlabels.objectives import Supervised
from nearfar.fewlabels.parts import Data
from nearfar.fewlabels.predictor import Predictor, predict
from nearfar.fewlabels.prepare import labelled_source, unlabelled_source
from nearfar.fewlabels.scores import probabilities
from nearfar.fewlabels.settings import FinetuneConfig
from nearfar.fewlabels.start import Start
from nearfar.fewlabels.steps import count_steps
from nearfar.fewlabels.targets import soft
from nearfar.fewlabels.views import light, loader
from nearfar.losses import align_distribution
from nearfar.progress import say
from nearfar.training.run import Run

__all__ = ["confident", "self_train"]


def self_train(
    run: Run,
    config: FinetuneConfig,
    start: Start,
    data: Data,
    make: Callable[[], Predictor],
    moves: Callable[[Predictor, int, int], Steps],
) -> Predictor:
    """Train on labels, then ``config.rounds`` times on labels and confident answers, each time from the start.

    A round that is over takes no step when it is gone through again: its checkpoint stands at its end.

    Args:
        run: where checkpoints and pseudo-labels stand.
        config: the settings.
        start: what the encoder is from.
        data: items and labels.
        make: builds the model that a round begins with.
        moves: from a model, a number of steps and of items to how its weights move.
    """
    whole = unlabelled_source(data, start.inputs, config.threads)
    source, values = labelled_source(data, start.inputs, config.threads)
    wanted, first = soft(data.targets, values), 0
    model = make()
    for number in range(config.rounds + 1):
        if number:
            answers = _answers(run, number, config, start, data, model, whole)
            source, wanted = _with_answers(answers, whole, data)
            model = make()
        torch.manual_seed(config.seed + number)
        view = light(start.inputs, start.settings, config.view_options)
        batches = loader(
            start.inputs, source, [view], batch_size=config.batch_size, seed=config.seed, threads=config.threads
        )
        total = count_steps(config, len(batches)) if number == 0 else _passes(config, len(batches))
        objective = Supervised(
            model, Device(config.accelerator, config.precision), batches, wanted, task=data.targets.task,
            label_smoothing=config.label_smoothing, mixup=config.mixup, seed=config.seed,
        )  # fmt: skip
        checkpoint = run.checkpoint.with_name(f"round-{number}.ckpt")
        train(objective, moves(model, total, len(source)), run, checkpoint, f"round {number}", first=first)
        first += total
    return model


def confident(
    found: NDArray[np.float64], frequencies: NDArray[np.float64], *, threshold: float, align: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the rows whose answer is sure enough, those answers, and how sure they are.

    Args:
        found: (N, C) probabilities.
        frequencies: (C,) of the classes among the labels.
        threshold: the least confidence.
        align: align the frequencies of the answers first.
    """
    if align:
        seen = torch.from_numpy(found.mean(axis=0)).clamp_min(1e-6)
        found = align_distribution(torch.from_numpy(found), wanted=torch.from_numpy(frequencies), seen=seen).numpy()
    sure, label = found.max(axis=1), found.argmax(axis=1)
    rows = np.flatnonzero(sure >= threshold)
    return rows, label[rows], sure[rows]


def _passes(config: FinetuneConfig, batches: int) -> int:
    return max(config.least_steps, config.unlabelled_epochs * batches)


def _answers(
    run: Run, number: int, config: FinetuneConfig, start: Start, data: Data, model: Predictor, whole: Source
) -> dict[str, str]:
    """Return the confident answers of a round, from the file where it was over before."""
    own = run.path / f"pseudo-labels-{number}.csv"
    if not own.is_file():
        rows, outputs, _ = predict(
            model, start.inputs, whole, threads=config.threads, accelerator=config.accelerator, description="label"
        )
        frequencies = np.bincount(data.values[data.rows], minlength=data.targets.outputs) / len(data.rows)
        sure, labels, _ = confident(
            probabilities(data.targets, outputs), frequencies, threshold=config.threshold, align=config.align
        )
        ids = [whole.ids[int(row)] for row in rows[sure]]
        write_labels(own, ids, [data.targets.names[int(label)] for label in labels])
    try:
        answers = read_labels(own)
    except DataError:
        answers = {}
    say(f"round {number}: {len(answers):,} of {len(whole):,} items are answered with {config.threshold:.0%} confidence")
    return answers


def _with_answers(answers: dict[str, str], whole: Source, data: Data) -> tuple[Source, Tensor]:
    """Return labelled and answered items, and their targets; a label goes before an answer."""
    known = {data.train.ids[int(row)]: int(data.values[row]) for row in data.rows}
    place = {name: number for number, name in enumerate(data.targets.names)}
    merged = {**{name: place[label] for name, label in answers.items()}, **known}
    rows = np.array([row for row, name in enumerate(whole.ids) if name in merged], dtype=np.int64)
    labels = np.array([merged[whole.ids[int(row)]] for row in rows], dtype=np.int64)
    return take(whole, rows), soft(data.targets, labels)
