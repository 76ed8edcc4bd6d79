r"""NT-Xent: two views of an item attract, all other views in the batch repel.

Chen, Kornblith, Norouzi, Hinton, "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020,
https://arxiv.org/abs/2002.05709, eq. 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nearfar.distributed import gather, gather_sizes, rank
from nearfar.losses._checks import Reduction, check_embeddings, check_positive, check_reduction, in_float32, reduce

__all__ = ["nt_xent"]


@in_float32
def nt_xent(
    z1: Tensor, z2: Tensor, *, temperature: float = 0.1, reduction: Reduction = "mean", across_ranks: bool = True
) -> Tensor:
    r"""NT-Xent over the 2N views of a batch of N pairs.

    .. math:: \ell_{i,j} = -\log \frac{\exp(s_{ij} / \tau)}{\sum_{k \neq i} \exp(s_{ik} / \tau)}

    Args:
        z1: (N, D) float projections of the first views; need not be normalised.
        z2: (N, D) projections of the second views, row i belonging to row i of ``z1``.
        temperature: tau > 0.
        reduction: "mean" over the 2N anchors, "sum", or "none" for (2N,): ``z1``'s anchors, then ``z2``'s.
        across_ranks: whether all ranks' views are negatives; ranks may have different N.

    Returns:
        A float32 scalar (float64 for float64 input), or (2N,) for "none".

    Raises:
        InputError: shapes, types or the temperature are wrong.
    """
    check_embeddings("nt_xent", z1=z1, z2=z2)
    check_positive("nt_xent", temperature=temperature)
    check_reduction("nt_xent", reduction)
    n = len(z1)
    a, b = F.normalize(z1, dim=1), F.normalize(z2, dim=1)
    sizes = gather_sizes(n, z1.device) if across_ranks else [n]
    total, start = sum(sizes), sum(sizes[: rank()]) if across_ranks else 0
    everyone = torch.cat([gather(a, sizes), gather(b, sizes)]) if across_ranks else torch.cat([a, b])
    own = torch.arange(start, start + n, device=z1.device)
    logits = torch.cat([a, b]) @ everyone.T / temperature
    positive = torch.cat([own + total, own])
    itself = torch.cat([own, own + total])
    logits = logits.scatter(1, itself[:, None], -torch.inf)
    values = F.cross_entropy(logits, positive, reduction="none")
    return reduce(values, reduction, across_ranks=across_ranks)
