"""What is read, laid out and found in it."""

from __future__ import annotations

import numpy as np
import pytest

import nearfar
from nearfar.errors import DataError, InputError
from nearfar.exploring import Collection, Column, Graph
from nearfar.exploring import layout as layouts
from nearfar.exploring.graph import find_neighbours
from nearfar.exploring.layout import layout
from nearfar.indexing import create
from tests.exploring.samples import COUNT, WRONG, vectors, write_embeddings


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    return Collection.of_parquet(write_embeddings(tmp_path_factory.mktemp("items") / "emb.parquet"))


@pytest.fixture(scope="module")
def graph(items):
    return Graph(items).wait()


def brute(x, k):
    unit = x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    far = 1 - unit @ unit.T
    np.fill_diagonal(far, np.inf)
    rows = np.argsort(far, axis=1, kind="stable")[:, :k]
    return rows, np.take_along_axis(far, rows, axis=1)


def test_the_columns_of_a_file_are_classes_and_numbers(items):
    kinds = {column.name: column.kind for column in items.columns}
    assert kinds == {"label": "class", "weight": "number", "home": "class", "cluster": "class"}
    assert items.columns[0].name == "label"
    assert items.column("home").names == ("hill", "old <b>town</b>")
    assert items.values(2) == {"label": "cat", "weight": 2 / 7, "cluster": items.column("cluster").raw[2]}
    assert np.isnan(items.column("weight").values[7])


def test_an_index_gives_the_same_with_its_metadata():
    index = create(8, metric="euclidean")
    meta = [{"weight": row / 7, "deep": {"no": 1}} for row in range(COUNT)]
    index.add(list(range(COUNT)), vectors(), [row % 2 for row in range(COUNT)], meta)
    items = Collection.of_index("pets", index)
    assert items.ids[3] == "3"
    assert [column.name for column in items.columns] == ["label", "weight", "cluster"]
    assert items.column("label").names == ("0", "1")
    np.testing.assert_array_equal(items.vectors, vectors())


@pytest.mark.parametrize(
    ("raw", "kind", "names"),
    [
        (["b", "a", "b", None], "class", ("b", "a")),
        ([3, 1, 3, 2], "class", ("1", "2", "3")),
        ([True, False, None, True], "class", ("True", "False")),
        ([0.5, 1.0, None, 2.0], "number", ()),
        (list(range(30)), "number", ()),
    ],
)
def test_columns(raw, kind, names):
    column = Column.of("x", raw)
    assert (column.kind, column.names) == (kind, names)
    said = column.described()
    if kind == "class":
        assert sum(said["counts"]) + said["unknown"] == len(raw)
        assert [None if code < 0 else names[code] for code in column.values] == [
            v if v is None else str(v) for v in raw
        ]


def test_what_cannot_be_coloured_by_is_left_out():
    assert Column.of("x", [None, None]) is None
    assert Column.of("x", [[1], [2]]) is None
    assert Column.of("x", [f"id {row}" for row in range(100)]) is None


def test_rare_classes_are_one_together():
    raw = [f"{row // 2}" for row in range(2 * 2_500)]
    column = Column.of("x", raw)
    assert len(column.names) == 2_001
    assert column.described()["counts"][-1] == 1_000


def test_the_neighbours_are_those_of_a_slow_loop(items):
    rows, distances = find_neighbours(items, 6)
    expected, far = brute(items.vectors, 6)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(distances, far, atol=1e-6)


def test_duplicates_are_joined_into_groups(graph):
    cut, most = graph.usual_cut()
    _, far = brute(vectors(), 1)
    assert most == pytest.approx(np.median(far), rel=1e-5)
    assert cut == pytest.approx(most / 10)
    first = graph.duplicates(1e-5)
    assert [group.rows for group in first] == [[3, 5]]
    wide = graph.duplicates(most)
    pairs = {(a, b) for a, b, _ in graph.pairs(most)}
    joined = {row: number for number, group in enumerate(wide) for row in group.rows}
    assert all(joined[a] == joined[b] for a, b in pairs)
    assert [group.distance for group in wide] == sorted(group.distance for group in wide)
    assert graph.duplicates(0.0) == [] or graph.duplicates(0.0)[0].distance == 0


