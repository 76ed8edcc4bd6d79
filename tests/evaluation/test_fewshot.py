from __future__ import annotations

import numpy as np
import pytest

from nearfar.errors import InputError
from nearfar.evaluation import FewShot, Labelled, draw_labels, fit_linear, knn_predict
from tests.evaluation.samples import clusters


def test_a_draw_has_so_many_of_each_class_and_grows():
    _, y = clusters(200)
    y[::7] = -1
    one, five = draw_labels(y, 1, draw=3), draw_labels(y, 5, draw=3)
    assert np.bincount(y[five]).tolist() == [5, 5, 5, 5]
    assert set(one) <= set(five)
    assert (y[five] >= 0).all()


def test_draws_differ_and_repeat():
    _, y = clusters(200)
    assert draw_labels(y, 5, draw=0).tolist() == draw_labels(y, 5, draw=0).tolist()
    assert draw_labels(y, 5, draw=0).tolist() != draw_labels(y, 5, draw=1).tolist()
    assert draw_labels(y, 5, draw=0).tolist() != draw_labels(y, 5, draw=0, seed=1).tolist()


def test_a_small_class_gives_all_it_has():
    y = np.array([0] * 10 + [1] * 2)
    assert np.bincount(y[draw_labels(y, 5, draw=0)]).tolist() == [5, 2]


def test_mean_and_sd_over_draws_by_hand():
    x, y = clusters(200, spread=2.0)
    queries, truth = clusters(100, spread=2.0, seed=1)
    scores = {s.name: s for s in FewShot(per_class=(3,), draws=4).scores(Labelled(x, y), Labelled(queries, truth))}
    drawn = [draw_labels(y, 3, draw=draw) for draw in range(4)]
    knn = [(knn_predict(x[r], y[r], queries, k=3) == truth).mean() for r in drawn]
    linear = [(fit_linear(x[r], y[r], 1.0).predict(queries) == truth).mean() for r in drawn]
    for name, values in (("knn, 3 per class", knn), ("linear, 3 per class", linear)):
        assert scores[name].value == pytest.approx(np.mean(values))
        assert scores[name].sd == pytest.approx(np.sqrt(np.sum((values - np.mean(values)) ** 2) / 3))
        assert scores[name].sd > 0


def test_too_small_a_class_is_said():
    x, y = clusters(60)
    few = int(np.bincount(y).min())
    scores = list(FewShot(per_class=(1, 50), draws=2).scores(Labelled(x, y), Labelled(x, y)))
    assert [s.note for s in scores[:2]] == ["", ""]
    assert scores[2].note == f"the smallest class has only {few} training rows"


def test_one_draw_is_refused():
    with pytest.raises(InputError, match="draws must be >= 2"):
        FewShot(draws=1)
