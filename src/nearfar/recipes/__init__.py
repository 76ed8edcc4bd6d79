"""Recipes: functions that return the settings of a run; the docstring says command, cost and expected result.

Data only, no logic. A recipe runs by name, ``nearfar pretrain DATA --out RUN --recipe simclr/small``; flags and a
configuration file override its values. Other packages add theirs through the entry point group ``nearfar.recipes``.
"""

from collections.abc import Callable

from nearfar.pipeline.settings import PretrainConfig
from nearfar.registry import Registry

__all__ = ["RECIPES"]

RECIPES: Registry[Callable[[], PretrainConfig]] = Registry(
    "recipe",
    group="nearfar.recipes",
    builtin={
        "simclr/small": "nearfar.recipes.small:simclr",
        "simclr/gray": "nearfar.recipes.small:simclr_gray",
        "supcon/gray": "nearfar.recipes.small:supcon_gray",
        "supcon/small": "nearfar.recipes.small:supcon",
        "siamese/small": "nearfar.recipes.small:siamese",
        "triplet/small": "nearfar.recipes.small:triplet",
        "simclr/digits": "nearfar.recipes.digits:simclr",
    },
)
"""Name to a function without arguments that returns a `PretrainConfig`."""
