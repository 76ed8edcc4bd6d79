r"""SupCon: all samples of a class attract, all others repel.

Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020, https://arxiv.org/abs/2004.11362, eq. 2 and 3.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from nearfar.errors import require
from nearfar.losses._checks import (
    Reduction,
    check_embeddings,
    check_finite,
    check_labels,
    check_positive,
    check_reduction,
    no_autocast,
    reduce,
    unit,
)
from nearfar.losses._engine import row_logsumexp, self_logsumexp, storage_dtype
from nearfar.losses._shared import Shared, share

__all__ = ["multi_label_sup_con", "sup_con"]


def sup_con(
    z: Tensor,
    labels: Tensor,
    *,
    temperature: float = 0.1,
    variant: Literal["out", "in"] = "out",
    reduction: Reduction = "mean",
    across_ranks: bool = True,
) -> Tensor:
    r"""SupCon over M embeddings with labels, any number of views: repeat a sample's label for each of its views.

    .. math::
        L^{out}_i &= \frac{-1}{|P(i)|} \sum_{p \in P(i)} \log
            \frac{\exp(s_{ip} / \tau)}{\sum_{a \neq i} \exp(s_{ia} / \tau)} \quad (2) \\
        L^{in}_i &= -\log \frac{1}{|P(i)|} \sum_{p \in P(i)}
            \frac{\exp(s_{ip} / \tau)}{\sum_{a \neq i} \exp(s_{ia} / \tau)} \quad (3)

    P(i) holds the other rows with i's label. The authors' code multiplies by tau / 0.07, which this does not. With the
    labels 0, ..., N - 1 twice this is NT-Xent. Memory grows with M * D.

    Args:
        z: (M, D) float projections; need not be normalised.
        labels: (M,) integer.
        temperature: tau > 0; 0.1 is the authors' default for CIFAR.
        variant: "out" for eq. 2, which the paper recommends (78.7 against 67.4 % on ImageNet), or "in" for eq. 3.
        reduction: "mean" over the anchors that have a positive, "sum", or "none" for (M,).
        across_ranks: whether all ranks' rows are positives and negatives; ranks may have different M.

    Returns:
        A float32 scalar (float64 for float64 input), or (M,) for "none". An anchor without positives gives 0 and does
        not count in the mean; a batch without any gives 0 with zero gradient.

    Raises:
        InputError: shapes, types or the temperature are wrong, or (on the CPU) a value is not finite.
    """
    check_embeddings("sup_con", z=z)
    check_labels("sup_con", labels, len(z))
    check_positive("sup_con", temperature=temperature)
    check_reduction("sup_con", reduction)
    require(variant in ("out", "in"), "sup_con", "variant", "'out' or 'in'", repr(variant))
    with no_autocast(z.device):
        u = unit(z).to(storage_dtype(z))
        everyone, classes = share(u, across_ranks), share(labels, across_ranks)
        everything = self_logsumexp(u, everyone.others, scale=1 / temperature)
        positive, count = (_mean_of_logits if variant == "out" else _log_of_mean)(u, everyone, classes, temperature)
        return reduce(everything - positive, reduction, valid=count > 0, across_ranks=across_ranks)


def _classes(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Number the classes: each row's class (M,), and how many rows each class has."""
    index, sizes = torch.unique(labels, return_inverse=True, return_counts=True)[1:]
    return index, sizes


def _mean_of_logits(u: Tensor, everyone: Shared, classes: Shared, temperature: float) -> tuple[Tensor, Tensor]:
    """Mean logit of each anchor's positives: a product with the sum of its class, so no pair is visited."""
    index, sizes = _classes(classes.rows)
    wide = torch.promote_types(u.dtype, torch.float32)
    rows = everyone.rows.to(wide)
    sums = rows.new_zeros(len(sizes), u.shape[1]).index_add(0, index, rows)
    own = index[classes.start : classes.stop]
    count = sizes[own] - 1
    u = u.to(wide)
    return (u * (sums[own] - u)).sum(1) / (count.clamp(min=1).to(wide) * temperature), count


def _log_of_mean(u: Tensor, everyone: Shared, classes: Shared, temperature: float) -> tuple[Tensor, Tensor]:
    """Log of the mean exponential of each anchor's positives."""
    own = classes.rows[classes.start : classes.stop]
    index, sizes = _classes(classes.rows)
    count = sizes[index[classes.start : classes.stop]] - 1
    total = row_logsumexp(
        u,
        everyone.rows,
        scale=1 / temperature,
        diagonals=(everyone.start,),
        drop=lambda rows, cols: own[rows, None] != classes.rows[None, cols],
    )
    return total - count.clamp(min=1).to(total.dtype).log(), count


def multi_label_sup_con(
    z: Tensor,
    similarity: Tensor,
    *,
    temperature: float = 0.1,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""SupCon with graded positives: labels enter as a matrix of how alike two samples are.

    .. math:: L_i = \frac{-1}{\sum_{p \neq i} w_{ip}} \sum_{p \neq i} w_{ip} \log
        \frac{\exp(s_{ip} / \tau)}{\sum_{a \neq i} \exp(s_{ia} / \tau)}

    With w the 0/1 matrix of equal labels this is `sup_con` (eq. 2, the weights being :math:`1 / |P(i)|`); with the
    Jaccard index of label sets it is the multi-label form. The matrix is the caller's and of size M^2, so this loss
    does not save memory and stays on its rank.

    Args:
        z: (M, D) float projections; need not be normalised.
        similarity: (M, M) float or bool, entries >= 0; the diagonal is ignored.
        temperature: tau > 0; 0.1 as in `sup_con`.
        reduction: "mean" over the anchors with a positive weight, "sum", or "none" for (M,).

    Returns:
        A float32 scalar (float64 for float64 input), or (M,) for "none". An anchor without a positive weight gives 0
        and does not count in the mean.

    Raises:
        InputError: shapes, types, weights or the temperature are wrong.
    """
    who = "multi_label_sup_con"
    check_embeddings(who, z=z)
    check_positive(who, temperature=temperature)
    check_reduction(who, reduction)
    m = len(z)
    require(similarity.shape == (m, m), who, "similarity", f"of shape (M, M) with M = {m}", tuple(similarity.shape))
    check_finite(who, similarity=similarity)
    if z.device.type == "cpu":
        require(bool((similarity >= 0).all()), who, "similarity", ">= 0", "a negative entry")
    with no_autocast(z.device):
        u = unit(z)
        weights = similarity.to(u.dtype).clone().fill_diagonal_(0)
        total = weights.sum(1)
        everything = self_logsumexp(u, None, scale=1 / temperature)
        positive = (u * (weights @ u)).sum(1) / (torch.where(total > 0, total, 1) * temperature)
        return reduce(everything - positive, reduction, valid=total > 0)
