r"""A teacher: a copy of a network that follows it as an exponential moving average and gets no gradient.

He et al., "Momentum Contrast", CVPR 2020, https://arxiv.org/abs/1911.05722, eq. 2; Grill et al., "Bootstrap your own
latent", NeurIPS 2020, https://arxiv.org/abs/2006.07733, section 3.2 and appendix C (the schedule).
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from nearfar.errors import require

__all__ = ["Teacher", "momentum_at"]


class Teacher(nn.Module):
    """xi <- m xi + (1 - m) theta, once per optimiser step.

    **BatchNorm's rule** (MoCo's and BYOL's): weights and biases of norms follow as all parameters do; running
    statistics are the teacher's own, from the batches that it sees in train mode, and are not averaged.

    Args:
        online: the network to follow; deep-copied.

    Attributes:
        module: the copy; none of its parameters wants a gradient.
    """

    def __init__(self, online: nn.Module) -> None:
        super().__init__()
        self.module = copy.deepcopy(online).requires_grad_(False)

    @torch.no_grad()
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the copy; no gradient flows."""
        return self.module(*args, **kwargs)

    @torch.no_grad()
    def follow(self, online: nn.Module, momentum: float) -> None:
        """Move towards the online network.

        Args:
            online: the network that was copied, with the same parameters in the same order.
            momentum: m in [0, 1]; 1 stands still, 0 copies.

        Raises:
            InputError: when ``momentum`` is outside its range.
        """
        require(0 <= momentum <= 1, "Teacher", "momentum", "in [0, 1]", momentum)
        ours: list[Tensor] = list(self.module.parameters())
        theirs = [p.detach() for p in online.parameters()]
        torch._foreach_lerp_(ours, theirs, 1 - momentum)


def momentum_at(progress: float | Tensor, base: float, final: float = 1.0) -> float:
    """Return BYOL's momentum: final - (final - base) (1 + cos(pi progress)) / 2, from ``base`` to ``final``."""
    return final - (final - base) * (1 + math.cos(math.pi * float(progress))) / 2
