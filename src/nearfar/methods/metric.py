r"""Metric learning by configuration: any loss with any miner and distance, with memory or proxies.

Musgrave, Belongie, Lim, "A Metric Learning Reality Check", ECCV 2020, https://arxiv.org/abs/2003.08505, which shows
that many losses are about as good as each other once they are trained alike; multi-similarity (Wang et al., CVPR 2019,
https://arxiv.org/abs/1904.06627) is among the best there, and the default here.

    encoder   h = f(x)          kept
    head      z = g(h)          linear, or none (the default), scaled to length 1
    loss      any               of `nearfar.losses.METRIC_LOSSES`, on what `nearfar.losses.miners.MINERS` choose
    state     proxies, memory   one learned vector a class (or K); embeddings of past batches (arXiv 1912.06798)

Without a head what is trained is what is indexed: distances between representations h. Batches want several items of
each class, so the sampler is M per class unless another is named. Items without a label (-1) are left out. Pairs,
triplets, graded scores and sets of labels take the place of classes where the data give them.

Departures: losses and miners have the settings of their own papers, not those tuned for the comparison.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nearfar.data.batch import Batch, concat
from nearfar.errors import ConfigError, DataError, require
from nearfar.losses import CrossBatchMemory, compose
from nearfar.methods.base import Info, Method, Rule, Step
from nearfar.nn import Queue

__all__ = ["Metric"]


class Metric(Method):
    """A loss over labels, pairs, triplets, scores or sets.

    Args:
        encoder: any module with ``dim``.
        loss: a name of `nearfar.losses.METRIC_LOSSES`, such as multi_similarity, triplet, contrastive or arcface.
        loss_options: settings of the loss, such as ``{"margin": 0.1}``.
        miner: a name of `nearfar.losses.miners.MINERS`, such as semihard; None: all pairs or triplets, or what the
            loss chooses by itself.
        miner_options: settings of the miner.
        distance: what loss and miner compare by, such as cosine; None: the loss's own.
        given: what the data give: ``"labels"``, or ``"pairs"`` (two views, label 1 where they differ), ``"triplets"``
            (three views), ``"scores"`` (two views and how alike they are) or ``"sets"`` (several labels an item).
        output_dim: length of z; 0 compares representations h themselves.
        normalize: scale z to length 1.
        classes: number of classes, for losses with proxies; `nearfar.pretrain` fills it in.
        centers: K, for losses with several vectors a class.
        proxy_rate: factor on the learning rate of proxies; they move more slowly than an encoder needs.
        memory: how many embeddings of past batches are met as well; 0 for none.
        memory_warmup: steps without the memory, while embeddings move fast; 1000 in the paper.

    Raises:
        InputError: when a setting is unknown, out of its range, or contradicts another.
    """

    info: ClassVar[Info] = Info(
        "any loss, miner and distance of metric learning, over labels, pairs, triplets or scores",
        "Musgrave et al. 2020",
        "https://arxiv.org/abs/2003.08505",
        labels=True,
        least_views=1,
        most_views=None,
        sampler="balanced",
    )

    def __init__(
        self,
        encoder: nn.Module,
        *,
        loss: str = "multi_similarity",
        loss_options: dict[str, Any] | None = None,
        miner: str | None = None,
        miner_options: dict[str, Any] | None = None,
        distance: str | None = None,
        given: Literal["labels", "pairs", "triplets", "scores", "sets"] = "labels",
        output_dim: int = 0,
        normalize: bool = True,
        classes: int = 0,
        centers: int = 1,
        proxy_rate: float = 10.0,
        memory: int = 0,
        memory_warmup: int = 1000,
    ) -> None:
        super().__init__()
        for name, value in (("output_dim", output_dim), ("classes", classes), ("memory", memory)):
            require(value >= 0, "Metric", name, ">= 0", value)
        require(proxy_rate > 0, "Metric", "proxy_rate", "> 0", proxy_rate)
        require(centers >= 1, "Metric", "centers", ">= 1", centers)
        dim = int(encoder.dim)  # type: ignore[arg-type]
        self.encoder = encoder
        self.loss, self.loss_options, self.distance = loss, loss_options, distance
        self.miner, self.miner_options, self.given = miner, miner_options, given
        self.output_dim, self.normalize, self.classes, self.centers = output_dim, normalize, classes, centers
        self.proxy_rate, self.memory, self.memory_warmup = proxy_rate, memory, memory_warmup
        self.head = nn.Linear(dim, output_dim) if output_dim else nn.Identity()
        self.composed = compose(
            loss, loss_options=loss_options, miner=miner, miner_options=miner_options, distance=distance
        )
        _check_given(loss, self.composed.form, given, memory)
        self.proxies = self._make_proxies(output_dim or dim)
        self.remembering: CrossBatchMemory | None = None
        if memory:
            self.composed.check_references()
            queue = Queue(output_dim or dim, memory, normalize=False)
            self.remembering = CrossBatchMemory(self.composed, queue, warmup=memory_warmup)

    @property
    def relation(self) -> str:
        """What the data must give."""
        return self.given

    def rules(self) -> dict[str, Rule]:
        """Let proxies move faster than the encoder, and do not shrink them."""
        return {} if self.proxies is None else {"proxies": Rule(scale=self.proxy_rate, decay=0.0)}

    def step(self, batch: Batch) -> Step:
        """Return the loss of the batch over all ranks."""
        h = self.encoder(concat(batch.views))
        z = self.head(h).float()
        z = F.normalize(z, dim=1) if self.normalize else z
        return Step(loss=self._loss(z, batch), features=h.detach().chunk(len(batch.views))[0])

    def _loss(self, z: Tensor, batch: Batch) -> Tensor:
        views = z.chunk(len(batch.views))
        if self.given == "triplets":
            require(len(views) == 3, "Metric", "number of views of triplets", "3", len(views))
            return self.composed.given(*views)
        if self.given in ("scores", "sets"):
            require(batch.targets is not None, "Metric", "targets", f"given for {self.given}", "none", error=DataError)
            assert batch.targets is not None
            together = self.given == "sets"
            targets = batch.targets.repeat(len(views), 1) if together else batch.targets
            return self.composed.on_sets(z, targets) if together else self.composed.given(*views, extra=targets)
        require(batch.labels is not None, "Metric", "labels", "given", "none", "use simclr without", error=DataError)
        assert batch.labels is not None
        return self._over_labels(z, views, batch.labels)

    def _over_labels(self, z: Tensor, views: tuple[Tensor, ...], labels: Tensor) -> Tensor:
        if self.given == "pairs":
            require(len(views) == 2, "Metric", "number of views of given pairs", "2", len(views))
            return self.composed.given(*views, extra=labels)
        labels = labels.repeat(len(views))
        if self.proxies is not None:
            return self.composed.with_proxies(z, labels, self.proxies)
        if self.remembering is not None:
            value: Tensor = self.remembering(z, labels)
            return value
        return self.composed(z, labels, views=len(views))

    def _make_proxies(self, dim: int) -> nn.Parameter | None:
        form = self.composed.form
        if form not in ("proxies", "centers"):
            return None
        fix = "set classes, as nearfar.pretrain does by itself"
        must = f"the number of classes for the loss {self.loss}"
        require(self.classes >= 2, "Metric", "classes", must, self.classes, fix, error=ConfigError)
        shape = (self.classes, dim) if form == "proxies" else (self.classes, self.centers, dim)
        return nn.Parameter(F.normalize(torch.randn(shape), dim=-1))


def _check_given(loss: str, form: str, given: str, memory: int) -> None:
    """Refuse a loss that cannot use what the data give."""
    fitting = {
        "pairs": ("pairs",),
        "triplets": ("triplets",),
        "scores": ("scores",),
        "sets": ("similarity",),
        "labels": ("labels", "pairs", "triplets", "couples", "proxies", "centers"),
    }[given]
    example = {"pairs": "contrastive", "triplets": "triplet", "scores": "cosent", "sets": "multi_label_sup_con"}
    must, fix = f"one that data of {given} fit", f"take {example.get(given, 'multi_similarity')}"
    require(form in fitting, "Metric", "loss", must, f"{loss}, which takes {form}", fix, error=ConfigError)
    fits = not memory or given == "labels"
    require(fits, "Metric", "memory", "0 where the data give pairs or the like", memory, error=ConfigError)
