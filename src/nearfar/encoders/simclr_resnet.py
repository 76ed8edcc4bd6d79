"""The ResNets of SimCLR v1 and v2, which timm has not: wide, with selective kernels and the stem of ResNet-D.

Chen, Kornblith, Swersky, Norouzi, Hinton, "Big Self-Supervised Models are Strong Semi-Supervised Learners", NeurIPS
2020, https://arxiv.org/abs/2006.10029; read in https://github.com/google-research/simclr (``resnet.py``, Apache 2.0).

    blocks     bottlenecks with the stride on the 3x3 convolution, a projection in the first block of every stage
    width      multiplies the stem and the stages' 64, 128, 256, 512
    sk0        a 7x7 stem; the names of the weights are torchvision's and timm's
    sk1        selective kernels instead of the 3x3 convolution (Li et al. 2019, https://arxiv.org/abs/1903.06586, as
               Google has them: two 3x3 streams), three 3x3 convolutions as stem, and a mean over 2x2 before the
               projection (ResNet-D, He et al. 2018, https://arxiv.org/abs/1812.01187)

Names are Google's: ``r50_1x_sk0`` to ``r152_3x_sk1``, the thirteen of the paper's table 1, and v1's ``r50_4x_sk0``.
Padding follows TensorFlow (max-pool and mean pool pad behind, not around), so Google's weights give Google's features.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nearfar.encoders.base import Encoder
from nearfar.errors import require

__all__ = ["LAYERS", "SelectiveKernels", "SimCLRResNet"]

LAYERS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Blocks of every stage, by depth."""

SMALL_IMAGE = 64
EXPANSION = 4
SK_RATIO, SK_LEAST = 16, 32


class SimCLRResNet(Encoder):
    """A ResNet of SimCLR: four stages of bottlenecks, then the mean over the map; ``dim = 2048 * width``.

    Images of at most 64 pixels get a stem of one 3x3 convolution of stride 1 without max-pool, with or without
    selective kernels, as Google's code has it for CIFAR.

    Args:
        in_channels: channels of the images.
        image_size: side of the square images in pixels.
        depth: 50, 101 or 152 layers.
        width: 1 for the usual channels, 2 for twice as many, and so on.
        selective_kernels: v2's ``sk1``.
        layers: blocks of the four stages, instead of those of the depth.

    Attributes:
        stem: ``"small"`` or ``"standard"``.

    Raises:
        InputError: on another depth, a width below 1, or not four stages.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        image_size: int = 224,
        depth: int = 50,
        width: int = 1,
        selective_kernels: bool = False,
        layers: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        require(depth in LAYERS, "SimCLRResNet", "depth", "50, 101 or 152", depth)
        layers = LAYERS[depth] if layers is None else tuple(layers)
        for name, value in (("in_channels", in_channels), ("image_size", image_size), ("width", width)):
            require(value >= 1, "SimCLRResNet", name, ">= 1", value)
        require(len(layers) == 4 and min(layers) >= 1, "SimCLRResNet", "layers", "four numbers >= 1", layers)
        self.depth, self.width, self.selective_kernels = depth, width, selective_kernels
        self.in_channels, self.image_size, self.layers = in_channels, image_size, layers
        self.stem = "small" if image_size <= SMALL_IMAGE else "standard"
        self.dim = 512 * EXPANSION * width
        channels = 64 * width
        self.conv1 = _stem(in_channels, channels, self.stem, selective_kernels)
        self.bn1 = nn.BatchNorm2d(channels)
        for number, count in enumerate(layers):
            inner = 64 * width * 2**number
            blocks = []
            for place in range(count):
                stride = 2 if number > 0 and place == 0 else 1
                blocks.append(_Bottleneck(channels, inner, stride, place == 0, selective_kernels))
                channels = EXPANSION * inner
            setattr(self, f"layer{number + 1}", nn.Sequential(*blocks))
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return h of shape (N, 2048 * width) for images of shape (N, in_channels, H, W)."""
        h = self.feature_map(x).mean(dim=(2, 3))
        return h.float() if h.dtype in (torch.bfloat16, torch.float16) else h

    def feature_map(self, x: Tensor) -> Tensor:
        """Return the last map, (N, 2048 * width, H', W'), whose mean over positions is h."""
        return self.feature_maps(x)[-1]

    def feature_maps(self, x: Tensor) -> list[Tensor]:
        """Return five maps, fine to coarse: the stem's before its max-pool, then one of every stage."""
        x = F.relu(self.bn1(self.conv1(x)))
        maps = [x]
        if self.stem == "standard":
            # TensorFlow's SAME: an even side is padded behind only, an odd one on both sides
            x = F.max_pool2d(x, 3, 2, padding=(x.shape[2] % 2, x.shape[3] % 2), ceil_mode=True)
        for number in range(1, 5):
            x = getattr(self, f"layer{number}")(x)
            maps.append(x)
        return maps

    def stages(self) -> list[list[str]]:
        """Return the parameters of the stem, then of each of the four stages."""
        names = [name for name, _ in self.named_parameters()]
        stem = [name for name in names if not name.startswith("layer")]
        return [stem, *([n for n in names if n.startswith(f"layer{number}.")] for number in range(1, 5))]


