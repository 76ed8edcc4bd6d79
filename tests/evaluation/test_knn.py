from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from nearfar.errors import InputError
from nearfar.evaluation import KNN, Labelled, knn_predict
from tests.evaluation import reference
from tests.evaluation.samples import clusters


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.1), (7, 0.1), (20, 0.07), (60, 1.0)])
def test_agrees_with_the_slow_loop(k, temperature):
    x, y = clusters(60, spread=1.5)
    queries, _ = clusters(40, spread=1.5, seed=1)
    assert knn_predict(x, y, queries, k=k, temperature=temperature).tolist() == reference.knn(
        x, y, queries, k, temperature
    )


def test_agrees_with_scikit_learn():
    x, y = clusters(300, spread=1.5)
    queries, _ = clusters(200, spread=1.5, seed=1)
    judge = KNeighborsClassifier(
        15, metric="cosine", algorithm="brute", weights=lambda distances: np.exp((1 - distances) / 0.1)
    )
    judge.fit(x, y)
    assert knn_predict(x, y, queries, k=15, temperature=0.1).tolist() == judge.predict(queries).tolist()


def test_chunks_change_nothing(monkeypatch):
    x, y = clusters(100, spread=1.5)
    queries, _ = clusters(50, spread=1.5, seed=1)
    whole = knn_predict(x, y, queries, k=9)
    monkeypatch.setattr("nearfar.ranking.chunks.__defaults__", (250,))
    assert knn_predict(x, y, queries, k=9).tolist() == whole.tolist()


def test_a_very_low_temperature_is_the_nearest_neighbour():
    x, y = clusters(100, spread=2.0)
    queries, _ = clusters(50, spread=2.0, seed=1)
    assert knn_predict(x, y, queries, k=50, temperature=1e-4).tolist() == knn_predict(x, y, queries, k=1).tolist()


def test_labels_need_not_be_consecutive():
    x, y = clusters(60)
    queries, _ = clusters(20, seed=1)
    assert (knn_predict(x, y * 1000 + 5, queries, k=5) == knn_predict(x, y, queries, k=5) * 1000 + 5).all()


def test_k_is_capped_at_the_mean_class_size_and_said():
    x, y = clusters(80, classes=4)
    (score,) = KNN().scores(Labelled(x, y), Labelled(x, y))
    assert score.note == "k = 20: 80 training rows in 4 classes"
    (score,) = KNN(k=20).scores(Labelled(x, y), Labelled(x, y))
    assert score.note == ""


def test_rows_of_unknown_label_are_left_out_on_both_sides():
    x, y = clusters(80)
    queries, truth = clusters(50, seed=1)
    hidden, masked = y.copy(), truth.copy()
    hidden[::3], masked[::5] = -1, -1
    (score,) = KNN(k=5).scores(Labelled(x, hidden), Labelled(queries, masked))
    answers = knn_predict(x[hidden >= 0], y[hidden >= 0], queries[masked >= 0], k=5)
    assert score.value == pytest.approx((answers == truth[masked >= 0]).mean())
    assert score.n == 40


def test_zero_vectors_do_not_break_it():
    x, y = clusters(20)
    assert knn_predict(x, y, np.zeros((2, 8), np.float32), k=3).shape == (2,)


def test_bad_settings_are_one_sentence():
    x, y = clusters(5)
    with pytest.raises(InputError, match="k must be between 1 and 5"):
        knn_predict(x, y, x, k=6)
    with pytest.raises(InputError, match="temperature must be > 0"):
        KNN(temperature=0)
    with pytest.raises(InputError, match="as wide as those of train, 8, got 3"):
        next(KNN().scores(Labelled(x, y), Labelled(np.ones((2, 3)), np.array([0, 1]))))
