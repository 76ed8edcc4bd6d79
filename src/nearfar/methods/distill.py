r"""Distillation of features: an encoder learns the representations of a fixed teacher, without labels.

Romero, Ballas, Kahou, Chassang, Gatta, Bengio, "FitNets: Hints for Thin Deep Nets", ICLR 2015,
https://arxiv.org/abs/1412.6550; relations: Park et al., CVPR 2019, https://arxiv.org/abs/1904.05068, and Tung, Mori,
ICCV 2019, https://arxiv.org/abs/1907.09682

    encoder   h = f(x)             kept
    head      s = W h              linear, to the teacher's dimension where it differs (FitNets' regressor); else none
    loss      by name              cosine: 1 - cos(s, t);  mse: |s - t|^2 / D (FitNets, eq. 3);  relational: RKD's
                                   distances + 2 RKD's angles;  similarity: the batch's dot products, row by row
    state     teacher t(x)         any timm model, a run of nearfar, or a module; in eval mode, without gradient

The teacher sees the same crops as the student, resized and normalised as it was trained. Relations are over all ranks'
rows and need no head; 1 and 2 are RKD's weights.
Departures from FitNets: the last representation is learned, not a middle one, and there is no second stage with labels.
The teacher's weights are part of the checkpoint.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, Self, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nearfar.data.batch import Batch, Views, by_size
from nearfar.distributed import mean_over_rows
from nearfar.encoders import build, load_encoder
from nearfar.errors import ConfigError, require
from nearfar.losses import distill_mse, negative_cosine, rkd_angle, rkd_distance, similarity_preserving
from nearfar.methods.base import Info, Method, Step

__all__ = ["Distill"]

SIZE = 224
"""Side of the pictures that a timm teacher sees, in pixels, unless another is asked for."""

Loss = Literal["cosine", "mse", "relational", "similarity"]


class Distill(Method):
    """Feature distillation from a fixed teacher, on one or more views.

    Args:
        encoder: any module with ``dim``.
        teacher: the name of a timm model, a run folder (or its ``encoder.safetensors``), or, from Python, a module with
            ``dim`` that takes the views as they are. A run with a module cannot be resumed from its folder alone.
        pretrained: load timm's published weights of the teacher; without them it is good for trying things only.
        teacher_size: side of the pictures that the teacher sees, in pixels; 0 takes 224 for a timm model, the run's own
            for a run, and the views' for a module.
        loss: ``"cosine"``, ``"mse"``, ``"relational"`` or ``"similarity"``.
        view_mean: what was subtracted from the views' pixels; nearfar's views have 0.5.
        view_std: what they were then divided by; 0.25.

    Raises:
        InputError: when a setting is out of its range.
        ConfigError: when the teacher cannot be built, or a module has no ``dim``.
        RunError: when a run cannot be read.
    """

    info: ClassVar[Info] = Info(
        "an encoder learns the representations of a fixed teacher",
        "Romero et al. 2015",
        "https://arxiv.org/abs/1412.6550",
        negatives=False,
        teacher=True,
        least_views=1,
        most_views=None,
        mixed_sizes=True,
    )

    def __init__(
        self,
        encoder: nn.Module,
        *,
        teacher: str | nn.Module = "resnet50",
        pretrained: bool = True,
        teacher_size: int = 0,
        loss: Loss = "cosine",
        view_mean: float = 0.5,
        view_std: float = 0.25,
    ) -> None:
        super().__init__()
        require(teacher_size >= 0, "Distill", "teacher_size", ">= 0", teacher_size)
        require(loss in get_args(Loss), "Distill", "loss", f"one of {', '.join(get_args(Loss))}", repr(loss))
        require(view_std > 0, "Distill", "view_std", "> 0", view_std)
        dim = int(encoder.dim)  # type: ignore[arg-type]
        self.encoder = encoder
        self.teacher = teacher if isinstance(teacher, str) else "custom"
        self.pretrained, self.teacher_size, self.loss = pretrained, teacher_size, loss
        self.view_mean, self.view_std = view_mean, view_std
        self.source = _source(teacher, pretrained=pretrained, size=teacher_size)
        same = loss in ("relational", "similarity") or dim == self.source.dim
        self.head = nn.Identity() if same else nn.Linear(dim, self.source.dim)

    def train(self, mode: bool = True) -> Self:
        """Set the mode; the teacher stays in eval mode."""
        super().train(mode)
        self.source.eval()
        return self

    def step(self, batch: Batch) -> Step:
        """Return the distance of the student's representations from the teacher's."""
        groups = by_size(batch.views)
        h = torch.cat([self.encoder(views) for views in groups])
        target = torch.cat([self.source(self._plain(views)) for views in groups])
        student = self.head(h)
        if self.loss == "cosine":
            loss = 1 + negative_cosine(student, target)
        elif self.loss == "mse":
            loss = mean_over_rows(distill_mse(student, target, reduction="none"))
        elif self.loss == "relational":
            loss = rkd_distance(student, target) + 2 * rkd_angle(student, target)
        else:
            loss = similarity_preserving(student, target)
        return Step(loss=loss, features=h.detach().chunk(len(batch.views))[0])

    def _plain(self, views: Views) -> Views:
        """Take the views' normalisation off."""
        return views * self.view_std + self.view_mean if isinstance(views, Tensor) and self.source.looks else views


