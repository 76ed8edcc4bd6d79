from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, mean_absolute_error, r2_score, roc_auc_score, top_k_accuracy_score

from nearfar.fewlabels.baselines import knn, linear, propagation
from nearfar.fewlabels.parts import Data
from nearfar.fewlabels.scores import probabilities, score, sensitivity_at
from nearfar.fewlabels.self_training import confident
from nearfar.fewlabels.summary import calibrated
from nearfar.fewlabels.targets import Targets


def values(targets: Targets, outputs: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
    found = score(targets, outputs, wanted)
    assert all(one.low <= one.value <= one.high for one in found), found
    return {one.name: one.value for one in found}


def test_accuracies_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    outputs, wanted = rng.normal(size=(200, 8)).astype(np.float32), rng.integers(8, size=200)
    unknown = wanted.copy()
    unknown[:20] = -1
    found = values(Targets("classes", tuple("abcdefgh")), outputs, unknown)
    for k in (1, 5):
        assert found[f"top-{k}"] == pytest.approx(top_k_accuracy_score(wanted[20:], outputs[20:], k=k))


def test_two_classes_have_an_roc() -> None:
    rng = np.random.default_rng(1)
    wanted = rng.integers(2, size=300)
    outputs = rng.normal(size=(300, 2)).astype(np.float32)
    outputs[:, 1] += wanted
    found = values(Targets("classes", ("no", "yes")), outputs, wanted)
    logit = outputs[:, 1] - outputs[:, 0]
    assert found["roc-auc"] == pytest.approx(roc_auc_score(wanted, logit), abs=1e-6)
    threshold = np.sort(logit[wanted == 0])[::-1][int(0.1 * (wanted == 0).sum())]
    assert found["sensitivity at 90% specificity"] == pytest.approx((logit[wanted == 1] > threshold).mean(), abs=1e-9)


def test_the_sensitivity_of_ties_and_of_a_perfect_score() -> None:
    positive = np.array([False] * 10 + [True] * 10)
    assert sensitivity_at(np.zeros(20), positive, 0.9) == 0.0
    assert sensitivity_at(positive.astype(float), positive, 0.9) == 1.0


def test_several_labels_and_numbers_are_scikit_learns() -> None:
    rng = np.random.default_rng(2)
    wanted = (rng.random((120, 3)) < 0.4).astype(np.float32)
    outputs = (rng.normal(size=(120, 3)) + wanted).astype(np.float32)
    found = values(Targets("multilabel", ("a", "b", "c")), outputs, wanted)
    assert found["mean average precision"] == pytest.approx(average_precision_score(wanted, outputs), abs=1e-6)
    assert found["roc-auc"] == pytest.approx(roc_auc_score(wanted, outputs), abs=1e-6)
    targets = Targets("regression", ("",), (10.0,), (2.0,))
    truth = (rng.normal(size=(80, 1)) * 2 + 10).astype(np.float32)
    answers = ((truth - 10) / 2 + rng.normal(size=(80, 1)) * 0.3).astype(np.float32)
    found = values(targets, answers, truth)
    own = probabilities(targets, answers)
    assert found["mean absolute error"] == pytest.approx(mean_absolute_error(truth, own), abs=1e-6)
    assert found["R2"] == pytest.approx(r2_score(truth, own), abs=1e-6)


def blobs(labels: int) -> tuple[Data, np.ndarray, np.ndarray, np.ndarray]:
    """Three clusters, of which some points are labelled."""
    rng = np.random.default_rng(3)
    centres = np.eye(3, 6, dtype=np.float32) * 4
    truth, wanted = np.arange(150) % 3, np.arange(60) % 3
    train = centres[truth] + rng.normal(size=(150, 6)).astype(np.float32) * 0.6
    test = centres[wanted] + rng.normal(size=(60, 6)).astype(np.float32) * 0.6
    data = Data(None, None, Targets("classes", ("a", "b", "c")), truth, np.arange(labels), None)  # type: ignore[arg-type]
    return data, train, test, wanted


@pytest.mark.parametrize("baseline", [linear, knn, propagation])
def test_baselines_learn_clusters_from_three_labels(baseline: object) -> None:
    data, train, test, wanted = blobs(3)
    outputs = baseline(data, train, test)  # type: ignore[operator]
    assert outputs.shape == (60, 3)
    assert (outputs.argmax(1) == wanted).mean() > 0.9


def test_a_class_without_labels_is_never_answered() -> None:
    data, train, test, _ = blobs(2)
    for baseline in (linear, knn, propagation):
        assert set(baseline(data, train, test).argmax(1)) <= {0, 1}


def test_temperature_scaling_is_judged_on_what_it_was_not_fitted_on() -> None:
    rng = np.random.default_rng(4)
    logits = rng.normal(size=(2000, 3))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = np.array([rng.choice(3, p=row) for row in p])
    found, scaled = calibrated(logits * 4, labels)  # four times too sure
    assert found.before > 0.2
    assert found.after < 0.05
    assert found.temperature == pytest.approx(4, rel=0.15)
    assert np.allclose(scaled.sum(1), 1)


def test_only_confident_answers_become_pseudo_labels() -> None:
    found = np.array([[0.97, 0.03], [0.6, 0.4], [0.02, 0.98]])
    rows, labels, sure = confident(found, np.array([0.5, 0.5]), threshold=0.95, align=False)
    assert rows.tolist() == [0, 2]
    assert labels.tolist() == [0, 1]
    assert sure.tolist() == [0.97, 0.98]
