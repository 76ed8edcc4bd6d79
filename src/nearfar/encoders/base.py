"""What every encoder is: a module from a view to a representation h of ``dim`` numbers."""

from __future__ import annotations

import abc
from typing import Any

from torch import Tensor, nn

__all__ = ["Encoder", "is_vit"]


class Encoder(nn.Module, abc.ABC):
    """h = f(x): a batch of views in, one representation of ``dim`` float32 numbers per item out.

    A user's own module is an encoder as soon as it has an integer ``dim`` and returns (N, dim);
    subclassing this class is not needed.

    Attributes:
        dim: the length of a representation.
    """

    dim: int

    @abc.abstractmethod
    def forward(self, x: Any) -> Tensor:
        """Return h of shape (N, dim) for a batch of N views."""


def is_vit(encoder: nn.Module) -> bool:
    """Whether an encoder wraps a timm vision transformer, whose patches can be hidden one by one."""
    model = getattr(encoder, "model", None)
    return all(hasattr(model, name) for name in ("patch_embed", "pos_embed", "blocks", "norm"))
