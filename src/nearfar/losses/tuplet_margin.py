r"""Tuplet margin and intra-pair variance: all negatives at once with a slack angle, and pairs of a kind kept alike.

Yu, Tao, "Deep Metric Learning with Tuplet Margin Loss", ICCV 2019,
https://openaccess.thecvf.com/content_ICCV_2019/papers/Yu_Deep_Metric_Learning_With_Tuplet_Margin_Loss_ICCV_2019_paper.pdf
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nearfar.distributed import is_distributed, world_size
from nearfar.errors import require
from nearfar.losses._checks import Reduction, check_positive, in_float32, unit
from nearfar.losses._rows import (
    Mined,
    dot,
    gathered,
    log1p_exp,
    masked_logsumexp,
    pack,
    per_anchor,
    reduce_sums,
    total_over_ranks,
)
from nearfar.losses.distances import safe_sqrt

__all__ = ["intra_pair_variance", "tuplet_margin"]


@in_float32
def tuplet_margin(
    z: Tensor,
    labels: Tensor,
    *,
    margin: float = 0.1,
    scale: float = 64.0,
    reduction: Reduction = "mean",
    mined: Mined | None = None,
    across_ranks: bool = True,
) -> Tensor:
    r"""Tuplet margin loss of every anchor a with every positive p, against all the anchor's negatives.

    .. math:: L_{ap} = \log \Bigl(1 + \sum_n e^{s (\cos \theta_{an} - \cos(\theta_{ap} - \beta))}\Bigr)

    Args:
        z: (N, D) float; need not be normalised.
        labels: (N,) integer.
        margin: beta in radians, in [0, pi): an angle at which a positive is near enough. 0.1 (5.73 degrees) is the
            paper's.
        scale: s > 0; 64 is the paper's.
        reduction: "mean" over pairs (a, p), "sum", or "none" for (N,), each anchor's mean.
        mined: the pairs that count, from a miner; None: all.
        across_ranks: whether all ranks' rows are positives and negatives.

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none". 0 where no anchor has both.

    Raises:
        InputError: shapes, types or a number are wrong.
    """
    require(0 <= margin < math.pi, "tuplet_margin", "margin", "an angle in [0, pi)", margin)
    check_positive("tuplet_margin", scale=scale)
    batch = gathered("tuplet_margin", z, labels, across_ranks, prepare=unit, mined=mined)
    most = batch.most_positives()

    def row(s: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, ...]:
        index, counts = pack(positive, most)
        near = s.gather(1, index)
        shifted = near * math.cos(margin) + sine(near) * math.sin(margin)
        rest = masked_logsumexp(scale * s, negative)
        values = log1p_exp(rest[:, None] - scale * shifted)
        counts = counts & negative.any(1, keepdim=True)
        return torch.where(counts, values, 0).sum(1), counts.sum(1)

    sums, counts = per_anchor(row, dot, batch)
    return reduce_sums("tuplet_margin", sums, counts, reduction, across_ranks)


@in_float32
def intra_pair_variance(
    z: Tensor,
    labels: Tensor,
    *,
    positive_epsilon: float = 0.01,
    negative_epsilon: float = 0.01,
    mined: Mined | None = None,
    across_ranks: bool = True,
) -> Tensor:
    r"""Intra-pair variance: positive pairs less similar than their mean, and negative pairs more similar than theirs.

    .. math::
        L = E\bigl[\max(0, (1 - \epsilon_p) E[c_p] - c_p)^2\bigr]
            + E\bigl[\max(0, c_n - (1 + \epsilon_n) E[c_n])^2\bigr]

    c are cosines, E the mean over all positive (p) or negative (n) pairs of the batch; the gradient flows through it. A
    term without pairs is 0. The paper adds this to another loss.

    Args:
        z: (N, D) float; need not be normalised.
        labels: (N,) integer.
        positive_epsilon: >= 0; 0.01 is the paper's.
        negative_epsilon: >= 0; 0.01 is the paper's.
        mined: the pairs that count, from a miner; None: all.
        across_ranks: whether means are over all ranks' pairs.

    Returns:
        A float32 scalar (float64 for float64 input).

    Raises:
        InputError: shapes, types or a number are wrong.
    """
    who = "intra_pair_variance"
    for name, value in (("positive_epsilon", positive_epsilon), ("negative_epsilon", negative_epsilon)):
        require(value >= 0, who, name, ">= 0", value)
    batch = gathered(who, z, labels, across_ranks, prepare=unit, mined=mined)

    def sums(s: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, ...]:
        both = torch.stack([torch.where(mask, s, 0).sum(1) for mask in (positive, negative)], 1)
        return both, torch.stack([positive.sum(1), negative.sum(1)], 1).to(s.dtype)

    total, count = (total_over_ranks(x.sum(0), across_ranks) for x in per_anchor(sums, dot, batch))
    count = count.detach().clamp(min=1)
    mean_p, mean_n = total / count

    def squares(s: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, ...]:
        low = torch.where(positive, (1 - positive_epsilon) * mean_p - s, 0).clamp(min=0).square()
        high = torch.where(negative, s - (1 + negative_epsilon) * mean_n, 0).clamp(min=0).square()
        return (torch.stack([low.sum(1), high.sum(1)], 1),)

    (values,) = per_anchor(squares, dot, batch)
    ranks = world_size() if across_ranks and is_distributed() else 1
    return (values.sum(0) * ranks / count).sum()


def sine(cosine: Tensor) -> Tensor:
    """Return sin of the angle whose cosine is given; 0, with gradient 0, where the cosine is 1 up to rounding."""
    squared = 1 - cosine.square()
    return safe_sqrt(squared.masked_fill(squared <= 4 * torch.finfo(cosine.dtype).eps, 0))
