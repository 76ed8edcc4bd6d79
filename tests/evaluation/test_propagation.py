from __future__ import annotations

import numpy as np
import pytest

from nearfar.errors import InputError
from nearfar.evaluation import draw_labels, knn_predict, label_propagation
from tests.evaluation.samples import clusters


def dense(features, labels, k, alpha, gamma, classes):
    """(I − α S)⁻¹ Y, entry by entry and by a dense solver, in float64."""
    v = features.astype(np.float64)
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    count = len(v)
    affinity = np.zeros((count, count))
    for i in range(count):
        order = sorted((j for j in range(count) if j != i), key=lambda j: -float(v[i] @ v[j]))
        for j in order[:k]:
            affinity[i, j] = max(float(v[i] @ v[j]), 0.0) ** gamma
    w = affinity + affinity.T
    d = w.sum(axis=1)
    s = np.array([[w[i, j] / np.sqrt(d[i] * d[j]) if w[i, j] else 0.0 for j in range(count)] for i in range(count)])
    y = np.array([[float(labels[i] == c) for c in range(classes)] for i in range(count)])
    f = np.linalg.solve(np.eye(count) - alpha * s, y)
    return f / f.sum(axis=1, keepdims=True)


def few(labels, per_class=2):
    hidden = np.full_like(labels, -1)
    rows = draw_labels(labels, per_class, draw=0)
    hidden[rows] = labels[rows]
    return hidden


@pytest.mark.parametrize(("k", "alpha", "gamma"), [(5, 0.5, 1.0), (10, 0.99, 3.0), (79, 0.9, 3.0)])
def test_agrees_with_the_dense_closed_form(k, alpha, gamma):
    x, y = clusters(80, spread=0.8)
    found = label_propagation(x, few(y), k=k, alpha=alpha, gamma=gamma)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, dense(x, few(y), k, alpha, gamma, 4), atol=2e-5)


def test_labels_spread_along_a_shape_where_neighbours_of_the_labelled_rows_mislead():
    # two arcs of directions: each is a chain, whose far end is nearer to the other chain's label than to its own
    angles = np.linspace(0, np.pi * 0.9, 100)
    arcs = [np.stack([np.cos(angles), np.sin(angles), np.full(100, height)], axis=1) for height in (0.0, 0.5)]
    x = np.concatenate(arcs).astype(np.float32)
    y = np.repeat([0, 1], 100)
    hidden = np.full(200, -1)
    hidden[0], hidden[199] = 0, 1  # the labels sit at opposite ends
    spread = label_propagation(x, hidden, k=4, alpha=0.99).argmax(axis=1)
    nearest = knn_predict(x[[0, 199]], y[[0, 199]], x, k=1)
    assert (spread == y).mean() == 1.0
    assert (nearest == y).mean() < 0.8


def test_rows_sum_to_one_and_chunks_change_nothing(monkeypatch):
    x, y = clusters(90)
    whole = label_propagation(x, few(y), k=8)
    np.testing.assert_allclose(whole.sum(axis=1), 1, atol=1e-6)
    monkeypatch.setattr("nearfar.ranking.chunks.__defaults__", (500,))
    np.testing.assert_array_equal(label_propagation(x, few(y), k=8), whole)


def test_rows_that_no_label_reaches_are_undecided():
    x = np.array([[1, 0], [1, 0.1], [-1, 0], [-1, 0.1]], dtype=np.float32)
    found = label_propagation(x, np.array([1, -1, -1, -1]), k=1, classes=3)
    np.testing.assert_allclose(found[:2], [[0, 1, 0]] * 2, atol=1e-6)
    np.testing.assert_allclose(found[2:], 1 / 3, atol=1e-6)


def test_a_wrong_label_among_right_ones_is_overruled():
    x, y = clusters(60, classes=2, spread=0.3)
    wrong = y.copy()
    wrong[0] = 1 - y[0]
    assert label_propagation(x, wrong, k=10).argmax(axis=1)[0] == y[0]


def test_more_neighbours_than_rows_take_them_all():
    x, y = clusters(20)
    np.testing.assert_array_equal(label_propagation(x, few(y), k=500), label_propagation(x, few(y), k=19))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"labels": [-1] * 8}, "labels must be known for some rows"),
        ({"labels": [0] * 7}, "labels must be 8 whole numbers"),
        ({"classes": 2, "labels": [5] + [-1] * 7}, "labels must be below the 2 classes, got 5"),
        ({"alpha": 1.0}, "alpha must be between 0 and 1"),
        ({"k": 0}, "k must be >= 1"),
        ({"gamma": 0.0}, "gamma must be > 0"),
        ({"features": np.full((8, 2), np.nan)}, "features must be finite"),
        ({"features": np.ones(8)}, r"features must be of shape \(N, D\)"),
    ],
)
def test_bad_input_is_one_sentence(change, text):
    given = {"features": np.eye(8), "labels": [0, 1] + [-1] * 6, **change}
    features, labels = given.pop("features"), np.array(given.pop("labels"))
    with pytest.raises(InputError, match=text):
        label_propagation(features, labels, **given)
