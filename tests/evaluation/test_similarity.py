"""Pairs: Spearman against SciPy, ranks and nDCG against slow loops and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from nearfar.errors import InputError
from nearfar.evaluation.similarity import (
    Paired,
    PairRetrieval,
    Similarity,
    cosines,
    evaluate_pairs,
    partner_values,
    spearman,
)


def rows(seed: int, n: int = 40, d: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def test_spearman_is_scipys_also_with_ties() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        x, y = rng.integers(0, 8, 50).astype(float), rng.normal(size=50)
        assert spearman(x, y) == pytest.approx(scipy.stats.spearmanr(x, y).statistic, abs=1e-12)
    assert spearman(np.ones(5), np.arange(5.0)) == 0
    assert spearman(np.arange(5.0), np.arange(5.0) ** 3) == pytest.approx(1)


def test_cosines_of_rows() -> None:
    x, y = rows(1), rows(2)
    expected = [float(a @ b) / math.sqrt(float(a @ a) * float(b @ b)) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(cosines(x, y), expected, atol=1e-6)
    assert cosines(np.zeros((1, 3), np.float32), np.ones((1, 3), np.float32))[0] == 0


def test_partners_by_a_slow_loop() -> None:
    x, y = rows(3, 30), rows(4, 30)
    same = np.random.default_rng(5).integers(0, 20, 30)
    names, values = partner_values(x, y, same, (1, 3, 5))
    table = dict(zip(names, values.T, strict=True))
    similar = sklearn.metrics.pairwise.cosine_similarity(x, y)
    relevant = (same[:, None] == same[None, :]).astype(int)
    for i in range(30):
        order = np.argsort(-similar[i], kind="stable")
        hits = relevant[i][order]
        for k in (1, 3, 5):
            assert table[f"recall@{k}"][i] == hits[:k].max()
        assert table["mrr"][i] == pytest.approx(1 / (1 + int(hits.argmax())))
    for k in (3, 5):
        assert table[f"ndcg@{k}"].mean() == pytest.approx(sklearn.metrics.ndcg_score(relevant, similar, k=k), abs=1e-6)


def test_equal_items_are_partners_in_their_direction_alone() -> None:
    x = np.eye(3, dtype=np.float32)
    y = x[[1, 0, 2]]
    swapped = np.array([0, 0, 1])
    pairs = Paired(x, y, same_second=swapped, names=("image", "text"))
    report = evaluate_pairs(pairs, [PairRetrieval(ks=(1,))])
    assert report["image to text, recall@1"].value == 1
    assert report["text to image, recall@1"].value == pytest.approx(1 / 3)


def test_similarity_reports_an_interval_round_its_value() -> None:
    x = rows(6, 200)
    y = x + 0.7 * rows(7, 200)
    scores = np.random.default_rng(8).normal(size=200) * 0.1 + cosines(x, y)
    score = evaluate_pairs(Paired(x, y, scores), [Similarity(resamples=200)])["spearman"]
    assert score.value == pytest.approx(scipy.stats.spearmanr(cosines(x, y), scores).statistic)
    assert score.low is not None
    assert score.high is not None
    assert score.low < score.value < score.high
    assert score.n == 200


def test_bad_pairs() -> None:
    with pytest.raises(InputError, match=r"second must be of shape \(40, 6\)"):
        Paired(rows(0), rows(1, 39))
    with pytest.raises(InputError, match="first must be finite"):
        Paired(np.full((2, 2), np.nan, np.float32), np.ones((2, 2), np.float32))
    with pytest.raises(InputError, match="scores must be given, got none"):
        list(Similarity().scores(Paired(rows(0), rows(1))))
    with pytest.raises(InputError, match="ks must be numbers >= 1"):
        partner_values(rows(0), rows(1), np.arange(40), (0,))
