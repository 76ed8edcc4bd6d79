r"""Losses on pairs with a score of how alike they are: cosine regression, CoSENT, AnglE.

A score may be any number: a human judgement in [0, 1] or 0 / 1 for different / same. Regression wants scores that are
cosines; the other two use only their order.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.distributed import gather
from nearfar.errors import require
from nearfar.losses._checks import Reduction, check_embeddings, check_finite, check_positive, in_float32, reduce
from nearfar.losses._rows import log1p_exp
from nearfar.losses.distances import DISTANCES, safe_sqrt

__all__ = ["angle", "cosent", "cosine_regression"]


@in_float32
def cosine_regression(x: Tensor, y: Tensor, score: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    r"""Squared difference of a pair's cosine and its score.

    .. math:: L = (\cos(x, y) - s)^2

    Reimers, Gurevych, "Sentence-BERT", EMNLP 2019, https://arxiv.org/abs/1908.10084, section 3 (regression objective).
    The number is that of CosineSimilarityLoss in sentence-transformers.

    Args:
        x: (N, D) float; need not be normalised.
        y: (N, D), row i the partner of row i of ``x``.
        score: (N,) float in [-1, 1]; other scores can not be reached.
        reduction: "mean" over pairs, "sum", or "none" for (N,).

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none".

    Raises:
        InputError: shapes or types are wrong.
    """
    check_embeddings("cosine_regression", x=x, y=y)
    score = _checked(score, "cosine_regression", len(x), x.dtype)
    return reduce((_cosine(x, y) - score).square(), reduction)


@in_float32
def cosent(x: Tensor, y: Tensor, score: Tensor, *, scale: float = 20.0, across_ranks: bool = True) -> Tensor:
    r"""CoSENT: a pair with a higher score must have a higher cosine than every pair with a lower one.

    .. math:: L = \log \Bigl(1 + \sum_{s_i > s_j} \exp \lambda (\cos(x_j, y_j) - \cos(x_i, y_i)) \Bigr)

    Su, "CoSENT", 2022, https://kexue.fm/archives/8847. Pairs of pairs are never built: sorted by score, the inner sum
    is a running log-sum-exp, so time grows with N log N and memory with N. The number is that of CoSENTLoss in
    sentence-transformers.

    Args:
        x: (N, D) float; need not be normalised.
        y: (N, D), row i the partner of row i of ``x``.
        score: (N,) any numbers; only their order counts, and pairs of equal score are not compared.
        scale: lambda > 0; 20 is the author's.
        across_ranks: whether all ranks' pairs are compared.

    Returns:
        A float32 scalar (float64 for float64 input); 0, with zero gradient, where all scores are equal.

    Raises:
        InputError: shapes, types or the scale are wrong.
    """
    check_embeddings("cosent", x=x, y=y)
    check_positive("cosent", scale=scale)
    score = _checked(score, "cosent", len(x), x.dtype)
    return _ordered(_cosine(x, y), score, scale, across_ranks)


@in_float32
def angle(x: Tensor, y: Tensor, score: Tensor, *, scale: float = 20.0, across_ranks: bool = True) -> Tensor:
    r"""AnglE: CoSENT's order on the angle between two complex vectors, whose gradient does not vanish where cosines do.

    The first half of a vector is its real part, the second its imaginary part: x = a + bi, y = c + di. Their quotient,
    less the norms, is summed over the dimensions:

    .. math:: \theta = \Bigl| \sum_k \frac{(a_k c_k + b_k d_k) + (b_k c_k - a_k d_k)}{\lVert x \rVert \lVert y \rVert}
        \Bigr|, \qquad L = \log \Bigl(1 + \sum_{s_i > s_j} \exp \lambda (\theta_j - \theta_i) \Bigr)

    Li, Li, "AnglE-optimized Text Embeddings", ACL 2024, https://arxiv.org/abs/2309.12871, section 3.4. The paper speaks
    of an angle difference; as in the authors' code the quantity above grows with the score. The number is that of
    AnglELoss in sentence-transformers.

    Args:
        x: (N, D) float, D even; need not be normalised.
        y: (N, D), row i the partner of row i of ``x``.
        score: (N,) any numbers; only their order counts.
        scale: lambda = 1 / tau > 0; 20 (tau = 0.05) is the authors'.
        across_ranks: whether all ranks' pairs are compared.

    Returns:
        A float32 scalar (float64 for float64 input); 0, with zero gradient, where all scores are equal.

    Raises:
        InputError: shapes, types or the scale are wrong.
    """
    check_embeddings("angle", x=x, y=y)
    require(x.shape[1] % 2 == 0, "angle", "x", "of even D, half real and half imaginary", tuple(x.shape))
    check_positive("angle", scale=scale)
    score = _checked(score, "angle", len(x), x.dtype)
    (a, b), (c, d) = x.chunk(2, dim=1), y.chunk(2, dim=1)
    norms = safe_sqrt(x.square().sum(1)) * safe_sqrt(y.square().sum(1))
    quotient = (a * c + b * d + b * c - a * d).sum(1) / norms.clamp(min=torch.finfo(x.dtype).tiny)
    return _ordered(quotient.abs(), score, scale, across_ranks)


def _ordered(likeness: Tensor, score: Tensor, scale: float, across_ranks: bool) -> Tensor:
    if across_ranks:
        likeness, score = gather(likeness), gather(score)
    score, order = score.sort()
    logits = likeness[order] * scale
    # below[i] pairs have a lower score than pair i; the running sum ends with the last of them.
    below = torch.searchsorted(score, score)
    running = logits.logcumsumexp(0)[(below - 1).clamp(min=0)] - logits
    compared = below > 0
    if not compared.any():
        return likeness.sum() * 0
    return log1p_exp(running[compared].logsumexp(0))


def _cosine(x: Tensor, y: Tensor) -> Tensor:
    return 1 - DISTANCES["cosine"].pairs(x, y)


def _checked(score: Tensor, who: str, rows: int, dtype: torch.dtype) -> Tensor:
    require(score.ndim == 1, who, "score", "of shape (N,)", tuple(score.shape))
    require(len(score) == rows, who, "score", f"one per pair ({rows})", len(score))
    check_finite(who, score=score)
    return score.to(dtype)
