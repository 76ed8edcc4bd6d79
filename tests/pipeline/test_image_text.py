"""Images with captions: training, both directions of search, zero-shot, and captions that are missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import nearfar
from nearfar.errors import DataError
from tests.cli.call import call

COLORS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220), "yellow": (230, 220, 30)}
SETTINGS: dict[str, Any] = {
    "method": "clip",
    "encoder_options": {
        "image_options": {"width": 4},
        "text_options": {"width": 16, "depth": 1, "heads": 2},
        "output_dim": 8,
    },
    "epochs": 40,
    "batch_size": 16,
    "lr": 5e-3,
    "precision": "32-true",
    "threads": 1,
    "input_options": {"length": 16, "vocabulary": 300, "image_size": 8},
}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    lines = ["path,caption,label"]
    for number in range(48):
        name = list(COLORS)[number % 4]
        pixels = np.clip(np.array(COLORS[name]) + rng.integers(-20, 21, (12, 12, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        lines.append(f"{number}.png,{'' if number >= 46 else f'a {name} square number {number}'},{name}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def run(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nearfar.pretrain(manifest, out=tmp_path_factory.mktemp("run") / "run", **SETTINGS).path


def test_captions_that_are_missing_are_left_out_and_counted(run: Path) -> None:
    assert (run / "skipped.csv").read_text() == "id,reason\n46.png,no caption\n47.png,no caption\n"
    settings = nearfar.config.load_yaml(run / "config.yaml")  # type: ignore[attr-defined]
    assert settings["modality"] == "image-text"
    assert (run / "views.png").is_file()


def test_search_in_both_directions(run: Path, manifest: Path, tmp_path: Path) -> None:
    nearfar.embed(run, manifest, out=tmp_path / "images.parquet")
    nearfar.index(tmp_path / "images.parquet", out=tmp_path / "images.index")
    results = nearfar.search(tmp_path / "images.index", "a red square", encoder=run, k=5)
    found = [int(hit.id.partition(".")[0]) % 4 for hit in results.hits]
    assert found.count(0) >= 4
    (tmp_path / "texts.txt").write_text("".join(f"a {name} square\n" for name in COLORS))
    nearfar.embed(run, tmp_path / "texts.txt", out=tmp_path / "texts.parquet")
    nearfar.index(tmp_path / "texts.parquet", out=tmp_path / "texts.index")
    results = nearfar.search(tmp_path / "texts.index", str(manifest.parent / "2.png"), encoder=run, k=1)
    assert results.hits[0].id == "3"  # the third line: blue


def test_recall_both_ways_and_zero_shot(run: Path, manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = call(
        capsys, "evaluate", run, manifest, "--protocol", "pairs", "zero-shot", "--options.prompt", "a {} square"
    )
    assert outcome.code == 0, outcome.err
    assert "image to text, recall@1" in outcome.out
    assert "text to image, recall@10" in outcome.out
    report = nearfar.evaluate(run, manifest, protocol=["zero-shot"], options={"prompt": "a {} square"})
    assert report["zero-shot, top-1"].value > 0.5


@pytest.mark.parametrize("options", [{"loss": "siglip"}, {"lock_images": True}])
def test_siglip_and_locked_images_train(manifest: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    settings = {**SETTINGS, "epochs": 1, "method_options": options}
    run = nearfar.pretrain(manifest, out=tmp_path / "run", **settings)
    assert np.isfinite(run.metrics()[-1]["epoch_loss"])


def test_the_images_side_starts_from_a_run_and_stays_locked(manifest: Path, tmp_path: Path) -> None:
    first = nearfar.pretrain(
        manifest, out=tmp_path / "images", modality="image", encoder_options={"width": 4}, epochs=1, batch_size=16,
        image_size=8, precision="32-true", threads=1,
    )  # fmt: skip
    options = {**SETTINGS["encoder_options"], "image_init": str(first.path)}
    run = nearfar.pretrain(
        manifest, out=tmp_path / "run",
        **{**SETTINGS, "epochs": 1, "encoder_options": options, "method_options": {"lock_images": True}},
    )  # fmt: skip
    before, after = nearfar.load_encoder(first.path)[0].state_dict(), nearfar.load_encoder(run.path)[0].state_dict()
    assert all(torch.equal(before[key], after[f"image.{key}"]) for key in before)


def test_a_method_for_views_of_one_size_is_refused(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(nearfar.NearfarError, match="views clip must be of one size"):
        nearfar.pretrain(manifest, out=tmp_path / "run", **{**SETTINGS, "method": "simclr", "views": "clip"})


def test_manifests_without_what_they_need(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("path,caption\na.png,\nb.png,\n")
    with pytest.raises(DataError, match="number of images with a caption must be >= 1, got 0"):
        nearfar.pretrain(path, out=tmp_path / "run", **SETTINGS)
    path.write_text("path,caption\na.png,a thing\n")
    with pytest.raises(DataError, match=r"got none: a\.png \(no such file\)"):
        nearfar.pretrain(path, out=tmp_path / "run", **SETTINGS)
