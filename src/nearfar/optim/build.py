"""From a name and a module to an optimiser with the right parameter groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import nn
from torch.optim import Optimizer

from nearfar.errors import ConfigError, nearest
from nearfar.optim.lars import LARS

__all__ = ["OPTIMIZERS", "OptimizerName", "Special", "build_optimizer", "parameter_groups"]

OptimizerName: TypeAlias = Literal["lars", "sgd", "adamw"]
OPTIMIZERS: tuple[str, ...] = get_args(OptimizerName)


class Special(NamedTuple):
    """Parameters, by the beginning of their names, with a learning rate or decay of their own.

    Attributes:
        prefix: where their names begin.
        scale: factor on the learning rate.
        constant: whether the schedule leaves them alone.
        decay: factor on the weight decay.
    """

    prefix: str
    scale: float
    constant: bool
    decay: float


def parameter_groups(
    module: nn.Module, *, lr: float, weight_decay: float, special: Sequence[Special] = ()
) -> list[dict[str, Any]]:
    """Split parameters into those that decay and adapt, and biases, norms and scalars, which do neither.

    A parameter of fewer than two axes belongs to the second group, whatever its name. Each entry of ``special`` makes
    groups of its own; where two fit a name the longer prefix counts. ``constant`` in a group is for the schedule.
    """
    plain = Special("", 1.0, False, 1.0)
    longest = sorted(special, key=lambda one: len(one.prefix), reverse=True)
    groups: dict[tuple[Special, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            rule = next((one for one in longest if name.startswith(one.prefix)), plain)
            groups.setdefault((rule, parameter.ndim >= 2), []).append(parameter)
    order = sorted(groups, key=lambda key: (key[0] != plain, key[0].prefix, not key[1]))
    return [
        {
            "params": groups[rule, weights],
            "lr": lr * rule.scale,
            "weight_decay": weight_decay * rule.decay if weights else 0.0,
            "adapt": weights,
            "constant": rule.constant,
        }
        for rule, weights in order
    ]


def build_optimizer(
    name: str,
    module: nn.Module,
    *,
    lr: float,
    weight_decay: float = 0.0,
    momentum: float = 0.9,
    special: Sequence[Special] = (),
) -> Optimizer:
    """Return LARS, SGD (with momentum) or AdamW over a module; biases and norms neither decay nor adapt.

    Raises:
        ConfigError: when the name is unknown.
    """
    groups = parameter_groups(module, lr=lr, weight_decay=weight_decay, special=special)
    if name == "lars":
        return LARS(groups, lr=lr, momentum=momentum)
    for group in groups:
        del group["adapt"]
    if name == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=momentum)
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=lr)
    raise ConfigError(
        f"optimizer: name must be one of {', '.join(OPTIMIZERS)}, got {name!r}; {nearest(name, OPTIMIZERS)}"
    )
