"""Learnable scales and biases of logits, folded into the embeddings so that autograd finds their gradients."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nearfar.errors import require

__all__ = ["check_scalar", "scaled"]


def check_scalar(who: str, name: str, value: float | Tensor, *, positive: bool) -> None:
    """Require a finite number or a float tensor of one element; its sign is looked at on the CPU only.

    Raises:
        InputError: when it is neither, or not finite, or (``positive``) not > 0.
    """
    if isinstance(value, Tensor):
        require(
            value.numel() == 1 and value.is_floating_point(), who, name, "a number or a float tensor of one element",
            f"{value.dtype} of shape {tuple(value.shape)}",
        )  # fmt: skip
        if value.device.type != "cpu" or torch.compiler.is_compiling():
            return
        value = value.item()
    must = "finite and > 0" if positive else "finite"
    require(math.isfinite(value) and (value > 0 or not positive), who, name, must, value)


def scaled(rows: Tensor, factor: float | Tensor) -> Tensor:
    """Multiply all rows by one number, in the rows' type."""
    return rows * (factor.to(rows).reshape(()) if isinstance(factor, Tensor) else factor)
