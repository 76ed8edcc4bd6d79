"""The recipes of methods with negatives: every setting is known, and the small ones train and leave an encoder."""

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
from nearfar.nn import SplitBatchNorm
from nearfar.pipeline.checks import check_names
from nearfar.recipes import RECIPES
from tests.samples import TINY, pictures, timeless

METHODS = ("simclr-v2", "dcl", "dclw", "nnclr", "moco-v2", "moco-v3", "densecl", "ressl", "cpc")
NAMES = [f"{method}/{kind}" for method in (*METHODS, "simclr", "supcon") for kind in ("imagenet", "cifar", "small")]
NAMES.append("moco-v3/imagenet-vit")


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_of_a_recipe_is_known(name: str) -> None:
    recipe = RECIPES.get(name)
    config = check_names(recipe(), MODALITIES.get("image"), None)
    assert name in (recipe.__doc__ or "")
    assert config.method == name.partition("/")[0].replace("dclw", "dcl")
    options = {key: 16 if "queue" in key or key == "memory" else value for key, value in config.method_options.items()}
    method = build(config.method, build_encoder("small", image_size=8, options={"width": 2})[0], options)
    assert all(getattr(method, key) == value for key, value in options.items())


@pytest.mark.parametrize("method", METHODS)
def test_a_small_recipe_trains_and_leaves_an_ordinary_encoder(method: str, tmp_path: Path) -> None:
    config = dataclasses.replace(RECIPES.get(f"{method}/small")(), **{**TINY, "epochs": 1})
    run = nearfar.pretrain(pictures(48, size=16, channels=3)[0], out=tmp_path / "run", config=config)
    assert all(math.isfinite(row["loss"]) for row in run.metrics() if "loss" in row)
    encoder, _ = load_encoder(run.path)
    assert not any(isinstance(module, SplitBatchNorm) for module in encoder.modules())
    assert encoder(torch.zeros(2, 3, 16, 16)).shape == (2, 32)


def test_the_encoders_of_cpc_have_no_batchnorm() -> None:
    config = RECIPES.get("cpc/cifar")()
    encoder = build_encoder(config.encoder, image_size=32, options=config.encoder_options)[0]
    names = {type(module).__name__ for module in encoder.modules()}
    assert any("GroupNorm" in name for name in names)
    assert not any("BatchNorm" in name for name in names)
    assert encoder(torch.zeros(2, 3, 8, 8)).shape == (2, 512)


class Stop(Exception):
    """Raised in place of a kill."""


@pytest.mark.parametrize("method", ["moco-v2", "densecl"])
def test_a_resumed_run_has_its_queue_teacher_and_shuffles(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nearfar.training.module import TrainingModule

    changes = {**TINY, "epochs": 2, "checkpoint_seconds": 0.0}
    config = dataclasses.replace(RECIPES.get(f"{method}/small")(), **changes)
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
