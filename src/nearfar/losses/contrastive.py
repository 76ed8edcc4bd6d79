r"""Contrastive losses on pairs: similar ones are pulled together, different ones pushed apart as far as a margin.

Chopra, Hadsell, LeCun, "Learning a Similarity Metric Discriminatively, with Application to Face Verification", CVPR
2005; Hadsell, Chopra, LeCun, "Dimensionality Reduction by Learning an Invariant Mapping", CVPR 2006,
http://yann.lecun.com/exdb/publis/pdf/hadsell-chopra-lecun-06.pdf
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from nearfar.errors import require
from nearfar.losses._checks import Reduction, check_reduction, in_float32, reduce
from nearfar.losses._pairs import check_different, check_rows
from nearfar.losses.distances import DistanceLike, check_margin, find_distance

__all__ = ["contrastive", "online_contrastive", "snr_contrastive"]

Form = Literal["linear", "hadsell"]


@in_float32
def contrastive(
    x: Tensor,
    y: Tensor,
    different: Tensor,
    *,
    margin: float = 1.0,
    form: Form = "linear",
    distance: DistanceLike | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Contrastive loss of N pairs, Y = 0 for a similar pair and 1 for a different one.

    .. math::
        \text{linear:} \quad  L &= (1 - Y) \, d + Y \max(0, m - d), & d &= \lVert x - y \rVert^2 \\
        \text{hadsell:} \quad L &= \tfrac12 (1 - Y) \, d^2 + \tfrac12 Y \max(0, m - d)^2, & d &= \lVert x - y \rVert

    The second is eq. 4 of Hadsell et al. (2006). Both pull a similar pair by its squared distance; they differ in how
    they push a different one. The gradient where x = y is 0: a different pair that coincides is not torn apart.

    Args:
        x: (N, D) float.
        y: (N, D), row i the partner of row i of ``x``.
        different: (N,) Y, bool, integer or float of values 0 and 1.
        margin: m > 0, in units of ``distance``: of the *squared* distance for "linear". 1 is a convention; for unit
            vectors squared distances end at 4, distances at 2.
        form: "linear" or "hadsell".
        distance: d; None for the one in the equation.
        reduction: "mean" over pairs, "sum", or "none" for (N,).

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none".

    Raises:
        InputError: shapes, types, ``different``, the margin or a name are wrong.
    """
    check_rows("contrastive", x=x, y=y)
    require(form in get_args(Form), "contrastive", "form", "'linear' or 'hadsell'", repr(form))
    own: DistanceLike = "squared_euclidean" if form == "linear" else "euclidean"
    d = find_distance("contrastive", own if distance is None else distance)
    check_margin("contrastive", margin, d)
    apart = check_different("contrastive", different, len(x))
    distances = d.pairs(x, y)
    short = (margin - distances).clamp(min=0)
    if form == "linear":
        values = torch.where(apart, short, distances)
    else:
        values = torch.where(apart, short, distances).square() / 2
    return reduce(values, reduction)


@in_float32
def online_contrastive(
    x: Tensor,
    y: Tensor,
    different: Tensor,
    *,
    margin: float = 0.5,
    distance: DistanceLike = "cosine",
    reduction: Reduction = "sum",
) -> Tensor:
    r"""Contrastive loss of the hard pairs only: similar ones farther than the nearest different one, and the reverse.

    .. math::
        L = \sum_{Y_i = 0,\; d_i > \min_{Y_j = 1} d_j} d_i^2
          + \sum_{Y_i = 1,\; d_i < \max_{Y_j = 0} d_j} \max(0, m - d_i)^2

    No paper: it is the loss of this name in sentence-transformers, with its defaults and its sum. Where a batch has
    pairs of one kind only, those farther (similar) or nearer (different) than their mean count.

    Args:
        x: (N, D) float.
        y: (N, D), row i the partner of row i of ``x``.
        different: (N,) Y = 0 or 1.
        margin: m > 0, in units of ``distance``.
        distance: d.
        reduction: "sum" over the hard pairs, their "mean", or "none" for (N,) with 0 for the others.

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none". 0 where no pair is hard.

    Raises:
        InputError: shapes, types, ``different``, the margin or a name are wrong.
    """
    check_rows("online_contrastive", x=x, y=y)
    d = find_distance("online_contrastive", distance)
    check_margin("online_contrastive", margin, d)
    check_reduction("online_contrastive", reduction)
    apart = check_different("online_contrastive", different, len(x))
    distances = d.pairs(x, y)
    if not len(x):
        return reduce(distances, reduction)
    with torch.no_grad():
        nearest = distances.masked_fill(~apart, torch.inf).amin()
        farthest = distances.masked_fill(apart, -torch.inf).amax()
        # With one kind only the other's extreme is infinite; the mean then stands in its place.
        nearest = torch.where(nearest.isfinite(), nearest, distances.mean())
        farthest = torch.where(farthest.isfinite(), farthest, distances.mean())
        hard = torch.where(apart, distances < farthest, distances > nearest)
    values = torch.where(apart, (margin - distances).clamp(min=0), distances).square()
    return reduce(values, reduction, valid=hard)


@in_float32
def snr_contrastive(
    x: Tensor,
    y: Tensor,
    different: Tensor,
    *,
    margin: float = 1.0,
    zero_mean: float = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Contrastive loss on the signal-to-noise distance d(x, y) = var(y - x) / var(x).

    .. math:: L = (1 - Y) \, d + Y \max(0, m - d) + \lambda \, \tfrac12 (|\textstyle\sum_k x_k| + |\sum_k y_k|)

    Yuan, Deng, Tang, Tang, Chen, "Signal-to-Noise Ratio: A Robust Distance Metric for Deep Metric Learning", CVPR 2019,
    https://arxiv.org/abs/1904.02616. The last term asks for entries of mean zero, as the paper's model of signals does.

    Args:
        x: (N, D) float, the anchors: the distance divides by their variance. D >= 2.
        y: (N, D), row i the partner of row i of ``x``.
        different: (N,) Y = 0 or 1.
        margin: m > 0; 1 is pytorch-metric-learning's.
        zero_mean: lambda >= 0.
        reduction: "mean" over pairs, "sum", or "none" for (N,).

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none".

    Raises:
        InputError: shapes, types, ``different`` or a number are wrong.
    """
    check_rows("snr_contrastive", x=x, y=y)
    require(zero_mean >= 0, "snr_contrastive", "zero_mean", ">= 0", zero_mean)
    require(x.shape[1] >= 2, "snr_contrastive", "x", "of D >= 2, else it has no variance", tuple(x.shape))
    d = find_distance("snr_contrastive", "snr")
    check_margin("snr_contrastive", margin, d)
    apart = check_different("snr_contrastive", different, len(x))
    distances = d.pairs(x, y)
    values = torch.where(apart, (margin - distances).clamp(min=0), distances)
    if zero_mean:
        values = values + zero_mean * (x.sum(1).abs() + y.sum(1).abs()) / 2
    return reduce(values, reduction)
