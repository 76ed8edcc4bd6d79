r"""Neighbourhood components and soft nearest neighbours: a random near neighbour shall be of the anchor's class."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

from nearfar.errors import require
from nearfar.losses._checks import Reduction, check_positive, in_float32, reduce
from nearfar.losses._rows import Mined, gathered, masked_logsumexp, per_anchor
from nearfar.losses.distances import DistanceLike, find_distance

__all__ = ["nca", "soft_nearest_neighbour"]

Form = Literal["log", "probability"]


@in_float32
def nca(
    z: Tensor,
    labels: Tensor,
    *,
    scale: float = 1.0,
    form: Form = "log",
    distance: DistanceLike = "squared_euclidean",
    reduction: Reduction = "mean",
    mined: Mined | None = None,
    across_ranks: bool = True,
) -> Tensor:
    r"""Neighbourhood components analysis on embeddings.

    .. math::
        p_i = \frac{\sum_{j \neq i, \, y_j = y_i} e^{-s \, d_{ij}}}{\sum_{k \neq i} e^{-s \, d_{ik}}}, \qquad
        L_i = -\log p_i \quad \text{or} \quad L_i = 1 - p_i

    Goldberger, Roweis, Hinton, Salakhutdinov, "Neighbourhood Components Analysis", NeurIPS 2004,
    https://www.cs.toronto.edu/~hinton/absps/nca.pdf, eq. 1 and 2; "probability" is its main objective (eq. 3, the
    expected number of points classified wrongly), "log" the alternative it calls g.

    Args:
        z: (N, D) float.
        labels: (N,) integer.
        scale: s > 0; 1 in the paper.
        form: "log" or "probability".
        distance: d.
        reduction: "mean" over the anchors with a positive, "sum", or "none" for (N,).
        mined: the pairs that count, from a miner; None: all.
        across_ranks: whether all ranks' rows are neighbours.

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none". 0 where no anchor has a positive.

    Raises:
        InputError: shapes, types, the scale or a name are wrong.
    """
    require(form in get_args(Form), "nca", "form", "'log' or 'probability'", repr(form))
    check_positive("nca", scale=scale)
    return _neighbours("nca", z, labels, scale, form, distance, reduction, mined, across_ranks)


@in_float32
def soft_nearest_neighbour(
    z: Tensor,
    labels: Tensor,
    *,
    temperature: float = 1.0,
    distance: DistanceLike = "squared_euclidean",
    reduction: Reduction = "mean",
    mined: Mined | None = None,
    across_ranks: bool = True,
) -> Tensor:
    r"""Soft nearest neighbour loss.

    .. math:: L_i = -\log \frac{\sum_{j \neq i, \, y_j = y_i} e^{-d_{ij} / T}}{\sum_{k \neq i} e^{-d_{ik} / T}}

    Salakhutdinov, Hinton, "Learning a Nonlinear Embedding by Preserving Class Neighbourhood Structure", AISTATS 2007;
    Frosst, Papernot, Hinton, "Analyzing and Improving Representations with the Soft Nearest Neighbor Loss", ICML 2019,
    https://arxiv.org/abs/1902.01889, eq. 1. It is `nca` with s = 1 / T.

    Args:
        z: (N, D) float.
        labels: (N,) integer.
        temperature: T > 0.
        distance: d.
        reduction: "mean" over the anchors with a positive, "sum", or "none" for (N,).
        mined: the pairs that count, from a miner; None: all.
        across_ranks: whether all ranks' rows are neighbours.

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none". 0 where no anchor has a positive.

    Raises:
        InputError: shapes, types, the temperature or a name are wrong.
    """
    who = "soft_nearest_neighbour"
    check_positive(who, temperature=temperature)
    return _neighbours(who, z, labels, 1 / temperature, "log", distance, reduction, mined, across_ranks)


def _neighbours(
    who: str,
    z: Tensor,
    labels: Tensor,
    scale: float,
    form: Form,
    distance: DistanceLike,
    reduction: Reduction,
    mined: Mined | None,
    across_ranks: bool,
) -> Tensor:
    batch = gathered(who, z, labels, across_ranks, mined=mined)
    d = find_distance(who, distance)

    def row(distances: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, ...]:
        logits = -scale * distances
        valid = positive.any(1)
        same = masked_logsumexp(logits, positive).masked_fill(~valid, 0)
        anyone = masked_logsumexp(logits, positive | negative).masked_fill(~valid, 0)
        return same - anyone, valid

    log_p, valid = per_anchor(row, d.matrix, batch)
    values = -log_p if form == "log" else 1 - log_p.exp()
    return reduce(values, reduction, valid=valid, across_ranks=across_ranks)
