r"""Miners of triplets."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from nearfar.errors import require
from nearfar.losses._checks import check_positive, in_float32, unit
from nearfar.losses._rows import Anchors, blocks, gathered, labelled, pack
from nearfar.losses.distances import DistanceLike, find_distance, safe_sqrt

__all__ = [
    "Triplets",
    "all_triplets",
    "angular_triplets",
    "distance_weighted_triplets",
    "easy_hard_triplets",
    "margin_triplets",
]

Choice = Literal["all", "easy", "semihard", "hard"]


class Triplets(NamedTuple):
    """T triplets of rows.

    Attributes:
        anchor: (T,) int64 row.
        positive: (T,) int64 row of the anchor's class.
        negative: (T,) int64 row of another class.
    """

    anchor: Tensor
    positive: Tensor
    negative: Tensor


@torch.no_grad()
def all_triplets(labels: Tensor) -> Triplets:
    """Return every anchor with each of its positives and each of its negatives; up to N^3 of them.

    Args:
        labels: (N,) integer.

    Raises:
        InputError: labels are not integers of shape (N,).
    """
    batch = labelled("all_triplets", labels)
    return _triplets(lambda rows, index, negative: negative[:, None].expand(-1, index.shape[1], -1), batch)


@torch.no_grad()
@in_float32
def easy_hard_triplets(
    z: Tensor,
    labels: Tensor,
    *,
    positive: Choice = "easy",
    negative: Choice = "semihard",
    distance: DistanceLike = "euclidean",
) -> Triplets:
    """Return for every anchor its easiest, semi-hard or hardest positive and negative, or all of one or both kinds.

    ============  ==================================  ===========================================
    choice        positive                            negative
    ============  ==================================  ===========================================
    ``easy``      the nearest                         the farthest
    ``hard``      the farthest                        the nearest
    ``semihard``  the farthest nearer than the        the nearest farther than the positive
                  negative
    ``all``       every one                           every one
    ============  ==================================  ===========================================

    An anchor without such a positive or negative is left out. "hard" with "hard" is batch-hard, https://arxiv.org/abs/
    1703.07737; "all" with "semihard" is FaceNet's, https://arxiv.org/abs/1503.03832; "easy" with "semihard", the
    default, is Xuan, Stylianou, Pless, "Improved Embeddings with Easy Positive Triplet Mining", WACV 2020,
    https://arxiv.org/abs/1904.04370.

    Args:
        z: (N, D) float; not normalised here.
        labels: (N,) integer.
        positive: how positives are chosen.
        negative: how negatives are chosen; not both kinds can be semi-hard, nor can positives be against "all".
        distance: what near and far mean.

    Raises:
        InputError: shapes, types or a choice are wrong.
    """
    who = "easy_hard_triplets"
    for name, choice in (("positive", positive), ("negative", negative)):
        require(choice in get_args(Choice), who, name, " or ".join(map(repr, get_args(Choice))), repr(choice))
    circular = positive == "semihard" and negative in {"semihard", "all"}
    require(not circular, who, "negative", "'easy' or 'hard' beside semi-hard positives", repr(negative))
    batch = gathered(who, z, labels, False)
    d = find_distance(who, distance)

    def keep(rows: slice, index: Tensor, others: Tensor) -> Tensor:
        distances = d.matrix(batch.z[rows], batch.z)
        near = distances.gather(1, index)
        counts = batch.positives(rows).gather(1, index)
        if positive == "semihard":
            far = _one(distances, others, farthest=negative == "easy")
            counts &= near < distances.gather(1, far)
        if positive != "all":
            best = near.masked_fill(~counts, torch.inf if positive == "easy" else -torch.inf)
            best = best.argmin(1) if positive == "easy" else best.argmax(1)
            counts &= torch.arange(index.shape[1], device=near.device)[None] == best[:, None]
        chosen = counts[:, :, None] & others[:, None]
        if negative == "all":
            return chosen
        if negative == "semihard":
            chosen &= distances[:, None] > near[:, :, None]
        nearest = _one(distances[:, None].expand_as(chosen), chosen, farthest=negative == "easy")
        return torch.zeros_like(chosen).scatter_(2, nearest, chosen.any(2, keepdim=True))

    return _triplets(keep, batch)


@torch.no_grad()
@in_float32
def margin_triplets(
    z: Tensor,
    labels: Tensor,
    *,
    margin: float = 0.2,
    kind: Choice = "all",
    distance: DistanceLike = "euclidean",
) -> Triplets:
    """Return the triplets that violate a margin, d(a, n) - d(a, p) <= m, or a part of them.

    Args:
        z: (N, D) float; not normalised here.
        labels: (N,) integer.
        margin: m in units of ``distance``; 0.2 is FaceNet's.
        kind: "all" that violate it; of these "hard", the negative no farther than the positive, or "semihard", the
            negative farther; "easy": those that do not violate it.
        distance: d.

    Raises:
        InputError: shapes, types or a name are wrong.
    """
    who = "margin_triplets"
    require(kind in get_args(Choice), who, "kind", " or ".join(map(repr, get_args(Choice))), repr(kind))
    batch = gathered(who, z, labels, False)
    d = find_distance(who, distance)

    def keep(rows: slice, index: Tensor, negative: Tensor) -> Tensor:
        distances = d.matrix(batch.z[rows], batch.z)
        gap = distances[:, None] - distances.gather(1, index)[:, :, None]
        fits = gap > margin if kind == "easy" else gap <= margin
        if kind == "hard":
            fits &= gap <= 0
        elif kind == "semihard":
            fits &= gap > 0
        return fits & negative[:, None]

    return _triplets(keep, batch)


@torch.no_grad()
@in_float32
def angular_triplets(z: Tensor, labels: Tensor, *, degrees: float = 20.0) -> Triplets:
    r"""Return the triplets whose angle at the negative, as in `nearfar.losses.angular`, is larger than a limit.

    .. math:: \tan \alpha_{apn} = \frac{\lVert x_a - x_p \rVert}{2 \lVert x_n - (x_a + x_p) / 2 \rVert}

    Wang et al., ICCV 2017, https://arxiv.org/abs/1708.01682, section 3.2.

    Args:
        z: (N, D) float; normalised here.
        labels: (N,) integer.
        degrees: the limit in (0, 90); 20 is pytorch-metric-learning's.

    Raises:
        InputError: shapes, types or the angle are wrong.
    """
    require(0 < degrees < 90, "angular_triplets", "degrees", "in (0, 90)", degrees)
    batch = gathered("angular_triplets", z, labels, False, prepare=unit)
    limit = math.tan(math.radians(degrees))

    def keep(rows: slice, index: Tensor, negative: Tensor) -> Tensor:
        # With c = (a + p) / 2 of unit vectors: ||n - c||^2 = 1 - n.(a + p) + ||c||^2, and 4 ||c||^2 = 4 - ||a - p||^2.
        s = batch.z[rows] @ batch.z.T
        apart = 2 - 2 * s.gather(1, index)
        to_positive = batch.z[index] @ batch.z.T
        squared = 1 - s[:, None] - to_positive + (1 - apart / 4)[:, :, None]
        return (safe_sqrt(apart)[:, :, None] > 2 * limit * safe_sqrt(squared)) & negative[:, None]

    return _triplets(keep, batch)


@torch.no_grad()
@in_float32
def distance_weighted_triplets(
    z: Tensor,
    labels: Tensor,
    *,
    cutoff: float = 0.5,
    farthest: float = 1.4,
    generator: torch.Generator | None = None,
) -> Triplets:
    r"""Return every anchor and positive with one negative, drawn so that all distances are about equally likely.

    .. math:: P(n) \propto q(d_{an})^{-1}, \qquad q(d) = d^{D - 2} (1 - d^2 / 4)^{(D - 3) / 2}

    q is how often the distance d occurs between random points of the sphere. Wu et al., ICCV 2017,
    https://arxiv.org/abs/1706.07567, section 4.1.

    Args:
        z: (N, D) float; normalised here.
        labels: (N,) integer.
        cutoff: smaller distances count as this one; 0.5 is the paper's.
        farthest: negatives this far have no loss and are not drawn; 1.4 is the authors'.
        generator: source of chance, on the device of ``z``.

    Raises:
        InputError: shapes, types or a number are wrong.
    """
    who = "distance_weighted_triplets"
    check_positive(who, cutoff=cutoff, farthest=farthest)
    require(farthest <= 2, who, "farthest", "at most 2, the largest distance of unit vectors", farthest)
    batch = gathered(who, z, labels, False, prepare=unit)
    dim = z.shape[1]
    chosen: list[Tensor] = []
    for rows in blocks(len(z), len(z), z.device):
        distances = safe_sqrt(2 - 2 * batch.z[rows] @ batch.z.T).clamp(min=cutoff)
        log_weight = (2 - dim) * distances.log() - (dim - 3) / 2 * torch.log1p(-distances.square() / 4)
        log_weight = log_weight.masked_fill(~(batch.negatives(rows) & (distances < farthest)), -torch.inf)
        anchor, positive = batch.positives(rows).nonzero().unbind(1)
        possible = log_weight.isfinite().any(1)[anchor]
        anchor, positive = anchor[possible], positive[possible]
        for pairs in blocks(len(anchor), len(z), z.device):
            # The largest of logits plus Gumbel noise is a draw from the softmax, and needs no row of probabilities.
            logits = log_weight[anchor[pairs]]
            negative = (logits - torch.empty_like(logits).exponential_(generator=generator).log()).argmax(1)
            chosen.append(torch.stack([anchor[pairs] + rows.start, positive[pairs], negative]))
    return _joined(chosen, z.device)


def _one(distances: Tensor, mask: Tensor, *, farthest: bool) -> Tensor:
    """Return (..., 1) the index of the nearest or farthest where ``mask``."""
    if farthest:
        return distances.masked_fill(~mask, -torch.inf).argmax(-1, keepdim=True)
    return distances.masked_fill(~mask, torch.inf).argmin(-1, keepdim=True)


def _triplets(keep: Callable[[slice, Tensor, Tensor], Tensor], batch: Anchors) -> Triplets:
    """Keep triplets; ``keep`` gets rows, their (R, K) packed positives and (R, M) negatives, and returns (R, K, M)."""
    found: list[Tensor] = []
    most = max(1, batch.most_positives()) if len(batch.z) else 1
    for rows in blocks(len(batch.z), len(batch.z) * most, batch.z.device):
        index, counts = pack(batch.positives(rows), most)
        kept = keep(rows, index, batch.negatives(rows)) & counts[:, :, None]
        row, which, negative = kept.nonzero().unbind(1)
        found.append(torch.stack([row + rows.start, index[row, which], negative]))
    return _joined(found, batch.z.device)


def _joined(found: list[Tensor], device: torch.device) -> Triplets:
    joined = torch.cat(found, 1) if found else torch.zeros(3, 0, dtype=torch.int64, device=device)
    return Triplets(*joined.unbind(0))
