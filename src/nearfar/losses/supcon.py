r"""SupCon: all samples of a class attract, all others repel.

Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020, https://arxiv.org/abs/2004.11362.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nearfar.distributed import gather, gather_sizes, rank
from nearfar.losses._checks import (
    Reduction,
    check_embeddings,
    check_labels,
    check_positive,
    check_reduction,
    in_float32,
    reduce,
)

__all__ = ["sup_con"]


@in_float32
def sup_con(
    z: Tensor, labels: Tensor, *, temperature: float = 0.1, reduction: Reduction = "mean", across_ranks: bool = True
) -> Tensor:
    r"""SupCon, L_out of eq. 2, over M embeddings with labels.

    Any number of views: repeat the label for each. An anchor without positives does not count.

    Args:
        z: (M, D) float projections; need not be normalised.
        labels: (M,) integer.
        temperature: tau > 0.
        reduction: "mean" over anchors with positives, "sum", or "none" for (M,).
        across_ranks: whether all ranks' rows are positives and negatives.

    Returns:
        A float32 scalar (float64 for float64 input), or (M,) for "none".

    Raises:
        InputError: shapes, types or the temperature are wrong.
    """
    check_embeddings("sup_con", z=z)
    check_labels("sup_con", labels, len(z))
    check_positive("sup_con", temperature=temperature)
    check_reduction("sup_con", reduction)
    z = F.normalize(z, dim=1)
    sizes = gather_sizes(len(z), z.device) if across_ranks else [len(z)]
    start = sum(sizes[: rank()]) if across_ranks else 0
    everyone, classes = (gather(z, sizes), gather(labels, sizes)) if across_ranks else (z, labels)
    itself = torch.arange(start, start + len(z), device=z.device)[:, None]
    positive = (labels[:, None] == classes[None]).scatter(1, itself, False)
    logits = (z @ everyone.T / temperature).scatter(1, itself, -torch.inf)
    log_p = logits - logits.logsumexp(1, keepdim=True)
    count = positive.sum(1)
    values = -torch.where(positive, log_p, 0).sum(1) / count.clamp(min=1)
    return reduce(values, reduction, valid=count > 0, across_ranks=across_ranks)
