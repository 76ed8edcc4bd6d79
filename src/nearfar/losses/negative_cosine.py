r"""Negative cosine: a prediction points where its target points (SimSiam, BYOL).

Chen, He, "Exploring Simple Siamese Representation Learning", CVPR 2021, https://arxiv.org/abs/2011.10566, eq. 1 and 3;
Grill et al., "Bootstrap Your Own Latent", NeurIPS 2020, https://arxiv.org/abs/2006.07733, eq. 2.
"""

from __future__ import annotations

from torch import Tensor

from nearfar.losses._checks import Reduction, check_embeddings, check_reduction, in_float32, reduce, unit

__all__ = ["byol", "negative_cosine"]


@in_float32
def negative_cosine(p: Tensor, z: Tensor, *, reduction: Reduction = "mean", across_ranks: bool = True) -> Tensor:
    r"""SimSiam's loss of one side; the target gets no gradient.

    .. math:: D(p, z) = - \frac{p}{\lVert p \rVert} \cdot \frac{z}{\lVert z \rVert}
        \quad \text{(eq. 1, with the stop-gradient of eq. 3)}

    The paper's symmetric loss (eq. 4) is ``(negative_cosine(p1, z2) + negative_cosine(p2, z1)) / 2``. From -1 (equal
    directions) to 1. It has no negatives: alone, without predictor and stop-gradient, it collapses.

    Args:
        p: (N, D) float predictions.
        z: (N, D) targets, row i belonging to row i of ``p``; detached here. A zero row on either side gives 0.
        reduction: "mean" over rows, "sum", or "none" for (N,).
        across_ranks: whether the mean is over all ranks' rows, which matters only where ranks differ in N.

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none".

    Raises:
        InputError: shapes, types or values are wrong.
    """
    values = -_cosine("negative_cosine", p, z, reduction)
    return reduce(values, reduction, across_ranks=across_ranks, who="negative_cosine")


@in_float32
def byol(p: Tensor, z: Tensor, *, reduction: Reduction = "mean", across_ranks: bool = True) -> Tensor:
    r"""BYOL's loss of one side: the squared distance of two unit vectors; the target gets no gradient.

    .. math:: L = \left\lVert \bar q - \bar z' \right\rVert^2 = 2 - 2 \, \bar q \cdot \bar z' \quad \text{(eq. 2)}

    Twice `negative_cosine` plus two. The paper adds both sides: ``byol(q1, z2) + byol(q2, z1)``. From 0 to 4.

    Args:
        p: (N, D) float predictions q of the online network.
        z: (N, D) projections z' of the target network; detached here. A zero row on either side gives 2.
        reduction: "mean" over rows, "sum", or "none" for (N,).
        across_ranks: whether the mean is over all ranks' rows, which matters only where ranks differ in N.

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none".

    Raises:
        InputError: shapes, types or values are wrong.
    """
    values = 2 - 2 * _cosine("byol", p, z, reduction)
    return reduce(values, reduction, across_ranks=across_ranks, who="byol")


def _cosine(who: str, p: Tensor, z: Tensor, reduction: Reduction) -> Tensor:
    check_embeddings(who, p=p, z=z)
    check_reduction(who, reduction)
    return (unit(p) * unit(z.detach())).sum(1)
