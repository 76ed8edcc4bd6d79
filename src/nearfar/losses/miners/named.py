r"""Miners by name, each with one way to call it: ``mine(z, labels, ...)`` gives pairs or triplets.

A name is looked up in `MINERS`; other packages add theirs by the entry point group ``nearfar.miners``. `as_pairs`,
`as_triplets` and `as_masks` turn what any of them found into what a loss of any form takes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nearfar.losses._rows import Mined
from nearfar.losses.distances import DistanceLike
from nearfar.losses.miners.pairs import Pairs, all_pairs
from nearfar.losses.miners.triplets import Triplets, all_triplets, easy_hard_triplets
from nearfar.registry import Registry

__all__ = [
    "MINERS",
    "as_masks",
    "as_pairs",
    "as_triplets",
    "easy",
    "every_pair",
    "every_triplet",
    "hard",
    "hard_negative",
    "semihard",
]

MINERS: Registry[Callable[..., Pairs | Triplets]] = Registry(
    "miner",
    group="nearfar.miners",
    builtin={
        "pairs": "nearfar.losses.miners.named:every_pair",
        "triplets": "nearfar.losses.miners.named:every_triplet",
        "semihard": "nearfar.losses.miners.named:semihard",
        "hard": "nearfar.losses.miners.named:hard",
        "hard_negative": "nearfar.losses.miners.named:hard_negative",
        "easy": "nearfar.losses.miners.named:easy",
        "easy_hard_triplets": "nearfar.losses.miners:easy_hard_triplets",
        "margin_triplets": "nearfar.losses.miners:margin_triplets",
        "angular_triplets": "nearfar.losses.miners:angular_triplets",
        "distance_weighted_triplets": "nearfar.losses.miners:distance_weighted_triplets",
        "margin_pairs": "nearfar.losses.miners:margin_pairs",
        "multi_similarity_pairs": "nearfar.losses.miners:multi_similarity_pairs",
    },
)
"""Name to a function of (z, labels, settings by keyword)."""


def every_pair(z: Tensor, labels: Tensor) -> Pairs:
    """Return every pair of different rows; see `all_pairs`."""
    return all_pairs(labels)


def every_triplet(z: Tensor, labels: Tensor) -> Triplets:
    """Return every triplet; see `all_triplets`."""
    return all_triplets(labels)


def semihard(z: Tensor, labels: Tensor, *, distance: DistanceLike = "euclidean") -> Triplets:
    """Return every anchor and positive with the nearest negative farther than the positive (FaceNet's choice)."""
    return easy_hard_triplets(z, labels, positive="all", negative="semihard", distance=distance)


def hard(z: Tensor, labels: Tensor, *, distance: DistanceLike = "euclidean") -> Triplets:
    """Return every anchor with its farthest positive and its nearest negative ("batch hard")."""
    return easy_hard_triplets(z, labels, positive="hard", negative="hard", distance=distance)


def hard_negative(z: Tensor, labels: Tensor, *, distance: DistanceLike = "euclidean") -> Triplets:
    """Return every anchor and positive with the anchor's nearest negative."""
    return easy_hard_triplets(z, labels, positive="all", negative="hard", distance=distance)


def easy(z: Tensor, labels: Tensor, *, distance: DistanceLike = "euclidean") -> Triplets:
    """Return every anchor with its nearest positive and the nearest negative farther than it (easy positives)."""
    return easy_hard_triplets(z, labels, positive="easy", negative="semihard", distance=distance)


def as_pairs(found: Pairs | Triplets) -> Pairs:
    """Return pairs: of triplets, every different (anchor, positive) and (anchor, negative) once."""
    if isinstance(found, Pairs):
        return found
    near = _once(found.anchor, found.positive)
    far = _once(found.anchor, found.negative)
    different = torch.cat([torch.zeros_like(near[0]), torch.ones_like(far[0])]).bool()
    return Pairs(torch.cat([near[0], far[0]]), torch.cat([near[1], far[1]]), different)


def as_triplets(found: Pairs | Triplets) -> Triplets:
    """Return triplets: of pairs, every positive of an anchor with every negative of it."""
    if isinstance(found, Triplets):
        return found
    near, far = ~found.different, found.different
    joined = found.first[near, None] == found.first[None, far]
    row, column = joined.nonzero().unbind(1)
    return Triplets(found.first[near][row], found.second[near][row], found.second[far][column])


def as_masks(found: Pairs | Triplets, rows: int) -> Mined:
    """Return what was found as (N, N) masks, for the losses that take ``mined``.

    Args:
        found: what a miner returned.
        rows: N, the number of rows that were mined.
    """
    pairs = as_pairs(found)
    masks = torch.zeros(2, rows, rows, dtype=torch.bool, device=pairs.first.device)
    masks[pairs.different.long(), pairs.first, pairs.second] = True
    return Mined(masks[0], masks[1])


def _once(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    both = torch.unique(torch.stack([first, second]), dim=1) if len(first) else torch.stack([first, second])
    return both[0], both[1]
