r"""Margin loss with a boundary beta: positives nearer than beta - m, negatives farther than beta + m; beta is learned.

Wu, Manmatha, Smola, Krähenbühl, "Sampling Matters in Deep Embedding Learning", ICCV 2017,
https://arxiv.org/abs/1706.07567
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nearfar.errors import require
from nearfar.losses._checks import Reduction, check_finite, check_labels, in_float32, reduce
from nearfar.losses._pairs import check_different, check_range, check_rows
from nearfar.losses.distances import DistanceLike, check_margin, find_distance

__all__ = ["MarginBeta", "margin_beta"]


@in_float32
def margin_beta(
    x: Tensor,
    y: Tensor,
    different: Tensor,
    beta: Tensor | float = 1.2,
    *,
    margin: float = 0.2,
    nu: float = 0.0,
    distance: DistanceLike = "euclidean",
    nonzero: bool = True,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Margin loss of N pairs, Y = 0 for a similar pair and 1 for a different one.

    .. math:: L = \max(0, m + (1 - 2 Y) (d(x, y) - \beta)) + \nu \beta

    Section 4.2 of Wu et al. Their pairs come from `nearfar.losses.miners.distance_weighted_triplets`.

    Args:
        x: (N, D) float, the anchors; of length 1 in the paper.
        y: (N, D), row i the partner of row i of ``x``.
        different: (N,) Y = 0 or 1.
        beta: the boundary: a number, a scalar tensor, or (N,), each anchor's class's. 1.2 is the paper's start.
        margin: m > 0 in units of ``distance``; 0.2 is the paper's.
        nu: weight >= 0 of beta itself, which else only grows where positives are far.
        distance: d.
        nonzero: "mean" over the pairs with a hinge > 0 only, as the authors' code does.
        reduction: "mean" over pairs, "sum", or "none" for (N,).

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none".

    Raises:
        InputError: shapes, types, ``different`` or a number are wrong.
    """
    check_rows("margin_beta", x=x, y=y)
    require(nu >= 0, "margin_beta", "nu", ">= 0", nu)
    d = find_distance("margin_beta", distance)
    check_margin("margin_beta", margin, d)
    apart = check_different("margin_beta", different, len(x))
    boundary = torch.as_tensor(beta, dtype=x.dtype, device=x.device)
    shape = tuple(boundary.shape)
    require(shape in ((), (1,), (len(x),)), "margin_beta", "beta", f"a number or of shape ({len(x)},)", shape)
    check_finite("margin_beta", beta=boundary)
    beyond = d.pairs(x, y) - boundary
    values = (margin + torch.where(apart, -beyond, beyond)).clamp(min=0)
    loss = reduce(values, reduction, valid=values > 0 if nonzero else None)
    if nu == 0:
        return loss
    return loss + nu * reduce(boundary.expand(len(x)), reduction)


class MarginBeta(nn.Module):
    """`margin_beta` with a boundary that is learned, for all classes or for each.

    Args:
        classes: number of classes, each with its own boundary; None: one for all.
        beta: where the boundary starts.
        margin: as in `margin_beta`.
        nu: as in `margin_beta`.
        distance: as in `margin_beta`.

    Attributes:
        beta: (classes,) or (1,) parameter.
    """

    def __init__(
        self,
        classes: int | None = None,
        *,
        beta: float = 1.2,
        margin: float = 0.2,
        nu: float = 0.0,
        distance: DistanceLike = "euclidean",
    ) -> None:
        super().__init__()
        require(classes is None or classes >= 1, "MarginBeta", "classes", ">= 1 or None", classes)
        self.classes, self.margin, self.nu, self.distance = classes, margin, nu, distance
        self.beta = nn.Parameter(torch.full((classes or 1,), float(beta)))

    def forward(self, x: Tensor, y: Tensor, different: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss of N pairs.

        Args:
            x: (N, D) anchors.
            y: (N, D) partners.
            different: (N,) 0 or 1.
            labels: (N,) the anchors' classes in [0, classes), where every class has its boundary.

        Raises:
            InputError: labels are missing or out of range, or as in `margin_beta`.
        """
        beta: Tensor = self.beta
        if self.classes is not None:
            require(labels is not None, "MarginBeta", "labels", "given, since each class has its beta", labels)
            assert labels is not None
            check_labels("MarginBeta", labels, len(x))
            check_range("MarginBeta", labels, self.classes)
            beta = self.beta[labels]
        return margin_beta(x, y, different, beta, margin=self.margin, nu=self.nu, distance=self.distance)
