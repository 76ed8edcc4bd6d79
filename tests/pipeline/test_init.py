from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import nearfar
from nearfar.encoders import build
from nearfar.errors import ConfigError, RunError
from nearfar.training.run import Run
from tests.samples import pictures, train

STILL: dict[str, Any] = {"epochs": 1, "optimizer": "sgd", "lr": 1e-20, "weight_decay": 0.0, "probe": False}
"""A run that moves no weight."""


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(pictures()[0], tmp_path_factory.mktemp("runs") / "first")


def weights(run: Run) -> dict[str, torch.Tensor]:
    return dict(nearfar.load_encoder(run.path)[0].named_parameters())


@pytest.mark.parametrize("method", ["simclr", "byol"])
def test_a_run_starts_from_another(method: str, first: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    again = train(pictures()[0], tmp_path / "again", method=method, init=str(first.path), seed=1, **STILL)
    before = weights(first)
    for name, value in weights(again).items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=1e-12)
    said = capsys.readouterr().err
    assert f"loaded 24 tensors, 6,204 of 6,204 parameters from {first.path}; all fitted" in " ".join(said.split())
    fresh = train(pictures()[0], tmp_path / "fresh", seed=1, **STILL)
    assert not torch.equal(weights(fresh)["layers.0.weight"], before["layers.0.weight"])


def test_a_checkpoint_of_ours_is_read_without_its_teacher(tmp_path: Path) -> None:
    run = train(pictures()[0], tmp_path / "run", method="byol", epochs=1)
    trained, spec = nearfar.load_encoder(run.path)
    encoder, _ = build("small", in_channels=1, image_size=8, options=spec.options)
    report = nearfar.load_weights(encoder, run.checkpoint)
    assert report.prefix == "state_dict.method.encoder."
    assert report.line().endswith("all fitted")
    assert all(torch.equal(value, trained.state_dict()[name]) for name, value in encoder.state_dict().items())


def test_a_run_goes_on_though_its_start_is_gone(first: Run, tmp_path: Path) -> None:
    start = tmp_path / "start"
    shutil.copytree(first.path, start)
    run = train(pictures()[0], tmp_path / "run", init=str(start))
    numbers = weights(run)
    shutil.rmtree(start)
    (run.path / "encoder.json").unlink()
    again = train(pictures()[0], run.path, resume=True)
    assert again.config()["init"] == str(start)
    with pytest.raises(ConfigError, match="--resume: init must be"):
        train(pictures()[0], run.path, resume=True, init="elsewhere")
    assert all(torch.isfinite(value).all() for value in numbers.values())


def test_weights_that_do_not_fit_leave_no_run(first: Run, tmp_path: Path) -> None:
    encoder, _ = build("small", in_channels=1, image_size=8, options={"width": 5})
    torch.save(encoder.state_dict(), tmp_path / "other.pth")
    for init, message in ((tmp_path / "other.pth", "must fit at least half"), (tmp_path / "none.pth", "got none")):
        with pytest.raises(RunError, match=message):
            train(pictures()[0], tmp_path / "run", init=str(init))
        assert not (tmp_path / "run").exists()


def test_one_start_at_a_time() -> None:
    with pytest.raises(ConfigError, match="pretrained and init must be given one at a time, got both"):
        nearfar.PretrainConfig(pretrained=True, init="weights.pth")
