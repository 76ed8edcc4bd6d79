"""A modality of another package, as docs/modalities.md shows it, goes through every verb."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import nearfar
from nearfar.encoders import ENCODERS, load_encoder
from nearfar.modalities import MODALITIES, choose
from nearfar.training.run import Run
from tests.cli.call import call

PAGE = Path(__file__).parents[2] / "docs" / "modalities.md"
ENTRIES = "[nearfar.modalities]\npoints = my_points:POINTS\n[nearfar.encoders]\npoints-net = my_points:PointNet\n"


def code() -> str:
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    info = tmp_path / "my_points-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-points\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    (tmp_path / "my_points.py").write_text(code())
    monkeypatch.syspath_prepend(str(tmp_path))
    for registry in (MODALITIES, ENCODERS):
        registry.__dict__.pop("_external", None)
    yield tmp_path
    sys.modules.pop("my_points", None)
    for registry in (MODALITIES, ENCODERS):
        registry.__dict__.pop("_external", None)


def clouds(path: Path) -> Path:
    """Write 40 clouds of 32 points: flat ones and tall ones."""
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    points = rng.normal(size=(40, 32, 3))
    points[:, :, 2] *= np.where(labels, 4.0, 0.2)[:, None]
    np.savez(path, points=points, labels=np.array(["flat", "tall"])[labels])
    return path


def test_the_page_keeps_its_promise() -> None:
    lines = [line for line in code().splitlines() if line.strip()]
    assert len(lines) < 100
    page = PAGE.read_text(encoding="utf-8")
    assert 'points = "my_points:POINTS"' in page
    assert 'points-net = "my_points:PointNet"' in page


def test_every_verb_takes_it(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, run = clouds(package / "clouds.npz"), package / "run"
    assert choose("auto", data).name == "points"
    quick = ("--epochs", "3", "--batch-size", "16", "--threads", "1", "--precision", "32-true", "--accelerator", "cpu")
    done = call(capsys, "pretrain", data, "--out", run, *quick, "--encoder-options.width", "16",
                "--view-options.keep", "0.7")  # fmt: skip
    assert done.code == 0, done.err
    values = Run(run).config()
    assert (values["modality"], values["encoder"], values["views"]) == ("points", "points-net", "turned")
    assert values["view_options"] == {"keep": 0.7}
    assert load_encoder(run)[1].modality == "points"
    for baseline in ((), ("--baseline", "raw"), ("--baseline", "random")):
        done = call(capsys, "evaluate", run, data, "--protocol", "knn", *baseline)
        assert done.code == 0, done.err
        assert "whole cloud, centred" in done.out
    assert nearfar.evaluate(run, data, protocol=["knn"])["knn"].value == 1.0
    for command in (
        ("views", data, "--out", package / "views.png"),
        ("embed", run, data, "--out", package / "e.parquet"),
        ("index", package / "e.parquet", "--out", package / "index"),
        (
            "search",
            package / "index",
            data,
            "--run",
            run,
            "-k",
            "2",
            "--sheet",
            package / "sheet.png",
            "--images",
            data,
        ),
        ("export", run, "--format", "safetensors", "--out", package / "left"),
    ):
        done = call(capsys, *command)
        assert done.code == 0, done.err
    assert load_encoder(package / "left")[1].modality == "points"


def test_its_errors_are_sentences(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = clouds(package / "clouds.npz")
    done = call(capsys, "pretrain", data, "--out", package / "run", "--encoder", "table-mlp")
    assert done.code == 1
    assert "encoder: must be one for points, got 'table-mlp'; known: points-net" in done.err
    done = call(capsys, "pretrain", data, "--out", package / "run", "--channels", "3")
    assert "data of points: unknown setting 'channels'" in done.err
    done = call(capsys, "pretrain", data, "--out", package / "run", "--views", "turnd")
    assert "did you mean 'turned'?" in done.err
