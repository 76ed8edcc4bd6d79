from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from nearfar.errors import InputError
from nearfar.evaluation import Labelled, Linear, fit_linear
from tests.evaluation.samples import clusters


@pytest.mark.parametrize("classes", [2, 5])
def test_fit_is_scikit_learns_on_scaled_features(classes):
    x, y = clusters(200, classes=classes, spread=1.5)
    queries, _ = clusters(300, classes=classes, spread=1.5, seed=1)
    x, queries = x * 30 + 100, queries * 30 + 100
    scale = np.sqrt(np.mean((x - x.mean(0)) ** 2))
    judge = LogisticRegression(C=0.3, max_iter=1000).fit((x - x.mean(0)) / scale, y)
    model = fit_linear(x, y, 0.3)
    assert model.converged
    expected = judge.predict((queries - x.mean(0)) / scale)
    assert (model.predict(queries) == expected).mean() > 0.99
    norms = np.linalg.norm(judge.coef_)
    size = np.linalg.norm(model.weights) * (np.sqrt(2) if classes == 2 else 1)
    assert size == pytest.approx(norms, rel=1e-2)


def test_scale_and_shift_of_the_embeddings_change_nothing():
    x, y = clusters(200, spread=1.5)
    queries, _ = clusters(300, spread=1.5, seed=1)
    same = fit_linear(x, y, 1.0).predict(queries) == fit_linear(x * 64 + 8, y, 1.0).predict(queries * 64 + 8)
    assert same.mean() > 0.99


def test_the_choice_of_c_never_sees_the_test_rows():
    x, y = clusters(200, spread=2.0)
    queries, truth = clusters(100, spread=2.0, seed=1)
    (right,) = Linear().scores(Labelled(x, y), Labelled(queries, truth))
    (wrong,) = Linear().scores(Labelled(x, y), Labelled(queries, (truth + 1) % 4))
    assert right.note == wrong.note
    assert right.value > 0.5 > wrong.value


def test_c_is_the_best_of_the_validation_part():
    x, y = clusters(400, spread=2.5, dim=60)
    protocol = Linear(grid=(1e-5, 1e-2, 1e4))
    held = np.zeros(len(y), bool)
    rng = np.random.default_rng([0, len(y)])
    for label in range(4):
        rows = rng.permutation(np.flatnonzero(y == label))
        held[rows[: int(0.2 * len(rows))]] = True
    accuracy = [(fit_linear(x[~held], y[~held], C).predict(x[held]) == y[held]).mean() for C in protocol.grid]
    assert protocol.choose(x, y) == protocol.grid[int(np.argmax(accuracy))]
    assert len(set(accuracy)) > 1


def test_of_equals_the_smallest_c_is_taken():
    x, y = clusters(100, spread=0.01)
    assert Linear(grid=(10.0, 1.0, 0.1)).choose(x, y) == 0.1


def test_a_choice_at_the_edge_is_said():
    x, y = clusters(100, spread=0.01)
    (score,) = Linear(grid=(0.1, 1.0)).scores(Labelled(x, y), Labelled(x, y))
    assert score.note == "C = 0.1, at the edge of its grid"
    assert score.value == 1


def test_constant_embeddings_give_a_number():
    y = np.arange(20) % 2
    (score,) = Linear().scores(Labelled(np.ones((20, 3)), y), Labelled(np.ones((20, 3)), y))
    assert score.value == 0.5


def test_one_class_and_single_rows_are_one_sentence():
    x, y = clusters(20)
    with pytest.raises(InputError, match="training classes must be two or more, got 1"):
        next(Linear().scores(Labelled(x, y * 0), Labelled(x, y)))
    with pytest.raises(InputError, match="use few-shot"):
        next(Linear().scores(Labelled(x, np.arange(20)), Labelled(x, y)))
