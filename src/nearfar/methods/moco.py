r"""MoCo v2: a query finds its key, made by a slowly moving encoder, among a long queue of older keys.

He, Fan, Wu, Xie, Girshick, "Momentum Contrast for Unsupervised Visual Representation Learning", CVPR 2020,
https://arxiv.org/abs/1911.05722; Chen, Fan, Girshick, He, "Improved Baselines with Momentum Contrastive Learning",
2020, https://arxiv.org/abs/2003.04297 (v2: the MLP head, the views, the cosine schedule)

    encoder   h = f(x)                      kept
    head      z = g(h)                      MLP of two layers without BatchNorm, discarded after pretraining
    loss      InfoNCE (eq. 1 of v1)         the query of view 1, the key of view 2; negatives: the queue
    state     teacher of f and g (eq. 2), queue of the keys of all ranks

Defaults: those of v2 on ImageNet (temperature 0.2, 65,536 keys, momentum 0.999, output 128; the hidden layer has the
encoder's width, which is the 2048 of ResNet-50).

``symmetric`` adds the loss of view 2's query and view 1's key, as MoCo v2+ does; it is the mean of the two, where the
authors' demonstration on CIFAR-10 takes the sum. ``momentum`` may rise to ``final_momentum`` by a cosine.

BatchNorm betrays which key was normalised together with a query, so the keys' batch must be composed otherwise:
``batchnorm="shuffle"`` is the paper's, over ranks, and does nothing on one rank; ``"split"`` also normalises ``parts``
of the batch by themselves, so that one rank, or any number, does what the paper's 8 do; ``"plain"`` does neither. With
the first two, statistics are never over all ranks, whatever the trainer asks for.

Departures: the queue starts empty, not with random keys; in the first step the batch's other keys are the negatives.
The views of a batch pass one by one, so that statistics are over one view, as in the reference implementation.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from nearfar.data.batch import Batch, Views
from nearfar.errors import require
from nearfar.losses import info_nce
from nearfar.methods.base import Info, Method, Step
from nearfar.nn import Queue, Teacher, draw_shuffle, mlp, momentum_at, split_batch_norms

__all__ = ["MoCo"]


class MoCo(Method):
    """MoCo v2 on two views.

    Args:
        encoder: any module with ``dim``; unless ``batchnorm`` is plain its BatchNorm layers are replaced by
            `nearfar.nn.SplitBatchNorm`, whose weights load into ordinary ones.
        hidden_dim: width of the head's hidden layers; 0 takes the encoder's ``dim``.
        output_dim: length of a projection z.
        head_layers: linear maps in the head; 2 in v2, 1 in v1.
        queue_size: number of keys, >= 1; well below the size of the data set.
        momentum: m of the teacher, in [0, 1]; 0.999 for 200 epochs of ImageNet, 0.99 on CIFAR.
        final_momentum: what m rises to by a cosine; none keeps it.
        temperature: tau > 0.
        symmetric: whether both views are queries; each step then costs twice as much.
        batchnorm: ``"split"``, ``"shuffle"`` or ``"plain"``.
        parts: parts of the batch of all ranks under ``"split"``, >= 1.

    Raises:
        InputError: when a setting is out of its range.
        ConfigError: when the encoder has BatchNorm layers that cannot be split.
    """

    info: ClassVar[Info] = Info(
        "a query finds its key, made by a slowly moving encoder, among a queue of older keys",
        "Chen et al. 2020",
        "https://arxiv.org/abs/2003.04297",
        teacher=True,
        queue=True,
    )

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden_dim: int = 0,
        output_dim: int = 128,
        head_layers: int = 2,
        queue_size: int = 65536,
        momentum: float = 0.999,
        final_momentum: float | None = None,
        temperature: float = 0.2,
        symmetric: bool = False,
        batchnorm: Literal["split", "shuffle", "plain"] = "split",
        parts: int = 8,
    ) -> None:
        super().__init__()
        require(temperature > 0, "MoCo", "temperature", "> 0", temperature)
        require(0 <= momentum <= 1, "MoCo", "momentum", "in [0, 1]", momentum)
        final = momentum if final_momentum is None else final_momentum
        require(0 <= final <= 1, "MoCo", "final_momentum", "in [0, 1]", final)
        dim = int(encoder.dim)  # type: ignore[arg-type]
        if batchnorm != "plain":
            encoder = split_batch_norms(encoder, parts if batchnorm == "split" else 1)
        self.encoder = encoder
        self.hidden_dim, self.output_dim, self.head_layers = hidden_dim or dim, output_dim, head_layers
        self.queue_size, self.momentum, self.final_momentum = queue_size, momentum, final_momentum
        self.temperature, self.symmetric, self.batchnorm, self.parts = temperature, symmetric, batchnorm, parts
        self.head = mlp(dim, self.hidden_dim, output_dim, layers=head_layers, norm=False)
        self.teacher_encoder, self.teacher_head = Teacher(self.encoder), Teacher(self.head)
        self.queue = Queue(output_dim, queue_size)

    def step(self, batch: Batch) -> Step:
        """Return InfoNCE of the first view's queries and the second view's keys, or of both pairs."""
        require(len(batch.views) == 2, "MoCo", "number of views", "2", len(batch.views))
        first, second = batch.views
        h = self.encoder(first)
        keys = [self._keys(second)]
        loss = self._info_nce(self.head(h), keys[0])
        if self.symmetric:
            keys.append(self._keys(first))
            loss = (loss + self._info_nce(self.head(self.encoder(second)), keys[1])) / 2
        for k in keys:
            self.queue.enqueue(k)
        return Step(loss=loss, features=h.detach())

    def after_step(self, progress: float) -> None:
        """Move the teacher (eq. 2 of v1)."""
        final = self.momentum if self.final_momentum is None else self.final_momentum
        momentum = momentum_at(progress, self.momentum, final)
        self.teacher_encoder.follow(self.encoder, momentum)
        self.teacher_head.follow(self.head, momentum)

    @torch.no_grad()
    def _keys(self, view: Views) -> Tensor:
        if self.batchnorm == "plain":
            return self.teacher_head(self.teacher_encoder(view))  # type: ignore[no-any-return]
        rows = view if isinstance(view, Tensor) else next(iter(view.values()))
        shuffle = draw_shuffle(len(rows), rows.device)
        return shuffle.undo(self.teacher_head(self.teacher_encoder(shuffle.apply(view))))

    def _info_nce(self, q: Tensor, k: Tensor) -> Tensor:
        older = self.queue.contents().keys
        queue = older if len(older) else None
        return info_nce(q, k, queue=queue, in_batch=queue is None, temperature=self.temperature)
