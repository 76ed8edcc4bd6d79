r"""SimSiam: from one view, predict the projection of the other, which is held fixed; no teacher, no negatives.

Chen, He, "Exploring Simple Siamese Representation Learning", CVPR 2021, https://arxiv.org/abs/2011.10566

    encoder   h = f(x)                kept; every view is a pass of its own, so BatchNorm sees N, as published
    head      z = g(h), p = q(z)      3-layer MLP, BatchNorm on all layers, the last without scale and shift; 2-layer
                                      predictor with a narrow hidden layer
    loss      -cos(p1, sg z2) / 2     plus the same with the views swapped (eq. 4)
              -cos(p2, sg z1) / 2
    state     none

Defaults: widths 2,048 and 512 are the paper's for ResNet-50 (CIFAR-10: a 2-layer projector, ``head_layers=2``). The
predictor keeps the peak learning rate (section 4.2). ``stop_gradient=False`` and ``predictor=False`` are the paper's
ablations that collapse (section 4.1 and table 1).
Departure: biases and norms have no weight decay, as everywhere here; in the published code they have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from nearfar.data.batch import Batch
from nearfar.errors import require
from nearfar.losses import alignment, negative_cosine
from nearfar.methods.base import Info, Method, Rule, Step
from nearfar.nn import mlp

__all__ = ["SimSiam"]


class SimSiam(Method):
    """SimSiam on two views.

    Args:
        encoder: any module with ``dim``.
        hidden_dim: width of the projector's hidden layers; 0 takes the encoder's ``dim``.
        output_dim: length of a projection z.
        head_layers: linear maps in the projector; 3, on CIFAR-10 2.
        predictor_dim: width of the predictor's hidden layer; a quarter of ``output_dim`` in the paper.
        predictor: whether there is a predictor; without one the method fails.
        stop_gradient: whether targets are held fixed; else the method collapses.

    Raises:
        InputError: when a setting is out of its range.
    """

    info: ClassVar[Info] = Info(
        "a view predicts the projection of the other, held fixed",
        "Chen and He 2021",
        "https://arxiv.org/abs/2011.10566",
        negatives=False,
    )

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden_dim: int = 2048,
        output_dim: int = 2048,
        head_layers: int = 3,
        predictor_dim: int = 512,
        predictor: bool = True,
        stop_gradient: bool = True,
    ) -> None:
        super().__init__()
        dim = int(encoder.dim)  # type: ignore[arg-type]
        self.encoder = encoder
        self.hidden_dim, self.output_dim, self.predictor_dim = hidden_dim or dim, output_dim, predictor_dim
        self.head_layers, self.predictor, self.stop_gradient = head_layers, predictor, stop_gradient
        self.head = mlp(dim, self.hidden_dim, output_dim, layers=head_layers, last_norm=True, last_affine=False)
        self.predict = mlp(output_dim, predictor_dim, output_dim) if predictor else nn.Identity()

    def step(self, batch: Batch) -> Step:
        """Return the mean of both directions' losses."""
        require(len(batch.views) == 2, "SimSiam", "number of views", "2", len(batch.views))
        h1, h2 = (self.encoder(view) for view in batch.views)
        z1, z2 = self.head(h1), self.head(h2)
        loss = (self._side(self.predict(z1), z2) + self._side(self.predict(z2), z1)) / 2
        return Step(loss=loss, features=h1.detach())

    def _side(self, p: Tensor, z: Tensor) -> Tensor:
        if self.stop_gradient:
            return negative_cosine(p, z)
        return alignment(p, z) / 2 - 1  # |p - z|^2 / 2 - 1 = -cos on unit vectors, with gradient on both sides

    def rules(self) -> Mapping[str, Rule]:
        """The predictor's learning rate does not decay."""
        return {"predict.": Rule(constant=True)}
