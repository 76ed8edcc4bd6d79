r"""NT-Xent: two views of an item attract, all other views in the batch repel.

Chen, Kornblith, Norouzi, Hinton, "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020,
https://arxiv.org/abs/2002.05709, eq. 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.losses._checks import (
    Reduction,
    check_embeddings,
    check_positive,
    check_reduction,
    no_autocast,
    reduce,
    unit,
)
from nearfar.losses._engine import join, row_logsumexp, self_logsumexp, storage_dtype
from nearfar.losses._shared import share

__all__ = ["nt_xent"]


def nt_xent(
    z1: Tensor,
    z2: Tensor,
    *,
    queue: Tensor | None = None,
    temperature: float = 0.1,
    reduction: Reduction = "mean",
    across_ranks: bool = True,
) -> Tensor:
    r"""NT-Xent (eq. 1) over the 2N views of a batch of N pairs.

    .. math:: \ell_{i,j} = -\log \frac{\exp(s_{ij} / \tau)}{\sum_{k \neq i} \exp(s_{ik} / \tau)},
        \quad s_{ij} = \frac{z_i^\top z_j}{\lVert z_i \rVert \lVert z_j \rVert}

    "mean" is the paper's :math:`\frac{1}{2N} \sum_k [\ell(2k - 1, 2k) + \ell(2k, 2k - 1)]`; the authors' code sums the
    means of the two directions, which is twice that. Memory grows with N * D; the 2N x 2N matrix is never held.

    Args:
        z1: (N, D) float projections of the first views; need not be normalised.
        z2: (N, D) projections of the second views, row i belonging to row i of ``z1``.
        queue: (Q, D) older projections, further negatives of every anchor (SimCLRv2's memory,
            https://arxiv.org/abs/2006.10029), without gradient and not gathered: every rank holds its own queue, the
            same on all where it was filled with gathered projections.
        temperature: tau > 0; 0.1 is the paper's for ImageNet, 0.5 its for CIFAR-10.
        reduction: "mean" over the 2N anchors, "sum", or "none" for (2N,): ``z1``'s anchors, then ``z2``'s.
        across_ranks: whether all ranks' views are negatives; ranks may have different N.

    Returns:
        A float32 scalar (float64 for float64 input), or (2N,) for "none". Every anchor has its positive; a batch of
        one pair has no negatives but the queue's, and gives 0 without it. Equal embeddings give ln(2N - 1).

    Raises:
        InputError: shapes, types or the temperature are wrong, or (on the CPU) a value is not finite.
    """
    check_embeddings("nt_xent", z1=z1, z2=z2)
    if queue is not None:
        check_embeddings("nt_xent", same_rows=False, z1=z1, queue=queue)
    check_positive("nt_xent", temperature=temperature)
    check_reduction("nt_xent", reduction)
    with no_autocast(z1.device):
        z = torch.cat([unit(z1), unit(z2)]).to(storage_dtype(z1))
        u1, u2 = z.to(torch.promote_types(z.dtype, torch.float32)).chunk(2)
        positive = (u1 * u2).sum(1) / temperature
        everything = self_logsumexp(z, share(z, across_ranks).others, scale=1 / temperature)
        if queue is not None:
            older = unit(queue.detach()).to(z.dtype)
            everything = join(everything, row_logsumexp(z, older, scale=1 / temperature))
        return reduce(everything - positive.repeat(2), reduction, across_ranks=across_ranks)
