r"""Lifted structure: a positive pair against all negatives of both its ends at once."""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.distributed import gather
from nearfar.losses._checks import Reduction, in_float32, reduce
from nearfar.losses._rows import Mined, gathered, masked_logsumexp, per_anchor, reduce_sums
from nearfar.losses.distances import DistanceLike, check_margin, find_distance

__all__ = ["generalized_lifted_structure", "lifted_structure"]


@in_float32
def lifted_structure(
    z: Tensor,
    labels: Tensor,
    *,
    margin: float = 1.0,
    distance: DistanceLike = "euclidean",
    reduction: Reduction = "mean",
    mined: Mined | None = None,
    across_ranks: bool = True,
) -> Tensor:
    r"""Lifted structured loss over all positive pairs P, with the negatives N of both ends.

    .. math::
        J_{ij} &= \log \Bigl(\sum_{(i,k) \in N} e^{m - D_{ik}} + \sum_{(j,l) \in N} e^{m - D_{jl}}\Bigr) + D_{ij} \\
        L &= \frac{1}{2 |P|} \sum_{(i,j) \in P} \max(0, J_{ij})^2

    Song, Xiang, Jegelka, Savarese, "Deep Metric Learning via Lifted Structured Feature Embedding", CVPR 2016,
    https://arxiv.org/abs/1511.06452, eq. 4.

    Args:
        z: (N, D) float; the paper does not normalise.
        labels: (N,) integer.
        margin: m > 0 (the paper's alpha) in units of ``distance``; 1 is the authors'.
        distance: D.
        reduction: "mean" over positive pairs, "sum" over ordered ones, or "none" for (N,), each anchor's mean.
        mined: the pairs that count, from a miner; None: all.
        across_ranks: whether all ranks' rows are positives and negatives.

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none". 0 where no positive pair has a negative.

    Raises:
        InputError: shapes, types, the margin or a name are wrong.
    """
    batch = gathered("lifted_structure", z, labels, across_ranks, mined=mined)
    d = find_distance("lifted_structure", distance)
    check_margin("lifted_structure", margin, d)

    def repelled(distances: Tensor, _: Tensor, negative: Tensor) -> tuple[Tensor, ...]:
        return (masked_logsumexp(margin - distances, negative),)

    (push,) = per_anchor(repelled, d.matrix, batch)
    # Far below every logarithm, yet finite: -inf less -inf has no gradient.
    push = push.clamp(min=torch.finfo(z.dtype).min / 4)
    others = gather(push) if across_ranks else push

    def row(distances: Tensor, positive: Tensor, negative: Tensor, own: Tensor) -> tuple[Tensor, ...]:
        j = torch.logaddexp(own[:, None], others[None]) + distances
        valid = positive & negative.any(1, keepdim=True)  # of one class: the partner has negatives as well
        values = torch.where(valid, j.clamp(min=0).square() / 2, 0)
        return values.sum(1), valid.sum(1)

    sums, counts = per_anchor(row, d.matrix, batch, extra=[push])
    return reduce_sums("lifted_structure", sums, counts, reduction, across_ranks)


@in_float32
def generalized_lifted_structure(
    z: Tensor,
    labels: Tensor,
    *,
    margin: float = 1.0,
    distance: DistanceLike = "euclidean",
    reduction: Reduction = "mean",
    mined: Mined | None = None,
    across_ranks: bool = True,
) -> Tensor:
    r"""Lifted structure per anchor, with all its positives and all its negatives.

    .. math:: L_a = \max\Bigl(0, \log \sum_p e^{D_{ap}} + \log \sum_n e^{m - D_{an}}\Bigr)

    Hermans, Beyer, Leibe, "In Defense of the Triplet Loss for Person Re-Identification", 2017,
    https://arxiv.org/abs/1703.07737, section 2 (L_LG).

    Args:
        z: (N, D) float.
        labels: (N,) integer.
        margin: m > 0 in units of ``distance``; 1 as in `lifted_structure`.
        distance: D.
        reduction: "mean" over the anchors with a positive and a negative, "sum", or "none" for (N,).
        mined: the pairs that count, from a miner; None: all.
        across_ranks: whether all ranks' rows are positives and negatives.

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none". 0 where no anchor has both.

    Raises:
        InputError: shapes, types, the margin or a name are wrong.
    """
    who = "generalized_lifted_structure"
    batch = gathered(who, z, labels, across_ranks, mined=mined)
    d = find_distance(who, distance)
    check_margin(who, margin, d)

    def row(distances: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, ...]:
        pull = masked_logsumexp(distances, positive)
        push = masked_logsumexp(margin - distances, negative)
        return (pull + push).clamp(min=0), positive.any(1) & negative.any(1)

    values, valid = per_anchor(row, d.matrix, batch)
    return reduce(values, reduction, valid=valid, across_ranks=across_ranks)
