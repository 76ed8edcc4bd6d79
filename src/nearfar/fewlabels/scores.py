"""Scores of outputs against targets, each with its 95 % interval and the sentence that says how it was made."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.evaluation import Score, roc_auc, wilson
from nearfar.evaluation.intervals import Z95
from nearfar.fewlabels.targets import Array, Targets, known_rows

__all__ = ["SENTENCE", "probabilities", "score", "sensitivity_at"]

Floats = NDArray[np.float64]

SENTENCE = (
    "accuracies with Wilson's 95 % interval, ROC-AUC with Hanley and McNeil's, other numbers with a bootstrap over the "
    "test items (300 draws); the last step is scored, nothing is chosen on the test items"
)

SPECIFICITY = 0.9
"""At which the sensitivity of two classes is told; the threshold is read off the test items' own ROC curve."""


def probabilities(targets: Targets, outputs: NDArray[Any]) -> Floats:
    """Return softmax or sigmoid of logits (N, C), in float64; numbers are put back into their own unit."""
    x = outputs.astype(np.float64)
    if targets.task == "classes":
        e = np.exp(x - x.max(axis=1, keepdims=True))
        shares: Floats = e / e.sum(axis=1, keepdims=True)
        return shares
    if targets.task == "multilabel":
        return np.asarray(1 / (1 + np.exp(-np.clip(x, -500, 500))), dtype=np.float64)
    return np.asarray(x * np.asarray(targets.scale) + np.asarray(targets.offset), dtype=np.float64)


def score(targets: Targets, outputs: NDArray[Any], wanted: Array) -> list[Score]:
    """Return the scores of a task; items whose target is unknown are left out.

    Classes: top-1, top-5 where there are more than five, and for two classes ROC-AUC and sensitivity. Multi-label: mean
    average precision and mean ROC-AUC over the classes. Numbers: mean absolute error, R², Spearman's correlation.
    """
    rows = known_rows(wanted)
    outputs, wanted = outputs[rows], wanted[rows]
    if len(rows) == 0:
        return []
    found = probabilities(targets, outputs)
    if targets.task == "classes":
        return _classes(found, np.asarray(wanted, dtype=np.int64))
    if targets.task == "multilabel":
        return _multilabel(found, np.asarray(wanted, dtype=np.float64))
    return _numbers(found, np.asarray(wanted, dtype=np.float64))


def sensitivity_at(values: Floats, positive: NDArray[np.bool_], specificity: float) -> float:
    """Return the share of positives above the threshold that leaves this share of the negatives below or at it.

    Args:
        values: (N,) scores; larger means positive.
        positive: (N,) which are.
        specificity: in [0, 1].
    """
    negatives = np.sort(values[~positive])
    allowed = math.floor((1 - specificity) * len(negatives) + 1e-9)
    threshold = negatives[len(negatives) - 1 - allowed] if allowed < len(negatives) else -np.inf
    return float((values[positive] > threshold).mean())


def _classes(found: Floats, truth: NDArray[np.int64]) -> list[Score]:
    n, classes = found.shape
    order = np.argsort(-found, axis=1, kind="stable")
    scores = [_share("top-1", int((order[:, 0] == truth).sum()), n)]
    if classes > 5:
        scores.append(_share("top-5", int((order[:, :5] == truth[:, None]).any(axis=1).sum()), n))
    positive = truth == 1
    if classes == 2 and 0 < positive.sum() < n:
        scores.append(_auc("roc-auc", found[:, 1], positive))
        scores.append(_share_of(f"sensitivity at {SPECIFICITY:.0%} specificity", found[:, 1], positive))
    return scores


def _multilabel(found: Floats, wanted: Floats) -> list[Score]:
    from sklearn.metrics import average_precision_score

    scored = [c for c in range(wanted.shape[1]) if 0 < wanted[:, c].sum() < len(wanted)]
    if not scored:
        return []

    def precision(rows: NDArray[np.int64]) -> float:
        some = [c for c in scored if 0 < wanted[rows, c].sum() < len(rows)]
        return float(np.mean([average_precision_score(wanted[rows, c], found[rows, c]) for c in some]))

    def auc(rows: NDArray[np.int64]) -> float:
        some = [c for c in scored if 0 < wanted[rows, c].sum() < len(rows)]
        return float(np.mean([roc_auc(found[rows, c].astype(np.float32), wanted[rows, c] > 0.5) for c in some]))

    return [_bootstrap("mean average precision", precision, len(wanted)), _bootstrap("roc-auc", auc, len(wanted))]


def _numbers(found: Floats, wanted: Floats) -> list[Score]:
    from scipy.stats import spearmanr

    def error(rows: NDArray[np.int64]) -> float:
        return float(np.abs(found[rows] - wanted[rows]).mean())

    def explained(rows: NDArray[np.int64]) -> float:
        spread = ((wanted[rows] - wanted[rows].mean(axis=0)) ** 2).sum()
        return float(1 - ((found[rows] - wanted[rows]) ** 2).sum() / spread) if spread > 0 else float("nan")

    def ranks(rows: NDArray[np.int64]) -> float:
        constant = any(np.ptp(part[rows, k]) == 0 for part in (found, wanted) for k in range(found.shape[1]))
        values = (
            [float(spearmanr(found[rows, k], wanted[rows, k])[0]) for k in range(found.shape[1])]
            if not constant
            else []
        )
        return float(np.mean(values)) if values else float("nan")

    n = len(wanted)
    rows = {"mean absolute error": error, "R2": explained, "Spearman": ranks}
    return [_bootstrap(name, measure, n) for name, measure in rows.items()]


def _share(name: str, right: int, count: int) -> Score:
    low, high = wilson(right, count)
    return Score(name, right / count, low=low, high=high, n=count)


def _share_of(name: str, values: Floats, positive: NDArray[np.bool_]) -> Score:
    count = int(positive.sum())
    return _share(name, round(sensitivity_at(values, positive, SPECIFICITY) * count), count)


def _auc(name: str, values: Floats, positive: NDArray[np.bool_]) -> Score:
    """ROC-AUC A with A ± 1.96 s: Hanley and McNeil, Radiology 1982, https://doi.org/10.1148/radiology.143.1.7063747."""
    area = roc_auc(values.astype(np.float32), positive)
    m, n = int(positive.sum()), int((~positive).sum())
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (area * (1 - area) + (m - 1) * (q1 - area**2) + (n - 1) * (q2 - area**2)) / (m * n)
    half = Z95 * math.sqrt(max(0.0, variance))
    return Score(name, area, low=max(0.0, area - half), high=min(1.0, area + half), n=m + n)


def _bootstrap(name: str, measure: Callable[[NDArray[np.int64]], float], count: int, draws: int = 300) -> Score:
    rng = np.random.default_rng(count)
    with np.errstate(all="ignore"):
        values = [measure(rng.integers(count, size=count)) for _ in range(draws if count > 1 else 0)]
    known = [value for value in values if math.isfinite(value)]
    low, high = np.quantile(known, [0.025, 0.975]) if known else (None, None)
    return Score(name, measure(np.arange(count)), low=None if low is None else float(low),
                 high=None if high is None else float(high), n=count)  # fmt: skip