class Source(nn.Module):
    """A fixed teacher and how it looks at pictures.

    Args:
        module: what returns representations; no gradient reaches it.
        dim: their length.
        look: how pictures in [0, 1] are made ready for it; None hands on what it is given.
    """

    def __init__(self, module: nn.Module, dim: int, look: Look | None = None) -> None:
        super().__init__()
        self.module = module.requires_grad_(False)
        self.dim, self.look = dim, look
        self.eval()

    @property
    def looks(self) -> bool:
        """Whether pictures in [0, 1] are wanted."""
        return self.look is not None

    @torch.no_grad()
    def forward(self, views: Views) -> Tensor:
        """Return (N, dim) representations, without gradient."""
        if self.look is not None and isinstance(views, Tensor):
            views = self.look.ready(views)
        targets: Tensor = self.module(views)
        return targets


class Look(NamedTuple):
    """What a teacher was trained on: the side and the channels of its pictures, and their normalisation."""

    size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def ready(self, pictures: Tensor) -> Tensor:
        """Return pictures (N, C, H, W) in [0, 1] as the teacher wants them."""
        fits = pictures.shape[1] in (1, self.channels)
        require(fits, "Distill", "channels of the views", f"1 or the teacher's {self.channels}", pictures.shape[1])
        pictures = pictures.expand(-1, self.channels, -1, -1)
        if pictures.shape[2:] != (self.size, self.size):
            pictures = F.interpolate(pictures, (self.size, self.size), mode="bicubic", antialias=True).clamp(0, 1)
        mean, std = (pictures.new_tensor(values).view(1, -1, 1, 1) for values in (self.mean, self.std))
        return (pictures - mean) / std


def _source(teacher: str | nn.Module, *, pretrained: bool, size: int) -> Source:
    if isinstance(teacher, nn.Module):
        dim = getattr(teacher, "dim", None)
        fix = "set teacher.dim to the length of what it returns"
        require(isinstance(dim, int), "Distill", "teacher.dim", "an integer", dim, fix, error=ConfigError)
        assert isinstance(dim, int)
        return Source(teacher, dim)
    path = Path(teacher)
    folder = path.parent if path.suffix == ".safetensors" else path
    if teacher and folder.is_dir():
        module, spec = load_encoder(folder)
        return Source(module, spec.dim, Look(size or spec.image_size, spec.in_channels, spec.mean, spec.std))
    module, spec = build(teacher, in_channels=3, image_size=size or SIZE, pretrained=pretrained)
    published = getattr(getattr(module, "model", None), "pretrained_cfg", None) or {}
    must, fix = "one with published weights", "take a timm model or a run folder, or pretrained=False"
    require(bool(published) or not pretrained, "Distill", "teacher", must, repr(teacher), fix, error=ConfigError)
    kept = spec.stem == "standard" or not pretrained
    fix = "the published weights belong to the standard stem"
    require(kept, "Distill", "teacher_size", "> 64 pixels for this teacher", spec.image_size, fix)
    mean, std = published.get("mean", spec.mean), published.get("std", spec.std)
    return Source(module, spec.dim, Look(spec.image_size, 3, tuple(mean), tuple(std)))
