from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
from torch import nn

from nearfar.errors import ConfigError, InputError
from nearfar.optim import LARS, Special, build_optimizer, parameter_groups, scaled_lr, warmup_cosine


def test_two_steps_of_lars_equal_the_reference_values() -> None:
    n = torch.arange(32, dtype=torch.float64).reshape(4, 8)
    w = nn.Parameter(torch.sin(n + 1.0))
    g = torch.cos(0.7 * n + 0.3)
    optimizer = LARS([w], lr=0.2, weight_decay=0.01)
    for _ in range(2):
        w.grad = g.clone()
        optimizer.step()
    assert w[0, 0].item() == pytest.approx(0.8409180575308286, rel=1e-12)
    assert w.sum().item() == pytest.approx(0.42768893492197907, rel=1e-12)
    assert w.norm().item() == pytest.approx(4.000088298141052, rel=1e-12)


def test_lars_moves_a_parameter_of_norm_zero() -> None:
    w = nn.Parameter(torch.zeros(3, 3))
    optimizer = LARS([w], lr=0.1)
    w.grad = torch.ones(3, 3)
    optimizer.step()
    assert torch.allclose(w, torch.full((3, 3), -0.1))


def test_biases_and_norms_neither_decay_nor_adapt() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    weights, others = parameter_groups(module, lr=0.1, weight_decay=0.1)
    assert {p.ndim for p in weights["params"]} == {2, 4}
    assert {p.ndim for p in others["params"]} == {1}
    assert others["weight_decay"] == 0.0
    assert others["adapt"] is False
    total = len(weights["params"]) + len(others["params"])
    assert total == len(list(module.parameters()))


def test_excluded_parameters_take_plain_momentum_steps() -> None:
    linear = nn.Linear(2, 2)
    optimizer = build_optimizer("lars", linear, lr=0.5, weight_decay=0.3)
    before = linear.bias.detach().clone()
    linear.weight.grad = torch.ones(2, 2)
    linear.bias.grad = torch.full((2,), 2.0)
    optimizer.step()
    assert torch.allclose(linear.bias, before - 1.0)


@pytest.mark.parametrize("name", ["lars", "sgd", "adamw"])
def test_every_optimizer_survives_its_state_dict(name: str) -> None:
    torch.manual_seed(0)
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    one = build_optimizer(name, first, lr=0.1, weight_decay=0.01)
    for _ in range(2):
        first.weight.grad, first.bias.grad = torch.ones(3, 3), torch.ones(3)
        one.step()
    second.load_state_dict(first.state_dict())
    two = build_optimizer(name, second, lr=0.7)
    two.load_state_dict(copy.deepcopy(one.state_dict()))
    for module, optimizer in ((first, one), (second, two)):
        module.weight.grad, module.bias.grad = torch.full((3, 3), 0.5), torch.ones(3)
        optimizer.step()
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.bias, second.bias)


def test_an_unknown_optimizer_offers_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'adamw'"):
        build_optimizer("adam", nn.Linear(1, 1), lr=0.1)


def test_lars_refuses_settings_out_of_range() -> None:
    with pytest.raises(InputError, match=r"LARS: momentum must be in \[0, 1\), got 1"):
        LARS([nn.Parameter(torch.ones(1))], lr=0.1, momentum=1.0)


def test_warmup_rises_to_one_and_the_cosine_ends_at_final() -> None:
    factors = [warmup_cosine(step, total=100, warmup=10) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == pytest.approx(1.0)
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0.0, abs=1e-12)
    assert all(a >= b for a, b in itertools.pairwise(factors[10:]))


def test_the_learning_rate_is_linear_from_1024_and_a_root_below() -> None:
    assert scaled_lr(0.3, 4096) == pytest.approx(4.8)
    assert scaled_lr(0.3, 1024) == pytest.approx(1.2)
    assert scaled_lr(0.3, 256) / scaled_lr(0.3, 1024) == pytest.approx(math.sqrt(1 / 4))


def test_special_parameters_get_groups_with_their_own_rate_and_decay() -> None:
    module = nn.ModuleDict({"body": nn.Linear(3, 2), "predictor": nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))})
    special = [Special("predictor", 10.0, True, 0.0), Special("predictor.1", 0.5, False, 1.0)]
    groups = parameter_groups(module, lr=0.2, weight_decay=0.1, special=special)
    found = {
        name: (group["lr"], group["weight_decay"], group["constant"])
        for name, parameter in module.named_parameters()
        for group in groups
        if any(parameter is one for one in group["params"])
    }
    assert found == {
        "body.weight": (0.2, 0.1, False),
        "body.bias": (0.2, 0.0, False),
        "predictor.0.weight": (2.0, 0.0, True),
        "predictor.0.bias": (2.0, 0.0, True),
        "predictor.1.weight": (0.1, 0.1, False),
        "predictor.1.bias": (0.1, 0.0, False),
    }
    assert sum(len(group["params"]) for group in groups) == len(list(module.parameters()))
