"""What is to be learnt: one class an item, any number of classes, or numbers; as an array, a loss and a prediction.

    classes      int64 (N,), -1 unknown      cross-entropy            softmax
    multilabel   float32 (N, C) of 0 and 1   binary cross-entropy     sigmoid
    regression   float32 (N, K)              mean squared error       the number itself

Rows of NaN are unknown. Numbers are learnt centred and scaled by the labelled items.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from nearfar.data.labels import class_order, encode_labels
from nearfar.errors import DataError, require
from nearfar.fewlabels.settings import Task

__all__ = ["Targets", "known_rows", "loss_of", "parse", "soft", "write_out"]

Array = NDArray[np.int64] | NDArray[np.float32]


class Targets(NamedTuple):
    """What the outputs of a model stand for.

    Attributes:
        task: which of the three.
        names: of the classes; for numbers as many empty texts as there are.
        offset: what is subtracted from every number before it is learnt.
        scale: what it is then divided by.
    """

    task: Task
    names: tuple[str, ...]
    offset: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    @property
    def outputs(self) -> int:
        """How many numbers the model returns for an item."""
        return len(self.names)


def parse(task: Task, texts: Sequence[str], names: tuple[str, ...] | None, who: str) -> tuple[Array, tuple[str, ...]]:
    """Return the targets that texts stand for, "" being unknown, and the names of the outputs.

    Args:
        task: classes, multilabel or regression.
        texts: one an item.
        names: the classes, where they are known beforehand.
        who: where the texts are from, for errors.

    Raises:
        DataError: when a text is no label of the task.
    """
    if task == "classes":
        labels, found = encode_labels(list(texts), names)
        require(labels is not None, who, "labels", "at least one", "none", error=DataError)
        assert labels is not None
        assert found is not None
        return labels, found
    cells = [[part.strip() for part in text.split("|") if part.strip()] for text in texts]
    if task == "multilabel":
        return _many_hot(cells, names, who)
    return _numbers(cells, who)


def known_rows(targets: Array) -> NDArray[np.int64]:
    """Return the rows whose target is known."""
    known = targets >= 0 if targets.ndim == 1 else np.isfinite(targets).all(axis=1)
    return np.flatnonzero(known)


def soft(targets: Targets, values: Array) -> Tensor:
    """Return what a loss compares with: (N, C) or (N, K) float32; unknown rows are zero, and must not be used."""
    if targets.task == "classes":
        hot = F.one_hot(torch.from_numpy(np.maximum(values, 0)).long(), targets.outputs).float()
        return hot * torch.from_numpy(values >= 0)[:, None]
    found = torch.from_numpy(np.nan_to_num(values.astype(np.float32)))
    if targets.task == "multilabel":
        return found
    return (found - torch.tensor(targets.offset)) / torch.tensor(targets.scale)


def loss_of(task: Task, outputs: Tensor, wanted: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Return the mean loss, float32, of outputs (N, C) and soft targets (N, C)."""
    outputs = outputs.float()
    if task == "classes":
        return F.cross_entropy(outputs, wanted, label_smoothing=label_smoothing)
    if task == "multilabel":
        wanted = wanted * (1 - label_smoothing) + label_smoothing / 2
        return F.binary_cross_entropy_with_logits(outputs, wanted)
    return F.mse_loss(outputs, wanted)


def write_out(targets: Targets, values: Array) -> list[str]:
    """Return targets as texts that `parse` reads again."""
    if targets.task == "classes":
        return [targets.names[int(value)] for value in values]
    if targets.task == "multilabel":
        return ["|".join(targets.names[at] for at in np.flatnonzero(row > 0.5)) for row in values]
    return ["|".join(f"{value:.9g}" for value in row) for row in values]


def _many_hot(
    cells: Sequence[Sequence[str]], names: tuple[str, ...] | None, who: str
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    found = names if names is not None else tuple(class_order(part for cell in cells for part in cell))
    place = {name: number for number, name in enumerate(found)}
    hot = np.zeros((len(cells), len(found)), np.float32)
    for row, cell in enumerate(cells):
        if not cell:
            hot[row] = np.nan
        for part in cell:
            must = f"one of {', '.join(found[:20])}"
            require(part in place, who, "every label", must, repr(part), error=DataError)
            hot[row, place[part]] = 1
    return hot, found


def _numbers(cells: Sequence[Sequence[str]], who: str) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    widths = {len(cell) for cell in cells if cell}
    require(len(widths) == 1, who, "numbers an item", "of one count", sorted(widths), error=DataError)
    width = widths.pop()
    values = np.full((len(cells), width), np.nan, np.float32)
    for row, cell in enumerate(cells):
        for column, part in enumerate(cell):
            try:
                number = float(part)
            except ValueError:
                number = math.nan
            require(math.isfinite(number), who, "every label", "a finite number", repr(part), error=DataError)
            values[row, column] = number
    return values, ("",) * width
