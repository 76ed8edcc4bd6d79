"""Every way to train an encoder: one file a method, the whole story in it.

A method uses losses, nn and any encoder with a ``dim``, never another method; it knows no modality and no trainer.
Adding one is a file and a line here; other packages add theirs through the entry point group ``nearfar.methods``.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

from torch import nn

from nearfar.config import check_options
from nearfar.encoders.base import is_vit
from nearfar.errors import ConfigError, require
from nearfar.methods.base import Info, Method, Rule, Step
from nearfar.registry import Registry

__all__ = ["METHODS", "Info", "Method", "Rule", "Step", "build"]

METHODS: Registry[type[Method]] = Registry(
    "method",
    group="nearfar.methods",
    builtin={
        "simclr": "nearfar.methods.simclr:SimCLR",
        "simclr-v2": "nearfar.methods.simclr_v2:SimCLRV2",
        "dcl": "nearfar.methods.dcl:DCL",
        "nnclr": "nearfar.methods.nnclr:NNCLR",
        "moco-v2": "nearfar.methods.moco:MoCo",
        "moco-v3": "nearfar.methods.moco_v3:MoCoV3",
        "densecl": "nearfar.methods.densecl:DenseCL",
        "ressl": "nearfar.methods.ressl:ReSSL",
        "cpc": "nearfar.methods.cpc:CPC",
        "simcse": "nearfar.methods.simcse:SimCSE",
        "clip": "nearfar.methods.clip:CLIP",
        "swav": "nearfar.methods.swav:SwAV",
        "deepcluster-v2": "nearfar.methods.deepcluster_v2:DeepClusterV2",
        "twin-labels": "nearfar.methods.twin_labels:TwinLabels",
        "dino": "nearfar.methods.dino:DINO",
        "ibot": "nearfar.methods.ibot:IBOT",
        "mae": "nearfar.methods.mae:MAE",
        "byol": "nearfar.methods.byol:BYOL",
        "simsiam": "nearfar.methods.simsiam:SimSiam",
        "fastsiam": "nearfar.methods.fastsiam:FastSiam",
        "nnbyol": "nearfar.methods.nnbyol:NNBYOL",
        "nnsiam": "nearfar.methods.nnsiam:NNSiam",
        "all4one": "nearfar.methods.all4one:All4One",
        "barlow-twins": "nearfar.methods.barlow_twins:BarlowTwins",
        "vicreg": "nearfar.methods.vicreg:VICReg",
        "vibcreg": "nearfar.methods.vibcreg:VIbCReg",
        "w-mse": "nearfar.methods.w_mse:WMSE",
        "tico": "nearfar.methods.tico:TiCo",
        "emp-ssl": "nearfar.methods.emp_ssl:EMPSSL",
        "lejepa": "nearfar.methods.lejepa:LeJEPA",
        "distill": "nearfar.methods.distill:Distill",
        "ts2vec": "nearfar.methods.ts2vec:TS2Vec",
        "supcon": "nearfar.methods.supcon:SupCon",
        "siamese": "nearfar.methods.siamese:Siamese",
        "triplet": "nearfar.methods.triplet:Triplet",
        "metric": "nearfar.methods.metric:Metric",
    },
)


def build(name: str, encoder: nn.Module, options: Mapping[str, Any] | None = None) -> Method:
    """Build a method by name around an encoder.

    Args:
        name: a name from `METHODS`.
        encoder: a module with an integer ``dim`` that returns (N, dim).
        options: settings for the method's constructor, checked against its signature.

    Raises:
        ConfigError: on an unknown name or setting, or an encoder without ``dim``.
    """
    factory = METHODS.get(name)
    dim = getattr(encoder, "dim", None)
    fix = "set encoder.dim to the length of what it returns"
    require(isinstance(dim, int), f"method {name}", "encoder.dim", "an integer", dim, fix, error=ConfigError)
    _check_encoder(name, factory.info, encoder)
    settings = check_options(f"method {name}", factory, options or {})
    return cast(Callable[..., Method], factory)(encoder, **settings)


def _check_encoder(name: str, info: Info, encoder: nn.Module) -> None:
    if info.encoder == "maps":
        fits, must = hasattr(encoder, "feature_map"), "one with feature_map(x), from images to (N, C, H, W)"
        fix = "take a convolutional encoder such as small or resnet18"
    else:
        fits, must = info.encoder == "any" or is_vit(encoder), "a vision transformer of timm"
        fix = "take one such as vit_tiny_patch16_224"
    require(fits, f"method {name}", "encoder", must, type(encoder).__name__, fix, error=ConfigError)
