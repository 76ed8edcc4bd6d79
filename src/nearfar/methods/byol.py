r"""BYOL: from one view, predict what a slowly moving teacher makes of the other; nothing is pushed away.

Grill, Strub, Altche, Tallec, Richemond, Buchatskaya, Doersch, Avila Pires, Guo, Gheshlaghi Azar, Piot, Kavukcuoglu,
Munos, Valko, "Bootstrap your own latent: A new approach to self-supervised learning", NeurIPS 2020,
https://arxiv.org/abs/2006.07733

    encoder   h = f(x)                kept; every view is a pass of its own, so BatchNorm sees N, as published
    head      z = g(h), q = p(z)      MLPs with one hidden layer and BatchNorm; the predictor p is online only
    loss      |q - t|^2 (eq. 2)       on unit vectors, t the teacher's z of the other view; both directions are added
    state     a teacher of f and g    an exponential moving average with its own BatchNorm statistics (section 3.2)

Defaults: widths 4,096, output 256, momentum 0.996 rising to 1 with a cosine are the paper's for 1,000 epochs (300
epochs: 0.99). ``predictor=False`` is the paper's ablation that collapses.
Departure: the first linear map of each head has no bias, because BatchNorm follows.
"""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from nearfar.data.batch import Batch
from nearfar.errors import require
from nearfar.losses import byol
from nearfar.methods.base import Info, Method, Step
from nearfar.nn import Teacher, mlp, momentum_at

__all__ = ["BYOL"]


class BYOL(Method):
    """BYOL on two views.

    Args:
        encoder: any module with ``dim``.
        hidden_dim: width of the projector's hidden layer; 0 takes the encoder's ``dim``.
        output_dim: length of a projection z.
        predictor_dim: width of the predictor's hidden layer.
        momentum: the teacher's at the start, in [0, 1].
        final_momentum: the teacher's at the end, in [0, 1].
        predictor: whether there is a predictor; without one the method collapses (table 5b of the paper).

    Raises:
        InputError: when a setting is out of its range.
    """

    info: ClassVar[Info] = Info(
        "a view predicts a moving teacher's projection of the other",
        "Grill et al. 2020",
        "https://arxiv.org/abs/2006.07733",
        negatives=False,
        teacher=True,
    )

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden_dim: int = 4096,
        output_dim: int = 256,
        predictor_dim: int = 4096,
        momentum: float = 0.996,
        final_momentum: float = 1.0,
        predictor: bool = True,
    ) -> None:
        super().__init__()
        for name, value in (("momentum", momentum), ("final_momentum", final_momentum)):
            require(0 <= value <= 1, "BYOL", name, "in [0, 1]", value)
        dim = int(encoder.dim)  # type: ignore[arg-type]
        self.encoder = encoder
        self.hidden_dim, self.output_dim, self.predictor_dim = hidden_dim or dim, output_dim, predictor_dim
        self.momentum, self.final_momentum, self.predictor = momentum, final_momentum, predictor
        self.head = mlp(dim, self.hidden_dim, output_dim, last_bias=False)
        self.predict = mlp(output_dim, predictor_dim, output_dim, last_bias=False) if predictor else nn.Identity()
        self.teacher = Teacher(nn.Sequential(encoder, self.head))

    def step(self, batch: Batch) -> Step:
        """Return the sum of both directions' losses."""
        require(len(batch.views) == 2, "BYOL", "number of views", "2", len(batch.views))
        h1, h2 = (self.encoder(view) for view in batch.views)
        q1, q2 = (self.predict(self.head(h)) for h in (h1, h2))
        t1, t2 = (self.teacher(view) for view in batch.views)
        loss = byol(q1, t2) + byol(q2, t1)
        return Step(loss=loss, features=h1.detach())

    def after_step(self, progress: float) -> None:
        """Move the teacher."""
        momentum = momentum_at(progress, self.momentum, self.final_momentum)
        self.teacher.follow(nn.Sequential(self.encoder, self.head), momentum)
