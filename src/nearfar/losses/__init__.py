"""Losses: pure functions, tensors in, a scalar out, computed in float32; modules only where there is state.

They know no framework and no modality. May import torch and layer 2 (`nearfar.distributed`, `nearfar.registry`,
`nearfar.config`); nothing above.
One file per family; files with a leading underscore are what families share. `nearfar.losses.miners` draws the pairs
and triplets that pair and triplet losses take. docs/losses.md has the table of all losses.
"""

from nearfar.losses import miners
from nearfar.losses.alignment_uniformity import align_uniform, alignment, uniformity
from nearfar.losses.angular import angular
from nearfar.losses.barlow_twins import barlow_twins
from nearfar.losses.bilinear import bilinear_nce
from nearfar.losses.catalogue import METRIC_LOSSES, ComposedLoss, LossForm, compose, loss_form
from nearfar.losses.circle import circle
from nearfar.losses.classifiers import arcface, cosface, normalized_softmax, sphereface, sub_center_arcface
from nearfar.losses.clip import clip
from nearfar.losses.coding_rate import emp_ssl, negative_coding_rate
from nearfar.losses.contrastive import contrastive, online_contrastive, snr_contrastive
from nearfar.losses.cross_batch_memory import CrossBatchMemory, LabelledLoss, Memory, ReferenceLoss, with_references
from nearfar.losses.dcl import dcl, dclw
from nearfar.losses.dino import dino, dino_center
from nearfar.losses.distances import DISTANCES, Distance, DistanceLike, find_distance, from_similarity, lp
from nearfar.losses.distillation import distill_kl, distill_mse, margin_mse
from nearfar.losses.feature_contrast import feature_contrast
from nearfar.losses.gist import gist
from nearfar.losses.grad_cache import cached_forward
from nearfar.losses.hierarchical import hierarchical_contrast
from nearfar.losses.info_nce import info_nce
from nearfar.losses.koleo import koleo
from nearfar.losses.lifted_structure import generalized_lifted_structure, lifted_structure
from nearfar.losses.margin_beta import MarginBeta, margin_beta
from nearfar.losses.matryoshka import matryoshka
from nearfar.losses.multi_similarity import hard_pairs, multi_similarity
from nearfar.losses.n_pairs import mega_batch_margin, n_pairs
from nearfar.losses.nca import nca, soft_nearest_neighbour
from nearfar.losses.negative_cosine import byol, negative_cosine
from nearfar.losses.nt_xent import nt_xent
from nearfar.losses.pn import pn
from nearfar.losses.proxies import Proxies, proxy_anchor, proxy_nca, soft_triple
from nearfar.losses.pseudo_labels import PseudoLabelled, align_distribution, fix_match
from nearfar.losses.ranked_list import ranked_list
from nearfar.losses.ranking import fast_ap, histogram, smooth_ap
from nearfar.losses.relational import rkd_angle, rkd_distance, similarity_preserving
from nearfar.losses.scored_pairs import angle, cosent, cosine_regression
from nearfar.losses.siglip import siglip
from nearfar.losses.sigreg import draw_directions, lejepa, sigreg
from nearfar.losses.soft_targets import co2, ressl
from nearfar.losses.spectral import spectral_contrastive
from nearfar.losses.supcon import multi_label_sup_con, sup_con
from nearfar.losses.swav import sinkhorn, swav
from nearfar.losses.tico import tico, tico_covariance
from nearfar.losses.triplet import triplet, triplet_from_labels
from nearfar.losses.tuplet_margin import intra_pair_variance, tuplet_margin
from nearfar.losses.vicreg import vibcreg, vicreg
from nearfar.losses.w_mse import w_mse

__all__ = [
    "DISTANCES",
    "METRIC_LOSSES",
    "ComposedLoss",
    "CrossBatchMemory",
    "Distance",
    "DistanceLike",
    "LabelledLoss",
    "LossForm",
    "MarginBeta",
    "Memory",
    "Proxies",
    "PseudoLabelled",
    "ReferenceLoss",
    "align_distribution",
    "align_uniform",
    "alignment",
    "angle",
    "angular",
    "arcface",
    "barlow_twins",
    "bilinear_nce",
    "byol",
    "cached_forward",
    "circle",
    "clip",
    "co2",
    "compose",
    "contrastive",
    "cosent",
    "cosface",
    "cosine_regression",
    "dcl",
    "dclw",
    "dino",
    "dino_center",
    "distill_kl",
    "distill_mse",
    "draw_directions",
    "emp_ssl",
    "fast_ap",
    "feature_contrast",
    "find_distance",
    "fix_match",
    "from_similarity",
    "generalized_lifted_structure",
    "gist",
    "hard_pairs",
    "hierarchical_contrast",
    "histogram",
    "info_nce",
    "intra_pair_variance",
    "koleo",
    "lejepa",
    "lifted_structure",
    "loss_form",
    "lp",
    "margin_beta",
    "margin_mse",
    "matryoshka",
    "mega_batch_margin",
    "miners",
    "multi_label_sup_con",
    "multi_similarity",
    "n_pairs",
    "nca",
    "negative_coding_rate",
    "negative_cosine",
    "normalized_softmax",
    "nt_xent",
    "online_contrastive",
    "pn",
    "proxy_anchor",
    "proxy_nca",
    "ranked_list",
    "ressl",
    "rkd_angle",
    "rkd_distance",
    "siglip",
    "sigreg",
    "similarity_preserving",
    "sinkhorn",
    "smooth_ap",
    "snr_contrastive",
    "soft_nearest_neighbour",
    "soft_triple",
    "spectral_contrastive",
    "sphereface",
    "sub_center_arcface",
    "sup_con",
    "swav",
    "tico",
    "tico_covariance",
    "triplet",
    "triplet_from_labels",
    "tuplet_margin",
    "uniformity",
    "vibcreg",
    "vicreg",
    "w_mse",
    "with_references",
]
