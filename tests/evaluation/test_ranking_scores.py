"""Scores of rankings: closed forms, scikit-learn's NDCG, and what leave-one-out retrieval gives."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from nearfar.errors import InputError
from nearfar.evaluation import ranking_scores, retrieval_values, tar_at_far


def one(hits, right, ks=(1, 2, 3)):
    names, values = ranking_scores(np.array([hits], dtype=bool), np.array([right]), ks)
    return dict(zip(names, values[0], strict=True))


def test_closed_forms():
    got = one([0, 1, 1, 0], 3)
    gain = 1 / np.log2(np.arange(2, 6))
    assert [got[f"recall@{k}"] for k in (1, 2, 3)] == [0, 1, 1]
    assert [got[f"precision@{k}"] for k in (1, 2, 3)] == pytest.approx([0, 1 / 2, 2 / 3])
    assert got["ndcg@2"] == pytest.approx(gain[1] / gain[:2].sum())
    assert got["ndcg@3"] == pytest.approx((gain[1] + gain[2]) / gain[:3].sum())
    assert got["map@r"] == pytest.approx((1 / 2 + 2 / 3) / 3)
    assert got["r-precision"] == pytest.approx(2 / 3)
    assert got["mrr"] == pytest.approx(1 / 2)


def test_the_best_ranking_scores_one_and_the_worst_nothing():
    assert all(value == pytest.approx(1) for name, value in one([1, 1, 1, 0, 0], 3).items() if name != "x")
    assert all(value == 0 for value in one([0, 0, 0], 2).values())


def test_fewer_right_items_than_k():
    got = one([1, 0, 0, 0], 1)
    assert got["ndcg@3"] == pytest.approx(1)
    assert got["precision@3"] == pytest.approx(1 / 3)
    short = one([1], 2, ks=(1, 5))
    assert short["precision@5"] == pytest.approx(1 / 5)
    assert short["recall@5"] == 1


def test_ndcg_is_scikit_learns():
    rng = np.random.default_rng(0)
    hits = rng.random((20, 30)) < 0.3
    hits[:, 0] = True
    _, values = ranking_scores(hits, hits.sum(axis=1), (5, 10))
    order = -np.arange(30, dtype=float)[None].repeat(20, 0)
    for column, k in ((4, 5), (5, 10)):
        expected = [ndcg_score(h[None].astype(float), o[None], k=k) for h, o in zip(hits, order, strict=True)]
        assert values[:, column] == pytest.approx(expected)


def test_it_agrees_with_leave_one_out_retrieval():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(40, 5)).astype(np.float32), rng.integers(0, 4, 40)
    names, expected = retrieval_values(x, y, (1, 5))
    u = x / np.linalg.norm(x, axis=1, keepdims=True)
    hits = []
    for q in range(40):
        order = sorted((i for i in range(40) if i != q), key=lambda i: (-float(u[q] @ u[i]), i))
        hits.append([y[i] == y[q] for i in order])
    got_names, got = ranking_scores(np.array(hits), np.bincount(y)[y] - 1, (1, 5))
    for column, name in enumerate(names):
        assert got[:, got_names.index(name)] == pytest.approx(expected[:, column]), name


def test_tar_at_far_takes_the_last_point_within_the_limit():
    far, tar = np.array([0, 0, 0.1, 0.4, 1]), np.array([0, 0.5, 0.6, 0.9, 1])
    assert [tar_at_far(far, tar, limit) for limit in (0, 0.05, 0.1, 0.39, 1)] == [0.5, 0.5, 0.6, 0.6, 1]


@pytest.mark.parametrize(
    ("hits", "right", "ks", "sentence"),
    [([[1]], [0], (1,), "right must be >= 1"), ([[1]], [1], (0,), "ks must be numbers >= 1"),
     ([[1]], [1, 2], (1,), "must be of shapes")],
)  # fmt: skip
def test_wrong_input_is_one_sentence(hits, right, ks, sentence):
    with pytest.raises(InputError, match=sentence):
        ranking_scores(np.array(hits, dtype=bool), np.array(right), ks)
