r"""VIbCReg: VICReg with correlations for covariances, behind a layer that whitens the projections.

Lee, Aune, "VIbCReg: Variance-Invariance-better-Covariance Regularization for Self-Supervised Learning on Time Series",
2021, https://arxiv.org/abs/2109.00783

    encoder   h = f(x)                     kept; every view is a pass of its own, so BatchNorm sees N
    head      z = W g(h)                   3-layer MLP, BatchNorm on the hidden layers, then iterative normalisation
                                           (https://arxiv.org/abs/1904.03441)
    loss      25 s(z1, z2)                 s: mean squared difference
              + 25 (v(z1) + v(z2))         v: hinge on the deviation of each feature
              + 200 (b(z1) + b(z2))        b: mean squared correlation between features
    state     running mean and whitening of the normalisation, for eval mode

Defaults: widths 4,096, 64 groups and weights 25, 25, 200 are the authors' code's.
Departures: the normalisation has a scale but no shift, and the linear map before it no bias: no term sees either. Its
statistics are the global batch's.
"""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from nearfar.data.batch import Batch
from nearfar.errors import require
from nearfar.losses import vibcreg
from nearfar.methods.base import Info, Method, Step
from nearfar.nn import IterativeNorm, mlp

__all__ = ["VIbCReg"]


class VIbCReg(Method):
    """VIbCReg on two views.

    Args:
        encoder: any module with ``dim``.
        hidden_dim: width of the head's hidden layers; 0 takes the encoder's ``dim``.
        output_dim: length D of a projection z.
        head_layers: linear maps in the head.
        whitening: whether the projections are normalised iteratively.
        whitening_groups: groups of features that are whitened apart, a divisor of ``output_dim``. A group should be
            well below the batch in width.
        invariance_weight: lambda, >= 0.
        variance_weight: mu, >= 0.
        covariance_weight: nu, >= 0.

    Raises:
        InputError: when a setting is out of its range.
    """

    info: ClassVar[Info] = Info(
        "VICReg with correlations, behind a whitening layer",
        "Lee and Aune 2021",
        "https://arxiv.org/abs/2109.00783",
        negatives=False,
    )

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden_dim: int = 4096,
        output_dim: int = 4096,
        head_layers: int = 3,
        whitening: bool = True,
        whitening_groups: int = 64,
        invariance_weight: float = 25.0,
        variance_weight: float = 25.0,
        covariance_weight: float = 200.0,
    ) -> None:
        super().__init__()
        self.invariance_weight, self.variance_weight = invariance_weight, variance_weight
        self.covariance_weight = covariance_weight
        for name in ("invariance_weight", "variance_weight", "covariance_weight"):
            require(getattr(self, name) >= 0, "VIbCReg", name, ">= 0", getattr(self, name))
        dim = int(encoder.dim)  # type: ignore[arg-type]
        self.encoder = encoder
        self.hidden_dim, self.output_dim, self.head_layers = hidden_dim or dim, output_dim, head_layers
        self.whitening, self.whitening_groups = whitening, whitening_groups
        self.head = mlp(dim, self.hidden_dim, output_dim, layers=head_layers, last_bias=False)
        if whitening:
            self.head.append(IterativeNorm(output_dim, groups=whitening_groups))

    def step(self, batch: Batch) -> Step:
        """Return the loss between the batch's two views."""
        require(len(batch.views) == 2, "VIbCReg", "number of views", "2", len(batch.views))
        h1, h2 = (self.encoder(view) for view in batch.views)
        loss = vibcreg(
            self.head(h1),
            self.head(h2),
            invariance_weight=self.invariance_weight,
            variance_weight=self.variance_weight,
            covariance_weight=self.covariance_weight,
        )
        return Step(loss=loss, features=h1.detach())
