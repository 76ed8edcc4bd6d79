r"""Triplet losses: an anchor lies nearer to its positive than to its negative, by a margin.

Schroff, Kalenichenko, Philbin, "FaceNet: A Unified Embedding for Face Recognition and Clustering", CVPR 2015,
https://arxiv.org/abs/1503.03832; Hermans, Beyer, Leibe, "In Defense of the Triplet Loss for Person Re-Identification",
2017, https://arxiv.org/abs/1703.07737
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from nearfar.errors import require
from nearfar.losses._checks import Reduction, check_reduction, in_float32, reduce
from nearfar.losses._pairs import check_rows
from nearfar.losses._rows import Row, gathered, pack, per_anchor, reduce_sums
from nearfar.losses.distances import DistanceLike, check_margin, find_distance

__all__ = ["triplet", "triplet_from_labels"]

Mining = Literal["all", "hard", "hard_negative", "semihard"]


@in_float32
def triplet(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    margin: float = 0.2,
    distance: DistanceLike = "squared_euclidean",
    soft_margin: bool = False,
    swap: bool = False,
    nonzero: bool = False,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Triplet loss of N triplets.

    .. math:: L = \max(0, \lVert x - x^+ \rVert^2 - \lVert x - x^- \rVert^2 + m)

    Eq. 3 of Schroff et al. The soft margin, log(1 + exp(d(x, x+) - d(x, x-))), is section 2 of Hermans et al., who take
    the plain distance. The swap replaces d(x, x-) by min(d(x, x-), d(x+, x-)): Balntas et al., BMVC 2016,
    http://www.bmva.org/bmvc/2016/papers/paper119/paper119.pdf, section 3.

    Args:
        anchor: (N, D) float; FaceNet's are of length 1, here that is the caller's choice.
        positive: (N, D), row i of the class of row i of ``anchor``.
        negative: (N, D), row i of another class.
        margin: m > 0 in units of ``distance``; 0.2 is FaceNet's for unit vectors. Not used with ``soft_margin``.
        distance: d.
        soft_margin: softplus in place of hinge and margin.
        swap: compare with the negative's distance to anchor or positive, whichever is less.
        nonzero: "mean" over the triplets with a loss > 0 only (the L of Hermans et al. with "≠ 0").
        reduction: "mean" over triplets, "sum", or "none" for (N,).

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none".

    Raises:
        InputError: shapes, types, the margin or a name are wrong.
    """
    check_rows("triplet", anchor=anchor, positive=positive, negative=negative)
    d = find_distance("triplet", distance)
    if not soft_margin:
        check_margin("triplet", margin, d)
    near, far = d.pairs(anchor, positive), d.pairs(anchor, negative)
    if swap:
        far = torch.minimum(far, d.pairs(positive, negative))
    values = _violation(near - far, margin, soft_margin)
    return reduce(values, reduction, valid=values > 0 if nonzero else None)


@in_float32
def triplet_from_labels(
    z: Tensor,
    labels: Tensor,
    *,
    margin: float = 0.2,
    mining: Mining = "semihard",
    distance: DistanceLike = "squared_euclidean",
    soft_margin: bool = False,
    nonzero: bool = False,
    reduction: Reduction = "mean",
    across_ranks: bool = True,
) -> Tensor:
    r"""Triplet loss of a batch with labels, whose triplets are mined on the way; no N^3 (nor N^2) tensor is held.

    ==================  =============================================================================================
    ``mining``          triplets
    ==================  =============================================================================================
    ``all``             all ("batch all", Hermans et al. eq. 6)
    ``hard``            every anchor with its farthest positive and its nearest negative ("batch hard", eq. 5)
    ``hard_negative``   every anchor and positive, with the anchor's nearest negative
    ``semihard``        every anchor and positive, with the nearest negative that is farther than the positive
                        (Schroff et al., section 3.2); where none is, the farthest negative, as TensorFlow Addons does
    ==================  =============================================================================================

    For other choices, and for the swap, draw indices with `nearfar.losses.miners` and call `triplet`.

    Args:
        z: (N, D) float; FaceNet's are of length 1, here that is the caller's choice.
        labels: (N,) integer.
        margin: m > 0 in units of ``distance``; 0.2 is FaceNet's for unit vectors. Not used with ``soft_margin``.
        mining: which triplets.
        distance: d.
        soft_margin: log(1 + exp(d(a, p) - d(a, n))) in place of hinge and margin. With "all" this costs the time of all
            triplets one by one; all else costs that of sorting the distances.
        nonzero: average over the triplets with a loss > 0 only.
        reduction: "mean" over triplets, "sum", or "none" for (N,), each anchor's mean over its triplets.
        across_ranks: whether all ranks' rows are positives and negatives; ranks may have different N.

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none". 0, with zero gradient, where no anchor has
        both a positive and a negative.

    Raises:
        InputError: shapes, types, the margin or a name are wrong.
    """
    who = "triplet_from_labels"
    batch = gathered(who, z, labels, across_ranks)
    d = find_distance(who, distance)
    require(mining in get_args(Mining), who, "mining", " or ".join(map(repr, get_args(Mining))), repr(mining))
    check_reduction(who, reduction)
    if not soft_margin:
        check_margin(who, margin, d)
    most = 1 if mining == "hard" else batch.most_positives()

    def mined(distances: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, ...]:
        index, counts = _MINED[mining](distances, positive, negative, most)
        near, far = distances.gather(1, index[0]), distances.gather(1, index[1])
        values = torch.where(counts, _violation(near - far, margin, soft_margin), 0)
        return values.sum(1), ((values > 0) if nonzero else counts).sum(1)

    row: Row = mined
    if mining == "all":
        row = _all_soft(most, nonzero) if soft_margin else _all_hinge(most, margin, nonzero)
    width = max(1, most) if mining == "all" and soft_margin else 1
    sums, counts = per_anchor(row, d.matrix, batch, width=width)
    return reduce_sums(who, sums, counts, reduction, across_ranks)


