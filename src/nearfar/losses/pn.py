r"""PN: a triplet in which anchor and positive both lie farther from the negative than from each other."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from nearfar.errors import require
from nearfar.losses._checks import Reduction, in_float32, reduce
from nearfar.losses._pairs import check_rows
from nearfar.losses.distances import DistanceLike, check_margin, find_distance

__all__ = ["pn"]

Form = Literal["hinge", "softmax"]


@in_float32
def pn(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    margin: float = 1.0,
    form: Form = "hinge",
    distance: DistanceLike = "euclidean",
    reduction: Reduction = "mean",
) -> Tensor:
    r"""PN loss of N triplets.

    .. math::
        d^- &= \min(d(a, n), d(p, n)) \\
        \text{hinge:} \quad L &= \max(0, d(a, p) - d^- + m) \\
        \text{softmax:} \quad L &= \Bigl(\frac{e^{d(a, p)}}{e^{d^-} + e^{d(a, p)}}\Bigr)^2
            + \Bigl(\frac{e^{d^-}}{e^{d^-} + e^{d(a, p)}} - 1\Bigr)^2

    The softmax form is that of Balntas, Johns, Tang, Mikolajczyk, "PN-Net: Conjoined Triple Deep Network for Learning
    Local Image Descriptors", 2016, https://arxiv.org/abs/1601.05030. The hinge, with its margin of 1, is that of
    Szubert, Cole, Monaco, Drozdov, "Structure-preserving visualisation of high dimensional single-cell datasets",
    Scientific Reports 2019, https://doi.org/10.1038/s41598-019-45301-0, and of PNLoss in TensorFlow Similarity.

    Args:
        anchor: (N, D) float.
        positive: (N, D), row i of the class of row i of ``anchor``.
        negative: (N, D), row i of another class.
        margin: m > 0 in units of ``distance``; of the hinge only.
        form: "hinge" or "softmax".
        distance: d.
        reduction: "mean" over triplets, "sum", or "none" for (N,).

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none".

    Raises:
        InputError: shapes, types, the margin or a name are wrong.
    """
    check_rows("pn", anchor=anchor, positive=positive, negative=negative)
    require(form in get_args(Form), "pn", "form", "'hinge' or 'softmax'", repr(form))
    d = find_distance("pn", distance)
    check_margin("pn", margin, d)
    near = d.pairs(anchor, positive)
    far = torch.minimum(d.pairs(anchor, negative), d.pairs(positive, negative))
    if form == "hinge":
        return reduce((near - far + margin).clamp(min=0), reduction)
    # Both squares are equal, since the two fractions add up to 1.
    return reduce(2 * (near - far).sigmoid().square(), reduction)
