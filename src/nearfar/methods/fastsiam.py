r"""FastSiam: SimSiam whose target is the mean over several other views, which is steadier, so batches may be small.

Pototzky, Sultan, Schmidt-Thieme, "FastSiam: Resource-Efficient Self-supervised Learning on a Single GPU", GCPR 2022,
https://doi.org/10.1007/978-3-031-16788-1_4

    encoder   h = f(x)                kept; every view is a pass of its own, so BatchNorm sees N
    head      z = g(h), p = q(z)      SimSiam's: 3-layer MLP, the last BatchNorm without scale and shift; 2-layer
                                      predictor with a narrow hidden layer
    loss      -cos(p_v, sg m_v)       mean over views v; m_v is the mean of the other views' z
    state     none

Defaults: the heads are SimSiam's for ResNet-50. The paper takes 4 views, three for the target of each, and batches of
32; more views than that may be given. The predictor keeps the peak learning rate, as in SimSiam.
Departure: biases and norms have no weight decay, as everywhere here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn

from nearfar.data.batch import Batch
from nearfar.errors import require
from nearfar.losses import negative_cosine
from nearfar.methods.base import Info, Method, Rule, Step
from nearfar.nn import mlp

__all__ = ["FastSiam"]


class FastSiam(Method):
    """FastSiam on four views or more.

    Args:
        encoder: any module with ``dim``.
        hidden_dim: width of the projector's hidden layers; 0 takes the encoder's ``dim``.
        output_dim: length of a projection z.
        head_layers: linear maps in the projector.
        predictor_dim: width of the predictor's hidden layer.

    Raises:
        InputError: when a setting is out of its range.
    """

    info: ClassVar[Info] = Info(
        "a view predicts the mean projection of the other views, held fixed",
        "Pototzky et al. 2022",
        "https://doi.org/10.1007/978-3-031-16788-1_4",
        negatives=False,
        least_views=4,
        most_views=None,
    )

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden_dim: int = 2048,
        output_dim: int = 2048,
        head_layers: int = 3,
        predictor_dim: int = 512,
    ) -> None:
        super().__init__()
        dim = int(encoder.dim)  # type: ignore[arg-type]
        self.encoder = encoder
        self.hidden_dim, self.output_dim = hidden_dim or dim, output_dim
        self.head_layers, self.predictor_dim = head_layers, predictor_dim
        self.head = mlp(dim, self.hidden_dim, output_dim, layers=head_layers, last_norm=True, last_affine=False)
        self.predict = mlp(output_dim, predictor_dim, output_dim)

    def step(self, batch: Batch) -> Step:
        """Return the mean over views of the loss towards the mean of the others."""
        count = len(batch.views)
        require(count >= 4, "FastSiam", "number of views", ">= 4", count)
        h = [self.encoder(view) for view in batch.views]
        z = [self.head(x) for x in h]
        total = torch.stack(z).detach().sum(0)
        losses = [negative_cosine(self.predict(x), (total - x.detach()) / (count - 1)) for x in z]
        return Step(loss=torch.stack(losses).mean(), features=h[0].detach())

    def rules(self) -> Mapping[str, Rule]:
        """The predictor's learning rate does not decay."""
        return {"predict.": Rule(constant=True)}
