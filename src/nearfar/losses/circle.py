r"""Circle loss: every similarity is weighted by how far it still is from where it should be.

Sun, Cheng, Zhang, Zhang, Zheng, Wang, Wei, "Circle Loss: A Unified Perspective of Pair Similarity Optimization", CVPR
2020, https://arxiv.org/abs/2002.10857
"""

from __future__ import annotations

from torch import Tensor

from nearfar.errors import require
from nearfar.losses._checks import Reduction, check_positive, in_float32, reduce, unit
from nearfar.losses._rows import Mined, dot, gathered, log1p_exp, masked_logsumexp, per_anchor

__all__ = ["circle"]


@in_float32
def circle(
    z: Tensor,
    labels: Tensor,
    *,
    margin: float = 0.4,
    gamma: float = 80.0,
    reduction: Reduction = "mean",
    mined: Mined | None = None,
    across_ranks: bool = True,
) -> Tensor:
    r"""Circle loss per anchor, with cosines s_p to its positives and s_n to its negatives.

    .. math::
        L = \log \Bigl[1 + \sum_n e^{\gamma \alpha_n (s_n - m)} \sum_p e^{-\gamma \alpha_p (s_p - 1 + m)}\Bigr],
        \quad \alpha_n = [s_n + m]_+, \quad \alpha_p = [1 + m - s_p]_+

    Eq. 6 with the paper's O_p = 1 + m, O_n = -m, Delta_p = 1 - m, Delta_n = m. The weights alpha carry no gradient, as
    in the authors' code.

    Args:
        z: (N, D) float; need not be normalised.
        labels: (N,) integer.
        margin: m in (0, 1). With gamma = 80 the paper's 0.4 for fine-grained images; 0.25 for faces.
        gamma: scale > 0; 80 for fine-grained images, 128 for persons, 256 for faces.
        reduction: "mean" over the anchors with a positive and a negative, "sum", or "none" for (N,).
        mined: the pairs that count, from a miner; None: all.
        across_ranks: whether all ranks' rows are positives and negatives.

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none". 0, with zero gradient, where no anchor has
        both.

    Raises:
        InputError: shapes, types or a number are wrong.
    """
    require(0 < margin < 1, "circle", "margin", "in (0, 1)", margin)
    check_positive("circle", gamma=gamma)
    batch = gathered("circle", z, labels, across_ranks, prepare=unit, mined=mined)

    def row(s: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, ...]:
        weight_p = (1 + margin - s.detach()).clamp(min=0)
        weight_n = (s.detach() + margin).clamp(min=0)
        pull = masked_logsumexp(-gamma * weight_p * (s - 1 + margin), positive)
        push = masked_logsumexp(gamma * weight_n * (s - margin), negative)
        return log1p_exp(pull + push), positive.any(1) & negative.any(1)

    values, valid = per_anchor(row, dot, batch)
    return reduce(values, reduction, valid=valid, across_ranks=across_ranks)