def test_the_wrong_label_is_doubted(graph):
    doubts = graph.doubts()
    assert [(one.row, one.given, one.suggested) for one in doubts] == [(WRONG, "cat", "dog")]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_the_page_shows_what_the_verbs_find(tmp_path, metric):
    x, labels = vectors(), ["cat" if row in (WRONG, 13) else ("cat", "dog")[row % 2] for row in range(COUNT)]
    index = create(8, metric=metric)
    index.add([f"{row}" for row in range(COUNT)], x, labels)
    index.save(tmp_path / "index")
    items = Collection.of_index("pets", index)
    graph = Graph(items).wait()
    found = nearfar.cluster(tmp_path / "index", clusters=len(items.column("cluster").names))
    clusters = dict(zip(found.column("id"), found.column("cluster"), strict=True))
    assert [f"cluster {clusters[name]}" for name in items.ids] == list(items.column("cluster").raw)
    if metric == "cosine":
        doubts = [(items.ids[one.row], one.given, one.suggested, round(one.own, 4)) for one in graph.doubts()]
        listed = nearfar.label_errors(tmp_path / "index")
        assert doubts == [row[:4] for row in listed.rows]
        assert {name for name, *_ in doubts} == {str(WRONG), "13"}
        groups = sorted(one.rows for one in graph.duplicates(0.001))
        repeats = nearfar.dedupe(tmp_path / "index", distance=0.001)
        expected: dict[int, list[int]] = {}
        for name, group in zip(repeats.column("id"), repeats.column("group"), strict=True):
            expected.setdefault(group, []).append(int(name))
        assert groups == sorted(sorted(rows) for rows in expected.values()) != []
    else:
        assert {one.row for one in graph.doubts()} == {WRONG, 13}


def test_many_whole_numbers_as_labels_are_doubted_too():
    index = create(8)
    labels = [row // 4 for row in range(COUNT)]  # 30 classes: a colour scale, not a legend
    centres = np.random.default_rng(3).normal(size=(30, 8))
    x = (centres[labels] + np.random.default_rng(4).normal(size=(COUNT, 8)) * 0.01).astype(np.float32)
    labels[8] = 29
    index.add(list(range(COUNT)), x, labels)
    assert [(one.row, one.given, one.suggested) for one in Graph(Collection.of_index("x", index)).wait().doubts()] == [
        (8, "29", "2")
    ]


def test_a_map_of_more_than_are_fitted_keeps_near_things_near(monkeypatch, tmp_path):
    monkeypatch.setenv("NEARFAR_CACHE", str(tmp_path))
    monkeypatch.setattr(layouts, "FITTED", 60)
    monkeypatch.setattr(layouts, "_projected", lambda x, name, seed: layouts.project(x, "pca"))
    x = vectors()
    xy = layout(x, "euclidean", method="pacmap")
    assert xy.shape == (COUNT, 2)
    left, right = xy[0::2].mean(axis=0), xy[1::2].mean(axis=0)
    near = np.linalg.norm(xy[0::2] - left, axis=1) < np.linalg.norm(xy[0::2] - right, axis=1)
    assert near.mean() > 0.95


def test_a_kept_map_is_found_again_and_a_damaged_one_made_anew(monkeypatch, tmp_path):
    monkeypatch.setenv("NEARFAR_CACHE", str(tmp_path))
    x = np.random.default_rng(0).normal(size=(2_500, 3)).astype(np.float32)
    first = layout(x, "cosine", method="pca")
    file = next(tmp_path.iterdir())
    np.save(file, first + 1)
    np.testing.assert_array_equal(layout(x, "cosine", method="pca"), first + 1)
    file.write_bytes(b"\x93NUMPY")
    np.testing.assert_allclose(layout(x, "cosine", method="pca"), first, atol=1e-5)


def test_very_few_items_have_a_map():
    for count in (1, 2, 3):
        assert layout(vectors()[:count], "cosine").shape == (count, 2)
    with pytest.raises(InputError, match="must be auto, pca, pacmap or umap"):
        layout(vectors(), "cosine", method="tsne")


def test_too_many_and_twice_the_same_id_are_said(monkeypatch, tmp_path):
    from nearfar.exploring import collection

    path = write_embeddings(tmp_path / "emb.parquet", order=[*range(COUNT - 1), 0])
    with pytest.raises(DataError, match="ids must be all different"):
        Collection.of_parquet(path)
    monkeypatch.setattr(collection, "MOST_ITEMS", 100)
    with pytest.raises(DataError, match="1 to 100, got 120"):
        Collection.of_parquet(path)
