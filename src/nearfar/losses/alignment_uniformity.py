r"""Alignment and uniformity: positives lie close, and all embeddings spread over the sphere.

Wang, Isola, "Understanding Contrastive Representation Learning through Alignment and Uniformity on the Hypersphere",
ICML 2020, https://arxiv.org/abs/2005.10242, section 4.1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nearfar.losses._checks import (
    Reduction,
    check_embeddings,
    check_positive,
    check_reduction,
    in_float32,
    reduce,
    unit,
)
from nearfar.losses._engine import self_logsumexp
from nearfar.losses._moments import check_weights, row_count
from nearfar.losses._shared import share

__all__ = ["align_uniform", "alignment", "uniformity"]


@in_float32
def alignment(
    z1: Tensor, z2: Tensor, *, alpha: float = 2.0, reduction: Reduction = "mean", across_ranks: bool = True
) -> Tensor:
    r"""How far apart the two views of an item are.

    .. math:: L_\text{align} = \mathbb E \, \lVert \bar z_1 - \bar z_2 \rVert_2^\alpha

    Args:
        z1: (N, D) float embeddings of the first views; need not be normalised.
        z2: (N, D) embeddings of the second views, row i belonging to row i of ``z1``.
        alpha: > 0; 2 in the paper. Below 1 the gradient grows without bound as two views meet; where they are equal
            it is 0.
        reduction: "mean" over pairs, "sum", or "none" for (N,).
        across_ranks: whether the mean is over all ranks' rows, which matters only where ranks differ in N.

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none"; from 0 to 2 ** alpha.

    Raises:
        InputError: shapes, types, values or settings are wrong.
    """
    check_embeddings("alignment", z1=z1, z2=z2)
    check_positive("alignment", alpha=alpha)
    check_reduction("alignment", reduction)
    squared = (unit(z1) - unit(z2)).square().sum(1)
    apart = squared > 0
    values = torch.where(apart, torch.where(apart, squared, 1).pow(alpha / 2), 0)
    return reduce(values, reduction, across_ranks=across_ranks, who="alignment")


@in_float32
def uniformity(z: Tensor, *, t: float = 2.0, across_ranks: bool = True) -> Tensor:
    r"""How far the embeddings are from a uniform spread: the logarithm of the mean Gaussian potential of all pairs.

    .. math:: L_\text{uniform} = \log \frac{1}{N (N - 1)} \sum_{i \neq j} e^{-t \lVert \bar z_i - \bar z_j \rVert^2}

    Computed tile by tile, in memory linear in N.

    Args:
        z: (N, D) float; need not be normalised. A zero row counts as orthogonal to every other.
        t: > 0; 2 in the paper.
        across_ranks: whether the pairs are those of all ranks' rows.

    Returns:
        A float32 scalar (float64 for float64 input): 0 where all rows are equal, lower is more uniform, never below
        -4 t.

    Raises:
        InputError: shapes, types, values or settings are wrong, or there is only one row.
    """
    check_embeddings("uniformity", z=z)
    check_positive("uniformity", t=t)
    rows = row_count("uniformity", z, across_ranks, least=2)
    u = unit(z)
    log_sums = self_logsumexp(u, share(u, across_ranks).others, scale=2 * t)
    return share(log_sums, across_ranks).rows.logsumexp(0) - 2 * t - math.log(rows * (rows - 1))


def align_uniform(
    z1: Tensor,
    z2: Tensor,
    *,
    alpha: float = 2.0,
    t: float = 2.0,
    uniformity_weight: float = 1.0,
    across_ranks: bool = True,
) -> Tensor:
    r"""Alignment plus the mean uniformity of both views.

    .. math:: L = L_\text{align}(z_1, z_2) + \lambda \tfrac12 [L_\text{uniform}(z_1) + L_\text{uniform}(z_2)]

    Args:
        z1: (N, D) float embeddings of the first views; need not be normalised.
        z2: (N, D) embeddings of the second views, row i belonging to row i of ``z1``.
        alpha: of `alignment`.
        t: of `uniformity`.
        uniformity_weight: lambda >= 0; 1 as in lightly.
        across_ranks: whether means and pairs are those of all ranks' rows.

    Returns:
        A float32 scalar (float64 for float64 input).

    Raises:
        InputError: shapes, types, values or settings are wrong, or there is only one row.
    """
    check_embeddings("align_uniform", z1=z1, z2=z2)
    check_weights("align_uniform", uniformity_weight=uniformity_weight)
    spread = uniformity(z1, t=t, across_ranks=across_ranks) + uniformity(z2, t=t, across_ranks=across_ranks)
    return alignment(z1, z2, alpha=alpha, across_ranks=across_ranks) + uniformity_weight * spread / 2
