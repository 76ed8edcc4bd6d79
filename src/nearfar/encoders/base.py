"""What every encoder is: a module from a view to a representation h of ``dim`` numbers."""

from __future__ import annotations

import abc
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from nearfar.errors import ConfigError

__all__ = ["Encoder", "is_vit"]


class Encoder(nn.Module, abc.ABC):
    """h = f(x): a batch of views in, one representation of ``dim`` float32 numbers per item out.

    A user's own module is an encoder as soon as it has an integer ``dim`` and returns (N, dim);
    subclassing this class is not needed.

    Attributes:
        modality: the name of the modality whose views it takes.
        dim: the length of a representation.
        frozen: names of the modules that stay in eval mode; see `nearfar.encoders.freeze_stages`.
    """

    modality: ClassVar[str] = "image"
    dim: int
    frozen: tuple[str, ...] = ()

    @abc.abstractmethod
    def forward(self, x: Any) -> Tensor:
        """Return h of shape (N, dim) for a batch of N views."""

    def feature_maps(self, x: Any) -> list[Tensor]:
        """Return maps (N, C, H, W) from fine to coarse, as a detector or segmenter takes them.

        Raises:
            ConfigError: when the encoder has none.
        """
        raise ConfigError(f"encoder: must have feature maps, got {type(self).__name__}; take small or a timm model")

    def stages(self) -> list[list[str]]:
        """Return the names of the parameters of the stem, then of every stage.

        Raises:
            ConfigError: when the encoder does not know them.
        """
        raise ConfigError(f"encoder: must know its stages, got {type(self).__name__}; take small or a timm model")

    def train(self, mode: bool = True) -> Self:
        """Set the mode as in torch, but leave in eval mode what is frozen."""
        super().train(mode)
        for name in self.frozen:
            self.get_submodule(name).eval()
        return self


def is_vit(encoder: nn.Module) -> bool:
    """Whether an encoder wraps a timm vision transformer, whose patches can be hidden one by one."""
    model = getattr(encoder, "model", None)
    return all(hasattr(model, name) for name in ("patch_embed", "pos_embed", "blocks", "norm"))
