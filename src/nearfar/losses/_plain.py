"""The plain formula: the matrix of logits held whole. The reference, and the faster way for tiny batches."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nearfar.losses._hide import Hide

__all__ = ["both_logsumexp", "row_logsumexp", "row_softplus"]


def _logits(a: Tensor, b: Tensor, scale: float, hide: Hide) -> Tensor:
    logits = a @ b.T * scale
    if hide.diagonals or hide.drop is not None:
        logits = logits.masked_fill(hide.mask(len(a), len(b), a.device), -torch.inf)
    return logits


def row_logsumexp(a: Tensor, b: Tensor | None, scale: float, hide: Hide) -> Tensor:
    """Return (R,) log sum_j exp(scale * a_i . b_j) over the entries that count; -inf, without gradient, if none does.

    Args:
        a: (R, D).
        b: (C, D), or None for ``a`` itself.
        scale: factor of the products.
        hide: the entries that do not count.
    """
    logits = _logits(a, a if b is None else b, scale, hide)
    empty = logits.isneginf().all(1)
    return logits.masked_fill(empty[:, None], 0).logsumexp(1).masked_fill(empty, -torch.inf)


def both_logsumexp(a: Tensor, b: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Return the (R,) log-sum-exp of every row and the (C,) of every column of scale * a b^T."""
    logits = _logits(a, b, scale, Hide())
    return logits.logsumexp(1), logits.logsumexp(0)


def row_softplus(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """Return (R,) sum_j log(1 + exp(scale * a_i . b_j))."""
    return F.softplus(_logits(a, b, scale, Hide())).sum(1)
