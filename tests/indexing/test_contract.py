"""What every back end promises, run on each of them."""

from __future__ import annotations

import numpy as np
import pytest

from nearfar.errors import ConfigError, InputError, RunError
from nearfar.indexing import BACKENDS, METRICS, create, open_index
from tests.indexing.places import LASTING, new
from tests.indexing.samples import names, nearest, vectors

backends = pytest.mark.parametrize("backend", BACKENDS.names())
metrics = pytest.mark.parametrize("metric", METRICS)


def filled(backend, metric="cosine", count=50, dim=6):
    index = new(dim, metric=metric, backend=backend)
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
        index = new(12, metric=metric, backend=backend)
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
    index = new(3, metric=metric, backend=backend)
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
    monkeypatch.setattr("nearfar.indexing.scan.ELEMENTS", 100)
    parts = index.search(vectors(40, seed=1), 5)
    assert parts.ids == whole.ids
    np.testing.assert_array_equal(parts.distances, whole.distances)


@backends
@metrics
def test_zero_vectors_have_a_rule(backend, metric):
    index = new(2, metric=metric, backend=backend)
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
    index = new(6, backend=backend)
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
    index = new(6, backend=backend)
    x = vectors(200)
    for start in range(0, 200, 7):
        index.add(names(200)[start : start + 7], x[start : start + 7])
    whole = new(6, backend=backend)
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
    index = new(6, backend=backend)
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
    index = new(6, backend=backend)
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
        ([3.5], np.ones((1, 6)), None, "text or whole numbers, got 3.5"),
        ([True], np.ones((1, 6)), None, "text or whole numbers, got True"),
        ([3], np.ones((1, 6)), None, "ids must be all text or all whole numbers within one index"),
        (["a\0"], np.ones((1, 6)), None, "text without NUL"),
        (["\ud800"], np.ones((1, 6)), None, "text without NUL and lone surrogates"),
        (["x" * 60_001], np.ones((1, 6)), None, "at most 60000 bytes"),
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
    for other in ("exact", "faiss"):
        if backend in LASTING:
            with pytest.raises(RunError, match=f"was made by the {backend} back end"):
                open_index(tmp_path / "index", backend=other)
            continue
        found = open_index(tmp_path / "index", backend=other).search(x, 5)
        assert found.ids == index.search(x, 5).ids
        np.testing.assert_array_equal(found.distances, index.search(x, 5).distances)


@backends
def test_odd_ids_survive(backend, tmp_path):
    odd = ["", " ", "a/b.png", "ünïcødé 🙂", "'; DROP TABLE x", "x" * 10_000, "\n", "0"]
    index = new(6, backend=backend)
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


@backends
def test_whole_numbers_may_be_ids(backend, tmp_path):
    index = new(6, backend=backend)
    big = [2**53 + 1, -(2**63), 2**63 - 1, 0]
    index.add(np.array(big), vectors(4), [2**62, None, 3, 4])
    assert list(index.ids) == big
    assert big[0] in index
    assert str(big[0]) not in index
    assert index.get([big[1], big[0]]).ids == [big[1], big[0]]
    assert index.get(big).labels == [2**62, None, 3, 4]
    assert index.search(vectors(4)[:1], 1).ids == [[big[0]]]
    with pytest.raises(InputError, match="all text or all whole numbers"):
        index.add(["text"], vectors(1))
    index.remove([big[0]])
    index.save(tmp_path / "copy")
    with open_index(tmp_path / "copy") as again:
        assert list(again.ids) == big[1:]
    for number in (2**63, -(2**63) - 1):
        with pytest.raises(InputError, match="within 64 bits"):
            index.add([number], vectors(1))


@backends
@metrics
def test_upsert_replaces_and_counts_as_last(backend, metric):
    index, x = filled(backend, metric)
    more = vectors(3, seed=5)
    index.upsert(["item 3", "new", "item 0"], more, ["a", None, "c"], [{"n": 1}, None, None])
    ids = [name for name in names(50) if name not in ("item 3", "item 0")] + ["item 3", "new", "item 0"]
    assert list(index.ids) == ids
    assert index.count == 51
    assert index.get(["item 3", "item 0"]).labels == ["a", "c"]
    assert index.get(["item 3", "item 0"]).metadata == [{"n": 1}, {}]
    left = [row for row in range(50) if row not in (3, 0)]
    rows, distances = nearest(metric, vectors(9, seed=1), np.concatenate([x[left], more]), 9)
    found = index.search(vectors(9, seed=1), 9)
    assert found.ids == [[ids[row] for row in one] for one in rows]
    np.testing.assert_allclose(found.distances, distances, rtol=1e-6, atol=1e-7)
    with pytest.raises(InputError, match="given twice"):
        index.upsert(["x", "x"], vectors(2))
    assert index.count == 51


