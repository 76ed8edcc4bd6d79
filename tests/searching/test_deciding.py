"""Calibrating, matching and scoring an index, against loops over all distances."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import nearfar
from nearfar.data.embeddings import EmbeddingsInfo
from nearfar.data.embeddings_writer import EmbeddingsWriter
from nearfar.errors import ConfigError, DataError, InputError, NearfarError, RunError
from nearfar.evaluation import rates_at, roc_auc
from nearfar.indexing import METRICS, create, open_index
from nearfar.searching import (
    Hit,
    Queries,
    Results,
    kept_calibration,
    match_answers,
    match_hits,
    match_vectors,
    pair_answers,
    score_index,
)
from tests.cli.call import call, refused
from tests.indexing.samples import distance

CLASSES = 8


def data(per_class=6, seed=0, spread=0.35, classes=CLASSES):
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(99).normal(size=(classes, 6))
    labels = np.repeat(np.arange(classes), per_class)
    x = centers[labels] + rng.normal(0, spread, (len(labels), 6))
    return x.astype(np.float32), [f"class {n}" for n in labels]


def make_index(metric="cosine", **more):
    index = create(6, metric=metric, fingerprint="mine")
    x, labels = data(**more)
    index.add([f"item {row}" for row in range(len(x))], x, labels)
    return index


def queries(seed=1, per_class=5, **more):
    x, labels = data(per_class, seed, **more)
    return Queries([f"query {row}" for row in range(len(x))], x, labels, "mine")


def write(path: Path, x, labels, *, prefix="query", fingerprint="mine") -> Path:
    with EmbeddingsWriter(path, EmbeddingsInfo(dim=x.shape[1], fingerprint=fingerprint)) as writer:
        writer.write([f"{prefix} {row}" for row in range(len(x))], x, labels)
    return path


@pytest.mark.parametrize("metric", METRICS)
def test_nearest_answers_are_a_loops(metric):
    index, asked = make_index(metric), queries()
    x, labels = data()
    answers = match_answers(index, asked)
    for row, (q, label) in enumerate(zip(asked.vectors, asked.labels, strict=True)):
        all_of = [(np.float32(distance(metric, q, v)), column) for column, v in enumerate(x)]
        far, column = min(all_of)
        assert answers.distances[row] == pytest.approx(far, abs=1e-5)
        assert answers.right[row] == (labels[column] == label)
        other = min(d for d, c in all_of if labels[c] != label)
        assert answers.false_distances[row] == pytest.approx(other, abs=1e-5)
    assert sum(answers.findable.values()) == sum(answers.queries.values()) == len(asked.ids)


def test_an_item_is_never_its_own_answer():
    index = make_index()
    x, labels = data()
    answers = match_answers(index, Queries([f"item {row}" for row in range(len(x))], x, labels))
    u = x.astype(float) / np.linalg.norm(x, axis=1, keepdims=True)
    d = 1 - u @ u.T
    np.fill_diagonal(d, np.inf)
    assert answers.distances == pytest.approx(d.min(axis=1), abs=1e-5)
    alone = create(6)
    alone.add(["item 0", "other"], x[[0, 20]], [labels[0], labels[20]])
    with pytest.raises(DataError, match="must be in the index, got none of them"):
        match_answers(alone, Queries(["item 0"], x[:1], labels[:1]))


def test_the_other_class_is_found_however_deep_it_lies():
    index = make_index(per_class=40, spread=0.01)
    asked = queries(spread=0.01)
    answers = match_answers(index, asked)
    assert answers.right.all()
    assert len(answers.false_distances) == len(asked.ids)
    assert (answers.false_distances > answers.distances).all()


@pytest.mark.parametrize("most", [2_000_000, 400])
def test_pairs_are_all_or_a_weighted_draw(most):
    index, asked = make_index(), queries()
    x, labels = data()
    answers = pair_answers(index, asked, most=most)
    same = np.array([[a == b for b in labels] for a in asked.labels])
    u, v = (m / np.linalg.norm(m, axis=1, keepdims=True) for m in (asked.vectors.astype(float), x.astype(float)))
    d = 1 - u @ v.T
    assert answers.weights[~answers.right].sum() == pytest.approx((~same).sum(), rel=0.05)
    assert answers.weights[answers.right].sum() == pytest.approx(same.sum(), rel=0.1)
    if most > d.size:
        assert np.sort(answers.distances[answers.right]) == pytest.approx(np.sort(d[same]), abs=1e-5)
        assert np.sort(answers.distances[~answers.right]) == pytest.approx(np.sort(d[~same]), abs=1e-5)
    expected = roc_auc(-d.ravel(), same.ravel())
    assert roc_auc(-answers.distances, answers.right, answers.weights) == pytest.approx(expected, abs=0.03)


def hits(*rows):
    return Results("cosine", ("q",), tuple(Hit("q", n, i, label, d) for n, (i, label, d) in enumerate(rows, 1)))


def test_nearest_and_majority_and_unknown():
    found = hits(("a", "x", 0.1), ("b", "y", 0.2), ("c", "y", 0.3), ("d", "y", 0.6))
    (near,) = match_hits(found, 0.4)
    assert (near.label, near.known, near.id, near.votes) == ("x", True, "a", 1)
    (most,) = match_hits(found, 0.4, vote="majority")
    assert (most.label, most.id, most.distance, most.votes) == ("y", "b", 0.2, 2)
    (tie,) = match_hits(found, 0.25, vote="majority")
    assert tie.label == "x"
    (far,) = match_hits(found, 0.05)
    assert (far.label, far.known, far.id, far.distance, far.votes) == (None, False, "a", 0.1, 0)
    (none,) = match_hits(Results("cosine", ("q",), ()), 0.5)
    assert (none.known, none.id, none.distance) == (False, None, None)
    with pytest.raises(InputError, match="vote must be 'nearest' or 'majority'"):
        match_hits(found, 0.1, vote="loudest")  # type: ignore[arg-type]


def test_scores_of_an_index():
    index, asked = make_index(), queries()
    results = {result.protocol: {s.name: s for s in result.scores} for result in score_index(index, asked, timed=5)}
    x, labels = data()
    u, v = (m / np.linalg.norm(m, axis=1, keepdims=True) for m in (asked.vectors.astype(float), x.astype(float)))
    d = 1 - u @ v.T
    order = np.argsort(d, axis=1)
    right = np.array([[labels[c] == a for c in row] for row, a in zip(order, asked.labels, strict=True)])
    assert results["ranking"]["recall@1"].value == pytest.approx(right[:, 0].mean())
    assert results["ranking"]["precision@5"].value == pytest.approx(right[:, :5].mean())
    assert results["ranking"]["r-precision"].value == pytest.approx(right[:, :6].mean())
    same = np.array([[a == b for b in labels] for a in asked.labels])
    assert results["pairs"]["roc-auc"].value == pytest.approx(roc_auc(-d.ravel(), same.ravel()), abs=1e-5)
    assert 0 < results["pairs"]["eer"].value < 0.5
    assert results["open set"]["open-set-auc"].value > 0.6
    assert results["latency"]["latency p50 [ms]"].value > 0


@pytest.fixture
def folder(tmp_path):
    x, labels = data()
    write(tmp_path / "items.parquet", x, labels, prefix="item")
    nearfar.index(tmp_path / "items.parquet", out=tmp_path / "idx")
    write(tmp_path / "held.parquet", *data(5, 1))
    return tmp_path


def test_calibrate_match_and_evaluate_by_the_verbs(folder, capsys):
    done = call(
        capsys, "calibrate", folder / "idx", folder / "held.parquet", "--target", "precision=0.95", "recall=0.5",
        "--resamples", 50, "--pictures", folder / "pictures",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "precision=0.95: accept up to" in done.out
    for name in ("roc", "precision-recall", "distances"):
        assert (folder / "pictures" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    kept = kept_calibration(open_index(folder / "idx"))
    assert kept is not None
    assert [cut.target for cut in kept.cuts] == ["precision=0.95", "recall=0.5"]
    assert kept.fingerprint == "mine"
    asked, truth = data(5, 2)
    write(folder / "new.parquet", asked, None)
    matched = json.loads(call(capsys, "match", folder / "idx", folder / "new.parquet", "--json").out)
    assert matched["cut"] == pytest.approx(kept.cuts[0].cut)
    known = [(m["label"], t) for m, t in zip(matched["matches"], truth, strict=True) if m["known"]]
    assert len(known) > 10
    assert np.mean([label == right for label, right in known]) > 0.85
    assert all(0 < m["confidence"] < 1 for m in matched["matches"])
    assert all((m["distance"] <= matched["cut"]) == m["known"] for m in matched["matches"])
    strict = nearfar.match(folder / "idx", folder / "new.parquet", cut=0.0)
    assert not any(m.known for m in strict.matches)
    assert "unknown" in call(capsys, "match", folder / "idx", folder / "new.parquet", "--cut", "0").out
    by_id = nearfar.match(folder / "idx", "item 3", cut="recall=0.5", vote="majority", k=5)
    assert by_id.matches[0].id != "item 3"
    scored = call(
        capsys, "evaluate", "--index", folder / "idx", "--embeddings", folder / "held.parquet", "--out",
        folder / "scores.json",
    )  # fmt: skip
    assert scored.code == 0, scored.err
    for name in ("recall@1", "ndcg@10", "map@r", "tar@far=0.1", "precision at precision=0.95", "open-set-auc", "p99"):
        assert name in scored.out, name
    assert json.loads((folder / "scores.json").read_text())["results"]


def test_matches_over_pairs_differ_from_those_over_answers(folder):
    answers = nearfar.calibrate(folder / "idx", folder / "held.parquet", target=["recall=0.9"], resamples=5)
    pairs = nearfar.calibrate(folder / "idx", folder / "held.parquet", target=["recall=0.9"], over="pairs", resamples=5)
    assert pairs.over == "pairs"
    assert pairs.cuts[0].cut > answers.cuts[0].cut  # the farthest items of a class, not the nearest


def test_what_cannot_be_calibrated_or_matched_is_one_sentence(folder, capsys):
    idx, held = folder / "idx", folder / "held.parquet"
    assert "calibrated, got one without cut-points" in refused(call(capsys, "match", idx, "item 3"))
    assert "did you mean 'precision'" in refused(call(capsys, "calibrate", idx, held, "--target", "presision=0.9"))
    assert open_index(idx).calibration is None
    x, labels = data(5, 1)
    other = write(folder / "other.parquet", x, labels, fingerprint="other")
    with pytest.raises(RunError, match="the one of the index"):
        nearfar.calibrate(idx, other)
    with pytest.raises(DataError, match="labels of the items must be known for some"):
        nearfar.calibrate(idx, write(folder / "bare.parquet", x, None))
    with pytest.raises(DataError, match="must be in the index, got none of them"):
        nearfar.calibrate(idx, write(folder / "strange.parquet", x, ["new"] * len(x)))
    with pytest.raises(ConfigError, match="vote must be nearest or majority"):
        nearfar.match(idx, "item 3", vote="all", cut=0.5)  # type: ignore[arg-type]
    nearfar.calibrate(idx, held, resamples=2, target=["f1"])
    with pytest.raises(InputError, match=r"has no cut-point 'recall=0\.9'"):
        nearfar.match(idx, "item 3", cut="recall=0.9")
    index = open_index(idx)
    calibration = kept_calibration(index)
    with pytest.raises(RunError, match="of the index's metric, euclidean"):
        match_vectors(make_index("euclidean"), x[:1], 0.5, calibration=calibration)


def test_a_damaged_calibration_is_said(folder):
    nearfar.calibrate(folder / "idx", folder / "held.parquet", resamples=2, target=["f1"])
    index = open_index(folder / "idx")
    index.calibration = {"format": 1}
    index.save()
    with pytest.raises(RunError, match=r"its calibration cannot be used .*calibrate again"):
        nearfar.match(folder / "idx", "item 3")


def test_a_cut_point_holds_on_every_back_end_of_the_folder(folder):
    found = nearfar.calibrate(folder / "idx", folder / "held.parquet", resamples=2, target=["f1"])
    x, labels = data()
    for backend in ("exact", "faiss"):
        index = create(6, backend=backend)
        index.add([f"item {row}" for row in range(len(x))], x, labels)
        answers = match_answers(index, queries())
        assert rates_at(answers, found.cuts[0].cut).f1 == pytest.approx(found.cuts[0].rates["f1"][0])


@pytest.mark.parametrize("where", ["items.parquet", "idx"])
def test_curating_verbs_read_files_and_indexes_alike(folder, where, capsys):
    source = folder / where
    done = call(capsys, "dedupe", source, "--distance", "0.01", "--out", folder / "keep.csv")
    assert done.code == 0, done.err
    with (folder / "keep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 48
    assert {row["keep"] for row in rows} <= {"0", "1"}
    assert len({row["id"] for row in rows}) == 48
    assert len(json.loads(call(capsys, "outliers", source, "--count", 5, "--json").out)["rows"]) == 5
    clusters = nearfar.cluster(source, clusters=CLASSES)
    assert sorted(set(clusters.column("cluster"))) == list(range(CLASSES))
    assert len(nearfar.cluster(source, how="hdbscan", smallest=3).rows) == 48
    chosen = nearfar.select(source, count=8, ignore_labels=True)
    assert len({row[0] for row in chosen.rows}) == 8
    assert refused(call(capsys, "select", source, "--count", 3)).endswith(
        "add --ignore-labels to choose among labelled items"
    )
    errors = call(capsys, "label-errors", source, "--least", "0.2")
    assert errors.code == 0, errors.err


def test_select_knows_what_is_labelled(tmp_path):
    x, labels = data()
    part = [label if row % 3 == 0 else None for row, label in enumerate(labels)]
    source = write(tmp_path / "part.parquet", x, part)
    for how in ("core-set", "uncertain"):
        rows = [int(name.split()[1]) for name in nearfar.select(source, count=6, how=how).column("id")]
        assert all(part[row] is None for row in rows)
        assert len(set(rows)) == 6


@pytest.mark.parametrize("verb", ["dedupe", "outliers", "cluster", "label_errors"])
def test_a_source_that_is_none_is_one_sentence(verb, tmp_path):
    with pytest.raises(NearfarError, match="must be an existing folder or file"):
        getattr(nearfar, verb)(tmp_path / "nothing")
