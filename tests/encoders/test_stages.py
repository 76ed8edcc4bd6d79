from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from nearfar.encoders import Encoder, build, freeze_stages
from nearfar.errors import ConfigError, InputError

KINDS: dict[str, dict[str, Any]] = {
    "small": {"image_size": 32, "options": {"width": 4}},
    "resnet18": {"image_size": 64, "options": {"layers": (1, 1, 1, 1), "channels": (8, 8, 8, 8)}},
    "resnet10t": {"image_size": 96},
    "convnext_atto": {"image_size": 64},
    "vit_tiny_patch16_224": {"image_size": 64, "options": {"depth": 3}},
}


def made(name: str) -> Any:
    torch.manual_seed(0)
    return build(name, **KINDS[name])[0]


@pytest.mark.parametrize("name", KINDS)
def test_maps_go_from_fine_to_coarse_and_end_with_the_last(name: str) -> None:
    encoder = made(name).eval()
    x = torch.randn(2, 3, KINDS[name]["image_size"], KINDS[name]["image_size"])
    with torch.no_grad():
        maps = encoder.feature_maps(x)
        torch.testing.assert_close(maps[-1], encoder.feature_map(x), rtol=1e-5, atol=1e-5)
    sides = [item.shape[-1] for item in maps]
    assert all(item.ndim == 4 and item.shape[2] == item.shape[3] for item in maps)
    assert sides == sorted(sides, reverse=True)
    assert len(maps) >= 3


def test_the_maps_of_a_resnet_are_its_stages() -> None:
    encoder = made("resnet10t").eval()
    maps = encoder.feature_maps(torch.randn(1, 3, 96, 96))
    assert [item.shape[1:] for item in maps] == [(64, 48, 48), (64, 24, 24), (128, 12, 12), (256, 6, 6), (512, 3, 3)]
    small = made("small").feature_maps(torch.randn(1, 3, 32, 32))
    assert [item.shape[1:] for item in small] == [(4, 32, 32), (8, 16, 16), (16, 8, 8), (32, 4, 4)]


def test_maps_carry_gradients() -> None:
    encoder = made("small")
    sum(item.sum() for item in encoder.feature_maps(torch.randn(2, 3, 32, 32))).backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


@pytest.mark.parametrize("name", KINDS)
def test_the_stages_share_out_every_parameter(name: str) -> None:  # the norm behind ConvNeXt's pooling is its last
    encoder = made(name)
    flat = [parameter for stage in encoder.stages() for parameter in stage]
    assert sorted(flat) == sorted(name for name, _ in encoder.named_parameters())
    assert len(encoder.stages()) == {"small": 4, "vit_tiny_patch16_224": 4, "convnext_atto": 6}.get(name, 5)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("n", [0, 2])
def test_frozen_stages_change_by_no_training_step(name: str, n: int) -> None:
    encoder = made(name)
    freeze_stages(encoder, n)
    model = nn.Sequential(copy.deepcopy(encoder), nn.Linear(encoder.dim, 2))
    model.train()
    held = {f"0.{parameter}" for stage in encoder.stages()[: n + 1] for parameter in stage}
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1, momentum=0.9)
    size = KINDS[name]["image_size"]
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.randn(4, 3, size, size)).square().sum().backward()
        optimizer.step()
    parameters = dict(model.named_parameters())
    modules = {key.rpartition(".")[0] for key in held}
    for key, value in model.state_dict().items():
        if key in held or key.rpartition(".")[0] in modules:  # BatchNorm's statistics among them
            assert torch.equal(value, before[key]), key
    assert {key for key, parameter in parameters.items() if not parameter.requires_grad} == held
    moved = {key for key in parameters if not torch.equal(parameters[key], before[key])}
    assert moved
    assert not moved & held


def test_frozen_modules_stay_in_eval_mode_and_others_follow() -> None:
    encoder = made("resnet10t")
    freeze_stages(encoder, 1)
    net = nn.ModuleDict({"backbone": encoder}).train()
    model = net["backbone"].model
    assert not model.bn1.training
    assert not any(module.training for module in model.layer1.modules())
    assert all(module.training for module in model.layer2.modules())
    freeze_stages(encoder, 0)
    assert not model.layer1.training
    freeze_stages(encoder, 2)
    assert not model.layer2[0].bn1.training
    assert not encoder.eval().training


def test_wrong_stages_are_one_sentence() -> None:
    for n in (-1, 4):
        with pytest.raises(InputError, match=rf"freeze_stages: n must be from 0 to 3, got {n}"):
            freeze_stages(made("small"), n)

    class Own(Encoder):
        dim = 3

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    with pytest.raises(ConfigError, match="encoder: must know its stages, got Own"):
        freeze_stages(Own(), 1)
    with pytest.raises(ConfigError, match="encoder: must have feature maps, got Own"):
        Own().feature_maps(torch.zeros(1))
