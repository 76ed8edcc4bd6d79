from __future__ import annotations

import numpy as np
import pytest

from nearfar.errors import InputError
from nearfar.evaluation import Labelled, Retrieval, retrieval_values
from tests.evaluation import reference
from tests.evaluation.samples import clusters

KS = (1, 3, 10)


@pytest.mark.parametrize("spread", [0.3, 1.5, 5.0])
def test_agrees_with_the_slow_loop(spread):
    x, y = clusters(70, classes=6, spread=spread)
    names, values = retrieval_values(x, y, KS)
    assert names == ("recall@1", "recall@3", "recall@10", "map@r", "r-precision", "mrr")
    np.testing.assert_allclose(values, reference.retrieval(x, y, KS), atol=1e-12)


def test_a_positive_deeper_than_the_list_still_has_its_rank():
    x, y = clusters(80, classes=40, dim=4, spread=20.0)
    _, values = retrieval_values(x, y, (1,))
    np.testing.assert_allclose(values, reference.retrieval(x, y, (1,)), atol=1e-12)
    assert values[:, -1].min() < 1 / 20


def test_agrees_with_pytorch_metric_learning():
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    x, y = clusters(300, classes=5, spread=1.5)
    judge = AccuracyCalculator(
        include=("mean_average_precision_at_r", "r_precision", "precision_at_1", "mean_reciprocal_rank"),
        knn_func=_neighbours,
        k=None,
    )
    expected = judge.get_accuracy(_torch(x), _torch(y), _torch(x), _torch(y), ref_includes_query=True)
    names, values = retrieval_values(x, y, (1,))
    mean = dict(zip(names, values.mean(axis=0), strict=True))
    assert mean["map@r"] == pytest.approx(expected["mean_average_precision_at_r"], abs=1e-6)
    assert mean["r-precision"] == pytest.approx(expected["r_precision"], abs=1e-6)
    assert mean["recall@1"] == pytest.approx(expected["precision_at_1"], abs=1e-6)


def _torch(values):
    import torch

    return torch.from_numpy(values)


def _neighbours(query, k, reference, ref_includes_query):
    import torch

    unit = torch.nn.functional.normalize(reference.double())
    similarity = unit @ unit.T
    similarity.fill_diagonal_(-torch.inf)
    return torch.topk(-similarity, k, largest=False)


def test_chunks_change_nothing(monkeypatch):
    x, y = clusters(70, classes=6, spread=1.5)
    _, whole = retrieval_values(x, y, KS)
    monkeypatch.setattr("nearfar.ranking.chunks.__defaults__", (200,))
    np.testing.assert_array_equal(retrieval_values(x, y, KS)[1], whole)


def test_a_query_never_finds_itself_among_duplicates():
    x = np.ones((4, 3), np.float32)
    _, values = retrieval_values(x, np.array([0, 1, 1, 0]), (1,))
    expected = reference.retrieval(x, np.array([0, 1, 1, 0]), (1,))
    np.testing.assert_allclose(values, expected)
    assert values[:, 0].tolist() == [0, 0, 0, 1]


def test_queries_without_positives_are_left_out_and_counted():
    x, y = clusters(40)
    y = np.append(y, [90, 91, -1])
    x = np.concatenate([x, x[:3]])
    scores = list(Retrieval(resamples=50).scores(Labelled(x, y), Labelled(x, y)))
    assert {s.n for s in scores} == {40}
    assert {s.note for s in scores} == {"2 queries without a positive left out"}


def test_the_interval_holds_the_mean_and_shrinks():
    wide, narrow = (
        next(Retrieval().scores(Labelled(x, y), Labelled(x, y)))
        for x, y in (clusters(50, spread=2.0), clusters(800, spread=2.0))
    )
    assert wide.low <= wide.value <= wide.high
    assert narrow.low <= narrow.value <= narrow.high
    assert narrow.high - narrow.low < (wide.high - wide.low) / 2


def test_no_positive_at_all_is_one_sentence():
    x, _ = clusters(5)
    with pytest.raises(InputError, match="two or more in some class"):
        next(Retrieval().scores(Labelled(x, np.arange(5)), Labelled(x, np.arange(5))))
