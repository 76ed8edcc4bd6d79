r"""All4One: neighbours, centroids of neighbours and features of two views agree, in one loss.

Estepa, Sarasua, Nagarajan, Radeva, "All4One: Symbiotic Neighbour Contrastive Learning via Self-Attention and Redundancy
Reduction", ICCV 2023, https://arxiv.org/abs/2303.09417

    encoder   h = f(x)                     kept; every view is a pass of its own, so BatchNorm sees N
    head      z = g(h), p = q(z), s = r(z) 3-layer MLP with BatchNorm on all layers; two 2-layer predictors q and r, and
                                           a transformer that makes a centroid of five neighbours
    loss      neighbour contrast           InfoNCE of (nearest key of t1, p2), and with the views swapped
              centroid contrast            InfoNCE of (centroid of t1's neighbours, the same with s2 in the first place
                                           of t2's neighbours), and swapped
              feature contrast             correlation of t with z of the other view, see `nearfar.losses`
    state     a teacher of f and g         gives t; an exponential moving average, with its own BatchNorm statistics
              a queue                      of the teacher's projections of first views

Defaults: those of solo-learn, where the authors published their code (CIFAR-100: 98,304 keys); its weights are 0.5, 0.5
and 5 on the three terms. The transformer has a tenth of the learning rate, as there. While the queue holds fewer keys
than there are neighbours (the first step), neighbours are looked for among the batch's own t1, over all ranks.
Departures: places in the sequence are told by sines over the places; in the published code they run over the features.
The queue starts empty, not with random keys. The contrasts have all ranks' candidates. Dropout in the transformer is
each rank's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nearfar.data.batch import Batch
from nearfar.distributed import gather
from nearfar.errors import require
from nearfar.losses import feature_contrast, info_nce
from nearfar.methods.base import Info, Method, Rule, Step
from nearfar.nn import Queue, Teacher, mlp, momentum_at

__all__ = ["All4One"]


class All4One(Method):
    """All4One on two views.

    Args:
        encoder: any module with ``dim``.
        hidden_dim: width of the projector's hidden layers; 0 takes the encoder's ``dim``.
        output_dim: length of a projection z; divisible by ``attention_heads``, and even.
        predictor_dim: width of the predictors' hidden layers.
        queue_size: number of stored projections, >= ``neighbours``.
        neighbours: keys that make a centroid, >= 1.
        temperature: tau of the neighbour contrast, > 0.
        centroid_temperature: tau of the centroid contrast, > 0.
        attention_layers: layers of the transformer.
        attention_heads: heads of each layer.
        dropout: in the transformer, in [0, 1).
        momentum: the teacher's at the start, in [0, 1].
        final_momentum: the teacher's at the end, in [0, 1].
        neighbour_weight: weight of the neighbour contrast, >= 0.
        centroid_weight: weight of the centroid contrast, >= 0.
        feature_weight: weight of the feature contrast, >= 0.

    Raises:
        InputError: when a setting is out of its range.
    """

    info: ClassVar[Info] = Info(
        "nearest neighbours, their centroids and the features of two views agree",
        "Estepa et al. 2023",
        "https://arxiv.org/abs/2303.09417",
        teacher=True,
        queue=True,
    )
    places: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden_dim: int = 2048,
        output_dim: int = 256,
        predictor_dim: int = 4096,
        queue_size: int = 65536,
        neighbours: int = 5,
        temperature: float = 0.2,
        centroid_temperature: float = 0.1,
        attention_layers: int = 3,
        attention_heads: int = 8,
        dropout: float = 0.1,
        momentum: float = 0.99,
        final_momentum: float = 1.0,
        neighbour_weight: float = 0.5,
        centroid_weight: float = 0.5,
        feature_weight: float = 5.0,
    ) -> None:
        super().__init__()
        dim = int(encoder.dim)  # type: ignore[arg-type]
        self.encoder = encoder
        self.hidden_dim, self.output_dim, self.predictor_dim = hidden_dim or dim, output_dim, predictor_dim
        self.queue_size, self.neighbours, self.dropout = queue_size, neighbours, dropout
        self.temperature, self.centroid_temperature = temperature, centroid_temperature
        self.attention_layers, self.attention_heads = attention_layers, attention_heads
        self.momentum, self.final_momentum = momentum, final_momentum
        self.neighbour_weight, self.centroid_weight = neighbour_weight, centroid_weight
        self.feature_weight = feature_weight
        self._check()
        self.head = mlp(dim, self.hidden_dim, output_dim, layers=3, last_norm=True)
        self.predict = mlp(output_dim, predictor_dim, output_dim)
        self.predict_centroid = mlp(output_dim, predictor_dim, output_dim)
        layer = nn.TransformerEncoderLayer(output_dim, attention_heads, 2 * output_dim, dropout, batch_first=True)
        self.attention = nn.TransformerEncoder(layer, attention_layers, enable_nested_tensor=False)
        self.teacher = Teacher(nn.Sequential(encoder, self.head))
        self.queue = Queue(output_dim, queue_size)
        self.register_buffer("places", _sines(neighbours, output_dim), persistent=False)

    def _check(self) -> None:
        for name in ("temperature", "centroid_temperature"):
            require(getattr(self, name) > 0, "All4One", name, "> 0", getattr(self, name))
        for name in ("momentum", "final_momentum"):
            require(0 <= getattr(self, name) <= 1, "All4One", name, "in [0, 1]", getattr(self, name))
        for name in ("neighbour_weight", "centroid_weight", "feature_weight"):
            require(getattr(self, name) >= 0, "All4One", name, ">= 0", getattr(self, name))
        for name in ("attention_layers", "attention_heads", "neighbours"):
            require(getattr(self, name) >= 1, "All4One", name, ">= 1", getattr(self, name))
        require(0 <= self.dropout < 1, "All4One", "dropout", "in [0, 1)", self.dropout)
        must = f">= neighbours ({self.neighbours})"
        require(self.queue_size >= self.neighbours, "All4One", "queue_size", must, self.queue_size)
        fits = self.output_dim % self.attention_heads == 0 and self.output_dim % 2 == 0
        must = f"even and divisible by attention_heads ({self.attention_heads})"
        require(fits, "All4One", "output_dim", must, self.output_dim)

    def step(self, batch: Batch) -> Step:
        """Return the weighted sum of the three contrasts, and store the first views' targets."""
        require(len(batch.views) == 2, "All4One", "number of views", "2", len(batch.views))
        h1, h2 = (self.encoder(view) for view in batch.views)
        z1, z2 = self.head(h1), self.head(h2)
        t1, t2 = (F.normalize(self.teacher(view).float(), dim=1) for view in batch.views)
        keys = self.queue.contents().keys
        keys = keys if len(keys) >= self.neighbours else gather(t1)
        n1, n2 = self._nearest(t1, keys), self._nearest(t2, keys)
        p1, p2 = self.predict(z1), self.predict(z2)
        tau = self.temperature
        neighbour = (info_nce(n1[:, 0], p2, temperature=tau) + info_nce(n2[:, 0], p1, temperature=tau)) / 2
        centroid = (self._centroids(n1, z2, n2) + self._centroids(n2, z1, n1)) / 2
        feature = feature_contrast(z1, z2, t1, t2)
        loss = self.neighbour_weight * neighbour + self.centroid_weight * centroid + self.feature_weight * feature
        self.queue.enqueue(t1)
        logs = {"neighbour": neighbour.detach(), "centroid": centroid.detach(), "feature": feature.detach()}
        return Step(loss=loss, features=h1.detach(), logs=logs)

    @torch.no_grad()
    def _nearest(self, t: Tensor, keys: Tensor) -> Tensor:
        """Return (N, K, D) the keys nearest to each row, the nearest first; K is smaller where there are fewer keys."""
        with torch.autocast(t.device.type, enabled=False):
            return keys[(t @ keys.T).topk(min(self.neighbours, len(keys)), dim=1).indices]

    def _centroids(self, neighbours: Tensor, z: Tensor, others: Tensor) -> Tensor:
        """Contrast the centroids of neighbours with those of the other view, led by its own prediction."""
        led = torch.cat([self.predict_centroid(z)[:, None].to(others), others[:, :-1]], 1)
        return info_nce(self._centroid(neighbours), self._centroid(led), temperature=self.centroid_temperature)

    def _centroid(self, sequence: Tensor) -> Tensor:
        centroid: Tensor = self.attention(sequence + self.places[: sequence.shape[1]])[:, 0]
        return centroid

    def rules(self) -> Mapping[str, Rule]:
        """The transformer learns at a tenth of the rate."""
        return {"attention.": Rule(scale=0.1)}

    def after_step(self, progress: float) -> None:
        """Move the teacher."""
        momentum = momentum_at(progress, self.momentum, self.final_momentum)
        self.teacher.follow(nn.Sequential(self.encoder, self.head), momentum)


def _sines(places: int, dim: int) -> Tensor:
    """Return (places, dim): sines and cosines of geometrically spaced wavelengths, one place a row."""
    rates = torch.exp(torch.arange(0, dim, 2) * (-math.log(10000) / dim))
    angles = torch.arange(places)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)
