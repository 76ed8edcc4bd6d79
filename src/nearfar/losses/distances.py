r"""Distances whose direction a loss cannot get wrong: of every one of them a larger value means farther apart.

A similarity enters as a distance: cosine as 1 - cos, the dot product as its negative, a similarity of one's own through
`from_similarity`. A margin therefore always means the same: d(a, p) + m <= d(a, n) says, for the cosine,
cos(a, p) >= cos(a, n) + m.

=====================  ============================================  =====================================
name                   d(x, y)                                       range
=====================  ============================================  =====================================
``squared_euclidean``  ||x - y||^2                                   [0, inf); [0, 4] for unit vectors
``euclidean``          ||x - y||                                     [0, inf); [0, 2] for unit vectors
``cosine``             1 - x . y / (||x|| ||y||)                     [0, 2]
``dot``                -x . y                                        (-inf, inf)
``lp(p)``              (sum_k |x_k - y_k|^p)^(1/p)                   [0, inf); ``manhattan`` is ``lp(1)``
``snr``                var_k(y_k - x_k) / var_k(x_k)                 [0, inf); not symmetric, x the anchor
=====================  ============================================  =====================================

Gradients are finite everywhere; where x = y that of ``euclidean`` and ``lp`` is 0. In float32 ``squared_euclidean``
needs entries below about 1e18. The signal-to-noise ratio is Yuan et al., CVPR 2019, https://arxiv.org/abs/1904.02616,
eq. 5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

import torch
from torch import Tensor

from nearfar.errors import nearest, require
from nearfar.losses._checks import check_positive, unit

__all__ = ["DISTANCES", "Distance", "DistanceLike", "find_distance", "from_similarity", "lp"]

TensorPair: TypeAlias = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Distance:
    """A function of two vectors that grows as they move apart.

    Attributes:
        name: stands in errors.
        pairs: (N, D), (N, D) -> (N,), row by row.
        matrix: (N, D), (M, D) -> (N, M), all against all.
        lowest: the smallest value possible; 0 for a proper distance, -inf for the negative dot product.
    """

    name: str
    pairs: TensorPair
    matrix: TensorPair
    lowest: float = 0.0


DistanceLike: TypeAlias = Distance | Literal["squared_euclidean", "euclidean", "cosine", "dot", "manhattan", "snr"]


def from_similarity(name: str, pairs: TensorPair, matrix: TensorPair, *, highest: float = torch.inf) -> Distance:
    """Make a distance of a similarity: ``highest`` minus it where it has a highest value, else its negative.

    Args:
        name: stands in errors.
        pairs: (N, D), (N, D) -> (N,) similarities, larger for closer.
        matrix: (N, D), (M, D) -> (N, M) similarities.
        highest: the largest similarity possible.
    """
    top = highest if highest < torch.inf else 0.0
    lowest = 0.0 if highest < torch.inf else -torch.inf
    return Distance(name, lambda x, y: top - pairs(x, y), lambda x, y: top - matrix(x, y), lowest)


def lp(p: float) -> Distance:
    """Return the distance of the p-norm, p >= 1; ``torch.inf`` for the largest difference.

    Raises:
        InputError: p is below 1.
    """
    require(p >= 1, "lp", "p", ">= 1", p)

    def pairs(x: Tensor, y: Tensor) -> Tensor:
        return _vector_norm(x - y, p)

    def matrix(x: Tensor, y: Tensor) -> Tensor:
        return torch.cdist(x, y, p=p, compute_mode="donot_use_mm_for_euclid_dist")

    return Distance(f"lp({p:g})", pairs, matrix)


def find_distance(who: str, distance: DistanceLike) -> Distance:
    """Return the distance itself, or the one of that name.

    Raises:
        InputError: there is none of that name.
    """
    if isinstance(distance, Distance):
        return distance
    known = distance in DISTANCES
    require(known, who, "distance", "a known name or a Distance", repr(distance), nearest(str(distance), DISTANCES))
    return DISTANCES[distance]


def check_margin(who: str, margin: float, distance: Distance) -> None:
    """Require a finite margin, > 0 where distances are >= 0: else it would switch the different pairs off.

    Raises:
        InputError: when it is not.
    """
    if distance.lowest >= 0:
        check_positive(who, margin=margin)
    else:
        require(abs(margin) < torch.inf, who, "margin", "finite", margin)


def safe_sqrt(x: Tensor) -> Tensor:
    """Return the square root, and 0 with gradient 0 where x <= 0."""
    positive = x > 0
    return torch.where(positive, torch.where(positive, x, 1).sqrt(), 0)


def _vector_norm(x: Tensor, p: float) -> Tensor:
    # torch's norm has the gradient 0 at 0 for every p, unlike a root of a sum.
    return cast(Tensor, torch.linalg.vector_norm(x, p, dim=1))


def _squared_pairs(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).square().sum(1)


def _squared_and_noise(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    # Moving the origin into the middle changes no distance and keeps ||x||^2 + ||y||^2 - 2 x.y from cancelling.
    middle = y.detach().mean(0)
    x, y = x - middle, y - middle
    scale = x.square().sum(1)[:, None] + y.square().sum(1)[None]
    noise = 4 * torch.finfo(x.dtype).eps * scale.detach()
    return torch.addmm(scale, x, y.T, alpha=-2), noise


def _squared_matrix(x: Tensor, y: Tensor) -> Tensor:
    return _squared_and_noise(x, y)[0].clamp(min=0)


def _euclidean_matrix(x: Tensor, y: Tensor) -> Tensor:
    squared, noise = _squared_and_noise(x, y)
    # Below the rounding error the direction of the gradient would be noise as well.
    return safe_sqrt(squared.masked_fill(squared <= noise, 0))


def _cosine_pairs(x: Tensor, y: Tensor) -> Tensor:
    return (unit(x) * unit(y)).sum(1)


def _cosine_matrix(x: Tensor, y: Tensor) -> Tensor:
    return unit(x) @ unit(y).T


def _variance(x: Tensor) -> Tensor:
    # Tensor.var warns about a batch without rows.
    return (x - x.mean(1, keepdim=True)).square().mean(1)


def _snr_scale(x: Tensor) -> Tensor:
    return _variance(x).clamp(min=torch.finfo(x.dtype).tiny)


def _snr_pairs(x: Tensor, y: Tensor) -> Tensor:
    return _variance(y - x) / _snr_scale(x)


def _snr_matrix(x: Tensor, y: Tensor) -> Tensor:
    # A variance over the entries is a squared distance of the vectors less their own means.
    centred = _squared_matrix(x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True))
    return centred / x.shape[1] / _snr_scale(x)[:, None]


DISTANCES: dict[str, Distance] = {
    "squared_euclidean": Distance("squared_euclidean", _squared_pairs, _squared_matrix),
    "euclidean": Distance("euclidean", lambda x, y: _vector_norm(x - y, 2), _euclidean_matrix),
    "cosine": from_similarity("cosine", _cosine_pairs, _cosine_matrix, highest=1.0),
    "dot": from_similarity("dot", lambda x, y: (x * y).sum(1), lambda x, y: x @ y.T),
    "manhattan": lp(1),
    "snr": Distance("snr", _snr_pairs, _snr_matrix),
}
"""The distances by name."""
