r"""Multi-similarity: pairs are kept if hard against the other kind, then weighted against their own kind.

Wang, Han, Huang, Dong, Scott, "Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning", CVPR 2019,
https://arxiv.org/abs/1904.06627
"""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.errors import require
from nearfar.losses._checks import Reduction, check_positive, in_float32, reduce, unit
from nearfar.losses._rows import Mined, dot, gathered, log1p_exp, masked_logsumexp, per_anchor

__all__ = ["hard_pairs", "multi_similarity"]


@in_float32
def multi_similarity(
    z: Tensor,
    labels: Tensor,
    *,
    alpha: float = 2.0,
    beta: float = 50.0,
    base: float = 0.5,
    epsilon: float | None = 0.1,
    reduction: Reduction = "mean",
    mined: Mined | None = None,
    across_ranks: bool = True,
) -> Tensor:
    r"""Multi-similarity loss per anchor, with cosines S to its positives P and negatives N.

    .. math::
        L_i = \frac{1}{\alpha} \log \Bigl[1 + \sum_{k \in P_i} e^{-\alpha (S_{ik} - \lambda)}\Bigr]
            + \frac{1}{\beta} \log \Bigl[1 + \sum_{k \in N_i} e^{\beta (S_{ik} - \lambda)}\Bigr]

    With epsilon, P and N hold only a positive less similar than some negative plus epsilon, and a negative more similar
    than some positive less epsilon; an anchor with positives or negatives alone has then no loss. Without, an empty sum
    is 0.

    Args:
        z: (N, D) float; need not be normalised.
        labels: (N,) integer.
        alpha: > 0, weight in the exponent of positives; 2 is the paper's.
        beta: > 0, that of negatives; 50 is the paper's.
        base: lambda; 0.5 is that of the authors' code, the paper's text has 1.
        epsilon: >= 0, the mining's slack, 0.1 in the paper; None keeps all pairs.
        reduction: "mean" over all anchors, "sum", or "none" for (N,).
        mined: the pairs that count, from a miner; None: all.
        across_ranks: whether all ranks' rows are positives and negatives.

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none".

    Raises:
        InputError: shapes, types or a number are wrong.
    """
    check_positive("multi_similarity", alpha=alpha, beta=beta)
    require(epsilon is None or epsilon >= 0, "multi_similarity", "epsilon", ">= 0 or None", epsilon)
    batch = gathered("multi_similarity", z, labels, across_ranks, prepare=unit, mined=mined)

    def row(s: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, ...]:
        if epsilon is not None:
            positive, negative = hard_pairs(s, positive, negative, epsilon)
        pull = log1p_exp(masked_logsumexp(alpha * (base - s), positive)) / alpha
        push = log1p_exp(masked_logsumexp(beta * (s - base), negative)) / beta
        return (pull + push,)

    (values,) = per_anchor(row, dot, batch)
    return reduce(values, reduction, across_ranks=across_ranks)


@torch.no_grad()
def hard_pairs(s: Tensor, positive: Tensor, negative: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Return which of (R, M) similarities are informative positives and negatives."""
    least = s.masked_fill(~positive, torch.inf).amin(1, keepdim=True)
    most = s.masked_fill(~negative, -torch.inf).amax(1, keepdim=True)
    return positive & (s < most + epsilon), negative & (s > least - epsilon)
