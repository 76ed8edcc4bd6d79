r"""LeJEPA: every view predicts the mean of the large views, and embeddings are pulled to an isotropic Gaussian.

Balestriero, LeCun, "LeJEPA: Provable and Scalable Self-Supervised Learning Without the Heuristics", 2025,
https://arxiv.org/abs/2511.08544

    encoder   h = f(x)                     kept; one pass over the views of each size
    head      z = g(h)                     3-layer MLP, BatchNorm on the hidden layers; one pass over all views
    loss      (1 - lambda) |mu - z_v|^2    mean over views and features; mu is the mean of the large views
              + lambda SIGReg(Z_v)         Epps-Pulley statistic along random directions (section 4)
    state     steps taken, which seed the directions

Defaults: width 2,048 and the integral are the authors' minimal example's, 1,024 directions their package's, lambda 0.05
is lightly's (the example: 0.02, output 16 and 4 views on Imagenette; the paper's range is 0.01 to 0.1). Directions are
new in every step, the same on every rank and in every run. Multi-crop as in the paper: 2 large and 6 small views.
Departure: h is the encoder's output, where the example adds a linear map to 512 features.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from nearfar.data.batch import Batch, by_size
from nearfar.errors import require
from nearfar.losses import draw_directions, lejepa
from nearfar.methods.base import Info, Method, Step
from nearfar.nn import mlp

__all__ = ["LeJEPA"]


class LeJEPA(Method):
    """LeJEPA on two views or more, the large ones first.

    Args:
        encoder: any module with ``dim``; with views of several sizes one that takes them all.
        hidden_dim: width of the head's hidden layers; 0 takes the encoder's ``dim``.
        output_dim: length of a projection z.
        regularizer_weight: lambda in [0, 1].
        directions: random directions per step, >= 1.
        large_views: how many of the first views make the mean; ``None``: those of the first view's size.

    Raises:
        InputError: when a setting is out of its range.
    """

    info: ClassVar[Info] = Info(
        "views predict the mean of the large ones, embeddings are pulled to a Gaussian",
        "Balestriero and LeCun 2025",
        "https://arxiv.org/abs/2511.08544",
        negatives=False,
        most_views=None,
        mixed_sizes=True,
    )
    steps: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden_dim: int = 2048,
        output_dim: int = 128,
        regularizer_weight: float = 0.05,
        directions: int = 1024,
        large_views: int | None = None,
    ) -> None:
        super().__init__()
        require(0 <= regularizer_weight <= 1, "LeJEPA", "regularizer_weight", "in [0, 1]", regularizer_weight)
        require(directions >= 1, "LeJEPA", "directions", ">= 1", directions)
        require(large_views is None or large_views >= 1, "LeJEPA", "large_views", ">= 1", large_views)
        dim = int(encoder.dim)  # type: ignore[arg-type]
        self.encoder = encoder
        self.hidden_dim, self.output_dim = hidden_dim or dim, output_dim
        self.regularizer_weight, self.directions, self.large_views = regularizer_weight, directions, large_views
        self.head = mlp(dim, self.hidden_dim, output_dim, layers=3)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def step(self, batch: Batch) -> Step:
        """Return the weighted sum of prediction and SIGReg over all views."""
        count = len(batch.views)
        require(count >= 2, "LeJEPA", "number of views", ">= 2", count)
        parts = [self.encoder(views) for views in by_size(batch.views)]
        h = torch.cat(parts)
        of_first_size = len(parts[0]) * count // len(h)
        loss = lejepa(
            *self.head(h).chunk(count),
            directions=draw_directions(self.output_dim, self.directions, seed=int(self.steps), device=h.device),
            global_views=min(count, self.large_views or of_first_size),
            regularizer_weight=self.regularizer_weight,
        )
        self.steps += 1
        return Step(loss=loss, features=h.detach().chunk(count)[0])
