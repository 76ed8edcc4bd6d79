"""What few labels give without training an encoder: linear probe, kNN and label propagation on frozen features.

All learn from the labelled items alone but for label propagation, whose graph has the unlabelled training items as
well; a test item takes the answers of its nearest training items, so that no test item is in the graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.evaluation import fit_linear, label_propagation
from nearfar.evaluation.knn import capped_k
from nearfar.evaluation.protocol import unit_rows
from nearfar.fewlabels.parts import Data
from nearfar.fewlabels.targets import soft
from nearfar.ranking import chunks, smallest

__all__ = ["BASELINES", "SENTENCES", "knn", "linear", "propagation"]

Floats = NDArray[np.float32]

NEIGHBOURS = 50
"""Of the graph, as in https://arxiv.org/abs/1904.04717."""

TEMPERATURE = 0.1

SENTENCES = {
    "linear probe": "logistic regression (ridge for numbers), C = 1, on the frozen pretrained features of the labels",
    "kNN": "cosine, k = labels per class (their mean), weights exp(cos / 0.1), on the frozen pretrained features",
    "label propagation": f"over the graph of the {NEIGHBOURS} nearest training items (alpha = 0.99) on the frozen "
    f"pretrained features; a test item takes the mean of its {NEIGHBOURS} nearest training items, weighted by cos^3",
}


def linear(data: Data, train: Floats, test: Floats) -> Floats:
    """Return outputs (Q, C) of a linear model on the labelled features."""
    x, values = train[data.rows], data.values[data.rows]
    if data.targets.task == "classes":
        model = fit_linear(x, np.asarray(values, dtype=np.int64), C=1.0)
        logits = ((test - model.mean) / np.float32(model.scale)) @ model.weights + model.intercept
        if len(model.classes) < data.targets.outputs:
            return _spread(logits.astype(np.float32), model.classes, data.targets.outputs)
        return np.asarray(logits, dtype=np.float32)
    mean, scale = x.mean(axis=0), max(float(x.std()), 1e-12)
    inner, outer = (x - mean) / scale, (test - mean) / scale
    if data.targets.task == "regression":
        from sklearn.linear_model import Ridge

        found = Ridge(alpha=1.0).fit(inner, soft(data.targets, values).numpy()).predict(outer)
        return np.asarray(found, dtype=np.float32).reshape(len(test), -1)
    return np.stack([_one_class(inner, values[:, place], outer) for place in range(values.shape[1])], axis=1)


def knn(data: Data, train: Floats, test: Floats) -> Floats:
    """Return outputs (Q, C) by the weighted vote of the nearest labelled items."""
    x, values = train[data.rows], data.values[data.rows]
    wanted = soft(data.targets, values).numpy()
    k = capped_k(len(x), np.asarray(values)) if data.targets.task == "classes" else min(len(x), 10)
    shares = _voted(x, wanted, test, k, lambda cosine: np.exp((cosine - 1) / TEMPERATURE))
    return shares if data.targets.task == "regression" else _logit(shares, data.targets.task)


def propagation(data: Data, train: Floats, test: Floats) -> Floats:
    """Return outputs (Q, C): labels spread over the graph of the training items, then the test items' neighbours."""
    labels = np.full(len(train), -1, np.int64)
    labels[data.rows] = data.values[data.rows]
    found = label_propagation(train, labels, k=NEIGHBOURS, classes=data.targets.outputs)
    shares = _voted(train, found, test, min(NEIGHBOURS, len(train)), lambda cosine: np.maximum(cosine, 0) ** 3)
    return _logit(shares, "classes")


BASELINES: dict[str, Callable[[Data, Floats, Floats], Floats]] = {
    "linear probe": linear,
    "kNN": knn,
    "label propagation": propagation,
}


def _voted(x: Floats, wanted: Floats, queries: Floats, k: int, weigh: Callable[[NDArray[Any]], NDArray[Any]]) -> Floats:
    """Return the weighted mean (Q, C) of the targets of each query's k nearest rows by cosine."""
    rows, found = unit_rows(x), np.empty((len(queries), wanted.shape[1]), np.float32)
    for part in chunks(len(queries), len(rows)):
        distances, columns = smallest(-(unit_rows(queries[part]) @ rows.T), k)
        weights = weigh(-distances.astype(np.float64)) + 1e-12
        weights /= weights.sum(axis=1, keepdims=True)
        found[part] = np.einsum("qk,qkc->qc", weights, wanted[columns])
    return found


def _logit(shares: Floats, task: str) -> Floats:
    """Return logits whose softmax (or sigmoid) gives these shares again, within 1e-4."""
    inside = np.clip(shares, 1e-4, None)
    if task == "classes":
        return np.asarray(np.log(inside), dtype=np.float32)
    inside = np.clip(inside, None, 1 - 1e-4)
    return np.asarray(np.log(inside / (1 - inside)), dtype=np.float32)


def _spread(logits: Floats, classes: NDArray[np.int64], outputs: int) -> Floats:
    """Put the logits of the classes that have labels into their places; the others are never answered."""
    whole = np.full((len(logits), outputs), logits.min() - 20, np.float32)
    whole[:, classes] = logits
    return whole


def _one_class(x: Floats, wanted: NDArray[Any], queries: Floats) -> Floats:
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(wanted)) < 2:
        return np.full(len(queries), 9.0 if wanted[0] else -9.0, np.float32)
    model = LogisticRegression(C=1.0, max_iter=1000).fit(x, wanted > 0.5)
    return np.asarray(model.decision_function(queries), dtype=np.float32)
