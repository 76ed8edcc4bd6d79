r"""Bilinear InfoNCE: how alike two rows are is learnt, by a matrix between them.

Saeed, Grangier, Zeghidour, "Contrastive Learning of General-Purpose Audio Representations" (COLA), ICASSP 2021,
https://arxiv.org/abs/2010.10915, eq. 1 and the bilinear similarity of section 2.
"""

from __future__ import annotations

from torch import Tensor

from nearfar.errors import require
from nearfar.losses._checks import Reduction, check_embeddings, check_reduction, no_autocast, reduce
from nearfar.losses._engine import row_logsumexp
from nearfar.losses._shared import share

__all__ = ["bilinear_nce"]


def bilinear_nce(
    queries: Tensor, keys: Tensor, weight: Tensor, *, reduction: Reduction = "mean", across_ranks: bool = True
) -> Tensor:
    r"""COLA's loss (eq. 1) of N queries, whose positives are the keys of the same row.

    .. math:: \ell_i = -\log \frac{\exp(q_i^\top W k_i)}{\sum_j \exp(q_i^\top W k_j)}

    on rows as they are: nothing is normalised, and there is no temperature, which W would take up.

    Args:
        queries: (N, D) float.
        keys: (N, D) float, row i belonging to query i.
        weight: W, (D, D) float, usually a parameter.
        reduction: "mean" over the queries, "sum", or "none" for (N,).
        across_ranks: whether all ranks' keys are candidates; ranks may have different N.

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none". A batch of one pair gives 0.

    Raises:
        InputError: shapes, types or settings are wrong, or (on the CPU) a value is not finite.
    """
    check_embeddings("bilinear_nce", queries=queries, keys=keys)
    check_reduction("bilinear_nce", reduction)
    width = queries.shape[1]
    fits = tuple(weight.shape) == (width, width) and weight.is_floating_point()
    require(fits, "bilinear_nce", "weight", f"a float tensor ({width}, {width})", tuple(weight.shape))
    with no_autocast(queries.device):
        wide = queries if queries.dtype.itemsize >= 4 else queries.float()
        k = keys.to(wide.dtype)
        q = wide @ weight.to(wide.dtype)
        values = row_logsumexp(q, share(k, across_ranks).rows, scale=1.0) - (q * k).sum(1)
        return reduce(values, reduction, across_ranks=across_ranks)
