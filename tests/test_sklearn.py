from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits, make_blobs
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from nearfar.errors import InputError
from nearfar.sklearn import ContrastiveClassifier

TINY = {
    "epochs": 2, "batch_size": 32, "encoder_options": {"width": 16, "depth": 2}, "method_options": {"output_dim": 8},
    "device": "cpu", "random_state": 0,
}  # fmt: skip

EXPECTED = {
    "check_classifiers_classes": "its last part has the classes -1 and 1; -1 is unknown here, as in sklearn's own "
    "LabelPropagation. Names as classes: see the test below",
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@parametrize_with_checks([ContrastiveClassifier(**TINY)], expected_failed_checks=lambda _: EXPECTED)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def hidden(y, share, seed=0):
    return np.where(np.random.default_rng(seed).random(len(y)) < share, -1, y)


@pytest.fixture(scope="module")
def blobs():
    return make_blobs(240, 8, centers=3, cluster_std=2.0, random_state=0)


@pytest.fixture(scope="module")
def fitted(blobs):
    X, y = blobs
    return ContrastiveClassifier(**TINY).fit(X, hidden(y, 0.9))


def test_rows_without_labels_are_learnt_from_and_classified(blobs, fitted):
    X, y = blobs
    assert fitted.classes_.tolist() == [0, 1, 2]  # -1 is no class
    assert fitted.score(X, y) > 0.9
    assert fitted.transform(X).shape == (240, 16)
    p = fitted.predict_proba(X)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert (fitted.classes_[p.argmax(axis=1)] == fitted.predict(X)).all()
    assert len(fitted.loss_) == 2
    labelled = hidden(y, 0.9) >= 0
    alone = ContrastiveClassifier(**TINY).fit(X[labelled], y[labelled])
    assert not np.allclose(alone.transform(X), fitted.transform(X))  # the unlabelled rows count


def test_labels_do_not_reach_a_method_without_labels(blobs, fitted):
    X, y = blobs
    other = ContrastiveClassifier(**TINY).fit(X, np.where(hidden(y, 0.9) >= 0, (y + 1) % 3, -1))
    np.testing.assert_array_equal(other.transform(X), fitted.transform(X))


def test_a_seed_repeats_and_leaves_torchs_own_alone(blobs, fitted):
    X, y = blobs
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    again = clone(fitted).fit(X, hidden(y, 0.9))
    assert torch.equal(torch.rand(3), expected)
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    other = clone(fitted).set_params(random_state=1).fit(X, hidden(y, 0.9))
    assert not np.allclose(other.transform(X), fitted.transform(X))
    copied = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(copied.predict_proba(X), fitted.predict_proba(X))


def test_names_are_classes_and_missing_numbers_are_allowed(blobs):
    X, y = blobs
    X = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
    names = np.array(["cat", "dog", "owl"])[y]
    model = ContrastiveClassifier(**TINY).fit(X, names)
    assert model.classes_.tolist() == ["cat", "dog", "owl"]
    assert model.score(X, names) > 0.8


def test_it_stands_in_pipelines_and_searches(blobs):
    X, y = blobs
    steps = make_pipeline(StandardScaler(), ContrastiveClassifier(**TINY))
    search = GridSearchCV(steps, {"contrastiveclassifier__C": [0.1, 1.0]}, cv=2).fit(X, y)
    assert search.best_score_ > 0.8
    features = make_pipeline(ContrastiveClassifier(**TINY), LogisticRegression()).fit(X, y)
    assert features.score(X, y) > 0.9
    assert features[0].get_feature_names_out()[0] == "contrastiveclassifier0"


@pytest.mark.parametrize("method", ["supcon", "byol", "vicreg"])
def test_any_method_of_two_views_can_pretrain(method, blobs):
    X, y = blobs
    options = {
        "byol": {"hidden_dim": 16, "output_dim": 8, "predictor_dim": 16},
        "vicreg": {"hidden_dim": 16, "output_dim": 16},
    }
    settings = {**TINY, "method_options": options.get(method, {"output_dim": 8})}
    model = ContrastiveClassifier(method=method, **settings).fit(X, hidden(y, 0.5))
    assert np.isfinite(model.loss_).all()


def test_flat_pictures_are_seen_as_pictures():
    X, y = load_digits(return_X_y=True)
    X, y = X[:300], y[:300]
    settings = {**TINY, "encoder_options": {"width": 4}}
    model = ContrastiveClassifier(image_shape=(8, 8), **settings).fit(X, hidden(y, 0.5))
    assert (model.inputs_.image_size, model.inputs_.channels) == (8, 1)
    assert model.transform(X).shape == (300, 32)
    assert model.score(X, y) > 0.5
    items = model._items(X)
    assert (items.shape, items.dtype, items.min(), items.max()) == ((300, 8, 8, 1), np.uint8, 0, 255)
    assert model._items(np.full((1, 64), 99.0)).max() == 255  # beyond what was seen in training


@pytest.mark.parametrize(
    ("change", "labels", "text"),
    [
        ({"epochs": 0}, None, "epochs must be >= 1, got 0"),
        ({"batch_size": 1}, None, "batch_size must be >= 2, got 1"),
        ({"C": 0.0}, None, "C must be > 0"),
        ({"image_shape": (3, 3)}, None, r"image_shape must be \(H, W\) or \(H, W, C\) with 8 numbers"),
        ({"method": "simclrr"}, None, "did you mean 'simclr'"),
        ({"method": "mae"}, None, "number of views must be 1 an item, got 2"),
        ({"encoder": "small"}, None, "SmallConvNet|encoder"),
        ({"views": "scraf"}, None, "did you mean 'scarf'"),
        ({}, [-1] * 240, "known classes must be two or more, got 0"),
        ({}, [2] * 120 + [-1] * 120, "known classes must be two or more, got 1"),
    ],
)
def test_bad_input_is_one_sentence(change, labels, text, blobs):
    X, y = blobs
    with pytest.raises(InputError, match=text):
        ContrastiveClassifier(**{**TINY, **change}).fit(X, y if labels is None else labels)
