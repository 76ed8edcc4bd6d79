from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nearfar.encoders import load_encoder
from nearfar.training.run import Run
from tests.cli.call import call, refused
from tests.samples import TINY, pictures, train

STEPS = ("--least-steps", 2, "--epochs", 1, "--batch-size", 8, "--accelerator", "cpu", "--threads", 1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    images, labels = pictures(48)
    path = tmp_path_factory.mktemp("cli") / "data.npz"
    np.savez(path, train_images=images, train_labels=labels, test_images=images[:16], test_labels=labels[:16])
    return path


@pytest.fixture(scope="module")
def run(data: Path) -> Path:
    with np.load(data) as arrays:
        return train(arrays["train_images"], data.parent / "run", method="simclr-v2", epochs=1).path


def test_finetune_then_distill(run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tuned = tmp_path / "tuned"
    done = call(capsys, "finetune", run, data, "--out", tuned, "--per-class", 3, "--from-layer", 1, *STEPS)
    assert done.code == 0, done.err
    assert "top-1" in done.out
    assert "95 % interval" in done.out
    again = call(capsys, "finetune", run, data, "--out", tuned, "--resume")
    assert again.out == done.out
    asked = call(capsys, "finetune", run, data, "--out", tuned, "--resume", "--per-class", 4)
    assert "--resume: per-class must be 3" in refused(asked)
    student = tmp_path / "student"
    settings = ("--student", "small", "--student-options.width", 2, "--epochs", 1, "--batch-size", 16)
    settings += ("--view-options.scale", 0.5, 1, "--input-options.channels", 1)
    done = call(capsys, "distill", tuned, data, "--out", student, *settings, "--accelerator", "cpu", "--threads", 1)
    assert done.code == 0, done.err
    assert "top-1" in done.out


def test_a_runs_own_settings_are_a_config(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    call(capsys, "finetune", run, data, "--out", first, "--per-class", 3, "--mixup", 0.3, *STEPS)
    done = call(capsys, "--config", first / "config.yaml", "finetune", run, data, "--out", second)
    assert done.code == 0, done.err
    before, after = (Run(path).config() for path in (first, second))
    assert before == after


def test_semi_takes_a_recipe_for_its_first_phase(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [f"--pretrain.{name.replace('_', '-')}={TINY[name]}" for name in ("batch_size", "threads", "accelerator")]
    done = call(
        capsys, "semi", data, "--out", tmp_path / "out", "--recipe", "simclr-v2/gray", "--per-class", 2,
        "--pretrain.epochs=1", *small, "--pretrain.encoder-options.width", 4, "--finetune.least-steps=2",
        "--finetune.view-options.scale", 0.9, 1, "--distill.student-options.width", 2,
        "--finetune.epochs=1", "--distill.epochs=1", "--distill.batch-size=16", "--pseudo-labels", "none",
        "--accelerator", "cpu", "--threads", 1,
    )  # fmt: skip
    assert done.code == 0, done.err
    for phase in ("fine-tuned", "distilled", "from scratch", "linear probe", "kNN", "label propagation"):
        assert phase in done.out
    assert Run(tmp_path / "out" / "pretrained").config()["view_options"]["scale"] == [0.2, 1.0]
    assert Run(tmp_path / "out" / "pretrained").config()["encoder_options"] == {"width": 4}
    tuned, student = (Run(tmp_path / "out" / "2-per-class-0" / name) for name in ("finetuned", "distilled"))
    assert tuned.config()["view_options"] == {"scale": ["0.9", "1"]}
    assert load_encoder(student.path)[1].options["width"] == 2
    assert json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000


def test_what_is_wrong_is_said_in_one_sentence(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ("--out", tmp_path / "out")
    assert "got 12; ask for 12 or fewer" in refused(call(capsys, "finetune", run, data, *out, "--per-class", 13))
    assert "must be one with a classifier, got none" in refused(call(capsys, "distill", run, data, *out))
    assert "labels must be at least one" in refused(call(capsys, "semi", data, *out, "--labels", _empty(tmp_path)))
    assert not (tmp_path / "out").exists()


def _empty(folder: Path) -> Path:
    path = folder / "labels.csv"
    path.write_text("id,label\n")
    return path
