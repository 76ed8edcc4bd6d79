r"""Barlow Twins: the features of two views are correlated one with one, and with no other.

Zbontar, Jing, Misra, LeCun, Deny, "Barlow Twins: Self-Supervised Learning via Redundancy Reduction", ICML 2021,
https://arxiv.org/abs/2103.03230

    encoder   h = f(x)                          kept; every view is a pass of its own, so BatchNorm sees N
    head      z = g(h)                          3-layer MLP with BatchNorm, on the last layer without scale and shift
    loss      sum_i (1 - C_ii)^2                C is the correlation of z1 with z2 over the batch of all ranks
              + lambda sum_{i != j} C_ij^2      (eq. 1 and 2)
    state     none

Defaults: widths 8,192 and lambda 0.0051 are the published code's for ResNet-50 on ImageNet. That code multiplies the
loss by 0.024 for LARS, whose biases and norms do not adapt to the loss's scale: ``loss_scale``.
Departure: mean, variance and C are the global batch's, where the code standardises per rank.
"""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from nearfar.data.batch import Batch
from nearfar.errors import require
from nearfar.losses import barlow_twins
from nearfar.methods.base import Info, Method, Step
from nearfar.nn import mlp

__all__ = ["BarlowTwins"]


class BarlowTwins(Method):
    """Barlow Twins on two views.

    Args:
        encoder: any module with ``dim``.
        hidden_dim: width of the head's hidden layers; 0 takes the encoder's ``dim``.
        output_dim: length D of a projection z; the method gains from large ones.
        head_layers: linear maps in the head.
        redundancy_weight: lambda, >= 0.
        loss_scale: factor on the loss, > 0; it matters to SGD and to what LARS does not adapt.

    Raises:
        InputError: when a setting is out of its range.
    """

    info: ClassVar[Info] = Info(
        "features of two views correlate one with one, and with no other",
        "Zbontar et al. 2021",
        "https://arxiv.org/abs/2103.03230",
        negatives=False,
    )

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden_dim: int = 8192,
        output_dim: int = 8192,
        head_layers: int = 3,
        redundancy_weight: float = 0.0051,
        loss_scale: float = 1.0,
    ) -> None:
        super().__init__()
        require(redundancy_weight >= 0, "BarlowTwins", "redundancy_weight", ">= 0", redundancy_weight)
        require(loss_scale > 0, "BarlowTwins", "loss_scale", "> 0", loss_scale)
        dim = int(encoder.dim)  # type: ignore[arg-type]
        self.encoder = encoder
        self.hidden_dim, self.output_dim, self.head_layers = hidden_dim or dim, output_dim, head_layers
        self.redundancy_weight, self.loss_scale = redundancy_weight, loss_scale
        self.head = mlp(dim, self.hidden_dim, output_dim, layers=head_layers, last_norm=True, last_affine=False)

    def step(self, batch: Batch) -> Step:
        """Return the loss between the batch's two views."""
        require(len(batch.views) == 2, "BarlowTwins", "number of views", "2", len(batch.views))
        h1, h2 = (self.encoder(view) for view in batch.views)
        loss = barlow_twins(self.head(h1), self.head(h2), redundancy_weight=self.redundancy_weight)
        return Step(loss=self.loss_scale * loss, features=h1.detach())
