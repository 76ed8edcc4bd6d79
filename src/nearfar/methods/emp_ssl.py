r"""EMP-SSL: many small crops of an item agree with their mean, and the batch fills as much volume as it can.

Tong, Chen, Ma, LeCun, "EMP-SSL: Towards Self-Supervised Learning in One Training Epoch", 2023,
https://arxiv.org/abs/2304.03977

    encoder   h = f(x)                        kept; one pass over all views, so BatchNorm sees V N, as published
    head      z = g(h)                        3-layer MLP, BatchNorm on the hidden layers
    loss      -200 mean_v cos(z_v, mean z)    similarity of each crop to the mean of the item's crops
              - mean_v R(Z_v)                 R, the total coding rate of the batch (epsilon 0.2)
    state     none

Defaults: widths 4,096 and 1,024 and the weights are the published code's. It crops 20 to 200 squares of a quarter of
the area (``--views emp-ssl`` makes 20); an epoch costs that many times as much, so few epochs do.
Departures: h is the encoder's own output, where the published evaluation takes the head's first hidden layer, and
averages it over 128 crops. It works on more than one size of view by one pass per size.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from nearfar.data.batch import Batch, by_size
from nearfar.errors import require
from nearfar.losses import emp_ssl
from nearfar.methods.base import Info, Method, Step
from nearfar.nn import mlp

__all__ = ["EMPSSL"]


class EMPSSL(Method):
    """EMP-SSL on four views or more.

    Args:
        encoder: any module with ``dim``.
        hidden_dim: width of the head's hidden layers; 0 takes the encoder's ``dim``.
        output_dim: length of a projection z.
        similarity_weight: lambda, >= 0.
        coding_weight: weight of the coding rate, >= 0.
        eps: the squared distortion in the coding rate, > 0.

    Raises:
        InputError: when a setting is out of its range.
    """

    info: ClassVar[Info] = Info(
        "many crops of an item agree with their mean, and the batch fills much volume",
        "Tong et al. 2023",
        "https://arxiv.org/abs/2304.03977",
        negatives=False,
        least_views=4,
        most_views=None,
        mixed_sizes=True,
    )

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden_dim: int = 4096,
        output_dim: int = 1024,
        similarity_weight: float = 200.0,
        coding_weight: float = 1.0,
        eps: float = 0.2,
    ) -> None:
        super().__init__()
        require(similarity_weight >= 0, "EMPSSL", "similarity_weight", ">= 0", similarity_weight)
        require(coding_weight >= 0, "EMPSSL", "coding_weight", ">= 0", coding_weight)
        require(eps > 0, "EMPSSL", "eps", "> 0", eps)
        dim = int(encoder.dim)  # type: ignore[arg-type]
        self.encoder = encoder
        self.hidden_dim, self.output_dim, self.eps = hidden_dim or dim, output_dim, eps
        self.similarity_weight, self.coding_weight = similarity_weight, coding_weight
        self.head = mlp(dim, self.hidden_dim, output_dim, layers=3)

    def step(self, batch: Batch) -> Step:
        """Return minus the weighted similarity and coding rate of all views."""
        count = len(batch.views)
        require(count >= 4, "EMPSSL", "number of views", ">= 4", count)
        h = torch.cat([self.encoder(views) for views in by_size(batch.views)])
        loss = emp_ssl(
            *self.head(h).chunk(count),
            similarity_weight=self.similarity_weight,
            coding_weight=self.coding_weight,
            eps=self.eps,
        )
        return Step(loss=loss, features=h.detach().chunk(count)[0])
