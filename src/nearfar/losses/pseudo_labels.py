r"""Learning from one's own confident answers: FixMatch's loss, and the alignment of their frequencies."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nearfar.errors import require
from nearfar.losses._checks import check_embeddings, check_positive, in_float32

__all__ = ["PseudoLabelled", "align_distribution", "fix_match"]


class PseudoLabelled(NamedTuple):
    """What `fix_match` returns.

    Attributes:
        loss: scalar float32.
        used: share of the rows whose pseudo-label was confident enough, without gradient.
    """

    loss: Tensor
    used: Tensor


@in_float32
def fix_match(weak: Tensor, strong: Tensor, *, threshold: float = 0.95) -> PseudoLabelled:
    r"""Cross-entropy of strongly changed items on what the model says of them weakly changed, where it is sure.

    .. math:: L = \frac1N \sum_i \mathbb 1[\max_y q_{iy} \ge t] \, (-\log p_i(\hat y_i)), \qquad
        \hat y_i = \arg\max_y q_{iy}, \quad p = \mathrm{softmax}(\text{strong})

    Sohn et al., "FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence", NeurIPS 2020,
    https://arxiv.org/abs/2001.07685, eq. 4. The mean is over all N rows, also those that are not used.

    Args:
        weak: (N, C) float probabilities q of the weak views, rows of sum 1; no gradient reaches them.
        strong: (N, C) float logits of the strong views.
        threshold: t in [0, 1]; 0.95 in the paper.

    Returns:
        The loss, and the share of the rows that were used.

    Raises:
        InputError: shapes, types or the threshold are wrong.
    """
    require(0 <= threshold <= 1, "fix_match", "threshold", "in [0, 1]", threshold)
    check_embeddings("fix_match", weak=weak, strong=strong)
    confidence, label = weak.detach().max(1)
    used = (confidence >= threshold).to(strong.dtype)
    values = -strong.log_softmax(1).gather(1, label[:, None])[:, 0]
    return PseudoLabelled((values * used).mean(), used.mean())


@in_float32
def align_distribution(probabilities: Tensor, *, wanted: Tensor, seen: Tensor) -> Tensor:
    r"""Probabilities whose classes are as frequent as they should be.

    .. math:: \tilde q_{iy} \propto q_{iy} \, \frac{w_y}{s_y}

    Berthelot et al., "ReMixMatch: Semi-Supervised Learning with Distribution Alignment and Augmentation Anchoring",
    ICLR 2020, https://arxiv.org/abs/1911.09785, section 3.1.

    Args:
        probabilities: (N, C) float q, rows of sum 1.
        wanted: (C,) w, how frequent the classes are among the labels.
        seen: (C,) s > 0, how frequent they have been among the model's answers.

    Returns:
        (N, C) float32 (float64 for float64 input), rows of sum 1.

    Raises:
        InputError: shapes are wrong, or a class of ``seen`` is not above 0.
    """
    check_embeddings("align_distribution", probabilities=probabilities)
    classes = probabilities.shape[1]
    for name, value in (("wanted", wanted), ("seen", seen)):
        require(value.shape == (classes,), "align_distribution", name, f"({classes},)", tuple(value.shape))
    check_positive("align_distribution", seen=float(seen.min()))
    aligned = probabilities * (wanted / seen)
    return aligned / aligned.sum(1, keepdim=True).clamp_min(torch.finfo(aligned.dtype).tiny)
