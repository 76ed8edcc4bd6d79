"""What losses on given pairs and triplets do alike: check rows, of which a miner may have found none, and Y."""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.errors import require
from nearfar.losses._checks import check_embeddings

__all__ = ["check_different", "check_range", "check_rows"]


def check_rows(who: str, **tensors: Tensor) -> None:
    """As `check_embeddings`, but none of the tensors need have a row: a miner may have found no pair.

    Raises:
        InputError: naming the first tensor that is wrong.
    """
    empty = all(z.is_floating_point() and z.ndim == 2 and len(z) == 0 for z in tensors.values())
    if not empty:
        check_embeddings(who, same_rows=True, **tensors)


def check_different(who: str, different: Tensor, rows: int) -> Tensor:
    """Return Y as bool.

    Raises:
        InputError: not of shape (N,), or with a value that is neither 0 nor 1 (looked at on the CPU only).
    """
    require(different.ndim == 1, who, "different", "of shape (N,)", tuple(different.shape))
    require(len(different) == rows, who, "different", f"one per pair ({rows})", len(different))
    if different.device.type == "cpu" and not torch.compiler.is_compiling():
        wrong = different[(different != 0) & (different != 1)]
        require(len(wrong) == 0, who, "different", "0 (similar) or 1 (different)", wrong[:3].tolist())
    return different != 0


def check_range(who: str, labels: Tensor, classes: int) -> None:
    """Require labels in [0, classes), looked at on the CPU only; elsewhere the lookup itself fails.

    Raises:
        InputError: when one is not.
    """
    if labels.device.type == "cpu" and len(labels) and not torch.compiler.is_compiling():
        low, high = int(labels.min()), int(labels.max())
        require(low >= 0 and high < classes, who, "labels", f"in [0, {classes})", f"{low} to {high}")
