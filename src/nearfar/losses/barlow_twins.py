r"""Barlow Twins: the cross-correlation of two views is pulled to the identity.

Zbontar, Jing, Misra, LeCun, Deny, "Barlow Twins: Self-Supervised Learning via Redundancy Reduction", ICML 2021,
https://arxiv.org/abs/2103.03230.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.losses._checks import check_embeddings, check_positive, in_float32
from nearfar.losses._moments import centred, check_weights, off_diagonal, row_count, total

__all__ = ["barlow_twins"]


@in_float32
def barlow_twins(
    z1: Tensor, z2: Tensor, *, redundancy_weight: float = 0.0051, eps: float = 1e-5, across_ranks: bool = True
) -> Tensor:
    r"""Barlow Twins over N pairs.

    .. math:: L = \sum_i (1 - C_{ii})^2 + \lambda \sum_i \sum_{j \neq i} C_{ij}^2, \qquad
        C_{ij} = \frac 1 N \sum_b \hat z^1_{bi} \hat z^2_{bj} \quad \text{(eq. 1, 2)}

    z^ is z with mean 0 and variance 1 over the batch: *biased* variance (divisor N) plus ``eps``, as the BatchNorm of
    the published code. That code takes each rank's own mean and variance unless its BatchNorm is synchronised; here
    mean, variance and C are the global batch's. A constant dimension has a zero row and column in C and adds 1.

    Args:
        z1: (N, D) float projections of the first views.
        z2: (N, D) projections of the second views, row i belonging to row i of ``z1``.
        redundancy_weight: lambda >= 0; 0.0051 is the published code's, for D = 8192. The sum of the second term grows
            with D squared.
        eps: added to the variance, > 0; BatchNorm's default.
        across_ranks: whether the statistics are those of all ranks' rows.

    Returns:
        A float32 scalar (float64 for float64 input).

    Raises:
        InputError: shapes, types, values or settings are wrong, or there is only one row.
    """
    check_embeddings("barlow_twins", z1=z1, z2=z2)
    check_weights("barlow_twins", redundancy_weight=redundancy_weight)
    check_positive("barlow_twins", eps=eps)
    rows = row_count("barlow_twins", z1, across_ranks, least=2)
    a, b = (_standardised(z, rows, eps, across_ranks) for z in (z1, z2))
    c = total(a.T @ b, across_ranks) / rows
    on = (c.diagonal() - 1).square().sum()
    return on + redundancy_weight * off_diagonal(c).square().sum()


def _standardised(z: Tensor, rows: int, eps: float, across_ranks: bool) -> Tensor:
    z = centred(z, rows, across_ranks)
    variance = total(z.square().sum(0), across_ranks) / rows
    return z * torch.rsqrt(variance + eps)
