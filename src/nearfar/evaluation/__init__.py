"""Scores for anybody's embeddings: kNN, linear, few labels, retrieval, verification, geometry.

Everything here works on numpy arrays: embeddings (N, D) float32 and labels (N,) int64, where -1 stands for unknown and
such rows are left out and counted. Every protocol is a frozen dataclass; ``describe()`` is the sentence printed beside
its numbers. Nothing is ever chosen on the test rows.

This package may import numpy, scikit-learn (inside functions) and rich, and nothing of nearfar above layer 2: it knows
no encoder, no run and no index, and needs no torch.
"""

from nearfar.evaluation.classification import (
    CLASSIFIERS,
    Auc,
    Classified,
    balanced_accuracy,
    classify,
    macro_auc,
)
from nearfar.evaluation.cutpoints import Answers, CutPoint, Rates, Target, calibrate, rates_at
from nearfar.evaluation.distance_calibration import Calibration, confidence_curve
from nearfar.evaluation.fewshot import FewShot, draw_labels
from nearfar.evaluation.geometry import (
    Geometry,
    alignment,
    class_alignment,
    effective_rank,
    feature_std,
    uniformity,
)
from nearfar.evaluation.intervals import bootstrap_mean, wilson
from nearfar.evaluation.knn import KNN, knn_predict
from nearfar.evaluation.linear import Linear, fit_linear
from nearfar.evaluation.probability_calibration import (
    Reliability,
    expected_calibration_error,
    fit_temperature,
    reliability,
    softmax,
)
from nearfar.evaluation.propagation import label_propagation
from nearfar.evaluation.protocol import Labelled, Protocol, Score, encode_labels
from nearfar.evaluation.ranking_scores import ranking_scores, tar_at_far
from nearfar.evaluation.record import PROTOCOLS, Report, Result, comparison, evaluate
from nearfar.evaluation.repeated import Repeated, interval
from nearfar.evaluation.retrieval import Retrieval, retrieval_values
from nearfar.evaluation.verification import Verification, equal_error_rate, roc_auc, roc_points

__all__ = [
    "CLASSIFIERS",
    "KNN",
    "PROTOCOLS",
    "Answers",
    "Auc",
    "Calibration",
    "Classified",
    "CutPoint",
    "FewShot",
    "Geometry",
    "Labelled",
    "Linear",
    "Protocol",
    "Rates",
    "Reliability",
    "Repeated",
    "Report",
    "Result",
    "Retrieval",
    "Score",
    "Target",
    "Verification",
    "alignment",
    "balanced_accuracy",
    "bootstrap_mean",
    "calibrate",
    "class_alignment",
    "classify",
    "comparison",
    "confidence_curve",
    "draw_labels",
    "effective_rank",
    "encode_labels",
    "equal_error_rate",
    "evaluate",
    "expected_calibration_error",
    "feature_std",
    "fit_linear",
    "fit_temperature",
    "interval",
    "knn_predict",
    "label_propagation",
    "macro_auc",
    "ranking_scores",
    "rates_at",
    "reliability",
    "retrieval_values",
    "roc_auc",
    "roc_points",
    "softmax",
    "tar_at_far",
    "uniformity",
    "wilson",
]
