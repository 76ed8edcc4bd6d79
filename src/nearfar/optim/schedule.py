"""Learning rates: how they follow the batch size, and how they move during training."""

from __future__ import annotations

import math

from nearfar.errors import require

__all__ = ["scaled_lr", "warmup_cosine"]


def scaled_lr(base: float, batch_size: int) -> float:
    """Return the learning rate for a batch of N items (not 2N views), from the one published for N = 256.

    From 1,024 items on it grows linearly, ``base * N / 256``; below, with the square root, scaled so that both agree
    at 1,024: ``base * 4 * sqrt(N / 1024)``. With square-root scaling SimCLR is 5 points better at 256 items and 100
    epochs (Table B.1 of https://arxiv.org/abs/2002.05709).

    Args:
        base: the learning rate per 256 items of the linear rule.
        batch_size: items per optimiser step over all ranks and accumulated batches.

    Raises:
        InputError: when ``batch_size`` is below 1.
    """
    require(batch_size >= 1, "scaled_lr", "batch_size", ">= 1", batch_size)
    if batch_size >= 1024:
        return base * batch_size / 256
    return base * 4 * math.sqrt(batch_size / 1024)


def warmup_cosine(step: int, *, total: int, warmup: int = 0, final: float = 0.0) -> float:
    """Return the factor on the learning rate at a step: linear warm-up from 0, then a cosine to ``final``.

    Args:
        step: optimiser steps already taken, from 0.
        total: optimiser steps in all, >= 1.
        warmup: steps of the warm-up; step 0 has the factor 1 / warmup, so no step is lost.
        final: the factor that the cosine ends at, in [0, 1].
    """
    if step < warmup:
        return (step + 1) / warmup
    share = min(1.0, (step - warmup) / max(1, total - warmup))
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * share))
