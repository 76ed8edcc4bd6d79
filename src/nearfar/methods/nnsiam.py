r"""NNSiam: SimSiam that predicts the nearest stored neighbour of the other view's projection.

Dwibedi, Aytar, Tompson, Sermanet, Zisserman, "With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning
of Visual Representations", ICCV 2021, https://arxiv.org/abs/2104.14548, whose neighbours are put into SimSiam
(https://arxiv.org/abs/2011.10566) as in solo-learn.

    encoder   h = f(x)                kept; every view is a pass of its own, so BatchNorm sees N
    head      z = g(h), p = q(z)      SimSiam's: 3-layer MLP, the last BatchNorm without scale and shift; 2-layer
                                      predictor
    loss      -cos(p1, NN(z2)) / 2    plus the same with the views swapped; NN is the nearest key, held fixed
    state     a queue                 of the projections of first views

Defaults: SimSiam's heads and solo-learn's 65,536 keys, which take 512 MiB at output 2,048; its CIFAR-10 run has a
predictor of width 4,096. Take a queue well below the size of the data set, else an item meets its own older key. In the
first step the queue is empty and the target is the projection itself: that step is SimSiam's. The predictor keeps the
peak learning rate.
Departures: the queue starts empty, not with random keys; biases and norms have no weight decay, as everywhere here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import nn

from nearfar.data.batch import Batch
from nearfar.errors import require
from nearfar.losses import negative_cosine
from nearfar.methods.base import Info, Method, Rule, Step
from nearfar.nn import Queue, mlp, nearest

__all__ = ["NNSiam"]


class NNSiam(Method):
    """NNSiam on two views.

    Args:
        encoder: any module with ``dim``.
        hidden_dim: width of the projector's hidden layers; 0 takes the encoder's ``dim``.
        output_dim: length of a projection z.
        head_layers: linear maps in the projector.
        predictor_dim: width of the predictor's hidden layer.
        queue_size: number of stored projections, >= 1.

    Raises:
        InputError: when a setting is out of its range.
    """

    info: ClassVar[Info] = Info(
        "SimSiam whose target is the nearest stored neighbour",
        "Dwibedi et al. 2021",
        "https://arxiv.org/abs/2104.14548",
        negatives=False,
        queue=True,
    )

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden_dim: int = 2048,
        output_dim: int = 2048,
        head_layers: int = 3,
        predictor_dim: int = 512,
        queue_size: int = 65536,
    ) -> None:
        super().__init__()
        dim = int(encoder.dim)  # type: ignore[arg-type]
        self.encoder = encoder
        self.hidden_dim, self.output_dim, self.predictor_dim = hidden_dim or dim, output_dim, predictor_dim
        self.head_layers, self.queue_size = head_layers, queue_size
        self.head = mlp(dim, self.hidden_dim, output_dim, layers=head_layers, last_norm=True, last_affine=False)
        self.predict = mlp(output_dim, predictor_dim, output_dim)
        self.queue = Queue(output_dim, queue_size)

    def step(self, batch: Batch) -> Step:
        """Return the mean of both directions' losses, and store the first views' projections."""
        require(len(batch.views) == 2, "NNSiam", "number of views", "2", len(batch.views))
        h1, h2 = (self.encoder(view) for view in batch.views)
        z1, z2 = self.head(h1), self.head(h2)
        keys = self.queue.contents().keys
        sides = negative_cosine(self.predict(z1), nearest(z2, keys)) + negative_cosine(
            self.predict(z2), nearest(z1, keys)
        )
        self.queue.enqueue(z1)
        return Step(loss=sides / 2, features=h1.detach())

    def rules(self) -> Mapping[str, Rule]:
        """The predictor's learning rate does not decay."""
        return {"predict.": Rule(constant=True)}
