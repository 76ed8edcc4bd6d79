r"""DenseCL: MoCo v2 for whole images, and beside it for every position of the feature map.

Wang, Zhang, Shen, Kong, Li, "Dense Contrastive Learning for Self-Supervised Visual Pre-Training", CVPR 2021,
https://arxiv.org/abs/2011.09157

    encoder   f(x) is a map (C, H, W); h is its mean       kept
    head      z = g(h) and r = d(f(x)) at every position   MLPs of two layers, d of 1x1 convolutions; discarded
    loss      (1 - lambda) L_q + lambda L_r (eq. 3)        L_q: InfoNCE of z (eq. 1); L_r: of every r (eq. 2), whose
                                                           positive is the key r of the corresponding position
    state     teacher of f, g and d; a queue of the keys z and one of the keys r, averaged over positions

The corresponding position is the one of the key's map whose feature, before the heads, has the largest cosine with the
query's (section 3.4).

Defaults: those of ImageNet (lambda 0.5, temperature 0.2, 65,536 keys in both queues, momentum 0.999, output 128; hidden
layers of the encoder's width). ``batchnorm`` is that of `nearfar.methods.moco`.

Departures: the queues start empty, not with random keys; in the first step the negatives are the batch's other keys
(L_q) and its keys averaged over positions (L_r). Encoders with weights after their map are not fit for it: the mean of
the map is h here.
"""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nearfar.data.batch import Batch
from nearfar.distributed import gather
from nearfar.errors import require
from nearfar.losses import info_nce
from nearfar.methods.base import Info, Method, Step
from nearfar.nn import Queue, Teacher, draw_shuffle, mlp, split_batch_norms

__all__ = ["DenseCL"]


