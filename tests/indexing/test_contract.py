"""What every back end promises, run on each of them."""

from __future__ import annotations

import numpy as np
import pytest

from nearfar.errors import ConfigError, InputError
from nearfar.indexing import BACKENDS, METRICS, create, open_index
from tests.indexing.samples import names, nearest, vectors

backends = pytest.mark.parametrize("backend", BACKENDS.names())
metrics = pytest.mark.parametrize("metric", METRICS)


def filled(backend, metric="cosine", count=50, dim=6):
    index = create(dim, metric=metric, backend=backend)
    x = vectors(count, dim)
    index.add(names(count), x, [f"class {row % 3}" for row in range(count)])
    return index, x


@backends
@metrics
@pytest.mark.parametrize("k", [1, 7, 50])
def test_search_agrees_with_the_slow_loop(backend, metric, k):
    index, x = filled(backend, metric)
    queries = vectors(20, seed=1)
    rows, distances = nearest(metric, queries, x, k)
    found = index.search(queries, k)
    assert found.ids == [[f"item {row}" for row in one] for one in rows]
    assert found.labels == [[f"class {row % 3}" for row in one] for one in rows]
    assert found.distances.dtype == np.float32
    np.testing.assert_allclose(found.distances, distances, rtol=1e-6, atol=1e-7)


@metrics
@pytest.mark.parametrize("kind", ["normal", "offset", "duplicates", "grid", "large", "small"])
def test_back_ends_agree_bit_for_bit(metric, kind):
    rng = np.random.default_rng(0)
    x, queries = vectors(400, 12), vectors(30, 12, seed=1)
    x, queries = {
        "normal": (x, queries),
        "offset": (x + 100, queries + 100),
        "duplicates": (x[rng.integers(10, size=400)], np.concatenate([x[:10], queries])),
        "grid": (np.round(x), np.round(queries)),
        "large": (x * 1e12, queries * 1e12),
        "small": (x * 1e-12, queries * 1e-12),
    }[kind]
    found = []
    for backend in BACKENDS.names():
        index = create(12, metric=metric, backend=backend)
        index.add(names(400), x)
        found.append(index.search(queries, 10))
    for other in found[1:]:
        assert other.ids == found[0].ids
        np.testing.assert_array_equal(other.distances, found[0].distances)
    rows, distances = nearest(metric, queries, x, 10)
    np.testing.assert_allclose(found[0].distances, distances, rtol=1e-5, atol=1e-6 * float(np.abs(distances).max()))
    if kind != "large":  # there the last digit of the reference's own float32 decides between near ties
        assert found[0].ids == [[f"item {row}" for row in one] for one in rows]


@backends
@metrics
def test_the_distances_of_an_item_to_itself(backend, metric):
    index, x = filled(backend, metric)
    found = index.search(x, 1 if metric != "dot" else 50)
    if metric != "dot":
        assert [one[0] for one in found.ids] == names(50)
        assert found.distances.max() <= (1e-15 if metric == "cosine" else 0)
    else:
        assert found.distances.min() == pytest.approx(-np.square(x).sum(axis=1).max(), rel=1e-6)


@backends
@metrics
def test_ties_come_in_the_order_of_insertion(backend, metric):
    index = create(3, metric=metric, backend=backend)
    index.add(names(100), np.ones((100, 3)))
    assert index.search(np.ones((2, 3)), 10).ids == [names(10)] * 2
    index.remove(names(5))
    index.add(["item 0"], np.ones((1, 3)))
    assert index.search(np.ones((1, 3)), 96).ids == [[*names(95, start=5), "item 0"]]


@backends
def test_one_query_gives_what_it_gives_in_a_batch(backend):
    index, _ = filled(backend, "euclidean")
    queries = vectors(40, seed=1)
    batch = index.search(queries, 5)
    for row, query in enumerate(queries):
        single = index.search(query[None], 5)
        assert single.ids[0] == batch.ids[row]
        np.testing.assert_array_equal(single.distances[0], batch.distances[row])


@backends
def test_chunks_change_nothing(backend, monkeypatch):
    index, _ = filled(backend, "euclidean")
    whole = index.search(vectors(40, seed=1), 5)
    monkeypatch.setattr("nearfar.ranking.chunks.__defaults__", (100,))
    parts = index.search(vectors(40, seed=1), 5)
    assert parts.ids == whole.ids
    np.testing.assert_array_equal(parts.distances, whole.distances)


