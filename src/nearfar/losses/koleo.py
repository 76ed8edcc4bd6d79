r"""KoLeo: every embedding moves away from its nearest neighbour, which spreads a batch evenly over the sphere.

Sablayrolles, Douze, Schmid, Jégou, "Spreading Vectors for Similarity Search", ICLR 2019,
https://arxiv.org/abs/1806.03198; used by DINOv2, Oquab et al., 2023, https://arxiv.org/abs/2304.07193.
"""

from __future__ import annotations

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
from nearfar.losses._moments import row_count
from nearfar.losses._rows import blocks
from nearfar.losses._shared import Shared, share

__all__ = ["koleo"]


@in_float32
def koleo(z: Tensor, *, eps: float = 1e-8, reduction: Reduction = "mean", across_ranks: bool = True) -> Tensor:
    r"""KoLeo, the Kozachenko-Leonenko estimate of (minus) the entropy of unit vectors.

    .. math:: L = - \frac1N \sum_i \log\bigl( \min_{j \neq i} \lVert \bar z_i - \bar z_j \rVert + \epsilon \bigr)

    A regulariser, added with a small weight (0.1 in DINOv2). Neighbours are found a block of rows at a time, so that
    memory grows with N D.

    Args:
        z: (N, D) float; need not be normalised.
        eps: > 0; 1e-8 in DINOv2. Equal rows have the value -log(eps) and no gradient: they cannot be torn apart.
        reduction: "mean" over rows, "sum", or "none" for (N,).
        across_ranks: whether neighbours are looked for among all ranks' rows. DINOv2's are those of one rank.

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none".

    Raises:
        InputError: shapes, types, values or settings are wrong, or there is only one row.
    """
    check_embeddings("koleo", z=z)
    check_positive("koleo", eps=eps)
    check_reduction("koleo", reduction)
    row_count("koleo", z, across_ranks, least=2)
    u = unit(z)
    everyone = share(u, across_ranks)
    distance = torch.linalg.vector_norm(u - everyone.rows[_nearest(u, everyone)], dim=1)
    return reduce(-(distance + eps).log(), reduction, across_ranks=across_ranks, who="koleo")


@torch.no_grad()
def _nearest(u: Tensor, everyone: Shared) -> Tensor:
    """Return (N,) each row's nearest other row; the first one of several."""
    found = []
    for rows in blocks(len(u), len(everyone.rows), u.device):
        cosines = u[rows] @ everyone.rows.T
        cosines.diagonal(everyone.start + rows.start).fill_(-torch.inf)
        found.append(cosines.argmax(1))
    return torch.cat(found)
