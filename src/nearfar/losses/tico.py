r"""TiCo: views agree, and embeddings avoid the directions that the running covariance already fills.

Zhu, Moraes, Karakulak, Sobol, Canziani, LeCun, "TiCo: Transformation Invariance and Covariance Contrast for
Self-Supervised Visual Representation Learning", 2022, https://arxiv.org/abs/2206.10698.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.errors import require
from nearfar.losses._checks import Reduction, check_embeddings, check_finite, check_reduction, in_float32, reduce, unit
from nearfar.losses._moments import check_weights, row_count, total

__all__ = ["tico", "tico_covariance"]


@in_float32
def tico(
    z1: Tensor,
    z2: Tensor,
    covariance: Tensor,
    *,
    covariance_weight: float = 8.0,
    reduction: Reduction = "mean",
    across_ranks: bool = True,
) -> Tensor:
    r"""TiCo over N pairs, given the running covariance of this step.

    .. math:: L = \frac1N \sum_i \bigl[ 1 - \bar z'_i \cdot \bar z''_i + \rho \, \bar z_i'^T C_t \, \bar z'_i \bigr]

    A step is ``c = tico_covariance(c, z1)`` and then ``tico(z1, z2, c)``: C_t includes the batch (the paper's
    algorithm). C_t gets no gradient.

    Args:
        z1: (N, D) float projections of the first views; need not be normalised.
        z2: (N, D) projections of the second views, in the paper by a momentum encoder without gradient.
        covariance: (D, D) C_t, this step's; what `tico_covariance` returns.
        covariance_weight: rho >= 0; 8 is lightly's default.
        reduction: "mean" over pairs, "sum", or "none" for (N,).
        across_ranks: whether the mean is over all ranks' rows, which matters only where ranks differ in N.

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none". A zero row adds 1.

    Raises:
        InputError: shapes, types, values or settings are wrong.
    """
    check_embeddings("tico", z1=z1, z2=z2)
    _check_covariance("tico", covariance, z1)
    check_weights("tico", covariance_weight=covariance_weight)
    check_reduction("tico", reduction)
    a, b = unit(z1), unit(z2)
    contrast = ((a @ covariance.detach().to(a.dtype)) * a).sum(1)
    values = 1 - (a * b).sum(1) + covariance_weight * contrast
    return reduce(values, reduction, across_ranks=across_ranks, who="tico")


@torch.no_grad()
@in_float32
def tico_covariance(covariance: Tensor, z1: Tensor, *, momentum: float = 0.9, across_ranks: bool = True) -> Tensor:
    r"""Return the running covariance after one more batch; nothing is changed in place.

    .. math:: C_t = \beta C_{t-1} + (1 - \beta) \frac1N \sum_i \bar z'_i \bar z_i'^T

    Args:
        covariance: (D, D) C_{t-1}; zeros at the start.
        z1: (N, D) float projections of the first views.
        momentum: beta in [0, 1]; 0.9 is lightly's default.
        across_ranks: whether the batch is that of all ranks.

    Returns:
        (D, D), float32 (float64 for float64 input), without gradient.

    Raises:
        InputError: shapes, types, values or settings are wrong.
    """
    check_embeddings("tico_covariance", z1=z1)
    _check_covariance("tico_covariance", covariance, z1)
    require(0 <= momentum <= 1, "tico_covariance", "momentum", "in [0, 1]", momentum)
    rows = row_count("tico_covariance", z1, across_ranks)
    u = unit(z1)
    return momentum * covariance + (1 - momentum) * total(u.T @ u, across_ranks) / rows


def _check_covariance(who: str, covariance: Tensor, z: Tensor) -> None:
    shape = (z.shape[1], z.shape[1])
    ok = covariance.is_floating_point() and tuple(covariance.shape) == shape
    require(ok, who, "covariance", f"a float tensor of shape {shape}", f"{covariance.dtype} {tuple(covariance.shape)}")
    check_finite(who, covariance=covariance)
