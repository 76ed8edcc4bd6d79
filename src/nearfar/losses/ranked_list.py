r"""Ranked list: positives inside a ball around the anchor, negatives outside a larger one, the nearest weighing most.

Wang, Hua, Kodirov, Hu, Garnier, Robertson, "Ranked List Loss for Deep Metric Learning", CVPR 2019,
https://arxiv.org/abs/1903.03238
"""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.errors import require
from nearfar.losses._checks import Reduction, in_float32, reduce
from nearfar.losses._rows import Mined, gathered, per_anchor
from nearfar.losses.distances import DistanceLike, find_distance

__all__ = ["ranked_list"]


@in_float32
def ranked_list(
    z: Tensor,
    labels: Tensor,
    *,
    alpha: float = 1.2,
    margin: float = 0.4,
    balance: float = 0.5,
    positive_temperature: float = 0.0,
    negative_temperature: float = 10.0,
    distance: DistanceLike = "euclidean",
    reduction: Reduction = "mean",
    mined: Mined | None = None,
    across_ranks: bool = True,
) -> Tensor:
    r"""Ranked list loss per anchor, over the non-trivial positives (d > alpha - m) and negatives (d < alpha).

    .. math::
        L = (1 - \lambda) \sum_{p} \bar w_p (d_p - (\alpha - m)) + \lambda \sum_{n} \bar w_n (\alpha - d_n),
        \quad w_p = e^{T_p (d_p - (\alpha - m))}, \quad w_n = e^{T_n (\alpha - d_n)}

    The weights are divided by their sum and carry no gradient: in the paper they alone say how the gradient is shared.

    Args:
        z: (N, D) float; of length 1 in the paper, here that is the caller's choice.
        labels: (N,) integer.
        alpha: the radius that negatives stay out of; 1.2 is the paper's.
        margin: m in (0, alpha]; positives stay within alpha - m. 0.4 is the paper's.
        balance: lambda in [0, 1], the share of the negatives; 0.5 is the paper's.
        positive_temperature: T_p >= 0; 0, equal weights, is the paper's simpler form.
        negative_temperature: T_n >= 0; 10 is the paper's.
        distance: d.
        reduction: "mean" over all anchors, "sum", or "none" for (N,).
        mined: the pairs that count, from a miner; None: all.
        across_ranks: whether all ranks' rows are positives and negatives.

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none". An empty sum is 0.

    Raises:
        InputError: shapes, types or a number are wrong.
    """
    who = "ranked_list"
    require(0 < margin <= alpha, who, "margin", f"in (0, alpha = {alpha}]", margin)
    require(0 <= balance <= 1, who, "balance", "in [0, 1]", balance)
    for name, value in (
        ("positive_temperature", positive_temperature),
        ("negative_temperature", negative_temperature),
    ):
        require(value >= 0, who, name, ">= 0", value)
    batch = gathered(who, z, labels, across_ranks, mined=mined)
    d = find_distance(who, distance)

    def row(distances: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, ...]:
        far = _weighted(distances - (alpha - margin), positive, positive_temperature)
        near = _weighted(alpha - distances, negative, negative_temperature)
        return ((1 - balance) * far + balance * near,)

    (values,) = per_anchor(row, d.matrix, batch)
    return reduce(values, reduction, across_ranks=across_ranks)


def _weighted(excess: Tensor, mask: Tensor, temperature: float) -> Tensor:
    counts = mask & (excess > 0)
    with torch.no_grad():
        weight = (temperature * excess).masked_fill(~counts, -torch.inf)
        weight = torch.where(counts.any(1, keepdim=True), weight.softmax(1), 0)
    return torch.where(counts, weight * excess, 0).sum(1)
