r"""InfoNCE: pick each query's own key among all keys. One-sided or symmetric, with hard negatives, with a queue.

Oord, Li, Vinyals, "Representation Learning with Contrastive Predictive Coding", 2018,
https://arxiv.org/abs/1807.03748, eq. 4; in the form of He et al., "Momentum Contrast", CVPR 2020,
https://arxiv.org/abs/1911.05722, eq. 1 (queue), and of Gao, Yao, Chen, "SimCSE", EMNLP 2021,
https://arxiv.org/abs/2104.08821, eq. 1 (in-batch) and eq. 5 (hard negatives).
"""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.distributed import is_distributed
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
from nearfar.losses._engine import both_logsumexp, join, row_logsumexp, storage_dtype
from nearfar.losses._shared import share

__all__ = ["info_nce"]


def info_nce(
    queries: Tensor,
    keys: Tensor,
    *,
    negatives: Tensor | None = None,
    queue: Tensor | None = None,
    in_batch: bool = True,
    symmetric: bool = False,
    temperature: float = 0.07,
    reduction: Reduction = "mean",
    across_ranks: bool = True,
) -> Tensor:
    r"""InfoNCE of N queries, whose positives are the keys of the same row.

    .. math:: \ell_i = -\log \frac{\exp(q_i \cdot k_i / \tau)}{\exp(q_i \cdot k_i / \tau) + \sum_{c \in C_i}
        \exp(q_i \cdot c / \tau)}

    on normalised q, k, c. The candidates C_i are the other keys (``in_batch``), all ``negatives`` and the whole
    ``queue``. So the defaults are multiple-negatives ranking (SimCSE eq. 1), ``negatives`` gives SimCSE's eq. 5, and
    ``in_batch=False`` with a queue gives MoCo (eq. 1).

    Args:
        queries: (N, D) float; need not be normalised.
        keys: (N, D) float, row i belonging to query i.
        negatives: (K, D) hard negatives, candidates of every query, with gradient; shared by all ranks. For K per
            query pass ``z.flatten(0, 1)``.
        queue: (Q, D) older keys, candidates of every query, without gradient and not gathered: every rank holds its
            own queue, the same on all where it was filled with gathered keys.
        in_batch: whether the other queries' keys are candidates.
        symmetric: whether to add the direction from keys to queries, over the batch's queries alone; the result is
            the mean of both directions.
        temperature: tau > 0; 0.07 is MoCo's (MoCo v2: 0.2, SimCSE: 0.05).
        reduction: "mean" over the queries, "sum", or "none" for (N,).
        across_ranks: whether all ranks' keys and negatives are candidates; ranks may have different N and K.

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none". A query without candidates besides its key
        gives 0.

    Raises:
        InputError: shapes, types or settings are wrong, or (on the CPU) a value is not finite.
    """
    _check(queries, keys, negatives, queue, in_batch, symmetric)
    check_positive("info_nce", temperature=temperature)
    check_reduction("info_nce", reduction)
    with no_autocast(queries.device):
        dtype, scale = storage_dtype(queries), 1 / temperature
        q, k = unit(queries).to(dtype), unit(keys).to(dtype)
        positive = _dot(q, k) * scale
        total, back = positive, None
        if symmetric and not (across_ranks and is_distributed()):
            total, back = both_logsumexp(q, k, scale=scale)
        elif in_batch:
            total = row_logsumexp(q, share(k, across_ranks).rows, scale=scale)
            back = row_logsumexp(k, share(q, across_ranks).rows, scale=scale) if symmetric else None
        if negatives is not None:
            hard = share(unit(negatives).to(dtype), across_ranks).rows
            total = join(total, row_logsumexp(q, hard, scale=scale))
        if queue is not None:
            total = join(total, row_logsumexp(q, unit(queue.detach()).to(dtype), scale=scale))
        values = total - positive
        if back is not None:
            values = (values + back - positive) / 2
        return reduce(values, reduction, across_ranks=across_ranks)


def _dot(q: Tensor, k: Tensor) -> Tensor:
    wide = torch.promote_types(q.dtype, torch.float32)
    return (q.to(wide) * k.to(wide)).sum(1)


def _check(
    queries: Tensor, keys: Tensor, negatives: Tensor | None, queue: Tensor | None, in_batch: bool, symmetric: bool
) -> None:
    check_embeddings("info_nce", queries=queries, keys=keys)
    if negatives is not None:
        check_embeddings("info_nce", same_rows=False, queries=queries, negatives=negatives)
    if queue is not None:
        check_embeddings("info_nce", same_rows=False, queries=queries, queue=queue)
    require(
        in_batch or not symmetric, "info_nce", "in_batch", "True with symmetric=True", in_batch,
        "the direction from keys to queries has only the batch's queries as candidates",
    )  # fmt: skip
    require(
        in_batch or negatives is not None or queue is not None, "info_nce", "in_batch",
        "True without negatives and queue", in_batch, "pass negatives or a queue",
    )  # fmt: skip
