r"""Miners: which pairs or triplets of a batch a loss shall see. Indices in, indices out; any loss takes them.

    i, j, different = margin_pairs(z, labels)
    loss = contrastive(z[i], z[j], different)

    a, p, n = easy_hard_triplets(z, labels, positive="easy", negative="semihard")
    loss = triplet(z[a], z[p], z[n], swap=True)

Nothing here has a gradient. Distances are made for a block of anchors at a time, so memory beyond the indices grows
with the batch, not with its square. Every function takes one batch; to mine over ranks, gather the rows first
(`nearfar.distributed.gather`). Without a pair or triplet that fits, the indices are empty.

May import torch and what the losses themselves stand on. Not the index: hard negatives of a whole data set take
neighbours as arrays, or a function that searches.
"""

from nearfar.losses._rows import Mined
from nearfar.losses.miners.hard_negatives import find_hard_negatives, hard_negatives
from nearfar.losses.miners.named import MINERS, as_masks, as_pairs, as_triplets
from nearfar.losses.miners.pairs import Pairs, all_pairs, margin_pairs, multi_similarity_pairs
from nearfar.losses.miners.triplets import (
    Triplets,
    all_triplets,
    angular_triplets,
    distance_weighted_triplets,
    easy_hard_triplets,
    margin_triplets,
)

__all__ = [
    "MINERS",
    "Mined",
    "Pairs",
    "Triplets",
    "all_pairs",
    "all_triplets",
    "angular_triplets",
    "as_masks",
    "as_pairs",
    "as_triplets",
    "distance_weighted_triplets",
    "easy_hard_triplets",
    "find_hard_negatives",
    "hard_negatives",
    "margin_pairs",
    "margin_triplets",
    "multi_similarity_pairs",
]
