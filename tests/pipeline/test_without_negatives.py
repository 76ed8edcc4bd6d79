"""The recipes of methods without negatives: every setting is known, and the small ones train and leave an encoder."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import nearfar
from nearfar.encoders import build as build_encoder
from nearfar.encoders import fingerprint, load_encoder
from nearfar.methods import build
from nearfar.modalities import MODALITIES
from nearfar.pipeline.checks import check_names
from nearfar.recipes import RECIPES
from tests.samples import TINY, pictures, timeless, train

FAMILY = (
    "byol", "simsiam", "fastsiam", "nnbyol", "nnsiam", "all4one", "barlow-twins", "vicreg", "vibcreg", "w-mse", "tico",
    "emp-ssl", "lejepa",
)  # fmt: skip
NAMES = [f"{method}/{kind}" for method in FAMILY for kind in ("imagenet", "cifar", "small")]


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_of_a_recipe_is_known(name: str) -> None:
    recipe = RECIPES.get(name)
    config = check_names(recipe(), MODALITIES.get("image"), None)
    assert f"--recipe {name}" in (recipe.__doc__ or "")
    assert config.method == name.partition("/")[0]
    options = {key: 16 if "queue" in key else value for key, value in config.method_options.items()}
    method = build(config.method, build_encoder("small", image_size=8, options={"width": 2})[0], options)
    assert all(getattr(method, key) == value for key, value in options.items())


@pytest.mark.parametrize("method", FAMILY)
def test_a_small_recipe_trains_and_leaves_an_ordinary_encoder(method: str, tmp_path: Path) -> None:
    config = RECIPES.get(f"{method}/small")()
    options = {**config.method_options}
    if method == "w-mse":  # a block must be no larger than the batch, and larger than the output
        options |= {"block_size": 16, "output_dim": 8}
    config = dataclasses.replace(config, **{**TINY, "epochs": 1, "method_options": options})
    run = nearfar.pretrain(pictures(48, size=16, channels=3)[0], out=tmp_path / "run", config=config)
    rows = [row for row in run.metrics() if "loss" in row]
    assert rows
    assert all(math.isfinite(row["loss"]) for row in rows)
    encoder, _ = load_encoder(run.path)
    assert encoder(torch.zeros(2, 3, 16, 16)).shape == (2, 32)


def test_crops_of_two_sizes_reach_lejepa_and_many_crops_emp_ssl(tmp_path: Path) -> None:
    data = pictures(32, size=16, channels=3)[0]
    for method, views in (("lejepa", "dino"), ("emp-ssl", "emp-ssl")):
        options = {"hidden_dim": 16, "output_dim": 8}
        run = train(data, tmp_path / method, method=method, views=views, method_options=options, epochs=1)
        assert all(math.isfinite(row["loss"]) for row in run.metrics() if "loss" in row)


def test_the_number_of_views_can_be_asked_for() -> None:
    from nearfar.errors import ConfigError
    from nearfar.modalities.image import ImageInputs
    from nearfar.pipeline.settings import PretrainConfig
    from nearfar.pipeline.view_settings import run_views

    inputs = ImageInputs(image_size=16, channels=3)
    for name, count in (("w-mse/cifar", 2), ("w-mse/imagenet", 4), ("lejepa/cifar", 4), ("lejepa/imagenet", 10)):
        assert len(run_views(RECIPES.get(name)(), inputs)) == count, name
    views = run_views(PretrainConfig(method="w-mse", views="byol", view_count=3), inputs)
    assert (len(views), views[2]) == (3, views[0])
    assert views[0] != views[1]
    for method, count, must in (("simclr", 3, "2"), ("fastsiam", 2, ">= 4")):
        with pytest.raises(ConfigError, match=f"method {method}: view_count must be {must}, got {count}"):
            check_names(PretrainConfig(method=method, view_count=count), MODALITIES.get("image"), None)


class Stop(Exception):
    """Raised in place of a kill."""


@pytest.mark.parametrize("method", ["nnbyol", "all4one", "vibcreg", "tico", "lejepa"])
def test_a_resumed_run_has_its_teacher_queue_moments_and_draws(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nearfar.training.module import TrainingModule

    config = dataclasses.replace(RECIPES.get(f"{method}/small")(), **{**TINY, "epochs": 2, "checkpoint_seconds": 0.0})
    images = pictures(48, size=16, channels=3)[0]
    whole = nearfar.pretrain(images, out=tmp_path / "whole", config=config)
    step, count = TrainingModule.training_step, 0

    def stopping(self: TrainingModule, *args: Any) -> torch.Tensor:
        nonlocal count
        count += 1
        if count > 4:  # within the second epoch
            raise Stop
        return step(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", stopping)
        with pytest.raises(Stop):
            nearfar.pretrain(images, out=tmp_path / "stopped", config=config)
    torch.manual_seed(12345)
    resumed = nearfar.pretrain(images, out=tmp_path / "stopped", resume=True)
    assert timeless(resumed) == timeless(whole)
    assert fingerprint(load_encoder(resumed.path)[0]) == fingerprint(load_encoder(whole.path)[0])