METADATA = [
    {"brand": "x", "price": 9.5, "new": True, "tags": ["a", {"b": None}]},
    {"brand": "y'; DROP TABLE items; --", "price": 12},
    {"brand": None, "price": -3, "new": False},
    None,
    {"brand": "ünïcødé 🙂", "deep": {"a": {"b": [1, 2.5, "c", True, None]}}},
]


@backends
def test_metadata_and_thumbnails_come_back(backend, tmp_path):
    index = new(6, backend=backend)
    pictures = [b"\x89PNG", None, b"\0\xff" * 1000, None, None]
    index.add(names(5), vectors(5), metadata=METADATA, thumbnails=pictures)
    index.add(names(1, start=5), vectors(1, seed=1))
    expected = [{k: v for k, v in (item or {}).items() if v is not None} for item in METADATA]
    index.save(tmp_path / "copy")
    with open_index(tmp_path / "copy") as again:
        for one in (index, again):
            found = one.get(["item 5", *names(5)[::-1]], thumbnails=True)
            assert found.metadata == [{}, *expected[::-1]]
            assert found.thumbnails == [None, *pictures[::-1]]
            assert one.get(names(2)).thumbnails == []
    index.get(["item 0"]).metadata[0]["tags"].append("mine")
    assert index.get(["item 0"]).metadata[0] == expected[0]
    index.remove(["item 0"])
    assert index.get(names(5)[1:], thumbnails=True).thumbnails == pictures[1:]


@backends
@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ([{"a": float("nan")}], "numbers of metadata must be finite"),
        ([{"a": 2**53 + 1}], r"within ±2\^53"),
        ([{"a": object()}], "text, numbers, booleans"),
        ([{"a": {1: 2}}], "text, numbers, booleans"),
        ([{"id": 3}], "neither 'id' nor 'label'"),
        ([{"": 3}], "1 to 200 characters"),
        ([{"a": "\0"}], "without NUL"),
        ([{"a": "x" * 60_000}], "at most 60000 bytes"),
        ([{}, {}], "as many as ids, 1, got 2"),
        ({"a": 1}, "one mapping per id"),
        ([3], "mappings, got int in row 0"),
    ],
)
def test_bad_metadata_is_one_sentence(backend, metadata, message):
    index = new(6, backend=backend)
    with pytest.raises(InputError, match=message):
        index.add(["a"], vectors(1), metadata=metadata)
    assert index.count == 0


@backends
@metrics
def test_filters_and_thresholds(backend, metric):
    index = new(6, metric=metric, backend=backend)
    x = vectors(60)
    index.add(names(60), x, [f"class {row % 3}" for row in range(60)], [{"n": row} for row in range(60)])
    index.remove(["item 7"])
    queries = vectors(5, seed=1)
    rows, distances = nearest(metric, queries, x[:7], 4)
    found = index.search(queries, 4, where={"n": {"<": 8}})
    assert found.ids == [[f"item {row}" for row in one] for one in rows]
    np.testing.assert_allclose(found.distances, distances, rtol=1e-6, atol=1e-7)
    assert [len(one) for one in index.search(queries, 40, where={"label": "class 1"}).ids] == [19] * 5
    assert index.search(queries, 4, where={"n": 1000}).ids == [[]] * 5
    assert index.matching({"n": {"<": 8}}) == 7
    assert index.matching() == 59
    everything = index.search(queries, 59)
    within = float(np.median(everything.distances))
    near = index.search(queries, 59, within=within)
    counts = (everything.distances <= within).sum(axis=1)
    assert [len(one) for one in near.ids] == [len(one) for one in near.labels] == counts.tolist()
    assert near.distances.shape == (5, counts.max())
    for one, whole, count, got in zip(near.ids, everything.ids, counts, near.distances, strict=True):
        assert one == whole[:count]
        assert np.isinf(got[count:]).all()
    assert index.search(queries, 3, within=-1e30).distances.shape == (5, 0)


