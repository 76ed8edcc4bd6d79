r"""Miners of pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from nearfar.errors import require
from nearfar.losses._checks import in_float32, unit
from nearfar.losses._rows import Anchors, blocks, dot, gathered, labelled
from nearfar.losses.distances import DistanceLike, find_distance
from nearfar.losses.multi_similarity import hard_pairs

__all__ = ["Pairs", "all_pairs", "margin_pairs", "multi_similarity_pairs"]


class Pairs(NamedTuple):
    """P pairs of rows.

    Attributes:
        first: (P,) int64 row, the anchor.
        second: (P,) int64 row.
        different: (P,) bool, Y: whether the two are of different classes.
    """

    first: Tensor
    second: Tensor
    different: Tensor


@torch.no_grad()
def all_pairs(labels: Tensor) -> Pairs:
    """Return every pair of different rows, in both orders.

    Args:
        labels: (N,) integer.

    Raises:
        InputError: labels are not integers of shape (N,).
    """
    batch = labelled("all_pairs", labels)
    return _pairs(lambda _, positive, negative: (positive, negative), dot, batch)


@torch.no_grad()
@in_float32
def multi_similarity_pairs(z: Tensor, labels: Tensor, *, epsilon: float = 0.1) -> Pairs:
    """Return positives less similar than some negative plus epsilon, and negatives more similar than some positive less
    it.

    Wang et al., CVPR 2019, https://arxiv.org/abs/1904.06627, section 4.2; `multi_similarity` mines so by itself.

    Args:
        z: (N, D) float; compared by cosine.
        labels: (N,) integer.
        epsilon: slack >= 0; 0.1 is the paper's.

    Raises:
        InputError: shapes, types or epsilon are wrong.
    """
    who = "multi_similarity_pairs"
    require(epsilon >= 0, who, "epsilon", ">= 0", epsilon)
    batch = gathered(who, z, labels, False, prepare=unit)
    return _pairs(lambda s, positive, negative: hard_pairs(s, positive, negative, epsilon), dot, batch)


@torch.no_grad()
@in_float32
def margin_pairs(
    z: Tensor,
    labels: Tensor,
    *,
    positive_margin: float = 0.2,
    negative_margin: float = 0.8,
    distance: DistanceLike = "euclidean",
) -> Pairs:
    """Return positives farther than one margin and negatives nearer than another.

    Args:
        z: (N, D) float; not normalised here.
        labels: (N,) integer.
        positive_margin: in units of ``distance``; 0.2 is pytorch-metric-learning's.
        negative_margin: in units of ``distance``; 0.8 is pytorch-metric-learning's.
        distance: d.

    Raises:
        InputError: shapes, types or a name are wrong.
    """
    batch = gathered("margin_pairs", z, labels, False)
    d = find_distance("margin_pairs", distance)

    def keep(distances: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
        return positive & (distances > positive_margin), negative & (distances < negative_margin)

    return _pairs(keep, d.matrix, batch)


def _pairs(
    keep: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]],
    compare: Callable[[Tensor, Tensor], Tensor],
    batch: Anchors,
) -> Pairs:
    found: list[Tensor] = []
    for rows in blocks(len(batch.z), len(batch.z), batch.z.device):
        positive, negative = batch.positives(rows), batch.negatives(rows)
        positive, negative = keep(compare(batch.z[rows], batch.z), positive, negative)
        first, second = (positive | negative).nonzero().unbind(1)
        found.append(torch.stack([first + rows.start, second, negative[first, second].long()]))
    first, second, different = torch.cat(found, 1) if found else batch.labels.new_zeros(3, 0, dtype=torch.int64)
    return Pairs(first, second, different.bool())
