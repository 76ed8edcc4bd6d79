r"""GISTEmbed: a guide model says which in-batch candidates are no negatives at all.

Solatorio, "GISTEmbed: Guided In-sample Selection of Training Negatives for Text Embedding Fine-tuning", 2024,
https://arxiv.org/abs/2402.16829, eq. 3 to 8.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from nearfar.errors import require
from nearfar.losses._checks import (
    Reduction,
    check_embeddings,
    check_positive,
    check_reduction,
    no_autocast,
    reduce,
    unit,
)
from nearfar.losses._engine import join, row_logsumexp
from nearfar.losses._hide import Drop
from nearfar.losses._shared import share

__all__ = ["gist"]

# Far above the rounding of a cosine, so that a duplicate of the positive is treated alike in every tile.
_TIE = 1e-6


def gist(
    queries: Tensor,
    keys: Tensor,
    guide_queries: Tensor,
    guide_keys: Tensor,
    *,
    negatives: Tensor | None = None,
    guide_negatives: Tensor | None = None,
    temperature: float = 0.01,
    margin: float = 0.0,
    margin_kind: Literal["absolute", "relative"] = "absolute",
    reduction: Reduction = "mean",
    across_ranks: bool = True,
) -> Tensor:
    r"""InfoNCE over four kinds of candidates, without those that the guide finds nearer than the positive.

    .. math:: \ell_i = -\log \frac{e^{q_i \cdot k_i / \tau}}{\sum_j e^{q_i \cdot k_j / \tau}
        + \sum_{j \ne i} e^{q_i \cdot q_j / \tau} + \sum_{j \ne i} e^{k_i \cdot k_j / \tau}
        + \sum_j e^{q_i \cdot n_j / \tau}}

    on normalised rows. With the guide's cosines g and :math:`\theta_i = g(q_i, k_i) - m` ("absolute") or
    :math:`(1 - m)\, g(q_i, k_i)` ("relative"), a candidate whose own g exceeds :math:`\theta_i` is left out: it is
    likely a false negative. The positive itself always stays, and so does a tie (to 1e-6).

    Args:
        queries: (N, D) float; need not be normalised.
        keys: (N, D), row i belonging to query i.
        guide_queries: (N, G) the guide's embeddings of the queries' items; no gradient flows into them.
        guide_keys: (N, G) the guide's embeddings of the keys' items.
        negatives: (K, D) hard negatives, candidates of every query.
        guide_negatives: (K, G) the guide's embeddings of them; needed with ``negatives``.
        temperature: tau > 0; 0.01 is the paper's and sentence-transformers'.
        margin: m >= 0; 0 as in the paper. Larger leaves out more.
        margin_kind: "absolute" or "relative", as in sentence-transformers.
        reduction: "mean" over the queries, "sum", or "none" for (N,).
        across_ranks: whether all ranks' rows are candidates; ranks may have different N and K.

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none". A query all of whose candidates are left out
        gives 0.

    Raises:
        InputError: shapes, types or settings are wrong, or (on the CPU) a value is not finite.
    """
    _check(queries, keys, guide_queries, guide_keys, negatives, guide_negatives, margin, margin_kind)
    check_positive("gist", temperature=temperature)
    check_reduction("gist", reduction)
    scale = 1 / temperature
    with no_autocast(queries.device):
        q, k = unit(queries), unit(keys)
        gq = unit(guide_queries.detach())
        gk = unit(guide_keys.detach()).to(gq.dtype)
        cosine = (gq * gk).sum(1)
        limit = cosine - margin if margin_kind == "absolute" else cosine * (1 - margin)
        keys_all, queries_all = share(k, across_ranks), share(q, across_ranks)
        guides_k, guides_q = share(gk, across_ranks).rows, share(gq, across_ranks).rows
        positive = (q * k).sum(1) * scale
        own = (keys_all.start,)
        # The positive is hidden among the keys and joined by itself, so that no margin can leave it out.
        total = join(positive, _rest(q, keys_all.rows, scale, own, _nearer(gq, guides_k, limit)))
        total = join(total, _rest(q, queries_all.rows, scale, own, _nearer(gq, guides_q, limit)))
        total = join(total, _rest(k, keys_all.rows, scale, own, _nearer(gk, guides_k, limit)))
        if negatives is not None and guide_negatives is not None:
            n = share(unit(negatives), across_ranks).rows
            gn = share(unit(guide_negatives.detach()).to(gq.dtype), across_ranks).rows
            total = join(total, _rest(q, n, scale, (), _nearer(gq, gn, limit)))
        return reduce(total - positive, reduction, across_ranks=across_ranks)


def _rest(a: Tensor, b: Tensor, scale: float, own: tuple[int, ...], drop: Drop) -> Tensor:
    return row_logsumexp(a, b, scale=scale, diagonals=own, drop=drop)


def _nearer(anchors: Tensor, candidates: Tensor, limit: Tensor) -> Drop:
    """Tell, tile by tile, which candidates the guide finds nearer to the anchor than its limit."""

    def drop(rows: slice, cols: slice) -> Tensor:
        return anchors[rows] @ candidates[cols].T > limit[rows, None] + _TIE

    return drop


def _check(
    queries: Tensor,
    keys: Tensor,
    guide_queries: Tensor,
    guide_keys: Tensor,
    negatives: Tensor | None,
    guide_negatives: Tensor | None,
    margin: float,
    margin_kind: str,
) -> None:
    check_embeddings("gist", queries=queries, keys=keys)
    check_embeddings("gist", guide_queries=guide_queries, guide_keys=guide_keys)
    n, guided = len(queries), len(guide_queries)
    require(guided == n, "gist", "guide_queries", f"of as many rows as queries ({n})", guided)
    both = (negatives is None) == (guide_negatives is None)
    require(both, "gist", "guide_negatives", "given exactly when negatives are", "only one of them")
    if negatives is not None and guide_negatives is not None:
        check_embeddings("gist", same_rows=False, queries=queries, negatives=negatives)
        check_embeddings("gist", same_rows=False, guide_queries=guide_queries, guide_negatives=guide_negatives)
        k, guided = len(negatives), len(guide_negatives)
        require(guided == k, "gist", "guide_negatives", f"of as many rows as negatives ({k})", guided)
    require(margin >= 0, "gist", "margin", ">= 0", margin)
    known = margin_kind in ("absolute", "relative")
    require(known, "gist", "margin_kind", "'absolute' or 'relative'", repr(margin_kind))
