"""From minutes to epochs: a method is timed for a moment, and gets the whole epochs that fit.

The schedule of a run must end with it, so the number of epochs is settled before the run begins. The rule: train on
at most 16 batches, leave the first epoch out (it compiles and fills caches), and take the mean time of a step of the
others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["RULE", "Fit", "epochs_within", "trial"]

BATCHES = 16
STEPS = 16

RULE = (
    f"budget in minutes: every method is timed on its own for {STEPS} steps or more after a first epoch, on at most "
    f"{BATCHES} batches, and trains for as many whole epochs as fit; the schedule ends with the last of them"
)


class Fit(NamedTuple):
    """How many epochs fit, and the seconds that one was expected to take."""

    epochs: int
    epoch_seconds: float


def trial(items: int, batch_size: int) -> tuple[int, int]:
    """Return the number of items and of epochs to time a method on."""
    rows = min(items, BATCHES * batch_size)
    return rows, 1 + math.ceil(STEPS / (rows // batch_size))


def epochs_within(budget: float, seconds: Sequence[float], *, items: int, batch_size: int) -> Fit:
    """Return the whole epochs that fit into a budget.

    Args:
        budget: in seconds.
        seconds: of each epoch of the trial, at least two.
        items: of the whole training part.
        batch_size: items a step.
    """
    rows, _ = trial(items, batch_size)
    a_step = float(np.mean(seconds[1:])) / (rows // batch_size)
    epoch = a_step * (items // batch_size)
    return Fit(int(budget / epoch), epoch)
