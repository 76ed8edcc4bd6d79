r"""TS2Vec's loss: moments of a series against each other, at every scale.

Yue, Wang, Duan, Yang, Huang, Tong, Xu, "TS2Vec: Towards Universal Representation of Time Series", AAAI 2022, section
"Hierarchical Contrasting", https://arxiv.org/abs/2106.10466

Legend: N items, T moments, D length of a representation.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from nearfar.distributed import gather, gather_sizes, mean_over_rows, rank
from nearfar.errors import require

__all__ = ["hierarchical_contrast"]


def hierarchical_contrast(z1: Tensor, z2: Tensor, *, instance_weight: float = 0.5, temporal_from: int = 0) -> Tensor:
    """Return TS2Vec's loss of two views of the same moments, averaged over scales.

    At each scale the loss is w times the instance-wise one (eq. 2: at each moment the same item in the other view
    attracts, all other items of both views repel) plus 1 - w times the temporal one (eq. 1: of each item the same
    moment in the other view attracts, all other moments of both views repel); the products are plain, without norm or
    temperature. Then both views are max-pooled over pairs of moments, until one is left; there only the instance-wise
    loss is added, with its weight, as in the authors' code.

    Args:
        z1: (N, T, D) representations of the moments of one view.
        z2: (N, T, D) of the same moments in the other view.
        instance_weight: w, in [0, 1]; 0.5 in the paper.
        temporal_from: the first scale with a temporal loss, 0 for all.

    Returns:
        A scalar float32 (float64 for float64); the mean over ranks is the loss of the global batch.

    Raises:
        InputError: when shapes differ or a setting is out of range.
    """
    shaped = z1.ndim == 3 and z1.shape == z2.shape and min(z1.shape) > 0
    require(shaped, "hierarchical_contrast", "z1, z2", "of one shape (N, T, D)", f"{z1.shape}, {z2.shape}")
    require(0 <= instance_weight <= 1, "hierarchical_contrast", "instance_weight", "in [0, 1]", instance_weight)
    require(temporal_from >= 0, "hierarchical_contrast", "temporal_from", ">= 0", temporal_from)
    exact = z1.dtype == torch.float64
    with torch.autocast(z1.device.type, enabled=False):
        a, b = (z if exact else z.float() for z in (z1, z2))
        total, scale = a.new_zeros(()), 0
        while a.shape[1] > 1:
            if instance_weight:
                total = total + instance_weight * _instances(a, b)
            if instance_weight < 1 and scale >= temporal_from:
                total = total + (1 - instance_weight) * _moments(a, b)
            scale += 1
            a, b = (F.max_pool1d(z.transpose(1, 2), 2).transpose(1, 2) for z in (a, b))
        if instance_weight:
            total = total + instance_weight * _instances(a, b)
        return total / (scale + 1)


def _instances(a: Tensor, b: Tensor) -> Tensor:
    """Contrast the items of all ranks at each moment: (T, 2N, 2M) products, of which a row's own is hidden."""
    n = len(a)
    sizes = gather_sizes(n, a.device)
    all_a, all_b = gather(a, sizes), gather(b, sizes)
    start = sum(sizes[: rank()])
    rows = torch.cat([a, b]).transpose(0, 1)  # (T, 2N, D)
    columns = torch.cat([all_a, all_b]).transpose(0, 1)  # (T, 2M, D)
    m = len(all_a)
    if m == 1:
        return (rows.sum() + columns.sum()) * 0.0  # one item has no other to be told from
    own = torch.arange(n, device=a.device) + start
    hidden, partner = torch.cat([own, own + m]), torch.cat([own + m, own])
    logits = torch.matmul(rows, columns.transpose(1, 2))
    logits = logits.scatter(2, hidden.expand(len(rows), -1)[..., None], float("-inf"))
    targets = partner.expand(len(rows), -1)
    losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(len(rows), 2 * n)
    return mean_over_rows(losses.mean(dim=0))


def _moments(a: Tensor, b: Tensor) -> Tensor:
    """Contrast the moments of each item: (N, 2T, 2T) products, of which a moment's own is hidden."""
    z = torch.cat([a, b], dim=1)
    steps = a.shape[1]
    logits = torch.matmul(z, z.transpose(1, 2))
    place = torch.arange(2 * steps, device=a.device)
    logits = logits.masked_fill(torch.eye(2 * steps, dtype=torch.bool, device=a.device), float("-inf"))
    targets = ((place + steps) % (2 * steps)).expand(len(a), -1)
    losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(len(a), 2 * steps)
    return mean_over_rows(losses.mean(dim=1))
