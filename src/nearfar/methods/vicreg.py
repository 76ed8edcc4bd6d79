r"""VICReg: views agree, every feature keeps its spread over the batch, and features stay uncorrelated.

Bardes, Ponce, LeCun, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning", ICLR 2022,
https://arxiv.org/abs/2105.04906

    encoder   h = f(x)                        kept; every view is a pass of its own, so BatchNorm sees N
    head      z = g(h)                        3-layer MLP, BatchNorm on the hidden layers
    loss      25 s(z1, z2)                    s: mean squared difference (eq. 5)
              + 25 (v(z1) + v(z2)) / 2        v: hinge on the deviation of each feature (eq. 1, 2)
              + c(z1) + c(z2)                 c: squared covariances between features (eq. 3, 4)
    state     none

Defaults: widths 8,192 and weights 25, 25, 1 are the paper's on ImageNet. Train with LARS or AdamW and a warm-up: with
plain SGD it tends to diverge.
Departure: none from the published code, see `nearfar.losses.vicreg` for where it departs from the paper's text.
"""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from nearfar.data.batch import Batch
from nearfar.errors import require
from nearfar.losses import vicreg
from nearfar.methods.base import Info, Method, Step
from nearfar.nn import mlp

__all__ = ["VICReg"]


class VICReg(Method):
    """VICReg on two views.

    Args:
        encoder: any module with ``dim``.
        hidden_dim: width of the head's hidden layers; 0 takes the encoder's ``dim``.
        output_dim: length D of a projection z.
        head_layers: linear maps in the head.
        invariance_weight: lambda, >= 0.
        variance_weight: mu, >= 0.
        covariance_weight: nu, >= 0.

    Raises:
        InputError: when a setting is out of its range.
    """

    info: ClassVar[Info] = Info(
        "views agree, features keep their spread and stay uncorrelated",
        "Bardes et al. 2022",
        "https://arxiv.org/abs/2105.04906",
        negatives=False,
    )

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden_dim: int = 8192,
        output_dim: int = 8192,
        head_layers: int = 3,
        invariance_weight: float = 25.0,
        variance_weight: float = 25.0,
        covariance_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.invariance_weight, self.variance_weight = invariance_weight, variance_weight
        self.covariance_weight = covariance_weight
        for name in ("invariance_weight", "variance_weight", "covariance_weight"):
            require(getattr(self, name) >= 0, "VICReg", name, ">= 0", getattr(self, name))
        dim = int(encoder.dim)  # type: ignore[arg-type]
        self.encoder = encoder
        self.hidden_dim, self.output_dim, self.head_layers = hidden_dim or dim, output_dim, head_layers
        # no term of the loss sees a last bias
        self.head = mlp(dim, self.hidden_dim, output_dim, layers=head_layers, last_bias=False)

    def step(self, batch: Batch) -> Step:
        """Return the loss between the batch's two views."""
        require(len(batch.views) == 2, "VICReg", "number of views", "2", len(batch.views))
        h1, h2 = (self.encoder(view) for view in batch.views)
        loss = vicreg(
            self.head(h1),
            self.head(h2),
            invariance_weight=self.invariance_weight,
            variance_weight=self.variance_weight,
            covariance_weight=self.covariance_weight,
        )
        return Step(loss=loss, features=h1.detach())
