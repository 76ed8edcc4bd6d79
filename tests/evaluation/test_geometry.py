from __future__ import annotations

import numpy as np
import pytest

from nearfar.errors import InputError
from nearfar.evaluation import (
    Geometry,
    Labelled,
    alignment,
    class_alignment,
    effective_rank,
    feature_std,
    uniformity,
)
from tests.evaluation import reference
from tests.evaluation.samples import clusters


def test_alignment_is_the_mean_distance_of_pairs():
    a, _ = clusters(50)
    b, _ = clusters(50, seed=1)
    u, v = (m / np.linalg.norm(m, axis=1, keepdims=True) for m in (a.astype(float), b.astype(float)))
    assert alignment(a, b) == pytest.approx(
        np.mean([np.sum((p - q) ** 2) for p, q in zip(u, v, strict=True)]), rel=1e-5
    )
    assert alignment(a, b, alpha=1) == pytest.approx(np.mean(np.linalg.norm(u - v, axis=1)), rel=1e-5)
    assert alignment(a, 3 * a) == pytest.approx(0, abs=1e-12)


def test_class_alignment_agrees_with_the_slow_loop():
    x, y = clusters(60, spread=1.5)
    assert class_alignment(x, y) == pytest.approx(reference.class_alignment(x, y), rel=1e-5)


@pytest.mark.parametrize("t", [1.0, 2.0])
def test_uniformity_agrees_with_the_slow_loop_in_any_chunks(t, monkeypatch):
    x, _ = clusters(60, spread=1.5)
    assert uniformity(x, t=t) == pytest.approx(reference.uniformity(x, t), rel=1e-5)
    monkeypatch.setattr("nearfar.ranking.chunks.__defaults__", (420,))
    assert uniformity(x, t=t) == pytest.approx(reference.uniformity(x, t), rel=1e-5)


def test_the_ends_of_uniformity_and_std():
    same = np.tile(np.array([[1.0, 2.0, 2.0]], np.float32), (20, 1))
    assert uniformity(same) == pytest.approx(0, abs=1e-6)
    assert feature_std(same) == pytest.approx(0, abs=1e-7)
    even = np.random.default_rng(0).normal(size=(2000, 256)).astype(np.float32)
    assert uniformity(even) == pytest.approx(-4, abs=0.05)
    assert feature_std(even) == pytest.approx(1 / 16, rel=0.01)


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_rankme_counts_equal_directions(rank):
    x = np.zeros((40, 8), np.float32)
    x[np.arange(40), np.arange(40) % rank] = 1
    x[rank * (40 // rank) :] = 0  # so that every direction has the same weight
    assert effective_rank(x) == pytest.approx(rank, rel=1e-4)


def test_rankme_by_the_entropy():
    x = np.diag([4.0, 2.0, 1.0, 1.0]).astype(np.float32)
    p = np.array([0.5, 0.25, 0.125, 0.125])
    assert effective_rank(x) == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-5)
    assert effective_rank(np.zeros((3, 2), np.float32)) == 0


def test_the_protocol_draws_rows_and_counts_them():
    x, y = clusters(80)
    y[:10] = -1
    scores = {s.name: s for s in Geometry(max_rows=30).scores(Labelled(x, y), Labelled(x, y))}
    assert [scores[n].n for n in ("alignment", "uniformity", "feature-std", "rankme")] == [70, 30, 80, 30]
    assert scores["alignment"].value == pytest.approx(class_alignment(x[10:], y[10:]))
    none = [s.name for s in Geometry().scores(Labelled(x, y), Labelled(x, y * 0 - 1))]
    assert none == ["uniformity", "feature-std", "rankme"]


def test_too_few_rows_are_one_sentence():
    x, y = clusters(1)
    with pytest.raises(InputError, match="two or more, got 1"):
        next(Geometry().scores(Labelled(x, y), Labelled(x, y)))
    with pytest.raises(InputError, match="two or more in some class"):
        class_alignment(np.ones((2, 3), np.float32), np.array([0, 1]))