@backends
@metrics
def test_zero_vectors_have_a_rule(backend, metric):
    index = create(2, metric=metric, backend=backend)
    index.add(["zero", "one"], np.array([[0.0, 0.0], [3.0, 4.0]]))
    found = index.search(np.array([[0.0, 0.0], [3.0, 4.0]]), 2)
    expected = {
        "cosine": [{"zero": 1, "one": 1}, {"zero": 1, "one": 0}],
        "euclidean": [{"zero": 0, "one": 5}, {"zero": 5, "one": 0}],
        "sqeuclidean": [{"zero": 0, "one": 25}, {"zero": 25, "one": 0}],
        "dot": [{"zero": 0, "one": 0}, {"zero": 0, "one": -25}],
    }[metric]
    got = [dict(zip(ids, d, strict=True)) for ids, d in zip(found.ids, found.distances.tolist(), strict=True)]
    assert got == expected


@backends
def test_get_gives_back_what_was_added(backend):
    index, x = filled(backend)
    records = index.get(["item 7", "item 3", "item 7"])
    assert records.ids == ["item 7", "item 3", "item 7"]
    assert records.labels == ["class 1", "class 0", "class 1"]
    np.testing.assert_array_equal(records.vectors, x[[7, 3, 7]])
    records.vectors[:] = 0
    np.testing.assert_array_equal(index.get(["item 7"]).vectors[0], x[7])


@backends
def test_the_index_keeps_its_own_copy(backend):
    x = vectors(5)
    index = create(6, backend=backend)
    index.add(names(5), x)
    kept = x.copy()
    x[:] = 0
    np.testing.assert_array_equal(index.get(names(5)).vectors, kept)


@backends
@metrics
def test_remove_then_add_is_an_index_of_what_is_left(backend, metric):
    index, x = filled(backend, metric)
    gone = [*range(0, 50, 3), 49]
    index.remove([f"item {row}" for row in gone] + ["item 0"])
    left = [row for row in range(50) if row not in gone]
    more = vectors(30, seed=2)
    index.add(names(30, start=100), more)
    queries = vectors(20, seed=1)
    rows, distances = nearest(metric, queries, np.concatenate([x[left], more]), 9)
    ids = [f"item {row}" for row in left] + names(30, start=100)
    found = index.search(queries, 9)
    assert found.ids == [[ids[row] for row in one] for one in rows]
    np.testing.assert_allclose(found.distances, distances, rtol=1e-6, atol=1e-7)
    assert index.count == len(index) == len(ids)
    assert list(index.ids) == ids
    assert "item 0" not in index
    assert "item 100" in index


@backends
def test_many_small_adds_are_one_large(backend):
    index = create(6, backend=backend)
    x = vectors(200)
    for start in range(0, 200, 7):
        index.add(names(200)[start : start + 7], x[start : start + 7])
    whole = create(6, backend=backend)
    whole.add(names(200), x)
    assert index.search(x, 5).ids == whole.search(x, 5).ids


@backends
def test_k_beyond_the_count_gives_all(backend):
    index, _ = filled(backend, count=3)
    found = index.search(vectors(2, seed=1), 10)
    assert found.distances.shape == (2, 3)
    assert [sorted(one) for one in found.ids] == [names(3)] * 2


@backends
def test_an_empty_index_finds_nothing(backend):
    index = create(6, backend=backend)
    found = index.search(vectors(2), 10)
    assert found.distances.shape == (2, 0)
    assert found.ids == found.labels == [[], []]
    index.add([], np.empty((0, 6)))
    assert index.count == 0
    index, _ = filled(backend, count=4)
    index.remove(names(4))
    assert index.search(vectors(2), 10).ids == [[], []]


@backends
def test_no_query_finds_nothing(backend):
    index, _ = filled(backend)
    assert index.search(np.empty((0, 6)), 3).distances.shape == (0, 3)


@backends
def test_labels_may_be_numbers_or_absent(backend):
    index = create(6, backend=backend)
    index.add(names(2), vectors(2))
    index.add(names(2, start=2), vectors(2, seed=1), [np.int64(4), None])
    assert index.get(names(4)).labels == [None, None, 4, None]
    with pytest.raises(InputError, match="all text or all whole numbers"):
        index.add(["other"], vectors(1), ["text"])
    assert index.count == 4


