"""From a file of texts to a search, on a tiny encoder; and what other libraries make of the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nearfar
from nearfar.data.embeddings import read_embeddings
from nearfar.errors import ConfigError, RunError
from tests.cli.call import call, refused

NOUNS = ("cat", "dog", "bird", "fish")
VERBS = ("sleeps", "eats", "runs", "sings")
PLACES = ("at home", "in the park", "by the sea", "on the roof")
TINY = {"width": 16, "depth": 1, "heads": 2}
SETTINGS: dict[str, Any] = {
    "method": "simcse",
    "encoder_options": TINY,
    "epochs": 2,
    "batch_size": 16,
    "precision": "32-true",
    "threads": 1,
    "input_options": {"length": 16, "vocabulary": 320},
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "animals.csv"
    rows = [(f"the {n} {v} {p}", n) for n in NOUNS for v in VERBS for p in PLACES]
    path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows) + ",cat\n")
    return path


@pytest.fixture(scope="module")
def run(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nearfar.pretrain(table, out=tmp_path_factory.mktemp("run") / "run", **SETTINGS).path


def test_a_run_on_texts_leaves_what_a_run_leaves(run: Path) -> None:
    names = {path.name for path in run.iterdir()}
    assert {"encoder.safetensors", "encoder.json", "inputs", "views.png", "modules.json", "skipped.csv"} <= names
    assert (run / "skipped.csv").read_text() == "id,reason\n65,empty\n"
    settings = nearfar.config.load_yaml(run / "config.yaml")  # type: ignore[attr-defined]
    assert settings["modality"] == "text"
    assert settings["views"] == "dropout"
    assert settings["encoder"] == "text-small"


def test_evaluate_embed_index_and_search_by_text(run: Path, table: Path, tmp_path: Path) -> None:
    report = nearfar.evaluate(run, table, protocol=["knn", "fewshot"], options={"per_class": (2,)})
    assert 0 <= report["knn"].value <= 1
    raw = nearfar.evaluate(run, table, protocol=["knn"], baseline="raw")
    assert raw["knn"].value > 0.5  # the label is a word of the text
    nearfar.embed(run, table, out=tmp_path / "a.parquet")
    nearfar.index(tmp_path / "a.parquet", out=tmp_path / "a.index")
    results = nearfar.search(tmp_path / "a.index", "the dog runs by the sea", encoder=run, k=3)
    hits = results.hits
    assert hits[0].distance == pytest.approx(0, abs=1e-5)
    rows = nearfar.modalities.MODALITIES.get("text").open_splits(table, {})[""]  # type: ignore[attr-defined]
    assert rows.read(list(rows.ids).index(hits[0].id)) == ("the dog runs by the sea",)


def test_sentence_transformers_opens_the_run_as_it_is(run: Path, table: Path, tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers")
    nearfar.embed(run, table, out=tmp_path / "a.parquet")
    ours = read_embeddings(tmp_path / "a.parquet").vectors
    model = library.SentenceTransformer(str(run), device="cpu")
    texts = [line.split(",")[0] for line in table.read_text().splitlines()[1:-1]]
    theirs = model.encode(texts, batch_size=7, show_progress_bar=False)
    np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-5)
    long = " ".join(["the cat sleeps"] * 40)
    nearfar.embed(run, [long], out=tmp_path / "b.parquet")
    np.testing.assert_allclose(model.encode([long])[0], read_embeddings(tmp_path / "b.parquet").vectors[0], atol=1e-5)


def test_a_stopped_run_goes_on_with_its_own_tokenizer(table: Path, tmp_path: Path) -> None:
    whole = nearfar.pretrain(table, out=tmp_path / "whole", **SETTINGS)
    again = nearfar.pretrain(table, out=tmp_path / "again", **SETTINGS)
    (again.path / "encoder.safetensors").unlink()
    (again.path / "encoder.json").unlink()
    nearfar.pretrain(table, out=again.path, resume=True)
    one, two = (nearfar.load_encoder(path)[0].state_dict() for path in (whole.path, again.path))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_a_run_without_its_tokenizer_says_so(run: Path, table: Path, tmp_path: Path) -> None:
    import shutil

    copy = shutil.copytree(run, tmp_path / "copy")
    (copy / "inputs" / "tokenizer.json").unlink()
    with pytest.raises(RunError, match=r"tokenizer\.json: cannot be read"):
        nearfar.embed(copy, table, out=tmp_path / "a.parquet")


@pytest.mark.parametrize("views", ["deletion", "spans", "shuffle", "words"])
def test_every_kind_of_view_trains(table: Path, tmp_path: Path, views: str) -> None:
    run = nearfar.pretrain(table, out=tmp_path / "run", **{**SETTINGS, "views": views, "epochs": 1, "method": "simclr"})
    assert np.isfinite(run.metrics()[-1]["epoch_loss"])


def test_triplets_with_hard_negatives_and_cached_gradients(tmp_path: Path) -> None:
    rows = [(f"the {n} {v}", f"a {n} {v} now", f"the {m} {v}") for n in NOUNS for m in NOUNS for v in VERBS if n != m]
    path = tmp_path / "a.jsonl"
    path.write_text(
        "".join(json.dumps(dict(zip(("anchor", "positive", "negative"), row, strict=True))) + "\n" for row in rows)
    )
    settings = {**SETTINGS, "epochs": 1, "method_options": {"chunk_size": 8, "head": "none"}}
    run = nearfar.pretrain(path, out=tmp_path / "run", **settings)
    assert nearfar.config.load_yaml(run.path / "config.yaml")["views"] == "pairs"  # type: ignore[attr-defined]
    assert np.isfinite(run.metrics()[-1]["epoch_loss"])


def test_sts_and_pair_retrieval_on_the_command_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sts.csv"
    path.write_text(
        "".join(f"the {n} {v},a {n} {w},{4 if v == w else 1}\n" for n in NOUNS for v in VERBS for w in VERBS)
    )
    options = ["--input-options.columns", "1,2", "--input-options.score", "3"]
    outcome = call(capsys, "evaluate", run, path, "--protocol", "sts", "pairs", *options)
    assert outcome.code == 0, outcome.err
    assert "spearman" in outcome.out
    assert "first to second, ndcg@10" in outcome.out
    record = json.loads((run / "evaluation.json").read_text())
    assert [result["protocol"] for result in record["results"]] == ["sts", "pairs"]
    (run / "evaluation.json").unlink()


def test_pairs_need_two_texts(run: Path, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = refused(call(capsys, "evaluate", run, table, "--protocol", "sts"))
    assert "must be of two texts" in text


def test_a_model_of_hugging_face_is_started_from_and_from_scratch(table: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    run = nearfar.pretrain(table, out=tmp_path / "first", **SETTINGS)
    model = str(run.path / "transformer")
    settings = {**SETTINGS, "epochs": 1, "encoder_options": {}, "input_options": {"length": 16, "model": model}}
    second = nearfar.pretrain(table, out=tmp_path / "second", **{**settings, "lr": 1e-12})
    one = nearfar.embed(run.path, table, out=tmp_path / "one.parquet")
    two = nearfar.embed(second.path, table, out=tmp_path / "two.parquet")
    np.testing.assert_allclose(read_embeddings(one).vectors, read_embeddings(two).vectors, atol=1e-4)
    opened = transformers.AutoModel.from_pretrained(second.path / "transformer")
    assert type(opened).__name__ == "BertModel"
    scratch = {"config": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}}
    third = nearfar.pretrain(
        table,
        out=tmp_path / "third",
        **{**SETTINGS, "epochs": 1, "encoder": "transformers", "encoder_options": scratch},
    )
    assert nearfar.load_encoder(third.path)[1].dim == 16


def test_names_of_models_that_are_not_there(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(RunError, match="its tokenizer cannot be had"):
        nearfar.pretrain(table, out=tmp_path / "a", **{**SETTINGS, "input_options": {"model": str(tmp_path)}})
    with pytest.raises(ConfigError, match=r"add --input-options\.model some/name"):
        nearfar.pretrain(table, out=tmp_path / "b", **{**SETTINGS, "encoder": "some/name", "encoder_options": {}})


def test_bad_text_files_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes("grün\nblau\nweiß\n".encode("latin-1"))
    text = refused(call(capsys, "pretrain", path, "--out", tmp_path / "run"))
    assert "name the encoding" in text
    assert not (tmp_path / "run").exists()
