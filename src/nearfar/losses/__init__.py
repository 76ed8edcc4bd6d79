"""Losses: pure functions, tensors in, a scalar out, computed in float32; modules only where there is state.

They know no framework and no modality. May import torch, `nearfar.distributed` and `nearfar.errors`; nothing above.
"""

from nearfar.losses.clip import clip
from nearfar.losses.contrastive import contrastive, online_contrastive, snr_contrastive
from nearfar.losses.dcl import dcl, dclw
from nearfar.losses.distances import DISTANCES, Distance, DistanceLike, find_distance, from_similarity, lp
from nearfar.losses.gist import gist
from nearfar.losses.grad_cache import cached_forward
from nearfar.losses.info_nce import info_nce
from nearfar.losses.nt_xent import nt_xent
from nearfar.losses.siglip import siglip
from nearfar.losses.soft_targets import co2, ressl
from nearfar.losses.supcon import multi_label_sup_con, sup_con
from nearfar.losses.triplet import triplet, triplet_from_labels

__all__ = [
    "DISTANCES",
    "Distance",
    "DistanceLike",
    "cached_forward",
    "clip",
    "co2",
    "contrastive",
    "dcl",
    "dclw",
    "find_distance",
    "from_similarity",
    "gist",
    "info_nce",
    "lp",
    "multi_label_sup_con",
    "nt_xent",
    "online_contrastive",
    "ressl",
    "siglip",
    "snr_contrastive",
    "sup_con",
    "triplet",
    "triplet_from_labels",
]
