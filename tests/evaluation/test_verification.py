from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from nearfar.errors import InputError
from nearfar.evaluation import Labelled, Verification, equal_error_rate, roc_auc, roc_points
from nearfar.evaluation.verification import _choose_pairs
from tests.evaluation import reference
from tests.evaluation.samples import clusters


def _scores(x, y, **settings):
    return {s.name: s for s in Verification(**settings).scores(Labelled(x, y), Labelled(x, y))}


def test_all_pairs_agree_with_the_slow_loop():
    x, y = clusters(50, spread=1.5)
    scores = _scores(x, y, resamples=0)
    similarities, same = reference.pairs(x, y)
    assert scores["roc-auc"].value == pytest.approx(reference.auc(similarities, same), abs=1e-9)
    assert scores["roc-auc"].note == "all 1,225 pairs"
    assert scores["roc-auc"].low is None


@pytest.mark.parametrize("ties", [False, True])
def test_agrees_with_scikit_learn(ties):
    rng = np.random.default_rng(0)
    same = rng.random(3000) < 0.2
    similarities = (rng.normal(size=3000) + same).astype(np.float32)
    if ties:
        similarities = np.round(similarities, 1)
    assert roc_auc(similarities, same) == pytest.approx(roc_auc_score(same, similarities), abs=1e-12)
    false, true, _ = roc_curve(same, similarities, drop_intermediate=False)
    np.testing.assert_allclose(roc_points(similarities, same), (false, true), atol=1e-12)
    dense = np.linspace(0, 1, 2_000_001)
    rejected = 1 - np.interp(dense, false, true)
    assert equal_error_rate(similarities, same) == pytest.approx(dense[np.argmin(np.abs(dense - rejected))], abs=1e-5)


def test_weights_are_repetitions():
    rng = np.random.default_rng(0)
    same, times = rng.random(200) < 0.4, rng.integers(3, size=200)
    similarities = rng.normal(size=200).astype(np.float32)
    weighted = roc_points(similarities, same, times.astype(float))
    repeated = roc_points(np.repeat(similarities, times), np.repeat(same, times))
    for a, b in zip(weighted, repeated, strict=True):
        np.testing.assert_allclose(np.unique(a), np.unique(b), atol=1e-12)


def test_the_extremes():
    same = np.array([True, True, False, False])
    assert roc_auc(np.array([3, 2, 1, 0], np.float32), same) == 1
    assert equal_error_rate(np.array([3, 2, 1, 0], np.float32), same) == 0
    assert roc_auc(np.array([0, 1, 2, 3], np.float32), same) == 0
    assert equal_error_rate(np.array([0, 1, 2, 3], np.float32), same) == 1
    assert roc_auc(np.zeros(4, np.float32), same) == 0.5
    assert equal_error_rate(np.zeros(4, np.float32), same) == 0.5


def test_drawn_pairs_are_of_the_right_kinds_and_evenly_drawn():
    y = np.repeat([0, 1, 2], [2, 5, 30])
    pairs = _choose_pairs(y, 600, seed=0)
    assert not pairs.complete
    same = y[pairs.first] == y[pairs.second]
    assert same[:300].all()
    assert not same[300:].any()
    assert (pairs.first != pairs.second).all()
    many = _choose_pairs(np.repeat([0, 1, 2], [2, 2, 4]), 27, seed=0)
    assert not many.complete
    y = np.repeat([0, 1, 2], [20, 20, 40])
    drawn = [_choose_pairs(y, 3000, seed=seed) for seed in range(40)]
    first = np.concatenate([p.first[1500:] for p in drawn])
    second = np.concatenate([p.second[1500:] for p in drawn])
    between = ((y[first] != 2) & (y[second] != 2)).mean()  # 20 · 20 of 20·20 + 40·40 pairs
    assert between == pytest.approx(400 / 2000, abs=0.01)
    within = np.concatenate([y[p.first[:1500]] for p in drawn])  # 780 of 190 + 190 + 780 pairs
    assert (within == 2).mean() == pytest.approx(780 / 1160, abs=0.01)


def test_a_draw_of_pairs_is_near_all_of_them():
    x, y = clusters(600, spread=1.5)
    everything, drawn = _scores(x, y, resamples=0), _scores(x, y, resamples=0, max_pairs=50_000)
    assert drawn["roc-auc"].note == "50,000 pairs drawn of 179,700"
    for name in ("roc-auc", "eer"):
        assert drawn[name].value == pytest.approx(everything[name].value, abs=0.01)


def test_the_interval_holds_the_value():
    x, y = clusters(120, spread=1.5)
    for score in _scores(x, y, resamples=100).values():
        assert score.low < score.value < score.high


def test_one_class_or_no_same_pair_is_one_sentence():
    x, y = clusters(6)
    for labels in (y * 0, np.arange(6)):
        with pytest.raises(InputError, match="of two or more classes, two or more in some"):
            _scores(x, labels)