class SelectiveKernels(nn.Module):
    """Two streams of a 3x3 convolution, mixed per channel by weights that the whole map chooses.

    ``(a, b) = relu(bn(conv(x)))``, ``w = select(relu(bn(reduce(mean(a + b)))))`` over positions, and the result is
    ``softmax(w)₁ a + softmax(w)₂ b`` for every channel.

    Args:
        in_channels: channels that come in.
        channels: channels that go out.
        stride: of the 3x3 convolution.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        middle = max(channels // SK_RATIO, SK_LEAST)
        self.conv = _conv(in_channels, 2 * channels, 3, stride)
        self.bn = nn.BatchNorm2d(2 * channels)
        self.reduce = _conv(channels, middle, 1)
        self.reduce_bn = nn.BatchNorm2d(middle)
        self.select = _conv(middle, 2 * channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, channels, H', W')."""
        first, second = F.relu(self.bn(self.conv(x))).chunk(2, dim=1)
        pooled = (first + second).mean(dim=(2, 3), keepdim=True)
        one, two = self.select(F.relu(self.reduce_bn(self.reduce(pooled)))).chunk(2, dim=1)
        share = torch.sigmoid(one - two)  # the softmax over two
        return second + share * (first - second)


class _Bottleneck(nn.Module):
    """1x1, then 3x3 or selective kernels, then 1x1 to four times the channels, beside a shortcut."""

    def __init__(self, in_channels: int, channels: int, stride: int, project: bool, selective: bool) -> None:
        super().__init__()
        out = EXPANSION * channels
        self.selective, self.stride = selective, stride
        self.downsample = None
        if project:
            conv = _conv(in_channels, out, 1, 1 if selective else stride)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(out))
        self.conv1 = _conv(in_channels, channels, 1)
        self.bn1 = nn.BatchNorm2d(channels)
        if selective:
            self.conv2: nn.Module = SelectiveKernels(channels, channels, stride)
            self.bn2: nn.Module = nn.Identity()
        else:
            self.conv2, self.bn2 = _conv(channels, channels, 3, stride), nn.BatchNorm2d(channels)
        self.conv3 = _conv(channels, out, 1)
        self.bn3 = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.bn1(self.conv1(x)))
        h = self.conv2(h) if self.selective else F.relu(self.bn2(self.conv2(h)))
        h = self.bn3(self.conv3(h))
        if self.downsample is not None:
            x = self.downsample(_mean_pool(x, self.stride) if self.selective else x)
        return F.relu(h + x)


def _mean_pool(x: Tensor, stride: int) -> Tensor:
    """Return means over 2x2, padded behind as Google's code has it.

    With stride 2 an odd side is padded by zeros that count; with stride 1 TensorFlow's SAME leaves what lies outside
    out of the mean.
    """
    if stride == 2:
        return F.avg_pool2d(F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2)), 2, 2)
    return F.avg_pool2d(F.pad(x, (0, 1, 0, 1), mode="replicate"), 2, 1)


def _conv(in_channels: int, channels: int, side: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, channels, side, stride, side // 2, bias=False)


def _stem(in_channels: int, channels: int, stem: str, selective: bool) -> nn.Module:
    if stem == "small":
        return _conv(in_channels, channels, 3)
    if not selective:
        return _conv(in_channels, channels, 7, 2)
    half = channels // 2
    first = [_conv(in_channels, half, 3, 2), nn.BatchNorm2d(half), nn.ReLU(inplace=True)]
    second = [_conv(half, half, 3), nn.BatchNorm2d(half), nn.ReLU(inplace=True)]
    return nn.Sequential(*first, *second, _conv(half, channels, 3))


def _initialise(encoder: nn.Module) -> None:
    """Set the convolutions as TensorFlow's variance scaling does, and every block to begin as its shortcut."""
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            sd = fan_in**-0.5 / 0.87962566103423978  # of the normal before it is cut at two deviations
            nn.init.trunc_normal_(module.weight, std=sd, a=-2 * sd, b=2 * sd)
        if isinstance(module, _Bottleneck):
            nn.init.zeros_(module.bn3.weight)


def _named(depth: int, width: int, selective_kernels: bool) -> Callable[..., SimCLRResNet]:
    def build(*, in_channels: int = 3, image_size: int = 224) -> SimCLRResNet:
        return SimCLRResNet(
            in_channels=in_channels,
            image_size=image_size,
            depth=depth,
            width=width,
            selective_kernels=selective_kernels,
        )

    build.__name__ = build.__qualname__ = f"r{depth}_{width}x_sk{int(selective_kernels)}"
    return build


r50_1x_sk0, r50_1x_sk1 = _named(50, 1, False), _named(50, 1, True)
r50_2x_sk0, r50_2x_sk1 = _named(50, 2, False), _named(50, 2, True)
r50_4x_sk0 = _named(50, 4, False)
r101_1x_sk0, r101_1x_sk1 = _named(101, 1, False), _named(101, 1, True)
r101_2x_sk0, r101_2x_sk1 = _named(101, 2, False), _named(101, 2, True)
r152_1x_sk0, r152_1x_sk1 = _named(152, 1, False), _named(152, 1, True)
r152_2x_sk0, r152_2x_sk1 = _named(152, 2, False), _named(152, 2, True)
r152_3x_sk1 = _named(152, 3, True)
