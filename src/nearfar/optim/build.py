"""From a name and a module to an optimiser with the right parameter groups."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import nn
from torch.optim import Optimizer

from nearfar.errors import ConfigError, nearest
from nearfar.optim.lars import LARS

__all__ = ["OPTIMIZERS", "OptimizerName", "build_optimizer", "parameter_groups"]

OptimizerName: TypeAlias = Literal["lars", "sgd", "adamw"]
OPTIMIZERS: tuple[str, ...] = get_args(OptimizerName)


def parameter_groups(module: nn.Module, *, weight_decay: float) -> list[dict[str, Any]]:
    """Split parameters into those that decay and adapt, and biases, norms and scalars, which do neither.

    A parameter of fewer than two axes belongs to the second group, whatever its name.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    weights = [p for p in parameters if p.ndim >= 2]
    others = [p for p in parameters if p.ndim < 2]
    groups = [
        {"params": weights, "weight_decay": weight_decay, "adapt": True},
        {"params": others, "weight_decay": 0.0, "adapt": False},
    ]
    return [group for group in groups if group["params"]]


def build_optimizer(
    name: str, module: nn.Module, *, lr: float, weight_decay: float = 0.0, momentum: float = 0.9
) -> Optimizer:
    """Return LARS, SGD (with momentum) or AdamW over a module; biases and norms neither decay nor adapt.

    Raises:
        ConfigError: when the name is unknown.
    """
    groups = parameter_groups(module, weight_decay=weight_decay)
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
