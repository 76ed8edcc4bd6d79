"""Optimisers and schedules that torch does not have: LARS, parameter groups, warm-up with cosine decay.

Imports torch and `nearfar.errors` only.
"""

from nearfar.optim.build import OPTIMIZERS, Special, build_optimizer, parameter_groups
from nearfar.optim.lars import LARS
from nearfar.optim.schedule import scaled_lr, warmup_cosine

__all__ = ["LARS", "OPTIMIZERS", "Special", "build_optimizer", "parameter_groups", "scaled_lr", "warmup_cosine"]