def _violation(difference: Tensor, margin: float, soft_margin: bool) -> Tensor:
    return F.softplus(difference) if soft_margin else (difference + margin).clamp(min=0)


def _all_hinge(most: int, margin: float, nonzero: bool) -> Row:
    """With negatives sorted, those that violate are the first k, and their sum is k t - (d_1 + ... + d_k)."""

    def row(distances: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, ...]:
        index, counts = pack(positive, most)
        limit = distances.gather(1, index) + margin
        far = distances.masked_fill(~negative, torch.inf).sort(1).values
        # k t and the sum are large and close to each other; float64 keeps their difference.
        sums = F.pad(far.masked_fill(far.isinf(), 0).double().cumsum(1), (1, 0))
        k = torch.searchsorted(far.detach(), limit.detach().contiguous())
        values = (k * limit.double() - sums.gather(1, k)).clamp(min=0)
        total = torch.where(counts, values, 0).sum(1).to(distances.dtype)
        if nonzero:
            return total, torch.where(counts, k, 0).sum(1)
        return total, counts.sum(1) * negative.sum(1)

    return row


def _all_soft(most: int, nonzero: bool) -> Row:
    def row(distances: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, ...]:
        index, counts = pack(positive, most)
        near = distances.gather(1, index)
        valid = counts[:, :, None] & negative[:, None]
        values = torch.where(valid, F.softplus(near[:, :, None] - distances[:, None]), 0)
        return values.sum((1, 2)), ((values > 0) if nonzero else valid).sum((1, 2))

    return row


Mined = tuple[tuple[Tensor, Tensor], Tensor]


@torch.no_grad()
def _hard(distances: Tensor, positive: Tensor, negative: Tensor, most: int) -> Mined:
    p = distances.masked_fill(~positive, -torch.inf).argmax(1, keepdim=True)
    n = distances.masked_fill(~negative, torch.inf).argmin(1, keepdim=True)
    return (p, n), (positive.any(1) & negative.any(1))[:, None]


@torch.no_grad()
def _hard_negative(distances: Tensor, positive: Tensor, negative: Tensor, most: int) -> Mined:
    p, counts = pack(positive, most)
    n = distances.masked_fill(~negative, torch.inf).argmin(1, keepdim=True)
    return (p, n.expand_as(p)), counts & negative.any(1, keepdim=True)


@torch.no_grad()
def _semihard(distances: Tensor, positive: Tensor, negative: Tensor, most: int) -> Mined:
    p, counts = pack(positive, most)
    far, order = distances.masked_fill(~negative, torch.inf).sort(1)
    beyond = torch.searchsorted(far, distances.gather(1, p), right=True)
    farthest = negative.sum(1, keepdim=True) - 1
    n = order.gather(1, torch.minimum(beyond, farthest).clamp(min=0))
    return (p, n), counts & (farthest >= 0)


_MINED = {"hard": _hard, "hard_negative": _hard_negative, "semihard": _semihard}
