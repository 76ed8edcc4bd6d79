"""Everything a person may get wrong: one sentence, a code that is not 0, and nothing left that is trusted later."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nearfar
from nearfar.training.run import Run
from tests.cli.call import call, refused
from tests.samples import limited_files, pictures, train, write_folder

Capture = pytest.CaptureFixture[str]

SMALL = ("--batch-size", "8", "--epochs", "1", "--threads", "1", "--encoder-options.width", "4")


def _empty(root: Path) -> Path:
    (root / "empty").mkdir()
    return root / "empty"


def _no_images(root: Path) -> Path:
    (root / "texts").mkdir()
    (root / "texts" / "a.txt").write_text("x")
    return root / "texts"


def _missing(root: Path) -> Path:
    return root / "nowhere"


def _two_broken(root: Path) -> Path:
    data = write_folder(root / "two", 40, nested=False)
    (data / "003.png").write_bytes(b"")
    (data / "004.png").write_bytes((data / "004.png").read_bytes()[:60])
    return data


def _all_broken(root: Path) -> Path:
    data = write_folder(root / "all", 20, nested=False)
    for path in data.iterdir():
        path.write_bytes(b"")
    return data


def _one(root: Path) -> Path:
    return write_folder(root / "one", 1, nested=False)


def _few(root: Path) -> Path:
    return write_folder(root / "few", 5, nested=False)


def _nan(root: Path) -> Path:
    images = pictures(20)[0].astype(np.float32) / 255
    images[7, 0, 0, 0] = np.nan
    np.save(root / "nan.npy", images)
    return root / "nan.npy"


def _pickled(root: Path) -> Path:
    np.save(root / "objects.npy", np.array([{"a": 1}, {"b": 2}], dtype=object), allow_pickle=True)
    return root / "objects.npy"


def _no_path_column(root: Path) -> Path:
    (root / "list.csv").write_text("file,label\na.png,1\n")
    return root / "list.csv"


def _manifest_of_nothing(root: Path) -> Path:
    (root / "gone.csv").write_text("path\ngone.png\n")
    return root / "gone.csv"


def _text(root: Path) -> Path:
    (root / "notes.txt").write_text("x")
    return root / "notes.txt"


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "an empty folder": (_empty, "must hold at least one image file, got none"),
    "a folder without images": (_no_images, "or folders of .txt files, got no such files"),
    "no such path": (_missing, "DATA must be an existing folder or file, got neither"),
    "two of forty broken": (
        _two_broken,
        "the 40 items must be readable but for 1%, got 2 broken: 003.png (the file is",
    ),
    "all broken": (_all_broken, "the file is empty"),
    "one image": (_one, "number of images must be >= 2, got 1; there is nothing to tell apart"),
    "fewer than a batch": (
        _few,
        "batch-size must be <= 5, the number of images, got 8; lower --batch-size to 5 or less",
    ),
    "NaN in an array": (_nan, "images must be finite, got NaN or infinity in row 7"),
    "pickled objects": (_pickled, "cannot be read as an array file"),
    "a manifest without paths": (_no_path_column, "table: columns must be one or more that vary, got none"),
    "a manifest of files that are gone": (_manifest_of_nothing, "path must be an existing file, got 'gone.png'"),
    "a file of another kind": (_text, "number of texts must be >= 2, got 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_data_stop_a_run_before_it_begins(case: str, tmp_path: Path, capsys: Capture) -> None:
    make, message = BAD[case]
    said = refused(call(capsys, "pretrain", make(tmp_path), "--out", tmp_path / "run", *SMALL))
    assert message in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("case", ["an empty folder", "no such path", "all broken", "NaN in an array"])
def test_bad_data_leave_no_embeddings(case: str, tmp_path: Path, capsys: Capture) -> None:
    make, message = BAD[case]
    out = tmp_path / "emb.parquet"
    flags = ("--image-size", "8", "--threads", "1")
    assert message in refused(call(capsys, "embed", "small", make(tmp_path), "--out", out, *flags))
    assert not out.exists()
    assert "holds no finished index" in refused(call(capsys, "search", out, "x"))
    assert "does not exist" in refused(call(capsys, "index", out, "--out", tmp_path / "index"))


def test_images_without_a_label_take_part(tmp_path: Path, capsys: Capture) -> None:
    data = write_folder(tmp_path / "data", 24)
    write_folder(data / "unlabelled", 8, nested=False)
    write_folder(data, 4, nested=False)
    for method in ("simclr", "supcon"):
        run = tmp_path / method
        done = call(capsys, "pretrain", data, "--out", run, "--method", method, *SMALL)
        assert done.code == 0, done.err
        assert "probe_accuracy" in Run(run).metrics()[-1]
    done = call(capsys, "evaluate", tmp_path / "simclr", data, "--protocol", "knn", "--threads", "1")
    assert done.code == 0, done.err
    assert "more of unknown label left out" in done.out


def test_one_image_cannot_be_evaluated(tmp_path: Path, capsys: Capture) -> None:
    data = write_folder(tmp_path / "one", 1)
    said = refused(call(capsys, "evaluate", "small", data, "--image-size", "8", "--protocol", "knn"))
    assert "number of items must be >= 2, got 1" in said


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    data = write_folder(root / "data", 40)
    train(data, root / "run", epochs=1)
    nearfar.embed(root / "run", data, out=root / "emb.parquet", threads=1)
    return root


def _full(*arguments: Any) -> Callable[[Capture, Path], Any]:
    def run(capsys: Capture, root: Path) -> Any:
        with limited_files(2000):
            return call(capsys, *[str(argument).format(root=root) for argument in arguments])

    return run


@pytest.mark.parametrize(
    ("attempt", "left"),
    [
        (_full("pretrain", "{root}/data", "--out", "{root}/new", *SMALL), "new/encoder.json"),
        (_full("embed", "{root}/run", "{root}/data", "--out", "{root}/new.parquet", "--threads", "1"), "new.parquet"),
        (_full("index", "{root}/emb.parquet", "--out", "{root}/index"), "index/index.json"),
    ],
    ids=["pretrain", "embed", "index"],
)
def test_a_full_disk_is_one_sentence_and_a_second_try_succeeds(
    attempt: Callable[[Capture, Path], Any], left: str, made: Path, tmp_path: Path, capsys: Capture
) -> None:
    shutil.copytree(made, tmp_path / "root")
    said = refused(attempt(capsys, tmp_path / "root"))
    assert "cannot be written (" in said
    assert "; free some space" in said
    assert not (tmp_path / "root" / left).exists()
    assert not [path for path in (tmp_path / "root").rglob("*.tmp") if path.is_file()]


def test_a_disk_that_was_full_is_no_hindrance_later(made: Path, tmp_path: Path, capsys: Capture) -> None:
    root = tmp_path / "root"
    shutil.copytree(made, root)
    first = ("pretrain", root / "data", "--out", root / "new", *SMALL)
    with limited_files(2000):
        refused(call(capsys, *first))
    assert call(capsys, "pretrain", root / "data", "--out", root / "new", "--resume").code == 0
    assert Run(root / "new").finished
    for verb in (("embed", root / "run", root / "data", "--out", root / "e.parquet", "--threads", "1"),
                 ("index", root / "emb.parquet", "--out", root / "index")):  # fmt: skip
        with limited_files(2000):
            refused(call(capsys, *verb))
        done = call(capsys, *verb, *(["--overwrite"] if verb[0] == "index" else []))
        assert done.code == 0, done.err


def test_a_run_of_another_version_is_refused_by_every_verb(made: Path, tmp_path: Path, capsys: Capture) -> None:
    root = tmp_path / "root"
    shutil.copytree(made, root)
    for name, before, after in (
        ("config.yaml", "format: 1", "format: 7"),
        ("encoder.json", '"format": 1', '"format": 7'),
    ):
        path = root / "run" / name
        path.write_text(path.read_text().replace(before, after))
    for arguments in (
        ("pretrain", root / "data", "--out", root / "run", "--resume"),
        ("evaluate", root / "run", root / "data"),
        ("embed", root / "run", root / "data", "--out", root / "new.parquet"),
    ):
        assert "format must be <= 1, got 7 (written by nearfar " in refused(call(capsys, *arguments))
    assert not (root / "new.parquet").exists()


def test_a_stock_encoder_takes_the_channels_and_size_asked_for(tmp_path: Path, capsys: Capture) -> None:
    images, labels = pictures(24, channels=5)
    np.savez(tmp_path / "five.npz", images=images, labels=labels)
    base = ("--image-size", "8", "--threads", "1")
    out = tmp_path / "e.parquet"
    done = call(capsys, "embed", "small", tmp_path / "five.npz", "--out", out, "--channels", "5", *base)
    assert done.code == 0, done.err
    done = call(
        capsys, "evaluate", "small", tmp_path / "five.npz", "--channels", "5", "--protocol", "knn", "--baseline",
        "pixels", *base,
    )  # fmt: skip
    assert done.code == 0, done.err
    said = refused(call(capsys, "embed", "small", tmp_path / "five.npz", "--out", tmp_path / "f.parquet", *base))
    assert "must have 3 channels, got 5" in said


def test_a_stock_timm_model_embeds_without_its_published_weights(tmp_path: Path, capsys: Capture) -> None:
    data = write_folder(tmp_path / "data", 4, nested=False, size=32, channels=3)
    out = tmp_path / "e.parquet"
    flags = ("--no-pretrained", "--image-size", "32", "--threads", "1")
    done = call(capsys, "embed", "resnet18", data, "--out", out, *flags)
    assert done.code == 0, done.err
    from nearfar.data.embeddings import read_info

    assert read_info(out).dim == 512


def test_published_weights_that_cannot_be_had_are_one_sentence(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*arguments: object, **settings: object) -> None:
        raise OSError("no route to the hub\nsecond line")

    monkeypatch.setattr("nearfar.encoders.timm_models.timm.create_model", offline)
    data = write_folder(tmp_path / "data", 4, nested=False, size=32, channels=3)
    said = refused(call(capsys, "embed", "resnet18", data, "--out", tmp_path / "e.parquet"))
    assert "its published weights cannot be had (no route to the hub); go online, or add --no-pretrained" in said
