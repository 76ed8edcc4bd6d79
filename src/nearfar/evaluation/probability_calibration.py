"""Calibration of probabilities: is a classifier that is 80 % sure right in 80 of 100 cases?

Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017,
https://arxiv.org/abs/1706.04599: the reliability diagram (section 2), the expected calibration error (equation 3) and
temperature scaling (section 4.2, equation 9). How near is near enough is `cutpoints` and `distance_calibration`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import require
from nearfar.evaluation.protocol import Labels

__all__ = ["Reliability", "expected_calibration_error", "fit_temperature", "reliability", "softmax"]

COLDEST, HOTTEST = 1e-2, 1e2
"""The temperatures between which `fit_temperature` looks."""

STEPS = 100
CLOSE = 1e-10

Doubles = NDArray[np.float64]


class Reliability(NamedTuple):
    """A reliability diagram: one entry per bin of confidence, from 0 to 1.

    Attributes:
        edges: (bins + 1,) float64; bin m holds the confidences in (edges[m], edges[m + 1]].
        confidence: (bins,) float64, the mean confidence of the bin; NaN where it is empty.
        accuracy: (bins,) float64, the share of right predictions; NaN where it is empty.
        counts: (bins,) int64, the rows in the bin.
    """

    edges: Doubles
    confidence: Doubles
    accuracy: Doubles
    counts: Labels


def reliability(probabilities: NDArray[np.floating[Any]], labels: Labels, bins: int = 15) -> Reliability:
    """Return confidence, accuracy and count in bins of equal width.

    The confidence is the largest probability of a row, the prediction its class; of equal ones, the lowest.

    Args:
        probabilities: (N, C), each row >= 0 with the sum 1.
        labels: (N,) int64, the true classes; rows of -1 (unknown) are left out.
        bins: how many; 15 as in the paper.

    Raises:
        InputError: on a wrong shape, rows that are no probabilities, unknown classes, no known label, or bins < 1.
    """
    require(bins >= 1, "reliability", "bins", ">= 1", bins)
    given, truth = _known("reliability", probabilities, labels)
    fine = bool((given >= 0).all()) and bool((np.abs(given.sum(axis=1) - 1) < 1e-3).all())
    require(
        fine, "reliability", "probabilities", ">= 0, each row with the sum 1", "others", "take the softmax of logits"
    )
    top = given.max(axis=1)
    right = given.argmax(axis=1) == truth
    place = np.clip(np.ceil(top * bins).astype(np.int64) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(place, top, minlength=bins) / count
        accuracy = np.bincount(place, right, minlength=bins) / count
    return Reliability(np.linspace(0, 1, bins + 1), confidence, accuracy, count.astype(np.int64))


def expected_calibration_error(probabilities: NDArray[np.floating[Any]], labels: Labels, bins: int = 15) -> float:
    """Return Σ over bins of (rows in the bin / N) · |accuracy − confidence|, in [0, 1] (Guo et al., equation 3).

    It grows with the number of bins and is biased upwards on few rows: compare it only at equal bins and rows.

    Args:
        probabilities: (N, C), as in `reliability`.
        labels: (N,) int64, -1 for unknown.
        bins: of equal width; 15 as in the paper.

    Raises:
        InputError: as `reliability`.
    """
    found = reliability(probabilities, labels, bins)
    full = found.counts > 0
    gaps = np.abs(found.accuracy[full] - found.confidence[full])
    return float((found.counts[full] * gaps).sum() / found.counts.sum())


def fit_temperature(logits: NDArray[np.floating[Any]], labels: Labels) -> float:
    """Return the temperature T > 0 that minimises the mean cross entropy of softmax(logits / T).

    The cross entropy is convex in 1 / T, so its only minimum is found by Newton's steps, kept within a shrinking
    bracket. The order of the classes stays, so accuracy does. Fit it on validation rows, never on those it is then
    judged by.

    Args:
        logits: (N, C) before the softmax.
        labels: (N,) int64, the true classes; rows of -1 (unknown) are left out.

    Returns:
        T between 0.01 and 100. It is the lower end when every row is right (more certainty always helps), and the
        upper one when the logits know less than nothing.

    Raises:
        InputError: on a wrong shape, logits that are not finite, unknown classes, or no known label.
    """
    scores, truth = _known("fit_temperature", logits, labels)
    scores = scores - scores.max(axis=1, keepdims=True)
    own = scores[np.arange(len(truth)), truth]
    low, high = 1 / HOTTEST, 1 / COLDEST
    if _slope(scores, own, low)[0] >= 0:
        return HOTTEST
    if _slope(scores, own, high)[0] <= 0:
        return COLDEST
    sharpness = 1.0
    for _ in range(STEPS):
        slope, curve = _slope(scores, own, sharpness)
        low, high = (low, sharpness) if slope > 0 else (sharpness, high)
        step = sharpness - slope / curve if curve > 0 else low
        if not low < step < high:
            step = (low * high) ** 0.5
        if abs(step - sharpness) <= CLOSE * sharpness:
            break
        sharpness = step
    return 1 / sharpness


def softmax(logits: NDArray[np.floating[Any]], temperature: float = 1.0) -> Doubles:
    """Return the probabilities (N, C) float64 of logits divided by a temperature.

    Raises:
        InputError: unless temperature > 0.
    """
    require(temperature > 0, "softmax", "temperature", "> 0", temperature)
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    powers: Doubles = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers


def _slope(scores: Doubles, own: Doubles, sharpness: float) -> tuple[float, float]:
    """Return the first and second derivative of the mean cross entropy by the sharpness 1 / T."""
    p = softmax(scores * sharpness)
    mean = (p * scores).sum(axis=1)
    spread = (p * np.square(scores)).sum(axis=1) - np.square(mean)
    return float((mean - own).mean()), float(spread.mean())


def _known(who: str, values: NDArray[np.floating[Any]], labels: Labels) -> tuple[Doubles, Labels]:
    """Return the rows whose label is known, in float64, checked."""
    given, truth = np.asarray(values, dtype=np.float64), np.asarray(labels)
    require(given.ndim == 2 and given.shape[1] >= 2, who, "shape", "(N, C), C >= 2", given.shape)
    require(truth.shape == given.shape[:1], who, "labels", f"of shape ({len(given)},)", truth.shape)
    keep = truth >= 0
    require(bool(keep.any()), who, "labels", "known for some rows", "none")
    given, truth = given[keep], truth[keep].astype(np.int64)
    require(bool(np.isfinite(given).all()), who, "values", "finite", "NaN or infinity")
    require(int(truth.max()) < given.shape[1], who, "labels", f"below the {given.shape[1]} classes", int(truth.max()))
    return given, truth
