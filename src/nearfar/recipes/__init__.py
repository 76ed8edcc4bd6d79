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
        "byol/imagenet": "nearfar.recipes.without_negatives:byol_imagenet",
        "byol/cifar": "nearfar.recipes.without_negatives_cifar:byol_cifar",
        "byol/small": "nearfar.recipes.without_negatives_small:byol_small",
        "simsiam/imagenet": "nearfar.recipes.without_negatives:simsiam_imagenet",
        "simsiam/cifar": "nearfar.recipes.without_negatives_cifar:simsiam_cifar",
        "simsiam/small": "nearfar.recipes.without_negatives_small:simsiam_small",
        "fastsiam/imagenet": "nearfar.recipes.without_negatives:fastsiam_imagenet",
        "fastsiam/cifar": "nearfar.recipes.without_negatives_cifar:fastsiam_cifar",
        "fastsiam/small": "nearfar.recipes.without_negatives_small:fastsiam_small",
        "nnbyol/imagenet": "nearfar.recipes.without_negatives:nnbyol_imagenet",
        "nnbyol/cifar": "nearfar.recipes.without_negatives_cifar:nnbyol_cifar",
        "nnbyol/small": "nearfar.recipes.without_negatives_small:nnbyol_small",
        "nnsiam/imagenet": "nearfar.recipes.without_negatives:nnsiam_imagenet",
        "nnsiam/cifar": "nearfar.recipes.without_negatives_cifar:nnsiam_cifar",
        "nnsiam/small": "nearfar.recipes.without_negatives_small:nnsiam_small",
        "all4one/imagenet": "nearfar.recipes.without_negatives:all4one_imagenet",
        "all4one/cifar": "nearfar.recipes.without_negatives_cifar:all4one_cifar",
        "all4one/small": "nearfar.recipes.without_negatives_small:all4one_small",
        "barlow-twins/imagenet": "nearfar.recipes.without_negatives:barlow_twins_imagenet",
        "barlow-twins/cifar": "nearfar.recipes.without_negatives_cifar:barlow_twins_cifar",
        "barlow-twins/small": "nearfar.recipes.without_negatives_small:barlow_twins_small",
        "vicreg/imagenet": "nearfar.recipes.without_negatives:vicreg_imagenet",
        "vicreg/cifar": "nearfar.recipes.without_negatives_cifar:vicreg_cifar",
        "vicreg/small": "nearfar.recipes.without_negatives_small:vicreg_small",
        "vibcreg/imagenet": "nearfar.recipes.without_negatives:vibcreg_imagenet",
        "vibcreg/cifar": "nearfar.recipes.without_negatives_cifar:vibcreg_cifar",
        "vibcreg/small": "nearfar.recipes.without_negatives_small:vibcreg_small",
        "w-mse/imagenet": "nearfar.recipes.without_negatives:w_mse_imagenet",
        "w-mse/cifar": "nearfar.recipes.without_negatives_cifar:w_mse_cifar",
        "w-mse/small": "nearfar.recipes.without_negatives_small:w_mse_small",
        "tico/imagenet": "nearfar.recipes.without_negatives:tico_imagenet",
        "tico/cifar": "nearfar.recipes.without_negatives_cifar:tico_cifar",
        "tico/small": "nearfar.recipes.without_negatives_small:tico_small",
        "emp-ssl/imagenet": "nearfar.recipes.without_negatives:emp_ssl_imagenet",
        "emp-ssl/cifar": "nearfar.recipes.without_negatives_cifar:emp_ssl_cifar",
        "emp-ssl/small": "nearfar.recipes.without_negatives_small:emp_ssl_small",
        "lejepa/imagenet": "nearfar.recipes.without_negatives:lejepa_imagenet",
        "lejepa/cifar": "nearfar.recipes.without_negatives_cifar:lejepa_cifar",
        "lejepa/small": "nearfar.recipes.without_negatives_small:lejepa_small",
    },
)
"""Name to a function without arguments that returns a `PretrainConfig`."""
