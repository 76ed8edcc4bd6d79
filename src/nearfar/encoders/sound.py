"""A small convolutional encoder for log-mel spectrograms of any length, which trains on two CPU cores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from nearfar.encoders.base import Encoder
from nearfar.errors import ConfigError, require

__all__ = ["SILENCE", "SoundConvNet"]

SILENCE = -2.0
"""What the quietest value of a spectrogram is after normalisation, (0 - 0.5) / 0.25."""


class SoundConvNet(Encoder):
    """Four 3x3 convolutions with BatchNorm and ReLU on a log-mel spectrogram; mean and maximum over its own frames.

    Every convolution halves bands and frames, the last two only the bands, so time keeps a resolution of four frames.
    What stands behind a sound is left out of the pooling, so a sound gives the same h in whatever company it is.
    The last map's bands are kept apart until the pooling, since which band is active is
    what a sound is made of; mean and maximum over time are added, as BYOL-A does
    (https://arxiv.org/abs/2204.07402, section III-C).

    Args:
        mels: bands of the spectrogram.
        frames: of no effect, as any number will do; all encoders of sound are told it.
        form: what it is fed with; must be ``"mel"``.
        width: channels after the first convolution; twice and four times as many after the next ones.

    Raises:
        InputError: when a setting is below 1.
        ConfigError: when it is to be fed with waves.
    """

    modality: ClassVar[str] = "audio"

    def __init__(
        self, *, mels: int = 64, frames: int = 0, form: Literal["mel", "wave"] = "mel", width: int = 32
    ) -> None:
        super().__init__()
        fix = "leave --input-options.form out, or take transformers-sound"
        require(form == "mel", "encoder sound", "input-options.form", "mel", form, fix, error=ConfigError)
        for name, value in (("mels", mels), ("width", width)):
            require(value >= 1, "SoundConvNet", name, ">= 1", value)
        self.mels, self.width = mels, width
        layers: list[nn.Module] = []
        channels, bands = 1, mels
        for index, stride in enumerate(_STRIDES):
            bands = -(-bands // stride[0])
            out = width * (1, 2, 4, 4)[index]
            layers += [nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
            channels = out
        self.layers = nn.Sequential(*layers)
        self.dim = channels * bands
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Mapping[str, Tensor] | Tensor) -> Tensor:
        """Return h of shape (N, dim).

        Args:
            x: ``{"mel": (N, 1, mels, F), "frames": (N,)}``, or the spectrograms alone, all of whose frames count.
        """
        mel, frames = (x, None) if isinstance(x, Tensor) else (x["mel"], x.get("frames"))
        mel = mel - SILENCE  # silence is 0 then, as is all that lies beyond the edge for a convolution
        if frames is None:
            maps = cast(Tensor, self.layers(mel)).float().flatten(1, 2)  # (N, channels · bands, F / 4)
            return maps.mean(2) + maps.amax(2)
        own, maps = frames, mel
        for index, stride in enumerate(_STRIDES):
            # what is behind a sound is 0 in every layer, as it is beyond the edge of the batch's tensor
            maps = self.layers[3 * index : 3 * index + 3](maps * _inside(own, maps))
            own = -(-own // stride[1])
        own = own.clamp(1, maps.shape[3])
        kept = (maps * _inside(own, maps)).float().flatten(1, 2)
        return kept.sum(2) / own[:, None] + kept.amax(2)  # ReLU's values are >= 0: 0 is no maximum that was not there

    def feature_map(self, x: Mapping[str, Tensor] | Tensor) -> Tensor:
        """Return the last map, (N, channels, bands, frames)."""
        return cast(Tensor, self.layers((x if isinstance(x, Tensor) else x["mel"]) - SILENCE))

    def stages(self) -> list[list[str]]:
        """Return the parameters of the first convolution with its BatchNorm, then of each further one."""
        names = [name for name, _ in self.layers.named_parameters()]
        return [[f"layers.{name}" for name in names if int(name.partition(".")[0]) // 3 == n] for n in range(4)]


def _inside(frames: Tensor, maps: Tensor) -> Tensor:
    """Return 1 on the sounds' own frames and 0 behind, (N, 1, 1, F)."""
    places = torch.arange(maps.shape[3], device=maps.device)
    return (places < frames[:, None]).to(maps.dtype)[:, None, None]


_STRIDES = ((2, 2), (2, 2), (2, 1), (2, 1))
