r"""NNCLR: not the other view of an item but its nearest neighbour among older embeddings is the positive.

Dwibedi, Aytar, Tompson, Sermanet, Zisserman, "With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning
of Visual Representations", ICCV 2021, https://arxiv.org/abs/2104.14548

    encoder   h = f(x)               kept
    head      z = g(h), p = q(z)     MLP of three layers, BatchNorm on all; predictor of two, BatchNorm on the first
    loss      InfoNCE (eq. 3)        of (nearest neighbour of z of view 1, p of view 2), and of (2, 1); their mean;
                                     negatives: the batch's other p, over all ranks
    state     queue of the z of all ranks' first views

Defaults: those of ImageNet (temperature 0.1, 98,304 embeddings, hidden layers 2048 and 4096, output 256).
Neighbours carry no gradient, so it flows through the predictor alone.
Departure: the queue starts empty, not with random numbers; in the first step z itself, without gradient, is the
neighbour.
"""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from nearfar.data.batch import Batch, concat
from nearfar.errors import require
from nearfar.losses import info_nce
from nearfar.methods.base import Info, Method, Step
from nearfar.nn import Queue, mlp, nearest

__all__ = ["NNCLR"]


class NNCLR(Method):
    """NNCLR on two views.

    Args:
        encoder: any module with ``dim``.
        hidden_dim: width of the head's hidden layers; 0 takes the encoder's ``dim``.
        predictor_dim: width of the predictor's hidden layer.
        output_dim: length of a projection z.
        head_layers: linear maps in the head; 2 in lightly's benchmark on CIFAR-10.
        queue_size: number of embeddings that neighbours are looked for in, >= 1.
        temperature: tau > 0.

    Raises:
        InputError: when a setting is out of its range.
    """

    info: ClassVar[Info] = Info(
        "the nearest neighbour among older embeddings, not the other view, is the positive",
        "Dwibedi et al. 2021",
        "https://arxiv.org/abs/2104.14548",
        queue=True,
    )

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden_dim: int = 2048,
        predictor_dim: int = 4096,
        output_dim: int = 256,
        head_layers: int = 3,
        queue_size: int = 98304,
        temperature: float = 0.1,
    ) -> None:
        super().__init__()
        require(temperature > 0, "NNCLR", "temperature", "> 0", temperature)
        dim = int(encoder.dim)  # type: ignore[arg-type]
        self.encoder = encoder
        self.hidden_dim, self.predictor_dim, self.output_dim = hidden_dim or dim, predictor_dim, output_dim
        self.head_layers, self.queue_size, self.temperature = head_layers, queue_size, temperature
        self.head = mlp(dim, self.hidden_dim, output_dim, layers=head_layers, last_norm=True)
        self.predictor = mlp(output_dim, predictor_dim, output_dim)
        self.queue = Queue(output_dim, queue_size)

    def step(self, batch: Batch) -> Step:
        """Return InfoNCE between each view's neighbours and the other view's predictions."""
        require(len(batch.views) == 2, "NNCLR", "number of views", "2", len(batch.views))
        h = self.encoder(concat(batch.views))  # one pass: BatchNorm sees 2N
        z = self.head(h)
        p1, p2 = self.predictor(z).chunk(2)
        neighbours = nearest(z, self.queue.contents().keys)
        n1, n2 = neighbours.chunk(2)
        loss = (info_nce(n1, p2, temperature=self.temperature) + info_nce(n2, p1, temperature=self.temperature)) / 2
        self.queue.enqueue(z.chunk(2)[0])
        return Step(loss=loss, features=h.detach().chunk(2)[0])