@backends
def test_iterate_gives_all_in_order(backend):
    index, x = filled(backend)
    index.remove(["item 4"])
    parts = list(index.iterate(20))
    assert [len(part.ids) for part in parts] == [20, 20, 9]
    assert [name for part in parts for name in part.ids] == list(index.ids)
    np.testing.assert_array_equal(np.concatenate([part.vectors for part in parts]), np.delete(x, 4, axis=0))
    some = list(index.iterate(20, where={"label": "class 0"}))
    assert {label for part in some for label in part.labels} == {"class 0"}
    assert sum(len(part.ids) for part in some) == 17


@backends
def test_batches_stream_in_and_out(backend):
    source, x = filled("exact")
    index = new(6, backend=backend)
    assert index.add_batches(source.iterate(15)) == 50
    assert list(index.ids) == list(source.ids)
    found = [one.ids for one in index.search_batches((x[:20], x[20:25]), 3)]
    assert found == [source.search(x[:20], 3).ids, source.search(x[20:25], 3).ids]


@backends
def test_fingerprint_and_calibration_are_kept(backend, tmp_path):
    index = new(6, backend=backend, fingerprint="mine")
    index.add(names(3), vectors(3), fingerprint="mine")
    index.calibration = {"cut": 0.25, "interval": [0.2, 0.3]}
    for call in (index.search, lambda v, fingerprint: index.add(["x"], v, fingerprint=fingerprint)):
        with pytest.raises(RunError, match=r"the one of the index \(fingerprint mine\), got other"):
            call(vectors(1), fingerprint="other")
    with pytest.raises(RunError, match="fingerprint mine"):
        index.upsert(["x"], vectors(1), fingerprint="other")
    assert index.search(vectors(1), 1, fingerprint="mine").ids == [["item 0"]]
    for bad in ({"cut": float("nan")}, {"cut": object()}, [1]):
        with pytest.raises(InputError, match="calibration must be"):
            index.calibration = bad
    index.save(tmp_path / "copy")
    with open_index(tmp_path / "copy") as again:
        assert again.fingerprint == "mine"
        assert again.calibration == {"cut": 0.25, "interval": [0.2, 0.3]}
        again.calibration = {"cut": 0.5}
        again.save()
    with open_index(tmp_path / "copy") as again:
        assert again.calibration == {"cut": 0.5}
        assert again.count == 3


@backends
def test_optimise_says_what_it_chose_and_keeps_small_searches_exact(backend):
    index, x = filled(backend)
    assert index.optimise(recall=0.9).startswith(backend)
    assert index.recall == 0.9
    found = index.search(x, 5)
    rows, _ = nearest("cosine", x, x, 5)
    assert found.ids == [[f"item {row}" for row in one] for one in rows]
    with pytest.raises(InputError, match=r"in \(0, 1\]"):
        index.optimise(recall=1.5)


@backends
def test_many_removals_and_additions_interleaved(backend):
    rng = np.random.default_rng(0)
    index, reference = new(6, backend=backend), new(6, backend="exact")
    alive = []
    for step in range(12):
        fresh = [f"{step}-{row}" for row in range(40)]
        x = rng.normal(size=(40, 6))
        for one in (index, reference):
            one.add(fresh, x)
        alive += fresh
        gone = [alive.pop(int(rng.integers(len(alive)))) for _ in range(30)]
        for one in (index, reference):
            one.remove(gone)
        found, expected = (one.search(x[:5], 7) for one in (index, reference))
        assert found.ids == expected.ids
        np.testing.assert_array_equal(found.distances, expected.distances)
    assert list(index.ids) == alive


@metrics
def test_torch_and_numpy_give_the_same(metric):
    plain, torch = new(6, backend="exact", metric=metric), new(6, backend="exact", metric=metric, device="cpu")
    x = np.concatenate([vectors(300), np.ones((40, 6)), np.zeros((2, 6))])
    for one in (plain, torch):
        one.add(names(342), x, None, [{"n": row % 7} for row in range(342)])
        one.remove(names(30))
        one.upsert(["item 200"], np.ones((1, 6)))
    queries = np.concatenate([vectors(20, seed=1), np.ones((1, 6)), np.zeros((1, 6))])
    for where in (None, {"n": {"<": 2}}):
        for k in (1, 10, 330):
            found, expected = torch.search(queries, k, where=where), plain.search(queries, k, where=where)
            assert found.ids == expected.ids
            np.testing.assert_array_equal(found.distances, expected.distances)
    with pytest.raises(ConfigError, match="device must be one that torch can use"):
        new(6, backend="exact", device="magic")
