r"""DCL and DCLW: NT-Xent whose denominator leaves out the positive.

Yeh et al., "Decoupled Contrastive Learning", ECCV 2022, https://arxiv.org/abs/2110.06848, eq. 6 (DCL) and eq. 7 (DCLW).
"""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.losses._checks import (
    Reduction,
    check_embeddings,
    check_positive,
    check_reduction,
    no_autocast,
    reduce,
    unit,
)
from nearfar.losses._engine import self_logsumexp, storage_dtype
from nearfar.losses._shared import share

__all__ = ["dcl", "dclw"]


def dcl(
    z1: Tensor, z2: Tensor, *, temperature: float = 0.1, reduction: Reduction = "mean", across_ranks: bool = True
) -> Tensor:
    r"""DCL (eq. 6) over the 2N views of a batch of N pairs.

    .. math:: \ell_i = -s_{ij} / \tau + \log \sum_{k \notin \{i, j\}} \exp(s_{ik} / \tau)

    j being the other view of i's item and s the cosine. Memory grows with N * D.

    Args:
        z1: (N, D) float projections of the first views; need not be normalised.
        z2: (N, D) projections of the second views, row i belonging to row i of ``z1``.
        temperature: tau > 0; 0.1 is the paper's (0.07 for small images).
        reduction: "mean" over the 2N anchors, "sum", or "none" for (2N,): ``z1``'s anchors, then ``z2``'s.
        across_ranks: whether all ranks' views are negatives; ranks may have different N.

    Returns:
        A float32 scalar (float64 for float64 input), or (2N,) for "none"; may be negative. A batch of one pair has no
        negatives and gives 0 with zero gradient.

    Raises:
        InputError: shapes, types or the temperature are wrong, or (on the CPU) a value is not finite.
    """
    return _dcl("dcl", z1, z2, temperature, None, reduction, across_ranks)


def dclw(
    z1: Tensor,
    z2: Tensor,
    *,
    temperature: float = 0.1,
    sigma: float = 0.5,
    reduction: Reduction = "mean",
    across_ranks: bool = True,
) -> Tensor:
    r"""DCL whose positives are weighted: easy ones count less (eq. 7).

    .. math:: \ell_i = -w_i s_{ij} / \tau + \log \sum_{k \notin \{i, j\}} \exp(s_{ik} / \tau), \quad
        w_i = 2 - \frac{\exp(s_{ij} / \sigma)}{\frac{1}{N} \sum_m \exp(s_{m, j(m)} / \sigma)}

    The weights carry no gradient; their mean is 1, over all ranks' pairs where ``across_ranks``.

    Args:
        z1: (N, D) float projections of the first views; need not be normalised.
        z2: (N, D) projections of the second views, row i belonging to row i of ``z1``.
        temperature: tau > 0; 0.1 is the paper's.
        sigma: > 0, the width of the weighting; 0.5 is the paper's.
        reduction: "mean" over the 2N anchors, "sum", or "none" for (2N,): ``z1``'s anchors, then ``z2``'s.
        across_ranks: whether all ranks' views are negatives; ranks may have different N.

    Returns:
        As `dcl`.

    Raises:
        InputError: shapes, types, temperature or sigma are wrong, or (on the CPU) a value is not finite.
    """
    check_positive("dclw", sigma=sigma)
    return _dcl("dclw", z1, z2, temperature, sigma, reduction, across_ranks)


def _dcl(
    who: str,
    z1: Tensor,
    z2: Tensor,
    temperature: float,
    sigma: float | None,
    reduction: Reduction,
    across_ranks: bool,
) -> Tensor:
    check_embeddings(who, z1=z1, z2=z2)
    check_positive(who, temperature=temperature)
    check_reduction(who, reduction)
    n = len(z1)
    with no_autocast(z1.device):
        z = torch.cat([unit(z1), unit(z2)]).to(storage_dtype(z1))
        u1, u2 = z.to(torch.promote_types(z.dtype, torch.float32)).chunk(2)
        cosine = (u1 * u2).sum(1)
        positive = cosine if sigma is None else cosine * _weights(cosine.detach(), sigma, across_ranks)
        others = share(z, across_ranks).others
        negative = self_logsumexp(z, others, scale=1 / temperature, diagonals=(0, n, -n))
        valid = None if n > 1 or others is not None else torch.zeros(2 * n, dtype=torch.bool, device=z.device)
        values = negative - (positive / temperature).repeat(2)
        return reduce(values, reduction, valid=valid, across_ranks=across_ranks)


def _weights(cosine: Tensor, sigma: float, across_ranks: bool) -> Tensor:
    everyone = share(cosine, across_ranks)
    share_of_all = (everyone.rows / sigma).softmax(0)[everyone.start : everyone.stop]
    return 2 - len(everyone.rows) * share_of_all
