r"""DeepCluster-v2: all views of an item are classified into the k-means cluster that the item had an epoch ago.

Caron, Misra, Mairal, Goyal, Bojanowski, Joulin, "Unsupervised Learning of Visual Features by Contrasting Cluster
Assignments", NeurIPS 2020, https://arxiv.org/abs/2006.09882, appendix (the improved form of DeepCluster,
https://arxiv.org/abs/1807.05520)

    encoder   h = f(x)                  kept; one pass over the views of each size
    head      z = g(h), scores z^T c    MLP with BatchNorm to length 1; several sets of prototypes c, the centroids
    loss      cross-entropy             of softmax(z^T c / tau) and the item's cluster, mean over views and sets
    state     embeddings of every item  of its large views; clusters and centroids of the last spherical k-means

Before every epoch the stored embeddings are clustered; set j takes those of large view j mod A. No gradient moves the
prototypes. Defaults are those of the published code: 2048-BatchNorm-ReLU-128, 3 sets of 3,000 prototypes, temperature
0.1, 10 iterations of k-means.
Departures: the code first embeds the whole data set; here nothing is stored before the first epoch, and an item
without a cluster takes the balanced one (SwAV's code of its first view, the largest entry) among the prototypes as they
are, which start evenly spread over the sphere. Every rank stores all items: items x A x 128 float32 numbers.
A batch without ids learns from balanced clusters of its own alone.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nearfar.data.batch import Batch, by_size
from nearfar.distributed import gather, gather_sizes, mean_over_rows, rank, world_size
from nearfar.errors import require
from nearfar.losses import sinkhorn
from nearfar.methods.base import Info, Method, Step
from nearfar.nn import mlp, spherical_k_means

__all__ = ["DeepClusterV2"]


class DeepClusterV2(Method):
    """DeepCluster-v2 on two or more views, the large ones first.

    Args:
        encoder: any module with ``dim``; with crops of several sizes one that takes them all.
        hidden_dim: width of the head's hidden layer; 0 takes the encoder's ``dim``.
        output_dim: length of a projection z.
        prototypes: K, clusters in a set; at most the number of items.
        sets: how many times the data are clustered, from different starts.
        temperature: tau, > 0.
        iterations: of k-means, >= 1.
        large_views: A, how many of the first views are stored.
        epsilon: how soft the balanced codes are, > 0, of items that have no cluster yet.

    Raises:
        InputError: when a setting is out of its range.
    """

    info: ClassVar[Info] = Info(
        "views are classified into the item's k-means cluster of the last epoch",
        "Caron et al. 2020",
        "https://arxiv.org/abs/2006.09882",
        negatives=False,
        queue=True,
        most_views=None,
        mixed_sizes=True,
    )
    centroids: Tensor
    memory: Tensor
    stored: Tensor
    assigned: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden_dim: int = 2048,
        output_dim: int = 128,
        prototypes: int = 3000,
        sets: int = 3,
        temperature: float = 0.1,
        iterations: int = 10,
        large_views: int = 2,
        epsilon: float = 0.05,
    ) -> None:
        super().__init__()
        require(temperature > 0, "DeepClusterV2", "temperature", "> 0", temperature)
        require(epsilon > 0, "DeepClusterV2", "epsilon", "> 0", epsilon)
        for name, value in {"prototypes": prototypes, "sets": sets, "iterations": iterations}.items():
            require(value >= 1, "DeepClusterV2", name, ">= 1", value)
        require(large_views >= 1, "DeepClusterV2", "large_views", ">= 1", large_views)
        dim = int(encoder.dim)  # type: ignore[arg-type]
        self.encoder = encoder
        self.hidden_dim, self.output_dim, self.prototypes = hidden_dim or dim, output_dim, prototypes
        self.sets, self.temperature, self.iterations = sets, temperature, iterations
        self.large_views, self.epsilon = large_views, epsilon
        self.head = mlp(dim, self.hidden_dim, output_dim)
        self.register_buffer("centroids", F.normalize(torch.randn(sets, prototypes, output_dim), dim=2))
        self.register_buffer("memory", torch.zeros(large_views, 0, output_dim))
        self.register_buffer("stored", torch.zeros(0, dtype=torch.bool))
        self.register_buffer("assigned", torch.zeros(sets, 0, dtype=torch.int64))

    def prepare(self, items: int) -> None:
        """Make room for the embeddings and clusters of ``items``.

        Raises:
            InputError: when there are fewer items than prototypes.
        """
        fix = "lower --method-options.prototypes"
        require(items >= self.prototypes, "DeepClusterV2", "items", f">= the {self.prototypes} prototypes", items, fix)
        self.memory = self.memory.new_zeros(self.large_views, items, self.output_dim)
        self.stored = self.stored.new_zeros(items)
        self.assigned = self.assigned.new_full((self.sets, items), -1)

    @torch.no_grad()
    def start_epoch(self, epoch: int) -> None:
        """Cluster the items that are stored; each rank compares its share of them with the centroids."""
        items = self.stored.nonzero().squeeze(1)
        if not len(items):
            return
        share = items.tensor_split(world_size())[rank()]
        for j in range(self.sets):
            rows = self.memory[j % self.large_views]
            # all ranks start from rank 0's draw, whether or not their generators agree
            order = gather(torch.randperm(len(items)).to(items.device))[: min(self.prototypes, len(items))]
            start = self.centroids[j].clone()
            start[: len(order)] = rows[items[order]]
            self.centroids[j], nearest = spherical_k_means(rows[share], start, iterations=self.iterations)
            self.assigned[j] = -1
            self.assigned[j, items] = gather(nearest)

    def step(self, batch: Batch) -> Step:
        """Return the cross-entropy of every view with its item's clusters."""
        count = len(batch.views)
        least = max(2, self.large_views)
        require(count >= least, "DeepClusterV2", "number of views", f">= {least}", count)
        fix = "call prepare(items) once, before training"
        room = batch.ids is None or len(self.stored) > 0
        require(room, "DeepClusterV2", "room for the items' embeddings", "made", "none", fix)
        h = torch.cat([self.encoder(views) for views in by_size(batch.views)])
        z = F.normalize(self.head(h).float(), dim=1)
        with torch.autocast(z.device.type, enabled=False):
            scores = torch.einsum("nd,jkd->jnk", z, self.centroids)
            targets = self._targets(scores.detach(), batch.ids, count)
            values = [
                F.cross_entropy(scores[j] / self.temperature, targets[j].repeat(count), reduction="none")
                for j in range(self.sets)
            ]
        loss = mean_over_rows(torch.stack(values).mean(0))
        if self.training and batch.ids is not None:
            self._store(z.detach().chunk(count), batch.ids)
        return Step(loss=loss, features=h.detach().chunk(count)[0])

    def _targets(self, scores: Tensor, ids: Tensor | None, count: int) -> Tensor:
        """Return (sets, N) int64: the item's cluster, or the balanced code of its first view."""
        first = scores[:, : scores.shape[1] // count]
        # computed for every batch: ranks must take part in the exchange alike
        codes = torch.stack([sinkhorn(one, epsilon=self.epsilon).argmax(1) for one in first])
        if ids is None:
            return codes
        known = self.assigned[:, ids]
        return torch.where(known >= 0, known, codes)

    def _store(self, views: tuple[Tensor, ...], ids: Tensor) -> None:
        sizes = gather_sizes(len(ids), ids.device)
        ids = gather(ids, sizes)
        for rows, z in zip(self.memory, views, strict=False):
            rows[ids] = gather(z, sizes)
        self.stored[ids] = True
