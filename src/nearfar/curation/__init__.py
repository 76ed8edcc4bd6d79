"""What embeddings say about a data set: near-duplicates, outliers, clusters, what to label, which labels are wrong.

Everything here works on numpy arrays: embeddings (N, D) float32 and, where labels count, (N,) int64 with -1 for
unknown. Distances are 1 - cos. Answers are row numbers; ties go to the lower row, so one input has one answer.

This package may import numpy, scikit-learn and faiss (inside functions) and layer 2; it knows no encoder, no run and
no index.
"""

from nearfar.curation.choose import core_set, most_uncertain
from nearfar.curation.clusters import Clusters, hdbscan_clusters, k_means_clusters
from nearfar.curation.duplicates import Duplicates, default_distance, joined, near_duplicates, usual_distance
from nearfar.curation.label_errors import LabelErrors, outvoted_labels, suspicious_labels
from nearfar.curation.neighbours import neighbours, pairs_within
from nearfar.curation.outliers import outlier_scores

__all__ = [
    "Clusters",
    "Duplicates",
    "LabelErrors",
    "core_set",
    "default_distance",
    "hdbscan_clusters",
    "joined",
    "k_means_clusters",
    "most_uncertain",
    "near_duplicates",
    "neighbours",
    "outlier_scores",
    "outvoted_labels",
    "pairs_within",
    "suspicious_labels",
    "usual_distance",
]
