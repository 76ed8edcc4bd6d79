r"""DINO: a student matches a momentum teacher's centred and sharpened outputs across views of different sizes.

Caron, Touvron, Misra, Jégou, Mairal, Bojanowski, Joulin, "Emerging Properties in Self-Supervised Vision Transformers",
ICCV 2021, https://arxiv.org/abs/2104.14294

    encoder   h = f(x)             kept is the teacher's, as the paper evaluates it; one pass over views of each size
    head      g(h)                 MLP with GELU, bottleneck of length 1, weight-normalised outputs (appendix C)
    loss      cross-entropy (eq. 3) of the student on all views with the teacher on the large ones, never the same view
    state     teacher f', g'       moves by eq. of section 3.1, momentum on a cosine to 1; centre c (eq. 4)

Defaults: head 2048-2048-256 and 65,536 outputs, temperatures 0.1 and 0.07, momentum 0.996, centre's momentum 0.9 are
the paper's. The teacher's temperature rises from 0.04 over the first 30 % of training and the last layer is held fast
for the first 1 %: 30 epochs and one of 100 in the published code. Small data want fewer outputs (4,096 in solo-learn's
CIFAR setting), small batches a higher momentum (0.9995 at 256).
Departures: the temperature rises step by step, not by epochs; the length of the last layer's weights is always 1
(norm_last_layer in the code). The teacher's BatchNorm has its own statistics, from its own views.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from nearfar.data.batch import Batch, Views, by_size
from nearfar.errors import require
from nearfar.losses import dino, dino_center
from nearfar.methods.base import Info, Method, Step
from nearfar.nn import PrototypeHead, Teacher, momentum_at, temperature_at

__all__ = ["DINO"]


class DINO(Method):
    """DINO on two or more views, the large ones first.

    Args:
        encoder: any module with ``dim``; with crops of several sizes one that takes them all (a convolutional one, or a
            vision transformer of timm with the option dynamic_img_size).
        hidden_dim: width of the head's hidden layers; 0 takes the encoder's ``dim``.
        bottleneck_dim: width of the head's bottleneck.
        prototypes: K, number of outputs.
        head_layers: linear maps of the head up to the bottleneck.
        head_norm: BatchNorm in the head; the paper has none for vision transformers.
        temperature: the student's, > 0.
        teacher_temperature: the teacher's after the warm-up, > 0.
        first_teacher_temperature: the teacher's at the start, > 0.
        temperature_warmup: share of training, in [0, 1], over which the teacher's temperature moves.
        momentum: of the teacher at the start, in [0, 1].
        final_momentum: of the teacher at the end, in [0, 1].
        center_momentum: in [0, 1].
        frozen_share: share of training, in [0, 1], for which the last layer stays as it is.
        large_views: how many of the first views the teacher sees.

    Raises:
        InputError: when a setting is out of its range.
    """

    info: ClassVar[Info] = Info(
        "a student matches a momentum teacher's centred, sharpened outputs",
        "Caron et al. 2021",
        "https://arxiv.org/abs/2104.14294",
        negatives=False,
        teacher=True,
        most_views=None,
        mixed_sizes=True,
    )
    center: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden_dim: int = 2048,
        bottleneck_dim: int = 256,
        prototypes: int = 65536,
        head_layers: int = 3,
        head_norm: bool = False,
        temperature: float = 0.1,
        teacher_temperature: float = 0.07,
        first_teacher_temperature: float = 0.04,
        temperature_warmup: float = 0.3,
        momentum: float = 0.996,
        final_momentum: float = 1.0,
        center_momentum: float = 0.9,
        frozen_share: float = 0.01,
        large_views: int = 2,
    ) -> None:
        super().__init__()
        require(temperature > 0, "DINO", "temperature", "> 0", temperature)
        require(teacher_temperature > 0, "DINO", "teacher_temperature", "> 0", teacher_temperature)
        require(first_teacher_temperature > 0, "DINO", "first_teacher_temperature", "> 0", first_teacher_temperature)
        shares = {"temperature_warmup": temperature_warmup, "frozen_share": frozen_share, "momentum": momentum}
        shares |= {"final_momentum": final_momentum, "center_momentum": center_momentum}
        for name, value in shares.items():
            require(0 <= value <= 1, "DINO", name, "in [0, 1]", value)
        require(large_views >= 1, "DINO", "large_views", ">= 1", large_views)
        dim = int(encoder.dim)  # type: ignore[arg-type]
        self.encoder = encoder
        self.hidden_dim, self.bottleneck_dim, self.prototypes = hidden_dim or dim, bottleneck_dim, prototypes
        self.head_layers, self.head_norm, self.temperature = head_layers, head_norm, temperature
        self.teacher_temperature, self.first_teacher_temperature = teacher_temperature, first_teacher_temperature
        self.temperature_warmup, self.momentum, self.final_momentum = temperature_warmup, momentum, final_momentum
        self.center_momentum, self.frozen_share, self.large_views = center_momentum, frozen_share, large_views
        self.head = PrototypeHead(dim, self.hidden_dim, bottleneck_dim, prototypes, layers=head_layers, norm=head_norm)
        self.teacher, self.teacher_head = Teacher(encoder), Teacher(self.head)
        self.register_buffer("center", torch.zeros(prototypes))

    @property
    def kept(self) -> nn.Module:
        """The teacher's encoder."""
        return self.teacher.module

    def train(self, mode: bool = True) -> Self:
        """Set the mode; the teacher never drops anything, as the code's is built without drop path."""
        super().train(mode)
        for module in self.teacher.modules():
            if isinstance(module, nn.Dropout) or type(module).__name__ == "DropPath":
                module.eval()
        return self

    def step(self, batch: Batch) -> Step:
        """Return the cross-entropy over all pairs of a teacher's view and another view of the student."""
        count = len(batch.views)
        least = max(2, self.large_views)
        require(count >= least, "DINO", "number of views", f">= {least}", count)
        h = torch.cat([self.encoder(views) for views in by_size(batch.views)])
        targets = self._targets(batch.views[: self.large_views])
        loss = dino(
            self.head(h).chunk(count),
            targets,
            self.center,
            student_temperature=self.temperature,
            teacher_temperature=temperature_at(
                self.progress, self.first_teacher_temperature, self.teacher_temperature, self.temperature_warmup
            ),
        )
        if self.training:
            self.center.copy_(dino_center(self.center, targets, momentum=self.center_momentum))
        return Step(loss=loss, features=h.detach().chunk(count)[0])

    @torch.no_grad()
    def _targets(self, views: Sequence[Views]) -> tuple[Tensor, ...]:
        h = torch.cat([self.teacher(large) for large in by_size(views)])
        outputs: Tensor = self.teacher_head(h)
        return outputs.chunk(len(views))

    def before_step(self) -> None:
        """Hold the last layer fast at the start."""
        if float(self.progress) < self.frozen_share:
            self.head.prototypes.grad = None

    def after_step(self, progress: float) -> None:
        """Move the teacher."""
        momentum = momentum_at(progress, self.momentum, self.final_momentum)
        self.teacher.follow(self.encoder, momentum)
        self.teacher_head.follow(self.head, momentum)
