"""A small convolutional encoder for small images, which trains on two CPU cores."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from nearfar.encoders.base import Encoder
from nearfar.errors import require

__all__ = ["SmallConvNet"]


class SmallConvNet(Encoder):
    """Four 3x3 convolutions with BatchNorm and ReLU, then the mean over the map.

    The first convolution keeps the resolution. Each further one halves it as long as the map keeps at least
    3x3 positions, so 8-pixel digits, 32-pixel photographs and 96-pixel crops all end in a map of a few positions.

    Args:
        in_channels: channels of the images.
        image_size: side of the square images in pixels; it decides how often the resolution is halved.
        width: channels after the first convolution; they double with every further one, so ``dim = 8 * width``.

    Raises:
        InputError: when a setting is below 1.
    """

    def __init__(self, *, in_channels: int = 3, image_size: int = 32, width: int = 32) -> None:
        super().__init__()
        for name, value in (("in_channels", in_channels), ("image_size", image_size), ("width", width)):
            require(value >= 1, "SmallConvNet", name, ">= 1", value)
        self.in_channels, self.image_size, self.width = in_channels, image_size, width
        self.dim = 8 * width
        layers: list[nn.Module] = []
        channels, side = in_channels, image_size
        for index in range(4):
            stride = 2 if index > 0 and side >= 6 else 1
            side = (side + stride - 1) // stride
            out = width * 2**index
            layers += [nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
            channels = out
        self.layers = nn.Sequential(*layers)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Return h of shape (N, 8 * width) for images of shape (N, in_channels, H, W)."""
        h = self.feature_map(x).mean(dim=(2, 3))
        return h.float() if h.dtype in (torch.bfloat16, torch.float16) else h

    def feature_map(self, x: Tensor) -> Tensor:
        """Return the last map, (N, 8 * width, H', W'), whose mean over positions is h."""
        return cast(Tensor, self.layers(x))

    def feature_maps(self, x: Tensor) -> list[Tensor]:
        """Return the four maps, fine to coarse: ``width`` channels, then twice as many each; the last as above."""
        maps = []
        for layer in self.layers:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                maps.append(x)
        return maps

    def stages(self) -> list[list[str]]:
        """Return the parameters of the first convolution with its BatchNorm, then of each further one."""
        names = [name for name, _ in self.layers.named_parameters()]
        return [[f"layers.{name}" for name in names if int(name.partition(".")[0]) // 3 == n] for n in range(4)]
