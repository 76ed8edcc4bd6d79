"""Structures that approximate: recall as promised, with filters and after changes, and the same distances."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nearfar.errors import ConfigError, InputError, RunError
from nearfar.indexing import create, open_index
from nearfar.indexing import plans as plans_module
from nearfar.indexing.plans import CODES, Plan, choose
from nearfar.indexing.tuning import recall_of
from tests.indexing import places

COUNT, DIM = 6000, 16


def clustered(count, seed=0):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(60, DIM))
    cluster = rng.integers(60, size=count)
    return (centres[cluster] + 0.3 * rng.normal(size=(count, DIM))).astype(np.float32), cluster


@pytest.fixture(scope="module")
def data():
    x, cluster = clustered(COUNT)
    metadata = [{"n": row % 10, "cluster": int(one)} for row, one in enumerate(cluster)]
    return x, metadata, clustered(50, seed=1)[0]


def filled(data, backend="faiss", metric="cosine", **options):
    x, metadata, _ = data
    index = create(DIM, metric=metric, backend=backend, **options)
    index.add([f"{row}" for row in range(COUNT)], x, [f"{row % 10}" for row in range(COUNT)], metadata)
    return index


STRUCTURES = [
    ("hnsw", "auto", "cosine"),
    *(("ivf", codes, "cosine") for codes in CODES if codes != "auto"),
    ("ivf", "auto", "euclidean"),
    ("ivf", "auto", "dot"),
]


@pytest.mark.parametrize(("kind", "codes", "metric"), STRUCTURES)
def test_recall_is_as_promised_and_distances_are_exact(data, kind, codes, metric, monkeypatch):
    monkeypatch.setattr("nearfar.indexing.faiss_index.FLAT_NUMBERS", 1600)  # exact only up to 100 passing items
    index, exact = filled(data, kind=kind, codes=codes, metric=metric), filled(data, backend="exact", metric=metric)
    words = index.optimise()
    assert kind in words
    assert f"{index.plan.recall:.4f}" in words
    for where in (
        None,
        {"n": {"<": 3}},
        {"cluster": {"<": 10}},
        {"not": {"cluster": {"<": 20}}},
        {"n": 1, "cluster": 2},
    ):
        found, truth = (one.search(data[2], 10, where=where) for one in (index, exact))
        assert recall_of(found.ids, truth.ids) >= 0.95, where
        assert [len(ids) for ids in found.ids] == [len(ids) for ids in truth.ids]
        for ids, values, t_ids, t_values in zip(found.ids, found.distances, truth.ids, truth.distances, strict=True):
            known = dict(zip(t_ids, t_values.tolist(), strict=False))
            assert all(known[name] == value for name, value in zip(ids, values.tolist(), strict=False) if name in known)
            assert (np.diff(values[: len(ids)]) >= 0).all()


@pytest.mark.parametrize(("kind", "codes"), [("hnsw", "auto"), ("ivf", "int8"), ("ivf", "binary")])
def test_changes_after_optimise_are_found_and_kept(data, kind, codes, tmp_path):
    index, exact = filled(data, kind=kind, codes=codes), filled(data, backend="exact")
    index.optimise()
    more, _ = clustered(500, seed=2)
    gone = [f"{row}" for row in range(0, COUNT, 3)]
    for one in (index, exact):
        one.remove(gone)
        one.add([f"new {row}" for row in range(500)], more)
        one.upsert(["1", "new 2"], -more[:2])
    index.save(tmp_path / "index")
    again = open_index(tmp_path / "index")
    assert again.plan == index.plan
    for one in (index, again):
        found, truth = one.search(data[2], 10), exact.search(data[2], 10)
        assert recall_of(found.ids, truth.ids) >= 0.95
        assert one.search(-more[:1], 1).ids == [["1"]]
        assert not {name for ids in one.search(data[2], 50).ids for name in ids} & set(gone) - {"1"}
    assert again.search(data[2], 10).ids == index.search(data[2], 10).ids
    again.optimise()
    assert recall_of(again.search(data[2], 10).ids, exact.search(data[2], 10).ids) >= 0.95


@pytest.mark.parametrize(("kind", "codes"), [("hnsw", "auto"), ("ivf", "int8")])
def test_recall_holds_for_other_k(data, kind, codes):
    index, exact = filled(data, kind=kind, codes=codes), filled(data, backend="exact")
    index.optimise()
    for k in (1, 3, 30, 100, 300):
        found, truth = index.search(data[2], k), exact.search(data[2], k)
        assert recall_of(found.ids, truth.ids) >= 0.95, k


def test_everything_is_found_when_asked_for_everything(data):
    index = filled(data, kind="ivf")
    index.optimise()
    found = index.search(data[2][:2], COUNT)
    assert [len(set(ids)) for ids in found.ids] == [COUNT, COUNT]


def test_a_small_index_stays_exact_and_a_large_one_gets_cells():
    assert choose(30_000, 128).kind == "flat"
    plan = choose(200_000, 128)
    assert (plan.kind, plan.codes) == ("ivf", "int8")
    assert plan.nlist == 2048
    assert choose(1_000_000, 128).nlist == 4096
    assert choose(1_000_000, 128, "hnsw").kind == "hnsw"
    assert choose(500, 128, "ivf").kind == "flat"
    for count in (1000, 5000, 40_000):
        assert choose(count, 8, "ivf").nlist * 39 <= count


def test_quantisation_says_what_the_codes_alone_would_lose(data):
    lost = {}
    for codes in ("int8", "pq", "binary"):
        index = filled(data, kind="ivf", codes=codes)
        index.optimise()
        assert index.plan.rough_recall is not None
        assert index.plan.recall >= index.plan.rough_recall
        lost[codes] = 1 - index.plan.rough_recall
    assert lost["int8"] < min(lost["pq"], lost["binary"])


def test_unknown_structures_are_one_sentence():
    with pytest.raises(InputError, match="kind must be one of auto, flat, hnsw, ivf, got 'ivff'"):
        create(8, backend="faiss", kind="ivff")
    with pytest.raises(InputError, match="codes must be one of"):
        create(8, backend="faiss", codes="int4")
    with pytest.raises(ConfigError, match="path must be given for the lance back end"):
        create(8, backend="lance")


def test_a_damaged_structure_is_said(data, tmp_path):
    index = filled(data, kind="ivf")
    index.optimise()
    index.save(tmp_path / "index")
    file = next(tmp_path.glob("index/engine-*.faiss"))
    content = file.read_bytes()
    file.write_bytes(content[:-100])
    with pytest.raises(RunError, match="is a damaged index"):
        open_index(tmp_path / "index")
    file.write_bytes(content)
    card = json.loads((tmp_path / "index" / "index.json").read_text())
    for change in ({"kind": "magic"}, {"nlist": "many"}, {"more": 1}):
        changed = {**card, "plan": {**card["plan"], **change}}
        (tmp_path / "index" / "index.json").write_text(json.dumps(changed))
        with pytest.raises(RunError, match="damaged"):
            open_index(tmp_path / "index")


def test_lance_keeps_its_structure_beside_the_table(data, tmp_path, monkeypatch):
    monkeypatch.setattr(plans_module, "FLAT_NUMBERS", 1000)
    index = filled(data, backend="lance", path=tmp_path / "index")
    index.optimise()
    assert index.plan.kind == "ivf"
    found = index.search(data[2], 10)
    with open_index(tmp_path / "index") as again:
        assert again.plan == index.plan
        assert again.search(data[2], 10).ids == found.ids
        again.remove(found.ids[0][:1])
        again.add(["late"], data[2][:1])
    with open_index(tmp_path / "index") as again:  # what was written after optimise is there with an older structure
        assert again.search(data[2][:1], 1).ids == [["late"]]
        assert found.ids[0][0] not in again
    assert index.search(data[2][:1], 1).ids == [["late"]]
    assert isinstance(index.plan, Plan)


@pytest.mark.parametrize("backend", places.LASTING)
def test_opened_again_a_lasting_index_searches_as_it_did(data, backend, monkeypatch):
    for module in ("milvus_index", "pgvector_index"):
        monkeypatch.setattr(f"nearfar.indexing.{module}.FLAT_ROWS", 500)
    index = places.new(DIM, backend=backend, **({"kind": "ivf"} if backend == "lance" else {}))
    names, asked = [f"{row}" for row in range(COUNT)], [None, {"n": 3}]
    index.add(names, data[0], metadata=data[1])
    index.optimise()
    index.optimise()  # over a structure that is there
    before = [index.search(data[2], 10, where=where) for where in asked]
    index.close()
    with open_index(index.path) as again:
        after = [again.search(data[2], 10, where=where) for where in asked]
    exact = filled(data, backend="exact")
    truth = [exact.search(data[2], 10, where=where) for where in asked]
    for old, new, true in zip(before, after, truth, strict=True):
        assert old.ids == new.ids
        assert (old.distances == new.distances).all()
        assert recall_of(new.ids, true.ids) >= 0.95
    assert after[1].ids == truth[1].ids  # filters are exact