class DenseCL(Method):
    """DenseCL on two views.

    Args:
        encoder: a module with ``dim`` and ``feature_map(x)``, which returns (N, dim, H, W); unless ``batchnorm`` is
            plain its BatchNorm layers are replaced by `nearfar.nn.SplitBatchNorm`.
        hidden_dim: width of the heads' hidden layers; 0 takes the encoder's ``dim``.
        output_dim: length of z and r.
        queue_size: number of keys in each queue, >= 1.
        momentum: of the teacher, in [0, 1].
        temperature: tau > 0, of both losses.
        dense_weight: lambda in [0, 1).
        batchnorm: ``"split"``, ``"shuffle"`` or ``"plain"``.
        parts: parts of the batch of all ranks under ``"split"``, >= 1.

    Raises:
        InputError: when a setting is out of its range.
        ConfigError: when the encoder has BatchNorm layers that cannot be split.
    """

    info: ClassVar[Info] = Info(
        "MoCo v2 for whole images and for every position of the feature map",
        "Wang et al. 2021",
        "https://arxiv.org/abs/2011.09157",
        teacher=True,
        queue=True,
        encoder="maps",
    )

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden_dim: int = 0,
        output_dim: int = 128,
        queue_size: int = 65536,
        momentum: float = 0.999,
        temperature: float = 0.2,
        dense_weight: float = 0.5,
        batchnorm: Literal["split", "shuffle", "plain"] = "split",
        parts: int = 8,
    ) -> None:
        super().__init__()
        require(temperature > 0, "DenseCL", "temperature", "> 0", temperature)
        require(0 <= momentum <= 1, "DenseCL", "momentum", "in [0, 1]", momentum)
        require(0 < dense_weight < 1, "DenseCL", "dense_weight", "in (0, 1)", dense_weight, "use moco-v2 for 0")
        dim = int(encoder.dim)  # type: ignore[arg-type]
        if batchnorm != "plain":
            encoder = split_batch_norms(encoder, parts if batchnorm == "split" else 1)
        self.encoder = encoder
        self.hidden_dim, self.output_dim, self.queue_size = hidden_dim or dim, output_dim, queue_size
        self.momentum, self.temperature, self.dense_weight = momentum, temperature, dense_weight
        self.batchnorm, self.parts = batchnorm, parts
        self.head = mlp(dim, self.hidden_dim, output_dim, norm=False)
        self.dense_head = nn.Sequential(
            nn.Conv2d(dim, self.hidden_dim, 1), nn.ReLU(inplace=True), nn.Conv2d(self.hidden_dim, output_dim, 1)
        )
        self.teacher_encoder = Teacher(self.encoder)
        self.teacher_head, self.teacher_dense_head = Teacher(self.head), Teacher(self.dense_head)
        self.queue, self.dense_queue = Queue(output_dim, queue_size), Queue(output_dim, queue_size)

    def step(self, batch: Batch) -> Step:
        """Return the weighted sum of both losses; each is logged as well."""
        require(len(batch.views) == 2, "DenseCL", "number of views", "2", len(batch.views))
        first, second = batch.views
        query = _project(self.encoder, self.head, self.dense_head, first)
        key = self._key(second)
        pooled = key.dense.mean(2)
        older, dense_older = self.queue.contents().keys, self.dense_queue.contents().keys
        queue = older if len(older) else None
        whole = info_nce(query.z, key.z, queue=queue, in_batch=queue is None, temperature=self.temperature)
        place = correspond(query.features, key.features)[:, None].expand(-1, self.output_dim, -1)
        dense = info_nce(
            _rows(query.dense),
            _rows(key.dense.gather(2, place)),
            queue=dense_older if len(dense_older) else gather(pooled),
            in_batch=False,
            temperature=self.temperature,
        )
        self.queue.enqueue(key.z)
        self.dense_queue.enqueue(pooled)
        loss = (1 - self.dense_weight) * whole + self.dense_weight * dense
        logs = {"loss_whole": whole.detach(), "loss_dense": dense.detach()}
        return Step(loss=loss, features=query.h.detach(), logs=logs)

    def after_step(self, progress: float) -> None:
        """Move the teacher."""
        self.teacher_encoder.follow(self.encoder, self.momentum)
        self.teacher_head.follow(self.head, self.momentum)
        self.teacher_dense_head.follow(self.dense_head, self.momentum)

    @torch.no_grad()
    def _key(self, view: object) -> Projection:
        encoder, head, dense = self.teacher_encoder.module, self.teacher_head.module, self.teacher_dense_head.module
        if self.batchnorm == "plain" or not isinstance(view, Tensor):
            return _project(encoder, head, dense, view)
        shuffle = draw_shuffle(len(view), view.device)
        shuffled = _project(encoder, head, dense, shuffle.apply(view))
        return Projection(*(shuffle.undo(x) for x in shuffled))


class Projection(NamedTuple):
    """A view after encoder and heads.

    Attributes:
        features: (N, C, S) the encoder's map, S = H * W positions.
        h: (N, C) its mean over positions.
        z: (N, D).
        dense: (N, D, S), r at every position.
    """

    features: Tensor
    h: Tensor
    z: Tensor
    dense: Tensor


def correspond(queries: Tensor, keys: Tensor) -> Tensor:
    """Return for every position of a query's map the position of its key's map with the largest cosine.

    Args:
        queries: (N, C, S) float.
        keys: (N, C, S') float, row i belonging to query i.

    Returns:
        (N, S) int64, without gradient; of equal cosines the first.
    """
    with torch.no_grad(), torch.autocast(queries.device.type, enabled=False):
        q, k = (F.normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=1) for x in (queries, keys))
        return (q.transpose(1, 2) @ k).argmax(2)


def _project(encoder: nn.Module, head: nn.Module, dense_head: nn.Module, view: object) -> Projection:
    features = cast(Tensor, encoder.feature_map(view))  # type: ignore[operator]
    h = features.flatten(2).mean(2)
    return Projection(features.flatten(2), h, head(h), dense_head(features).flatten(2))


def _rows(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(0, 1)  # (N, D, S) -> (N * S, D)
