r"""NNBYOL: BYOL that predicts the nearest stored neighbour of the teacher's projection instead of the projection.

Dwibedi, Aytar, Tompson, Sermanet, Zisserman, "With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning
of Visual Representations", ICCV 2021, https://arxiv.org/abs/2104.14548, whose neighbours are put into BYOL
(https://arxiv.org/abs/2006.07733) as in solo-learn.

    encoder   h = f(x)                kept; every view is a pass of its own, so BatchNorm sees N
    head      z = g(h), q = p(z)      BYOL's: MLPs with one hidden layer and BatchNorm
    loss      |q1 - NN(t2)|^2         plus the same with the views swapped; t is the teacher's z, NN its nearest key
    state     a teacher of f and g    and a queue of the teacher's projections of first views

Defaults: solo-learn's for CIFAR-10 (widths 4,096, output 256, 65,536 keys, momentum 0.99 rising to 1). Take a queue
well below the size of the data set, else an item meets its own older key. In the first step the queue is empty and the
target is the teacher's projection itself: that step is BYOL's. Neighbours without negatives can hurt or even collapse
the encoder (https://arxiv.org/abs/2303.13606).
Departure: the queue starts empty, not with random keys.
"""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from nearfar.data.batch import Batch
from nearfar.errors import require
from nearfar.losses import byol
from nearfar.methods.base import Info, Method, Step
from nearfar.nn import Queue, Teacher, mlp, momentum_at, nearest

__all__ = ["NNBYOL"]


class NNBYOL(Method):
    """NNBYOL on two views.

    Args:
        encoder: any module with ``dim``.
        hidden_dim: width of the projector's hidden layer; 0 takes the encoder's ``dim``.
        output_dim: length of a projection z.
        predictor_dim: width of the predictor's hidden layer.
        queue_size: number of stored projections, >= 1.
        momentum: the teacher's at the start, in [0, 1].
        final_momentum: the teacher's at the end, in [0, 1].

    Raises:
        InputError: when a setting is out of its range.
    """

    info: ClassVar[Info] = Info(
        "BYOL whose target is the teacher's nearest stored neighbour",
        "Dwibedi et al. 2021",
        "https://arxiv.org/abs/2104.14548",
        negatives=False,
        teacher=True,
        queue=True,
    )

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden_dim: int = 4096,
        output_dim: int = 256,
        predictor_dim: int = 4096,
        queue_size: int = 65536,
        momentum: float = 0.99,
        final_momentum: float = 1.0,
    ) -> None:
        super().__init__()
        for name, value in (("momentum", momentum), ("final_momentum", final_momentum)):
            require(0 <= value <= 1, "NNBYOL", name, "in [0, 1]", value)
        dim = int(encoder.dim)  # type: ignore[arg-type]
        self.encoder = encoder
        self.hidden_dim, self.output_dim, self.predictor_dim = hidden_dim or dim, output_dim, predictor_dim
        self.queue_size, self.momentum, self.final_momentum = queue_size, momentum, final_momentum
        self.head = mlp(dim, self.hidden_dim, output_dim, last_bias=False)
        self.predict = mlp(output_dim, predictor_dim, output_dim, last_bias=False)
        self.teacher = Teacher(nn.Sequential(encoder, self.head))
        self.queue = Queue(output_dim, queue_size)

    def step(self, batch: Batch) -> Step:
        """Return the sum of both directions' losses, and store the first views' targets."""
        require(len(batch.views) == 2, "NNBYOL", "number of views", "2", len(batch.views))
        h1, h2 = (self.encoder(view) for view in batch.views)
        q1, q2 = (self.predict(self.head(h)) for h in (h1, h2))
        t1, t2 = (self.teacher(view) for view in batch.views)
        keys = self.queue.contents().keys
        loss = byol(q1, nearest(t2, keys)) + byol(q2, nearest(t1, keys))
        self.queue.enqueue(t1)
        return Step(loss=loss, features=h1.detach())

    def after_step(self, progress: float) -> None:
        """Move the teacher."""
        momentum = momentum_at(progress, self.momentum, self.final_momentum)
        self.teacher.follow(nn.Sequential(self.encoder, self.head), momentum)
