r"""SwAV: the code of one view, balanced over prototypes, is predicted from another view.

Caron, Misra, Mairal, Goyal, Bojanowski, Joulin, "Unsupervised Learning of Visual Features by Contrasting Cluster
Assignments", NeurIPS 2020, https://arxiv.org/abs/2006.09882

    encoder   h = f(x)                   kept; one pass over the views of each size
    head      z = g(h), scores z^T c     MLP with BatchNorm, then cosines with prototypes c
    loss      swapped prediction (eq. 2) codes of the large views by Sinkhorn-Knopp over all ranks (eq. 5)
    state     a queue of embeddings of each large view, where asked for; steps taken

Defaults are the paper's for batches of 4,096: 2048-BatchNorm-ReLU-128, 3,000 prototypes, temperature 0.1, epsilon 0.05,
3 iterations, prototypes held fast for 313 steps (one epoch of ImageNet; 5,005 at 256), no queue. For batches of 256 the
published scripts keep 3,840 embeddings from epoch 15 of 200 on (queue_start 0.075).
Departures: prototypes start evenly spread over the sphere, not as a linear layer's weights. As in the code, the queue
is used from when it is full. A loss that stays at ln K is collapse: lower epsilon to 0.03.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from nearfar.data.batch import Batch, by_size
from nearfar.errors import require
from nearfar.losses import swav
from nearfar.methods.base import Info, Method, Step
from nearfar.nn import Prototypes, Queue, mlp

__all__ = ["SwAV"]


class SwAV(Method):
    """SwAV on two or more views, the large ones first.

    Args:
        encoder: any module with ``dim``; with crops of several sizes one that takes them all.
        hidden_dim: width of the head's hidden layer; 0 takes the encoder's ``dim``.
        output_dim: length of a projection z.
        prototypes: K, number of prototypes.
        temperature: tau, > 0.
        epsilon: how soft the codes are, > 0.
        iterations: of Sinkhorn-Knopp, >= 1.
        large_views: A, how many of the first views are assigned codes.
        queue_size: stored embeddings of each of these views that share the prototypes; 0 for none.
        queue_start: share of training, in [0, 1], after which embeddings are stored.
        frozen_steps: optimiser steps for which prototypes stay as they are.

    Raises:
        InputError: when a setting is out of its range.
    """

    info: ClassVar[Info] = Info(
        "the balanced cluster of one view is predicted from another",
        "Caron et al. 2020",
        "https://arxiv.org/abs/2006.09882",
        negatives=False,
        queue=True,
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
        prototypes: int = 3000,
        temperature: float = 0.1,
        epsilon: float = 0.05,
        iterations: int = 3,
        large_views: int = 2,
        queue_size: int = 0,
        queue_start: float = 0.075,
        frozen_steps: int = 313,
    ) -> None:
        super().__init__()
        require(temperature > 0, "SwAV", "temperature", "> 0", temperature)
        require(epsilon > 0, "SwAV", "epsilon", "> 0", epsilon)
        require(iterations >= 1, "SwAV", "iterations", ">= 1", iterations)
        require(large_views >= 1, "SwAV", "large_views", ">= 1", large_views)
        require(queue_size >= 0, "SwAV", "queue_size", ">= 0", queue_size)
        require(0 <= queue_start <= 1, "SwAV", "queue_start", "in [0, 1]", queue_start)
        require(frozen_steps >= 0, "SwAV", "frozen_steps", ">= 0", frozen_steps)
        dim = int(encoder.dim)  # type: ignore[arg-type]
        self.encoder = encoder
        self.hidden_dim, self.output_dim, self.prototypes = hidden_dim or dim, output_dim, prototypes
        self.temperature, self.epsilon, self.iterations = temperature, epsilon, iterations
        self.large_views, self.queue_size, self.queue_start = large_views, queue_size, queue_start
        self.frozen_steps = frozen_steps
        self.head = mlp(dim, self.hidden_dim, output_dim)
        self.clusters = Prototypes(output_dim, prototypes)
        self.queues = nn.ModuleList(Queue(output_dim, queue_size) for _ in range(large_views if queue_size else 0))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def step(self, batch: Batch) -> Step:
        """Return the swapped prediction loss over all views."""
        count = len(batch.views)
        least = max(2, self.large_views)
        require(count >= least, "SwAV", "number of views", f">= {least}", count)
        self.clusters.normalize_()
        h = torch.cat([self.encoder(views) for views in by_size(batch.views)])
        z = self.head(h)
        loss = swav(
            *self.clusters(z).chunk(count),
            assign=self.large_views,
            queue=self._stored_scores(),
            temperature=self.temperature,
            epsilon=self.epsilon,
            iterations=self.iterations,
        )
        self._store(z.detach().chunk(count))
        return Step(loss=loss, features=h.detach().chunk(count)[0])

    @torch.no_grad()
    def _stored_scores(self) -> list[Tensor] | None:
        if any(len(queue) < self.queue_size for queue in self.queues) or not self.queues:  # type: ignore[arg-type]
            return None
        return [self.clusters(queue.contents().keys) for queue in self.queues]  # type: ignore[operator]

    def _store(self, views: tuple[Tensor, ...]) -> None:
        if self.training and float(self.progress) >= self.queue_start:
            for queue, z in zip(self.queues, views, strict=False):
                queue.enqueue(z)  # type: ignore[operator]

    def before_step(self) -> None:
        """Hold the prototypes fast in the first steps."""
        if int(self.steps) < self.frozen_steps:
            self.clusters.weight.grad = None

    def after_step(self, progress: float) -> None:
        """Count the step."""
        self.steps += 1
