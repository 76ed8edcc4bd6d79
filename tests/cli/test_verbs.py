from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from nearfar.config import load_yaml
from nearfar.methods import METHODS
from nearfar.recipes.digits import simclr
from nearfar.training.run import Run
from tests.cli.call import call, refused
from tests.samples import pictures, write_folder

Capture = pytest.CaptureFixture[str]

FLAGS = [
    *("--encoder", "small", "--encoder-options.width", "4", "--batch-size", "16", "--precision", "32-true"),
    *("--accelerator", "cpu", "--threads", "1", "--log-every", "1", "--epochs", "1"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("cli") / "data", 40)


@pytest.fixture(scope="module")
def made(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run, embeddings and an index, made by the Python functions."""
    import nearfar
    from tests.samples import train

    root = tmp_path_factory.mktemp("made")
    train(data, root / "run")
    nearfar.embed(root / "run", data, out=root / "emb.parquet", threads=1)
    nearfar.index(root / "emb.parquet", out=root / "index")
    return root


def test_pretrain_says_progress_on_stderr_and_nothing_on_stdout(data: Path, tmp_path: Path, capsys: Capture) -> None:
    code, out, err = call(
        capsys, "pretrain", data, "--out", tmp_path / "run", *FLAGS, "--method-options.temperature", "0.3"
    )
    assert (code, out) == (0, "")
    assert "epoch 1/1" in err
    assert "done: " in err
    values = Run(tmp_path / "run").config()
    assert values["method_options"]["temperature"] == 0.3
    assert values["encoder_options"] == {"width": 4}


def test_a_runs_configuration_goes_in_again(made: Path, tmp_path: Path, capsys: Capture) -> None:
    config = made / "run" / "config.yaml"
    assert call(capsys, "pretrain", "--config", config, "--out", tmp_path / "run").code == 0
    assert load_yaml(tmp_path / "run" / "config.yaml") == load_yaml(config)


def test_flags_go_before_the_file_and_the_file_before_the_recipe(data: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "mine.yaml").write_text(
        "lr: 0.25\nepochs: 3\nencoder_options:\n  width: 4\nview_options:\n  hflip: 0\n"
    )
    code, _, err = call(
        capsys, "pretrain", data, "--out", tmp_path / "run", "--recipe", "simclr/digits", "--config",
        tmp_path / "mine.yaml", "--epochs", "1", "--batch-size", "16", "--threads", "1", "--precision", "32-true",
    )  # fmt: skip
    assert code == 0, err
    values = Run(tmp_path / "run").config()
    assert (values["epochs"], values["lr"], values["views"]) == (1, 0.25, "digits")
    assert values["encoder_options"] == {"width": 4}
    assert values["method_options"]["temperature"] == simclr().method_options["temperature"]


@pytest.mark.parametrize("recipe", ["simclr/small", "supcon/small", "siamese/small", "triplet/small", "simclr/digits"])
def test_every_recipe_runs_by_its_name(recipe: str, data: Path, tmp_path: Path, capsys: Capture) -> None:
    small = ["--epochs", "1", "--batch-size", "16", "--threads", "1", "--encoder-options.width", "4"]
    code, _, err = call(capsys, "pretrain", data, "--out", tmp_path / "run", "--recipe", recipe, *small)
    assert code == 0, err
    assert Run(tmp_path / "run").finished


def test_resume_takes_no_setting_that_contradicts(made: Path, data: Path, capsys: Capture) -> None:
    before = (made / "run" / "config.yaml").read_bytes()
    for flag, value in (("--epochs", "100"), ("--lr", "0.7"), ("--method-options.temperature", "0.7")):
        said = refused(call(capsys, "pretrain", data, "--out", made / "run", "--resume", flag, value))
        assert f"--resume: {flag.removeprefix('--').partition('.')[0]} must be" in said
    finished = call(capsys, "pretrain", data, "--out", made / "run", "--resume", "--epochs", "2")
    assert finished.code == 0
    assert "is finished; nothing to do" in finished.err
    assert (made / "run" / "config.yaml").read_bytes() == before


def test_evaluate_prints_each_number_with_its_protocol(made: Path, data: Path, capsys: Capture) -> None:
    code, out, err = call(
        capsys, "evaluate", made / "run", data, "--protocol", "knn", "linear", "fewshot", "retrieval",
        "--per-class", "1", "2", "--draws", "2", "--options.k", "5",
    )  # fmt: skip
    assert code == 0, err
    assert "k = 5" in out
    assert "linear, 2 per class" in out
    assert "recall@1" in out
    report = json.loads((made / "run" / "evaluation.json").read_text())
    assert [result["protocol"] for result in report["results"]] == ["knn", "linear", "fewshot", "retrieval"]
    assert report["results"][0]["settings"]["k"] == 5
    assert "written to" in err


@pytest.mark.parametrize(("baseline", "subject"), [("pixels", "raw pixels"), ("random", "untrained small")])
def test_evaluate_scores_baselines(baseline: str, subject: str, made: Path, data: Path, capsys: Capture) -> None:
    code, out, err = call(capsys, "evaluate", made / "run", data, "--baseline", baseline, "--protocol", "knn")
    assert code == 0, err
    assert out.startswith(subject)
    assert json.loads((made / "run" / f"evaluation-{baseline}.json").read_text())["subject"] == subject


def test_evaluate_takes_anybodys_embeddings(tmp_path: Path, capsys: Capture) -> None:
    images, labels = pictures(60)
    flat = images.reshape(60, -1).astype(np.float64)
    table = {"vector": pa.array(flat.tolist()), "label": pa.array([f"c{label}" for label in labels])}
    pq.write_table(pa.table(table), tmp_path / "foreign.parquet")
    code, out, err = call(
        capsys, "evaluate", "--embeddings", tmp_path / "foreign.parquet", "--protocol", "knn", "--out",
        tmp_path / "numbers.json",
    )  # fmt: skip
    assert code == 0, err
    score = json.loads((tmp_path / "numbers.json").read_text())["results"][0]["scores"][0]
    assert score["name"] == "knn"
    assert score["value"] > 0.9
    assert "foreign.parquet" in out


def test_evaluate_refuses_what_it_cannot_score(made: Path, data: Path, tmp_path: Path, capsys: Capture) -> None:
    run = made / "run"
    flat = write_folder(tmp_path / "flat", 8, nested=False)
    assert "labels must be given, got none" in refused(call(capsys, "evaluate", run, flat, "--protocol", "knn"))
    said = refused(call(capsys, "evaluate", run, data, "--options.kk", "3"))
    assert "unknown setting 'kk'; did you mean 'k'?" in said
    assert "encoder and data must be given" in refused(call(capsys, "evaluate", run))
    said = refused(call(capsys, "evaluate", run, data, "--embeddings", made / "emb.parquet"))
    assert "embeddings must be given alone" in said
    said = refused(call(capsys, "evaluate", run, data, "--channels", "3"))
    assert "channels must be the encoder's, 1, got 3" in said
    said = refused(call(capsys, "evaluate", run, data, "--out", tmp_path / "no" / "such.json"))
    assert "must be in an existing folder" in said
    assert "holds no encoder" in refused(call(capsys, "evaluate", tmp_path / "flat", data))
    assert "must be a run folder or the name of an encoder" in refused(call(capsys, "evaluate", tmp_path / "no", data))


def test_embed_index_and_search_by_id_and_by_image(made: Path, data: Path, tmp_path: Path, capsys: Capture) -> None:
    emb, idx = tmp_path / "emb.parquet", tmp_path / "index"
    code, out, err = call(capsys, "embed", made / "run", data, "--out", emb, "--threads", "1")
    assert (code, out.strip()) == (0, str(emb)), err
    table = pq.read_table(emb)
    names = sorted(path.relative_to(data).as_posix() for path in data.rglob("*.png"))
    assert table["id"].to_pylist() == names
    assert table["label"].to_pylist() == [name.split("/")[0] for name in names]
    code, out, err = call(capsys, "index", emb, "--out", idx, "--backend", "faiss")
    assert (code, out.strip()) == (0, f"{idx}: 40 vectors of 32 numbers, cosine"), err
    code, out, err = call(capsys, "search", idx, names[3], "-k", "4", "--json")
    assert code == 0, err
    by_id = json.loads(out)["hits"]
    assert [hit["rank"] for hit in by_id] == [1, 2, 3, 4]
    assert names[3] not in {hit["id"] for hit in by_id}
    code, out, err = call(capsys, "search", idx, data / names[3], "--run", made / "run", "-k", "5", "--json")
    assert code == 0, err
    by_image = json.loads(out)["hits"]
    assert by_image[0]["id"] == names[3]
    assert by_image[0]["distance"] == pytest.approx(0.0, abs=1e-5)
    assert [hit["id"] for hit in by_image[1:]] == [hit["id"] for hit in by_id]
    code, out, err = call(capsys, "search", idx, data / "class1", "--run", made / "run", "-k", "1")
    assert code == 0, err
    assert out.count("class1/") >= 10


def test_search_draws_a_sheet(made: Path, data: Path, tmp_path: Path, capsys: Capture) -> None:
    sheet = tmp_path / "sheet.png"
    call_it = ("search", made / "index", "class0/000.png", "-k", "3", "--sheet", sheet)
    assert "images must be given for a sheet" in refused(call(capsys, *call_it))
    code, _, err = call(capsys, *call_it, "--images", data)
    assert code == 0, err
    with Image.open(sheet) as picture:
        assert picture.width > 8
    other = write_folder(tmp_path / "other", 8, nested=False)
    sheet.unlink()
    assert "images must be those of the index" in refused(call(capsys, *call_it, "--images", other))
    assert not sheet.exists()


def test_ids_reach_the_output_as_they_are(tmp_path: Path, capsys: Capture) -> None:
    names = [":cat: [red]x[/red]", "b" * 200, "ü"]
    vectors = pa.array(np.eye(3).tolist())
    pq.write_table(pa.table({"id": names, "embedding": vectors}), tmp_path / "e.parquet")
    assert call(capsys, "index", tmp_path / "e.parquet", "--out", tmp_path / "i").code == 0
    code, out, err = call(capsys, "search", tmp_path / "i", names[0], "--json")
    assert code == 0, err
    assert {hit["id"] for hit in json.loads(out)["hits"]} == set(names[1:])
    assert json.loads(out)["queries"] == [names[0]]


def test_search_refuses_what_it_cannot_find(made: Path, data: Path, tmp_path: Path, capsys: Capture) -> None:
    idx = made / "index"
    assert "must be an image file, a folder of images or an id" in refused(call(capsys, "search", idx, "nobody"))
    assert "run must be given" in refused(call(capsys, "search", idx, data / "class0" / "000.png"))
    assert "holds no finished index" in refused(call(capsys, "search", data, "x"))
    said = refused(call(capsys, "search", idx, data / "class0", "--run", "small"))
    assert "the encoder must be the one of the index" in said
    assert "k must be >= 1" in refused(call(capsys, "search", idx, "class0/000.png", "-k", "0"))


def test_index_refuses_what_is_there_and_what_is_no_file_of_embeddings(
    made: Path, data: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert "already exists" in refused(call(capsys, "index", made / "emb.parquet", "--out", made / "index"))
    assert call(capsys, "index", made / "emb.parquet", "--out", made / "index", "--overwrite").code == 0
    assert "does not exist" in refused(call(capsys, "index", tmp_path / "no.parquet", "--out", tmp_path / "i"))
    said = refused(call(capsys, "index", made / "emb.parquet", "--out", data, "--overwrite"))
    assert "empty or an index" in said
    empty = pa.table({"id": pa.array([], pa.string()), "embedding": pa.array([], pa.list_(pa.float32(), 4))})
    pq.write_table(empty, tmp_path / "empty.parquet")
    said = refused(call(capsys, "index", tmp_path / "empty.parquet", "--out", tmp_path / "i"))
    assert "one row or more" in said
    nan = pa.table({"embedding": pa.array([[1.0, float("nan")]])})
    pq.write_table(nan, tmp_path / "nan.parquet")
    assert "values must be finite" in refused(call(capsys, "index", tmp_path / "nan.parquet", "--out", tmp_path / "i"))
    assert not (tmp_path / "i").exists()


def test_methods_and_encoders_are_listed(capsys: Capture) -> None:
    code, out, _ = call(capsys, "methods")
    assert code == 0
    for name in ("simclr", "supcon", "siamese", "triplet"):
        assert any(line.startswith(name) for line in out.splitlines())
    rows = [re.split(r" {2,}", line.strip()) for line in out.splitlines()]
    heads = ["method", "paper", "labels", "negatives", "teacher", "queue", "views", "state", "what it does"]
    assert rows[0] == heads
    table = {row[0]: dict(zip(heads, row, strict=True)) for row in rows[1:]}
    assert set(table) == set(METHODS.names())
    flags = [table["byol"][key] for key in ("labels", "negatives", "teacher", "queue")]
    assert flags == ["no", "no", "yes", "no"]
    assert table["byol"]["state"].startswith("a teacher of f and g, an exponential moving average")
    assert (table["simclr"]["state"], table["cpc"]["views"], table["nnclr"]["queue"]) == ("none", "1", "yes")
    code, out, _ = call(capsys, "methods", "simclr")
    assert "temperature = 0.1" in out
    assert "arxiv.org/abs/2002.05709" in out
    assert "Recipe simclr/imagenet: SimCLR, 1,000 epochs" in out
    assert "Published: kNN 84.7 %" in out
    assert "``" not in out.partition("Recipe")[2]
    assert "did you mean 'simclr'?" in refused(call(capsys, "methods", "simlcr"))
    code, out, err = call(capsys, "encoders")
    assert code == 0
    assert out.splitlines()[0] == "small"
    assert "resnet*" in err
    assert "resnet18" in call(capsys, "encoders", "resnet1*").out.splitlines()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["pretrain", "x", "--out", "y", "--epoch", "3"], "--epochs"),
        (["pretrain", "x", "--out", "y", "--epochs", "many"], "epochs"),
        (["pretrain", "x", "--out", "y", "--optimizer", "adam"], "adamw"),
        (["pretrain", "x"], "out"),
        (["pretrian"], "pretrain"),
        (["search", "x"], "query"),
        (["evaluate", "x", "y", "--protocol", "kn"], "knn"),
    ],
)
def test_a_wrong_call_is_told_what_is_right(arguments: list[str], named: str, capsys: Capture) -> None:
    outcome = call(capsys, *arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    assert named in outcome.err


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("epoch: 3\n", "epochs"),
        ("epochs: many\n", "epochs"),
        ("method_options:\n  temprature: 1\n", "temperature"),
        ("batch_size: [1, 2]\n", "batch"),
        ("optimizer: adam\n", "adamw"),
        ("epochs: 0\n", "epochs must be >= 1"),
        ("- 1\n", "mapping"),
        ("a: [\n", "is not valid YAML"),
    ],
)
def test_a_wrong_file_names_itself_and_the_key(
    content: str, named: str, data: Path, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "bad.yaml").write_text(content)
    code, out, err = call(capsys, "pretrain", data, "--out", tmp_path / "run", "--config", tmp_path / "bad.yaml")
    assert code in (1, 2)
    assert out == ""
    assert "Traceback" not in err
    assert named in err
    assert not (tmp_path / "run").exists()


def test_a_missing_config_file_and_an_unknown_recipe(data: Path, tmp_path: Path, capsys: Capture) -> None:
    base = ("pretrain", data, "--out", tmp_path / "run")
    assert "cannot be read" in refused(call(capsys, *base, "--config", tmp_path / "no.yaml"))
    assert "did you mean 'simclr/small'?" in refused(call(capsys, *base, "--recipe", "simclr/smal"))


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    from nearfar.cli import main
    from nearfar.errors import DataError

    with pytest.raises(DataError):
        main(["pretrain", str(tmp_path / "no"), "--out", str(tmp_path / "run"), "--debug"])


def test_what_nobody_foresaw_is_one_sentence_as_well(
    made: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object, **settings: object) -> None:
        raise ZeroDivisionError("division by zero\nsecond line")

    monkeypatch.setattr("nearfar.search", broken, raising=False)
    said = refused(call(capsys, "search", made / "index", "x"))
    assert "ZeroDivisionError: division by zero; " in said


def test_ctrl_c_is_130(made: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*arguments: object, **settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nearfar.search", stopped, raising=False)
    assert "stopped" in refused(call(capsys, "search", made / "index", "x"), 130)
