r"""MoCo v3: a predicted query finds its key, made by a slowly moving encoder, among the keys of the batch; no queue.

Chen, Xie, He, "An Empirical Study of Training Self-Supervised Vision Transformers", ICCV 2021,
https://arxiv.org/abs/2104.02057

    encoder   h = f(x)                   kept
    head      z = g(h), q = p(z)         MLPs with BatchNorm, discarded after pretraining; keys are the teacher's z
    loss      2 tau InfoNCE (eq. 1)      of (q of view 1, key of view 2) plus of (q of view 2, key of view 1);
                                         negatives: the batch's other keys, over all ranks
    state     teacher of f and g; its momentum rises from ``momentum`` to 1 by a cosine

Defaults are those of the reference implementation for ResNet-50 in 100 epochs: temperature 1.0, momentum 0.99, hidden
layers of 4096, output 256, two layers in both heads. A vision transformer takes temperature 0.2, ``head_layers=3`` and
``predictor_norm=True``, and keeps its randomly drawn patch projection (section 4.2), which ``freeze_patches`` does.

Departures: without ``predictor_norm`` the predictor's last map has a bias; a transformer's position embeddings are
trained, the paper's are fixed sines. The views pass one by one, so that statistics are over one view.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from nearfar.data.batch import Batch
from nearfar.encoders.base import is_vit
from nearfar.errors import require
from nearfar.losses import info_nce
from nearfar.methods.base import Info, Method, Step
from nearfar.nn import Teacher, mlp, momentum_at

__all__ = ["MoCoV3"]


class MoCoV3(Method):
    """MoCo v3 on two views.

    Args:
        encoder: any module with ``dim``.
        hidden_dim: width of the hidden layers of head and predictor; 0 takes the encoder's ``dim``.
        output_dim: length of a projection z.
        head_layers: linear maps in the head; 2 for ResNets, 3 for vision transformers.
        predictor_norm: whether BatchNorm, without scale and shift, also follows the predictor's last map.
        momentum: of the teacher at the start, in [0, 1]; 0.996 for 1000 epochs.
        temperature: tau > 0.
        freeze_patches: whether a vision transformer's patch projection stays as it is; others have none.

    Raises:
        InputError: when a setting is out of its range.
    """

    info: ClassVar[Info] = Info(
        "a predicted query finds its key, made by a slowly moving encoder, among the batch's keys",
        "Chen et al. 2021",
        "https://arxiv.org/abs/2104.02057",
        teacher=True,
    )

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden_dim: int = 4096,
        output_dim: int = 256,
        head_layers: int = 2,
        predictor_norm: bool = False,
        momentum: float = 0.99,
        temperature: float = 1.0,
        freeze_patches: bool = True,
    ) -> None:
        super().__init__()
        require(temperature > 0, "MoCoV3", "temperature", "> 0", temperature)
        require(0 <= momentum <= 1, "MoCoV3", "momentum", "in [0, 1]", momentum)
        dim = int(encoder.dim)  # type: ignore[arg-type]
        self.encoder = encoder
        self.hidden_dim, self.output_dim, self.head_layers = hidden_dim or dim, output_dim, head_layers
        self.predictor_norm, self.momentum, self.temperature = predictor_norm, momentum, temperature
        self.freeze_patches = freeze_patches
        if freeze_patches and is_vit(encoder):
            encoder.get_submodule("model.patch_embed").requires_grad_(False)
        self.head = mlp(dim, self.hidden_dim, output_dim, layers=head_layers, last_norm=True, last_affine=False)
        self.predictor = mlp(output_dim, self.hidden_dim, output_dim, last_norm=predictor_norm, last_affine=False)
        self.teacher_encoder, self.teacher_head = Teacher(self.encoder), Teacher(self.head)

    def step(self, batch: Batch) -> Step:
        """Return the sum of the two views' losses."""
        require(len(batch.views) == 2, "MoCoV3", "number of views", "2", len(batch.views))
        h = [self.encoder(view) for view in batch.views]
        q1, q2 = (self.predictor(self.head(x)) for x in h)
        with torch.no_grad():
            k1, k2 = (self.teacher_head(self.teacher_encoder(view)) for view in batch.views)
        both = info_nce(q1, k2, temperature=self.temperature) + info_nce(q2, k1, temperature=self.temperature)
        return Step(loss=2 * self.temperature * both, features=h[0].detach())

    def after_step(self, progress: float) -> None:
        """Move the teacher."""
        momentum = momentum_at(progress, self.momentum)
        self.teacher_encoder.follow(self.encoder, momentum)
        self.teacher_head.follow(self.head, momentum)
