"""The encoder of time series: dilated convolutions with residuals, as in TS2Vec."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from nearfar.encoders.base import Encoder
from nearfar.errors import require

__all__ = ["SeriesConv"]


class SeriesConv(Encoder):
    """TS2Vec's encoder (https://arxiv.org/abs/2106.10466, section "Encoder Architecture"), smaller by default.

    A linear map of each moment, a mask of moments while training, then residual blocks GELU - convolution - GELU -
    convolution of width 3, block b with dilation 2^b, and a last convolution to ``dim``. The paper has width 64, ten
    blocks and dim 320. There is no normalisation, and any length is taken.

    Args:
        channels: numbers at each moment.
        width: of the blocks.
        depth: blocks; they see 2^(depth + 2) moments.
        dim: length of a representation.
        mask: probability that a moment is hidden after the linear map while training; 0.5 in the paper.
        pool: how the moments' representations become one: their largest, as the paper does for whole series, or mean.

    Raises:
        InputError: when a setting is out of its range.
    """

    modality: ClassVar[str] = "series"

    def __init__(
        self,
        *,
        channels: int,
        width: int = 64,
        depth: int = 5,
        dim: int = 128,
        mask: float = 0.0,
        pool: Literal["max", "mean"] = "max",
    ) -> None:
        super().__init__()
        for name, value in (("channels", channels), ("width", width), ("depth", depth), ("dim", dim)):
            require(value >= 1, "SeriesConv", name, ">= 1", value)
        require(0 <= mask < 1, "SeriesConv", "mask", "in [0, 1)", mask)
        require(pool in ("max", "mean"), "SeriesConv", "pool", "max or mean", pool)
        self.dim, self.mask, self.pool = dim, mask, pool
        self.first = nn.Conv1d(channels, width, 1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.GELU(), nn.Conv1d(width, width, 3, padding=2**block, dilation=2**block),
                nn.GELU(), nn.Conv1d(width, width, 3, padding=2**block, dilation=2**block),
            )
            for block in range(depth)
        )  # fmt: skip
        self.last = nn.Conv1d(width, dim, 1)

    def forward(self, x: Any) -> Tensor:
        """Return h of shape (N, dim) for series (N, channels, T), or a mapping with them under ``x``."""
        h = self.feature_map(x)
        return (h.amax(dim=2) if self.pool == "max" else h.mean(dim=2)).float()

    def feature_map(self, x: Any) -> Tensor:
        """Return a representation of every moment, (N, dim, T)."""
        x = x if isinstance(x, Tensor) else x["x"]
        h = self.first(x)
        if self.training and self.mask > 0:
            h = h * (torch.rand(len(h), 1, h.shape[2], device=h.device) >= self.mask)
        for block in self.blocks:
            h = h + block(h)
        out: Tensor = self.last(h)
        return out
