"""How many steps, how large, and how much smaller in the lower layers."""

from __future__ import annotations

import math

from nearfar.encoders.base import Encoder
from nearfar.errors import ConfigError, require
from nearfar.fewlabels.predictor import Predictor
from nearfar.fewlabels.settings import FinetuneConfig
from nearfar.optim import Special

__all__ = ["count_steps", "layer_rules", "learning_rate"]


def learning_rate(optimizer: str, batch_size: int) -> float:
    """Return the peak learning rate of fine-tuning.

    LARS: 0.005 sqrt(N), SimCLRv2's for ResNet-50 (https://github.com/google-research/simclr). SGD: 0.05 N / 256,
    SimCLR's (appendix B.5 of https://arxiv.org/abs/2002.05709). AdamW: 0.001, ours.
    """
    return {"lars": 0.005 * math.sqrt(batch_size), "sgd": 0.05 * batch_size / 256, "adamw": 1e-3}[optimizer]


def count_steps(config: FinetuneConfig, batches: int) -> int:
    """Return the optimiser steps of passes over ``batches`` batches of labelled items."""
    return max(config.least_steps, config.epochs * batches)


def layer_rules(model: Predictor, decay: float) -> tuple[Special, ...]:
    """Return the rules that make the learning rate of every stage ``decay`` times that of the one above it.

    What follows the encoder has the full rate, the encoder's last stage ``decay`` times it, and so on down to the stem.

    Raises:
        ConfigError: when the encoder does not know its stages.
    """
    if decay == 1:
        return ()
    knows = isinstance(model.encoder, Encoder)
    require(knows, "finetune", "layer-decay", "1 for an encoder without stages", decay, error=ConfigError)
    assert isinstance(model.encoder, Encoder)
    stages = model.encoder.stages()
    return tuple(
        Special(f"encoder.{name}", decay ** (len(stages) - place), False, 1.0)
        for place, names in enumerate(stages)
        for name in names
    )
