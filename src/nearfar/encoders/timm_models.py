"""Any timm model as an encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

import timm
import torch
from torch import Tensor, nn

from nearfar.encoders.base import Encoder
from nearfar.errors import ConfigError

__all__ = ["TimmEncoder", "create", "known", "names"]

SMALL_IMAGE = 64


def known(name: str) -> bool:
    """Whether timm has a model of this name, with or without a tag of pretrained weights."""
    return timm.is_model(name)  # type: ignore[no-any-return]


def names(pattern: str) -> list[str]:
    """Return timm's models that match a pattern such as ``"resnet*"``; all without one."""
    return list(timm.list_models(pattern))


class TimmEncoder(Encoder):
    """A timm model without its classifier, pooled to one vector.

    Args:
        name: the model's name, with a tag of pretrained weights or without.
        in_channels: channels of the images.
        image_size: side of the square images in pixels; handed on to models that are built for one size.
        pretrained: load timm's published weights.
        options: further arguments of the model.

    Attributes:
        stem: ``"small"`` when the 7x7 convolution and the max-pool of a ResNet were replaced for small images.
        arguments: what `timm.create_model` was given.

    Raises:
        ConfigError: when timm refuses the settings.
    """

    def __init__(
        self,
        name: str,
        *,
        in_channels: int = 3,
        image_size: int = 224,
        pretrained: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.model, self.arguments = create(name, in_channels, image_size, pretrained, dict(options or {}))
        self.stem: Literal["small", "standard"] = "standard"
        if image_size <= SMALL_IMAGE and _shrink_stem(self.model):
            self.stem = "small"
        # some end in a wider layer after pooling, such as MobileNetV3
        self.dim = int(getattr(self.model, "head_hidden_size", self.model.num_features))

    def forward(self, x: Tensor) -> Tensor:
        """Return h of shape (N, dim) for images of shape (N, in_channels, image_size, image_size)."""
        h = cast(Tensor, self.model(x))
        return h.float() if h.dtype in (torch.bfloat16, torch.float16) else h

    def feature_map(self, x: Tensor) -> Tensor:
        """Return the features before pooling, (N, C, H', W'); of a transformer, its patches put back into place.

        Raises:
            ConfigError: when the model has no map.
        """
        features = cast(Tensor, self.model.forward_features(x))
        if features.ndim == 4:
            last = getattr(self.model, "output_fmt", "NCHW")
            return features.permute(0, 3, 1, 2) if str(last).endswith("NHWC") else features
        patches = features[:, getattr(self.model, "num_prefix_tokens", 0) :] if features.ndim == 3 else features
        side = round(patches.shape[1] ** 0.5)
        if features.ndim != 3 or side * side != patches.shape[1]:
            raise ConfigError(f"encoder {self.name}: must have a square map of features, got {tuple(features.shape)}")
        return patches.transpose(1, 2).reshape(len(patches), -1, side, side)

    def feature_maps(self, x: Tensor) -> list[Tensor]:
        """Return timm's intermediate features, (N, C, H, W) each, fine to coarse; the last is `feature_map`'s.

        A ResNet gives five, of the stem and its four stages; a plain ViT one of equal size for every block, normed.

        Raises:
            ConfigError: when timm offers none for the model.
        """
        if not hasattr(self.model, "forward_intermediates"):
            raise ConfigError(f"encoder {self.name}: must have intermediate features in timm, got none; take another")
        return list(self.model.forward_intermediates(x, norm=True, intermediates_only=True))

    def stages(self) -> list[list[str]]:
        """Return the parameters of the stem, then of every stage (of a ViT: of every block), as timm groups them."""
        groups = timm.models.group_parameters(self.model, self.model.group_matcher(coarse=True))
        return [[f"model.{name}" for name in groups[number]] for number in sorted(groups)]


def create(
    name: str, in_channels: int, image_size: int | tuple[int, int], pretrained: bool, options: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """Return a timm model without classifier, and what it was created with; a size may be (height, width).

    Raises:
        ConfigError: when timm refuses the settings.
    """
    arguments: dict[str, Any] = {"num_classes": 0, "in_chans": in_channels, **options}
    sized = {"img_size": image_size, **arguments}
    try:
        try:
            return timm.create_model(name, pretrained=pretrained, **sized), sized
        except TypeError:  # convolutional models take any size and know no img_size
            return timm.create_model(name, pretrained=pretrained, **arguments), arguments
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"encoder {name}: timm refuses it for {in_channels} channels of {image_size} px: {error}"
        ) from error


def _shrink_stem(model: Any) -> bool:
    conv = getattr(model, "conv1", None)
    if not isinstance(conv, nn.Conv2d) or not hasattr(model, "maxpool") or conv.kernel_size != (7, 7):
        return False
    model.conv1 = nn.Conv2d(conv.in_channels, conv.out_channels, 3, 1, 1, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.Identity()
    return True
