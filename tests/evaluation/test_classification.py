"""ROC-AUC, balanced accuracy and the classical classifiers, against scikit-learn and closed forms."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from nearfar.errors import InputError
from nearfar.evaluation import CLASSIFIERS, Auc, Labelled, balanced_accuracy, classify, interval, macro_auc
from nearfar.evaluation.classification import logistic


def rows(count: int, classes: int = 2, width: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    return (rng.normal(size=(count, width)) + labels[:, None] * 0.8).astype(np.float32), labels.astype(np.int64)


@pytest.mark.parametrize("classes", [2, 4])
def test_auc_and_balanced_accuracy_are_scikit_learns(classes: int) -> None:
    rng = np.random.default_rng(classes)
    truth = rng.integers(0, classes, 200)
    scores = rng.random((200, classes)).round(1) + 0.01  # many ties
    scores /= scores.sum(axis=1, keepdims=True)
    own = scores[:, 1] if classes == 2 else scores
    assert macro_auc(truth, scores) == pytest.approx(roc_auc_score(truth, own, multi_class="ovr"))
    answers = scores.argmax(axis=1)
    assert balanced_accuracy(truth, answers) == pytest.approx(balanced_accuracy_score(truth, answers))


def test_auc_of_perfect_useless_and_wrong_scores() -> None:
    truth = np.array([0, 0, 1, 1])
    for second, value in (([0.1, 0.2, 0.8, 0.9], 1.0), ([0.5] * 4, 0.5), ([0.9, 0.8, 0.2, 0.1], 0.0)):
        assert macro_auc(truth, np.stack([1 - np.array(second), second], axis=1)) == value
    assert math.isnan(macro_auc(np.zeros(4, np.int64), np.ones((4, 2))))


def test_turning_wide_rows_onto_their_own_directions_changes_no_answer() -> None:
    x, y = rows(24, width=300)
    queries, _ = rows(10, width=300, seed=1)
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    direct = [
        LogisticRegression(C=C, max_iter=5000, tol=1e-8).fit((x - mean) / deviation, y)
        .predict_proba((queries - mean) / deviation) for C in (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
    ]  # fmt: skip
    ours = logistic(x, y, queries, 0)
    assert min(np.abs(ours - one).max() for one in direct) < 2e-3


def test_constant_columns_are_nothing_to_learn_from() -> None:
    x, y = rows(40)
    more = np.concatenate([x, np.full((40, 1), 1e6, np.float32)], axis=1)
    for classifier in CLASSIFIERS.values():
        chances = classifier(more, y, more, 0)
        assert np.isfinite(chances).all()
        assert chances.sum(axis=1) == pytest.approx(1)


def test_principal_components_are_those_of_95_percent() -> None:
    x, y = rows(60, width=8)
    x[:, 5:] = x[:, :3]
    scaled = (x - x.mean(axis=0)) / x.std(axis=0)
    kept = PCA(0.95).fit(scaled).n_components_
    assert 1 < kept < 8
    assert CLASSIFIERS["PCA + logistic regression"](x, y, x, 0).shape == (60, 2)


def test_classes_unknown_in_training_are_left_out() -> None:
    x, y = rows(40)
    queries, truth = rows(20, classes=4, seed=1)
    found = classify(x, y, queries, truth)
    known = truth < 2
    assert found == classify(x, y, queries[known], truth[known])
    with pytest.raises(InputError, match="training classes must be two or more"):
        classify(x, np.zeros(40, np.int64), queries, truth)
    with pytest.raises(InputError, match="test classes must be two or more"):
        classify(x, y, queries[truth == 1], truth[truth == 1])


def test_the_protocol_has_intervals_around_its_numbers() -> None:
    train, test = (Labelled(*rows(80, seed=seed), split=name) for seed, name in ((0, "train"), (1, "test")))
    found = {score.name: score for score in Auc(resamples=200).scores(train, test)}
    for score in found.values():
        assert score.low is not None
        assert score.high is not None
        assert score.low < score.value < score.high <= 1
    again = {score.name: score for score in Auc(resamples=200).scores(train, test)}
    assert again == found
    assert "one against the rest" in Auc().describe()


def test_the_interval_is_nadeau_and_bengios() -> None:
    values = [0.8, 0.9, 0.85, 0.95, 0.7]
    found = interval(values, test_share=0.2)
    sd = statistics.stdev(values)
    half = 2.776 * sd * math.sqrt(1 / 5 + 0.2 / 0.8)  # t of four degrees of freedom
    assert found.mean == pytest.approx(statistics.mean(values))
    assert (found.low, found.high) == pytest.approx((found.mean - half, found.mean + half))
    with pytest.raises(InputError, match="two or more"):
        interval([0.5], test_share=0.2)
