"""Holding the first stages of an encoder fast, for a detector or a segmenter that trains the rest."""

from __future__ import annotations

from nearfar.encoders.base import Encoder
from nearfar.errors import require

__all__ = ["freeze_stages"]


def freeze_stages(encoder: Encoder, n: int) -> None:
    """Freeze the stem and the first ``n`` stages: no gradient, BatchNorm and dropout in eval mode.

    They stay in eval mode through every later ``.train()`` of the encoder and of any module around it. Freezing again
    adds to what is frozen. The optimiser should get only parameters with ``requires_grad``.

    Args:
        encoder: one of ours. A timm ResNet has 4 stages, a ViT one for every block, `SmallConvNet` 3.
        n: how many stages beside the stem; 0 freezes the stem alone.

    Raises:
        InputError: when there are not that many stages.
        ConfigError: when the encoder does not know its stages.
    """
    stages = encoder.stages()
    require(0 <= n < len(stages), "freeze_stages", "n", f"from 0 to {len(stages) - 1}", n)
    held = {name for stage in stages[: n + 1] for name in stage}
    for name, parameter in encoder.named_parameters():
        if name in held:
            parameter.requires_grad_(False)
    frozen = set(encoder.frozen)
    for name, module in encoder.named_modules():
        own = [f"{name}.{parameter}" for parameter, _ in module.named_parameters()]
        if name and own and held.issuperset(own):
            frozen.add(name)
    encoder.frozen = tuple(sorted(frozen))
    encoder.train(encoder.training)
