r"""VICReg and VIbCReg: views agree, every dimension keeps its spread, and dimensions stay uncorrelated.

Bardes, Ponce, LeCun, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning", ICLR 2022,
https://arxiv.org/abs/2105.04906; Lee, Aune, "VIbCReg: Variance-Invariance-better-Covariance Regularization for
Self-Supervised Learning on Time Series", 2021, https://arxiv.org/abs/2109.00783.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nearfar.losses._checks import check_embeddings, check_positive, in_float32
from nearfar.losses._moments import centred, check_weights, covariance, off_diagonal, row_count, total

__all__ = ["vibcreg", "vicreg"]

# Added to a variance before a division: far below any variance that means something, far above float32's rounding.
_TINY = 1e-12


@in_float32
def vicreg(
    z1: Tensor,
    z2: Tensor,
    *,
    invariance_weight: float = 25.0,
    variance_weight: float = 25.0,
    covariance_weight: float = 1.0,
    gamma: float = 1.0,
    eps: float = 1e-4,
    across_ranks: bool = True,
) -> Tensor:
    r"""VICReg over N pairs of D dimensions, as the published code computes it.

    .. math::
        \ell &= \lambda s(Z, Z') + \mu \tfrac12 [v(Z) + v(Z')] + \nu [c(Z) + c(Z')] \\
        v(Z) &= \frac1D \sum_j \max\bigl(0, \gamma - \sqrt{\mathrm{Var}(z_j) + \epsilon}\bigr)
        \quad \text{(eq. 1, 2)} \\
        c(Z) &= \frac1D \sum_{i \neq j} C(Z)_{ij}^2, \quad
        C(Z) = \frac{1}{N - 1} \sum_b (z_b - \bar z)(z_b - \bar z)^T \quad \text{(eq. 3, 4)} \\
        s(Z, Z') &= \frac{1}{N D} \sum_b \lVert z_b - z'_b \rVert^2 \quad \text{(eq. 5)}

    **The variance is the unbiased one** (divisor N - 1), in v as in C. Two departures from the paper's text are the
    code's: s is a mean over dimensions too (eq. 5 divides by N alone), and the two v are halved (eq. 6 is not).

    Args:
        z1: (N, D) float projections of the first views; not normalised.
        z2: (N, D) projections of the second views, row i belonging to row i of ``z1``.
        invariance_weight: lambda, 25 in the paper.
        variance_weight: mu, 25 in the paper.
        covariance_weight: nu, 1 in the paper.
        gamma: the standard deviation every dimension should reach, 1 in the paper.
        eps: added to the variance, > 0; 1e-4 in the paper. It bounds the gradient of a constant dimension.
        across_ranks: whether the statistics are those of all ranks' rows.

    Returns:
        A float32 scalar (float64 for float64 input).

    Raises:
        InputError: shapes, types, values or settings are wrong, or there is only one row.
    """
    check_embeddings("vicreg", z1=z1, z2=z2)
    _check("vicreg", invariance_weight, variance_weight, covariance_weight, gamma, eps)
    rows = row_count("vicreg", z1, across_ranks, least=2)
    loss = invariance_weight * _invariance(z1, z2, rows, across_ranks)
    for z in (z1, z2):
        c = covariance(centred(z, rows, across_ranks), rows - 1, across_ranks)
        loss = loss + variance_weight / 2 * _hinge(c.diagonal(), gamma, eps)
        loss = loss + covariance_weight * off_diagonal(c).square().sum() / z.shape[1]
    return loss


@in_float32
def vibcreg(
    z1: Tensor,
    z2: Tensor,
    *,
    invariance_weight: float = 25.0,
    variance_weight: float = 25.0,
    covariance_weight: float = 200.0,
    gamma: float = 1.0,
    eps: float = 1e-4,
    across_ranks: bool = True,
) -> Tensor:
    r"""VIbCReg: VICReg with correlations in the place of covariances, so that no term depends on the scale of z.

    .. math:: \ell = \lambda s(Z, Z') + \mu [v(Z) + v(Z')] + \nu [b(Z) + b(Z')], \qquad
        b(Z) = \frac{1}{D^2} \sum_{i \neq j} R(Z)_{ij}^2

    R is the correlation matrix over the batch, s and v are `vicreg`'s. As in the published code the two v are *not*
    halved and b is a mean over all D x D entries, the diagonal's zeros included. A constant dimension has zero
    correlation with every other. The paper also whitens iteratively before this loss; that belongs to the head.

    Args:
        z1: (N, D) float projections of the first views; not normalised.
        z2: (N, D) projections of the second views, row i belonging to row i of ``z1``.
        invariance_weight: lambda; 25 as in solo-learn.
        variance_weight: mu; 25 as in solo-learn.
        covariance_weight: nu; 200 as in solo-learn.
        gamma: the standard deviation every dimension should reach.
        eps: added to the variance in v, > 0.
        across_ranks: whether the statistics are those of all ranks' rows.

    Returns:
        A float32 scalar (float64 for float64 input).

    Raises:
        InputError: shapes, types, values or settings are wrong, or there is only one row.
    """
    check_embeddings("vibcreg", z1=z1, z2=z2)
    _check("vibcreg", invariance_weight, variance_weight, covariance_weight, gamma, eps)
    rows = row_count("vibcreg", z1, across_ranks, least=2)
    loss = invariance_weight * _invariance(z1, z2, rows, across_ranks)
    for z in (centred(z1, rows, across_ranks), centred(z2, rows, across_ranks)):
        variance = total(z.square().sum(0), across_ranks) / (rows - 1)
        r = covariance(z * torch.rsqrt(variance + _TINY), rows - 1, across_ranks)
        loss = loss + variance_weight * _hinge(variance, gamma, eps)
        loss = loss + covariance_weight * off_diagonal(r).square().mean()
    return loss


def _invariance(z1: Tensor, z2: Tensor, rows: int, across_ranks: bool) -> Tensor:
    return total((z1 - z2).square().sum(), across_ranks) / (rows * z1.shape[1])


def _hinge(variance: Tensor, gamma: float, eps: float) -> Tensor:
    return F.relu(gamma - (variance + eps).sqrt()).mean()


def _check(who: str, invariance: float, variance: float, covariance_: float, gamma: float, eps: float) -> None:
    check_weights(who, invariance_weight=invariance, variance_weight=variance, covariance_weight=covariance_)
    check_positive(who, gamma=gamma, eps=eps)
