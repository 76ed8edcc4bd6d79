r"""Spectral contrastive loss: positives have large products, all other pairs orthogonal ones.

HaoChen, Wei, Gaidon, Ma, "Provable Guarantees for Self-Supervised Deep Learning with Spectral Contrastive Loss",
NeurIPS 2021, https://arxiv.org/abs/2106.04156.
"""

from __future__ import annotations

from torch import Tensor

from nearfar.losses._checks import check_embeddings, in_float32
from nearfar.losses._moments import row_count, total
from nearfar.losses._shared import share

__all__ = ["spectral_contrastive"]


@in_float32
def spectral_contrastive(z1: Tensor, z2: Tensor, *, across_ranks: bool = True) -> Tensor:
    r"""Spectral contrastive loss over N pairs; the unbiased estimate of the population loss.

    .. math:: L = - 2 \, \mathbb E [f(x)^T f(x^+)] + \mathbb E [(f(x)^T f(x^-))^2] \approx
        - \frac2N \sum_i z^1_i \cdot z^2_i + \frac{1}{N (N - 1)} \sum_{i \neq j} (z^1_i \cdot z^2_j)^2

    Its minimiser spans the top D eigenvectors of the graph of augmentations. z is *not* normalised here: its length is
    part of what is learnt. Where N > D the second sum is the product of two D x D matrices of second moments, so that
    memory never grows with N squared.

    Args:
        z1: (N, D) float embeddings of the first views.
        z2: (N, D) embeddings of the second views, row i belonging to row i of ``z1``.
        across_ranks: whether all ranks' rows are pairs.

    Returns:
        A float32 scalar (float64 for float64 input). With N <= D it has no lower bound: rows can
        be orthogonal and grow.

    Raises:
        InputError: shapes, types or values are wrong, or there is only one row.
    """
    check_embeddings("spectral_contrastive", z1=z1, z2=z2)
    rows = row_count("spectral_contrastive", z1, across_ranks, least=2)
    positive = (z1 * z2).sum(1)
    if rows > z1.shape[1]:
        every = (total(z1.T @ z1, across_ranks) * total(z2.T @ z2, across_ranks)).sum()
        negative = every - total(positive.square().sum(), across_ranks)
    else:
        everyone = share(z2, across_ranks)
        products = (z1 @ everyone.rows.T).square()
        negative = total(products.sum() - products.diagonal(everyone.start).sum(), across_ranks)
    return -2 * total(positive.sum(), across_ranks) / rows + negative / (rows * (rows - 1))
