r"""TiCo: a view agrees with a slowly moving teacher's other view, and avoids the directions that are in use already.

Zhu, Moraes, Karakulak, Sobol, Canziani, LeCun, "TiCo: Transformation Invariance and Covariance Contrast for
Self-Supervised Visual Representation Learning", 2022, https://arxiv.org/abs/2206.10698

    encoder   h = f(x)                      kept
    head      z = g(h)                      MLP with one hidden layer and BatchNorm; no predictor
    loss      1 - z1 . t2                   on unit vectors, t2 the teacher's projection of the second view
              + rho z1^T C z1               C the running second moment of z1, this batch included
    state     a teacher of f and g          an exponential moving average with its own BatchNorm statistics
              C, the running second moment

Defaults: widths 4,096 and 256 are the paper's, as lightly quotes them; momentum 0.99 rising to 1, rho 8 and 0.9 for C
are lightly's, whose ImageNet benchmark is the only run with every setting at hand.
Departure: none known. As there, the loss goes one way: the first views are the online network's, the second the
teacher's.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from nearfar.data.batch import Batch
from nearfar.errors import require
from nearfar.losses import tico, tico_covariance
from nearfar.methods.base import Info, Method, Step
from nearfar.nn import Teacher, mlp, momentum_at

__all__ = ["TiCo"]


class TiCo(Method):
    """TiCo on two views.

    Args:
        encoder: any module with ``dim``.
        hidden_dim: width of the head's hidden layer; 0 takes the encoder's ``dim``.
        output_dim: length of a projection z.
        covariance_weight: rho, >= 0.
        covariance_momentum: of C, in [0, 1].
        momentum: the teacher's at the start, in [0, 1].
        final_momentum: the teacher's at the end, in [0, 1].

    Raises:
        InputError: when a setting is out of its range.
    """

    info: ClassVar[Info] = Info(
        "a view agrees with a moving teacher's other view, in directions not yet in use",
        "Zhu et al. 2022",
        "https://arxiv.org/abs/2206.10698",
        negatives=False,
        teacher=True,
    )
    covariance: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden_dim: int = 4096,
        output_dim: int = 256,
        covariance_weight: float = 8.0,
        covariance_momentum: float = 0.9,
        momentum: float = 0.99,
        final_momentum: float = 1.0,
    ) -> None:
        super().__init__()
        require(covariance_weight >= 0, "TiCo", "covariance_weight", ">= 0", covariance_weight)
        shares = {"momentum": momentum, "final_momentum": final_momentum, "covariance_momentum": covariance_momentum}
        for name, value in shares.items():
            require(0 <= value <= 1, "TiCo", name, "in [0, 1]", value)
        dim = int(encoder.dim)  # type: ignore[arg-type]
        self.encoder = encoder
        self.hidden_dim, self.output_dim = hidden_dim or dim, output_dim
        self.covariance_weight, self.covariance_momentum = covariance_weight, covariance_momentum
        self.momentum, self.final_momentum = momentum, final_momentum
        self.head = mlp(dim, self.hidden_dim, output_dim)
        self.teacher = Teacher(nn.Sequential(encoder, self.head))
        self.register_buffer("covariance", torch.zeros(output_dim, output_dim))

    def step(self, batch: Batch) -> Step:
        """Return the loss of the first views, and move the running second moment."""
        require(len(batch.views) == 2, "TiCo", "number of views", "2", len(batch.views))
        first, second = batch.views
        h = self.encoder(first)
        z, target = self.head(h), self.teacher(second)
        covariance = tico_covariance(self.covariance, z, momentum=self.covariance_momentum)
        loss = tico(z, target, covariance, covariance_weight=self.covariance_weight)
        self.covariance.copy_(covariance)
        return Step(loss=loss, features=h.detach())

    def after_step(self, progress: float) -> None:
        """Move the teacher."""
        momentum = momentum_at(progress, self.momentum, self.final_momentum)
        self.teacher.follow(nn.Sequential(self.encoder, self.head), momentum)