@backends
@pytest.mark.parametrize(
    ("ids", "x", "labels", "message"),
    [
        (["a", "b", "a"], np.ones((3, 6)), None, "'a' given twice"),
        (["a", "item 3"], np.ones((2, 6)), None, "'item 3' already in the index"),
        (["a"], np.ones((2, 6)), None, "as many as vectors, 2, got 1"),
        (["a"], np.ones((1, 5)), None, r"of shape \(N, 6\), got \(1, 5\)"),
        (["a"], np.ones(6), None, r"of shape \(N, 6\), got \(6,\)"),
        (["a", "b"], np.array([[0] * 6, [np.nan] * 6]), None, "in row 1"),
        (["a", "b"], np.array([[0] * 6, [np.inf] * 6]), None, "in row 1"),
        (["a", "b"], np.array([[0] * 6, [1e16] * 6]), None, "in row 1"),
        (["a", "b"], np.array([[0] * 6, [1e-18] * 6]), None, "zero or of norm >= 1e-15 for cosine, got row 1"),
        (["a"], np.full((1, 6), "x"), None, "real numbers"),
        ([3], np.ones((1, 6)), None, "text, got 3"),
        (["a"], np.ones((1, 6)), ["x", "y"], "as many as ids"),
        (["a"], np.ones((1, 6)), [1.5], "got 1.5"),
        (["a"], np.ones((1, 6)), [7], "all text or all whole numbers"),
    ],
)
def test_a_bad_add_is_one_sentence_and_adds_nothing(backend, ids, x, labels, message):
    index, _ = filled(backend)
    before = index.search(vectors(3, seed=1), 50)
    with pytest.raises(InputError, match=message) as caught:
        index.add(ids, x, labels)
    assert "\n" not in str(caught.value)
    assert index.count == 50
    after = index.search(vectors(3, seed=1), 50)
    assert after.ids == before.ids
    np.testing.assert_array_equal(after.distances, before.distances)


@backends
def test_other_bad_calls_are_one_sentence(backend):
    index, _ = filled(backend)
    with pytest.raises(InputError, match="k must be >= 1, got 0"):
        index.search(vectors(1), 0)
    with pytest.raises(InputError, match=r"\(N, 6\), got \(1, 7\)"):
        index.search(vectors(1, 7))
    with pytest.raises(InputError, match="in row 0"):
        index.search(np.full((1, 6), np.nan))
    for call in (index.get, index.remove):
        with pytest.raises(InputError, match="in the index, got 'nobody'"):
            call(["item 1", "nobody"])
        with pytest.raises(InputError, match="put it in a list"):
            call("item 1")
    assert index.count == 50


@backends
@metrics
def test_saved_and_opened_it_is_the_same(backend, metric, tmp_path):
    index, x = filled(backend, metric)
    index.fingerprint = "0123abcd"
    index.save(tmp_path / "index")
    again = open_index(tmp_path / "index")
    assert type(again) is type(index)
    assert (again.metric, again.dim, again.count, again.fingerprint) == (metric, 6, 50, "0123abcd")
    assert again.get(names(50)).labels == index.get(names(50)).labels
    np.testing.assert_array_equal(again.get(names(50)).vectors, x)
    for other in BACKENDS.names():
        found = open_index(tmp_path / "index", backend=other).search(x, 5)
        assert found.ids == index.search(x, 5).ids
        np.testing.assert_array_equal(found.distances, index.search(x, 5).distances)


@backends
def test_odd_ids_survive(backend, tmp_path):
    odd = ["", " ", "a/b.png", "ünïcødé 🙂", "'; DROP TABLE x", "x" * 10_000, "\n", "0"]
    index = create(6, backend=backend)
    index.add(odd, vectors(len(odd)), odd)
    index.save(tmp_path / "index")
    records = open_index(tmp_path / "index").get(odd)
    assert records.labels == odd
    np.testing.assert_array_equal(records.vectors, vectors(len(odd)))


def test_an_unknown_back_end_or_metric_is_one_sentence():
    with pytest.raises(ConfigError, match="got 'fais'; did you mean 'faiss'"):
        create(6, backend="fais")
    with pytest.raises(InputError, match="one of cosine, euclidean, sqeuclidean, dot, got 'l2'"):
        create(6, metric="l2")
    with pytest.raises(InputError, match="dim must be >= 1"):
        create(0)
