from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from nearfar.errors import DataError, InputError, RunError
from nearfar.indexing import METRICS, create
from nearfar.searching import Hit, search_ids, search_images, search_vectors
from tests.indexing.samples import names, vectors


@pytest.fixture
def index():
    index = create(6, fingerprint="mine")
    index.add(names(30), vectors(30), [f"class {row % 3}" for row in range(30)])
    return index


def test_vectors_give_what_the_index_gives(index):
    queries = vectors(3, seed=1)
    results = search_vectors(index, queries, 4, queries=["a", "b", "c"])
    found = index.search(queries, 4)
    assert results.queries == ("a", "b", "c")
    assert len(results.hits) == 12
    assert results.hits[5] == Hit("b", 2, found.ids[1][1], found.labels[1][1], float(found.distances[1, 1]))
    assert search_vectors(index, queries, 4).queries == ("0", "1", "2")
    with pytest.raises(InputError, match="3 different ones"):
        search_vectors(index, queries, queries=["a", "a", "b"])


def test_another_encoder_is_refused(index):
    with pytest.raises(RunError, match=r"the one of the index \(fingerprint mine\), got other"):
        search_vectors(index, vectors(1), fingerprint="other")
    with pytest.raises(RunError, match="fingerprint mine"):
        search_images(index, "nowhere", lambda items: items, fingerprint="other")
    assert search_vectors(index, vectors(1), fingerprint="mine").hits
    assert search_vectors(index, vectors(1)).hits
    index.fingerprint = None
    assert search_vectors(index, vectors(1), fingerprint="other").hits


@pytest.mark.parametrize("metric", METRICS)
def test_an_id_finds_the_others_but_not_itself(metric):
    index = create(6, metric=metric)
    index.add(names(30), vectors(30))
    results = search_ids(index, ["item 4", "item 9"], 7)
    for query, hits in results.by_query():
        row = index.get([query]).vectors
        others = [name for name in index.search(row, 30).ids[0] if name != query][:7]
        assert [hit.id for hit in hits] == others
        assert [hit.rank for hit in hits] == list(range(1, 8))
        distances = dict(zip(index.search(row, 30).ids[0], index.search(row, 30).distances[0].tolist(), strict=True))
        assert [hit.distance for hit in hits] == [distances[hit.id] for hit in hits]


def test_an_id_among_duplicates_and_in_a_small_index():
    index = create(2)
    index.add(names(40), np.ones((40, 2)))
    ((_, hits),) = search_ids(index, ["item 35"], 3).by_query()
    assert [hit.id for hit in hits] == names(3)
    small = create(2)
    small.add(["alone"], np.ones((1, 2)))
    assert search_ids(small, ["alone"], 3).hits == ()
    assert search_ids(small, [], 3).hits == ()


def test_bad_ids_are_one_sentence(index):
    with pytest.raises(InputError, match="'nobody'"):
        search_ids(index, ["nobody"])
    with pytest.raises(InputError, match="all different"):
        search_ids(index, ["item 1", "item 1"])
    with pytest.raises(InputError, match="k must be >= 1"):
        search_ids(index, ["item 1"], 0)


def mean_colour(items):
    return np.stack([item.reshape(-1, 3).mean(axis=0) for item in items])


@pytest.fixture
def colours(tmp_path):
    index = create(3, metric="euclidean")
    for name, colour in {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}.items():
        index.add([name], [colour], [name])
    folder = tmp_path / "queries"
    folder.mkdir()
    Image.new("RGB", (5, 4), (250, 10, 10)).save(folder / "a.png")
    Image.new("RGB", (4, 4), (0, 20, 200)).save(folder / "b.png")
    return index, folder


def test_a_folder_of_images(colours):
    index, folder = colours
    results = search_images(index, folder, mean_colour, 2, channels=3)
    nearest = {query: hits[0].id for query, hits in results.by_query()}
    assert nearest == {"a.png": "red", "b.png": "blue"}
    assert results.skipped == ()


def test_one_image_file(colours):
    index, folder = colours
    results = search_images(index, folder / "b.png", mean_colour, 1, channels=3)
    assert [hit.id for hit in results.hits] == ["blue"]


def test_broken_images_are_left_out_and_named(colours):
    index, folder = colours
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:40])
    results = search_images(index, folder, mean_colour, 1, channels=3)
    assert {hit.query for hit in results.hits} == {"a.png", "b.png"}
    assert [name for name, _ in results.skipped] == ["broken.png"]
    for file in ("a.png", "b.png"):
        (folder / file).unlink()
    with pytest.raises(DataError):
        search_images(index, folder, mean_colour, 1, channels=3)


def test_an_encoder_that_loses_rows_is_said(colours):
    index, folder = colours
    with pytest.raises(InputError, match="as many as items, 2, got 1"):
        search_images(index, folder, lambda items: np.zeros((1, 3)), channels=3)


def test_json_and_table_show_the_hits(index):
    results = search_ids(index, ["item 4"], 3)
    content = json.loads(results.to_json())
    assert content["metric"] == "cosine"
    assert [Hit(**hit) for hit in content["hits"]] == list(results.hits)
    console = Console(width=120, file=io.StringIO())
    console.print(results.table())
    shown = console.file.getvalue()
    assert "cosine distance" in shown
    for hit in results.hits:
        assert hit.id in shown
        assert f"{hit.distance:.6g}" in shown
