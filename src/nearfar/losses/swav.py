r"""SwAV: the code of one view, balanced over prototypes, is predicted from another view.

Caron, Misra, Mairal, Goyal, Bojanowski, Joulin, "Unsupervised Learning of Visual Features by Contrasting Cluster
Assignments", NeurIPS 2020, https://arxiv.org/abs/2006.09882.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nearfar.distributed import gather
from nearfar.errors import require
from nearfar.losses._checks import check_embeddings, check_positive, in_float32, reduce

__all__ = ["sinkhorn", "swav"]


@torch.no_grad()
@in_float32
def sinkhorn(
    scores: Tensor,
    *,
    queue: Tensor | None = None,
    epsilon: float = 0.05,
    iterations: int = 3,
    across_ranks: bool = True,
) -> Tensor:
    r"""Codes of a batch: soft assignments to prototypes, of which each gets an equal share.

    .. math:: Q^* = \mathrm{Diag}(u) \, \exp(C^T Z / \epsilon) \, \mathrm{Diag}(v) \quad \text{(eq. 5)}

    Sinkhorn-Knopp: each iteration scales every prototype to an equal sum over samples, then every sample to sum 1.
    It runs on logarithms, so that no score overflows or leaves a prototype with a sum of 0.

    Args:
        scores: (N, K) float products of samples with prototypes.
        queue: (Q, K) scores of stored samples that share the prototypes (the paper's queue for small batches), or
            None. The same on every rank; they count once.
        epsilon: > 0, how soft the codes are; 0.05 in the paper. Lower it (0.03) where the loss stays at ln K.
        iterations: >= 1; 3 in the paper.
        across_ranks: whether the shares are equal over all ranks' samples.

    Returns:
        (N, K) rows that sum to 1; float32 (float64 for float64 input), without gradient.

    Raises:
        InputError: shapes, types, values or settings are wrong.
    """
    check_embeddings("sinkhorn", scores=scores)
    check_positive("sinkhorn", epsilon=epsilon)
    require(iterations >= 1, "sinkhorn", "iterations", ">= 1", iterations)
    own = scores / epsilon
    stored = None
    if queue is not None:
        check_embeddings("sinkhorn", same_rows=False, scores=scores, queue=queue)
        stored = queue.to(own.dtype) / epsilon
    for _ in range(iterations):
        share = own.logsumexp(0, keepdim=True)
        parts = [gather(share) if across_ranks else share]
        if stored is not None:
            parts.append(stored.logsumexp(0, keepdim=True))
        column = torch.cat(parts).logsumexp(0)
        own = torch.log_softmax(own - column, 1)
        stored = None if stored is None else torch.log_softmax(stored - column, 1)
    return own.exp()


def swav(
    *scores: Tensor,
    assign: int = 2,
    queue: Sequence[Tensor] | None = None,
    temperature: float = 0.1,
    epsilon: float = 0.05,
    iterations: int = 3,
    across_ranks: bool = True,
) -> Tensor:
    r"""Swapped prediction: every view predicts the codes of the other views.

    .. math::
        L &= \frac{1}{A (V - 1)} \sum_{a \le A} \sum_{v \neq a} \ell(z_v, q_a) \\
        \ell(z, q) &= - \frac1N \sum_n \sum_k q_{nk} \log p_{nk}, \quad
        p = \mathrm{softmax}(z^T c / \tau) \quad \text{(eq. 2)}

    With two views it is half of eq. 1, which adds both directions; so is the published code. Codes get no gradient.
    Prototypes are the caller's; the paper keeps them at unit length and fixed during the first epoch. A loss that stays
    at ln K is the sign of collapse.

    Args:
        *scores: (N, K) float, one tensor per view: unit projections times unit prototypes.
        assign: A, how many of the first views are assigned codes: the two large crops of multi-crop.
        queue: A tensors (Q, K): scores of stored samples with today's prototypes, or None. The same on every rank.
        temperature: tau > 0; 0.1 in the paper.
        epsilon: of `sinkhorn`.
        iterations: of `sinkhorn`.
        across_ranks: whether codes are balanced, and the mean taken, over all ranks' samples.

    Returns:
        A float32 scalar (float64 for float64 input).

    Raises:
        InputError: shapes, types, values or settings are wrong.
    """
    views = len(scores)
    require(views >= 2, "swav", "scores", "of two or more views", views)
    check_embeddings("swav", same_rows=True, **{f"scores[{i}]": score for i, score in enumerate(scores)})
    require(1 <= assign <= views, "swav", "assign", f"in 1..{views}", assign)
    check_positive("swav", temperature=temperature)
    stored: Sequence[Tensor | None] = [None] * assign if queue is None else queue
    require(len(stored) == assign, "swav", "queue", f"one tensor per assigned view ({assign})", len(stored))
    losses = []
    for a in range(assign):
        codes = sinkhorn(
            scores[a].detach(), queue=stored[a], epsilon=epsilon, iterations=iterations, across_ranks=across_ranks
        )
        losses += [
            _cross_entropy(codes, scores[v], temperature=temperature, across_ranks=across_ranks)
            for v in range(views)
            if v != a
        ]
    return torch.stack(losses).mean()


@in_float32
def _cross_entropy(codes: Tensor, scores: Tensor, *, temperature: float, across_ranks: bool) -> Tensor:
    values = -(codes * torch.log_softmax(scores / temperature, 1)).sum(1)
    return reduce(values, "mean", across_ranks=across_ranks, who="swav")
