r"""Total coding rate and EMP-SSL: many crops agree with their mean while the batch fills as much volume as it can.

Yu, Chan, You, Song, Ma, "Learning Diverse and Discriminative Representations via the Principle of Maximal Coding Rate
Reduction", NeurIPS 2020, https://arxiv.org/abs/2006.08558 (the rate); Tong, Chen, Ma, LeCun, "EMP-SSL: Towards
Self-Supervised Learning in One Training Epoch", 2023, https://arxiv.org/abs/2304.03977.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.errors import require
from nearfar.losses._checks import check_embeddings, check_positive, in_float32, reduce, unit
from nearfar.losses._moments import check_weights, row_count, total
from nearfar.losses._shared import share

__all__ = ["emp_ssl", "negative_coding_rate"]


@in_float32
def negative_coding_rate(z: Tensor, *, eps: float = 0.2, across_ranks: bool = True) -> Tensor:
    r"""Minus the total coding rate: small where the rows point in many directions.

    .. math:: L = -R(Z) = -\frac12 \log\det\Bigl(I + \frac{D}{N \epsilon} \bar Z^T \bar Z\Bigr)

    The rows of Z- have length 1. From -(D / 2) log(1 + 1 / eps), the rows spread evenly over D <= N directions, to
    -(1 / 2) log(1 + D / eps), all rows parallel. Whichever is smaller of Z-^T Z- and Z- Z-^T is decomposed; their
    determinants agree.

    Args:
        z: (N, D) float; need not be normalised. One row is enough.
        eps: the squared distortion that the code may have, > 0; 0.2 in EMP-SSL.
        across_ranks: whether the rate is that of all ranks' rows.

    Returns:
        A float32 scalar (float64 for float64 input).

    Raises:
        InputError: shapes, types, values or settings are wrong.
    """
    check_embeddings("negative_coding_rate", z=z)
    check_positive("negative_coding_rate", eps=eps)
    return -_rates(unit(z)[None], eps, across_ranks).mean()


@in_float32
def emp_ssl(
    *views: Tensor,
    similarity_weight: float = 200.0,
    coding_weight: float = 1.0,
    eps: float = 0.2,
    across_ranks: bool = True,
) -> Tensor:
    r"""EMP-SSL over V views of N items.

    .. math:: L = -\frac1V \sum_v \Bigl[ \mu R(Z_v) + \frac\lambda N \sum_n \cos(z_{v,n}, \bar z_n) \Bigr], \qquad
        \bar z_n = \frac1V \sum_v \frac{z_{v,n}}{\lVert z_{v,n} \rVert}

    R is the total coding rate, see `negative_coding_rate`. The mean z- has gradient, as in the published code.

    Args:
        *views: (N, D) float projections, one tensor per view, row i of each belonging to item i.
        similarity_weight: lambda >= 0; 200 in the published code.
        coding_weight: mu >= 0; 1 in the published code.
        eps: of `negative_coding_rate`.
        across_ranks: whether the rate and the mean are those of all ranks' rows.

    Returns:
        A float32 scalar (float64 for float64 input).

    Raises:
        InputError: shapes, types, values or settings are wrong.
    """
    require(len(views) >= 2, "emp_ssl", "views", "two or more", len(views))
    check_embeddings("emp_ssl", same_rows=True, **{f"views[{i}]": z for i, z in enumerate(views)})
    check_weights("emp_ssl", similarity_weight=similarity_weight, coding_weight=coding_weight)
    check_positive("emp_ssl", eps=eps)
    units = torch.stack([unit(z) for z in views])
    cosines = (units * unit(units.mean(0))).sum(2).mean(0)
    similarity = reduce(cosines, "mean", across_ranks=across_ranks, who="emp_ssl")
    return -coding_weight * _rates(units, eps, across_ranks).mean() - similarity_weight * similarity


def _rates(units: Tensor, eps: float, across_ranks: bool) -> Tensor:
    """Return (V,) the rate of each of V sets of rows, (V, N, D) of length 1."""
    rows, dim = row_count("coding_rate", units[0], across_ranks), units.shape[2]
    if rows < dim:
        everyone = share(units.transpose(0, 1), across_ranks).rows.transpose(0, 1)
        products = everyone @ everyone.mT
    else:
        products = total(units.mT @ units, across_ranks)
    identity = torch.eye(products.shape[1], dtype=units.dtype, device=units.device)
    logdet: Tensor = torch.linalg.slogdet(identity + dim / (rows * eps) * products).logabsdet
    return logdet / 2
