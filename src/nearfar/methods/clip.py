r"""CLIP: a picture and its caption attract, pictures and captions of others repel; two encoders, one space.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
https://arxiv.org/abs/2103.00020

    encoder   x = f(image), y = g(text)     both kept, each with a linear map into the shared space
    head      none                          what is compared is what is kept
    loss      CLIP (figure 3)               a softmax over the batch in both directions, scale t = exp(s) learnt; or
              SigLIP (section 3.2)          a yes-or-no question a pair, scale and bias learnt
    state     s, and b of SigLIP            scalars, without weight decay

SigLIP: Zhai, Mustafa, Kolesnikov, Beyer, "Sigmoid Loss for Language Image Pre-Training", ICCV 2023,
https://arxiv.org/abs/2303.15343. Locked-image tuning: Zhai et al., "LiT: Zero-Shot Transfer with Locked-image text
Tuning", CVPR 2022, https://arxiv.org/abs/2111.07991: ``lock_images`` trains the text side and the maps alone.

The first view of an item is the picture and the second its text, each for its own side of the encoder; with an encoder
of one kind of item, the views may be any two of it. Defaults: t starts at 1 / 0.07 and stays at 100 or below; SigLIP's
starts at 10, its bias at -10, as published.

Departures: none in losses and scales; the two sides are the encoders that were chosen, not the papers' own.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from nearfar.data.batch import Batch
from nearfar.errors import ConfigError, require
from nearfar.losses import clip, siglip
from nearfar.methods.base import Info, Method, Step

__all__ = ["CLIP"]

MOST_SCALE = 100.0


class CLIP(Method):
    """CLIP or SigLIP on two views.

    Args:
        encoder: a module with ``dim`` that takes either view.
        loss: clip or siglip.
        scale: t at the start; 0 takes the loss's own, 1 / 0.07 or 10.
        bias: SigLIP's b at the start.
        lock_images: leave the pictures' side as it is, but for its map into the shared space.

    Raises:
        InputError: when a setting is out of its range.
        ConfigError: when images are to be locked of an encoder without a side for them.
    """

    info: ClassVar[Info] = Info(
        "a picture and its caption attract, others repel",
        "Radford et al. 2021",
        "https://arxiv.org/abs/2103.00020",
        mixed_sizes=True,
    )

    def __init__(
        self,
        encoder: nn.Module,
        *,
        loss: Literal["clip", "siglip"] = "clip",
        scale: float = 0.0,
        bias: float = -10.0,
        lock_images: bool = False,
    ) -> None:
        super().__init__()
        require(scale >= 0, "CLIP", "scale", "> 0, or 0 for the loss's own", scale)
        self.encoder = encoder
        self.loss, self.scale, self.bias, self.lock_images = loss, scale, bias, lock_images
        start = scale or (1 / 0.07 if loss == "clip" else 10.0)
        self.log_scale = nn.Parameter(torch.tensor(math.log(start)))
        if loss == "siglip":
            self.shift = nn.Parameter(torch.tensor(float(bias)))
        if lock_images:
            side = getattr(encoder, "image", None)
            fix = "leave lock_images out, or take an encoder of images and texts"
            require(isinstance(side, nn.Module), "CLIP", "encoder", "one with a side for images",
                    type(encoder).__name__, fix, error=ConfigError)  # fmt: skip
            assert isinstance(side, nn.Module)
            side.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> CLIP:
        """Set the mode; a locked side stays in eval mode, so that no BatchNorm statistic moves."""
        super().train(mode)
        side: Any = getattr(self.encoder, "image", None)
        if self.lock_images and side is not None:
            side.eval()
        return self

    def step(self, batch: Batch) -> Step:
        """Return the loss between the two views; each has a pass of its own."""
        require(len(batch.views) == 2, "CLIP", "number of views", "2", len(batch.views))
        x, y = (self.encoder(view) for view in batch.views)
        scale = self.log_scale.exp().clamp(max=MOST_SCALE)
        if self.loss == "clip":
            loss, logs = clip(x, y, scale=scale), {"scale": scale.detach()}
        else:
            loss = siglip(x, y, scale=scale, bias=self.shift)
            logs = {"scale": scale.detach(), "bias": self.shift.detach()}
        return Step(loss=loss, features=x.detach(), logs=logs)
