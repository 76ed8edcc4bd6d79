"""From a name to an encoder that fits the images: their channels, their size, their stem."""

from __future__ import annotations

import dataclasses
import fnmatch
import importlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

from torch import nn

from nearfar.config import check_options, settings
from nearfar.encoders.base import Encoder
from nearfar.encoders.small import SmallConvNet
from nearfar.errors import ConfigError, RunError, nearest, require
from nearfar.registry import Registry

__all__ = ["ENCODERS", "EncoderSpec", "build", "modality_of", "names", "rebuild"]

SIMCLR_RESNETS = (
    "r50_1x_sk0", "r50_1x_sk1", "r50_2x_sk0", "r50_2x_sk1", "r50_4x_sk0", "r101_1x_sk0", "r101_1x_sk1", "r101_2x_sk0",
    "r101_2x_sk1", "r152_1x_sk0", "r152_1x_sk1", "r152_2x_sk0", "r152_2x_sk1", "r152_3x_sk1",
)  # fmt: skip
"""SimCLR's ResNets by Google's names: depth, width, and whether with selective kernels."""

ENCODERS: Registry[Callable[..., Encoder]] = Registry(
    "encoder",
    group="nearfar.encoders",
    builtin={
        "small": "nearfar.encoders.small:SmallConvNet",
        "sound": "nearfar.encoders.sound:SoundConvNet",
        "timm-sound": "nearfar.encoders.sound_models:TimmSound",
        "transformers-sound": "nearfar.encoders.sound_models:TransformersSound",
        "text-small": "nearfar.encoders.text:TextTransformer",
        "transformers": "nearfar.encoders.hugging_face:TransformersEncoder",
        "image-text": "nearfar.encoders.pair:ImageTextEncoder",
        "table-mlp": "nearfar.encoders.table:TableMLP",
        "table-resnet": "nearfar.encoders.table:TableResNet",
        "table-transformer": "nearfar.encoders.table:TableTransformer",
        "simclr_resnet": "nearfar.encoders.simclr_resnet:SimCLRResNet",
        **{name: f"nearfar.encoders.simclr_resnet:{name}" for name in SIMCLR_RESNETS},
        "series-conv": "nearfar.encoders.series:SeriesConv",
    },
)
"""Encoders of our own and of other packages; every timm model can be named as well."""

_GIVEN = ("in_channels", "image_size")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """All that is needed to build an encoder again and to feed it.

    Attributes:
        name: ``"small"``, the name of a timm model, or ``"custom"`` for a module that the user built.
        dim: length of a representation.
        in_channels: channels of the images; 0 for what is no image.
        image_size: side of the square images in pixels; 0 for what is no image.
        stem: of image encoders; ``"small"`` is a 3x3 convolution of stride 1 without max-pool, for images of at most
            64 pixels.
        mean: what is subtracted from each channel of an image in [0, 1].
        std: what each channel is then divided by.
        options: further settings of the encoder.
        modality: what it reads.
        arguments: what else the constructor is given, such as a table's number of columns; images have
            ``in_channels`` and ``image_size`` in its place.
        inputs: what is known about the items, as `nearfar.modalities.Inputs.to_json` wrote it; images have the fields
            above in its place.
    """

    name: str
    dim: int
    in_channels: int = 0
    image_size: int = 0
    stem: Literal["small", "standard"] = "standard"
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.25,)
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    modality: str = "image"
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    inputs: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def modality_of(name: str) -> str:
    """Return the modality whose views an encoder of `ENCODERS` takes."""
    return str(getattr(ENCODERS.get(name), "modality", "image"))


def names(pattern: str = "") -> list[str]:
    """Return the names of our encoders, and of the timm models that match a pattern such as ``"resnet*"``."""
    if not pattern:
        return ENCODERS.names()
    return [*fnmatch.filter(ENCODERS.names(), pattern), *_timm_models().names(pattern)]


def build(
    name: str,
    *,
    in_channels: int = 3,
    image_size: int = 224,
    pretrained: bool = False,
    options: Mapping[str, Any] | None = None,
    mean: tuple[float, ...] = (0.5,),
    std: tuple[float, ...] = (0.25,),
) -> tuple[Encoder, EncoderSpec]:
    """Build an encoder by name.

    Args:
        name: a name from `ENCODERS`, or any timm model. A ResNet for images of at most 64 pixels gets the small stem,
            a 3x3 convolution of stride 1 without max-pool (SimCLR, appendix B.9, https://arxiv.org/abs/2002.05709).
        in_channels: channels of the images.
        image_size: side of the square images in pixels.
        pretrained: let timm load its published weights.
        options: further settings of the encoder, checked against its signature (ours) or handed on (timm's).
        mean: kept in the specification.
        std: kept in the specification.

    Returns:
        The encoder and the specification that builds it again.

    Raises:
        ConfigError: on an unknown name (the nearest ones are offered) or an unknown setting.
        RunError: when timm is needed and cannot be imported.
    """
    require(in_channels >= 1, "encoder", "in_channels", ">= 1", in_channels)
    options = dict(options or {})
    stem: Literal["small", "standard"] = "standard"
    encoder: Encoder
    if name in ENCODERS and modality_of(name) == "image":
        factory = ENCODERS.get(name)
        checked = check_options(f"encoder {name}", factory, options, without=_GIVEN)
        defaults = {key: setting.default for key, setting in settings(factory).items() if key not in _GIVEN}
        options = {**defaults, **checked}  # written out, so that a later default changes no saved encoder
        encoder = factory(in_channels=in_channels, image_size=image_size, **options)
        stem = "small" if factory is SmallConvNet or getattr(encoder, "stem", "") == "small" else stem
    else:
        check_name(name)
        encoder = _timm_models().TimmEncoder(
            name, in_channels=in_channels, image_size=image_size, pretrained=pretrained, options=options
        )
        stem = "small" if encoder.stem == "small" else "standard"
    spec = EncoderSpec(
        name=name,
        dim=encoder.dim,
        in_channels=in_channels,
        image_size=image_size,
        stem=stem,
        mean=mean,
        std=std,
        options=options,
    )
    return encoder, spec


def rebuild(spec: EncoderSpec) -> nn.Module:
    """Build the encoder of a specification again, with fresh weights.

    Raises:
        ConfigError: when there is none of that name, or it refuses its settings.
    """
    if spec.modality == "image":
        return build(spec.name, in_channels=spec.in_channels, image_size=spec.image_size, options=spec.options)[0]
    factory = ENCODERS.get(spec.name)
    checked = check_options(f"encoder {spec.name}", factory, spec.options, without=spec.arguments)
    return factory(**spec.arguments, **checked)


def check_name(name: str) -> None:
    """Refuse a name that is neither one of ours nor a timm model.

    Raises:
        ConfigError: the nearest name is offered.
        RunError: when it could be a timm model, but timm cannot be imported.
    """
    ours = name in ENCODERS and modality_of(name) == "image"
    if not ours and not _timm_models().known(name):
        known = [*_of_images(), *_timm_models().names("")]
        ours_too = ", ".join(n for n in _of_images() if n not in SIMCLR_RESNETS)
        must = f"{ours_too} or a timm model"
        raise ConfigError(f"encoder: must be {must}, got {name!r}; {nearest(name, known)}")


def _of_images() -> list[str]:
    return [name for name in ENCODERS.names() if modality_of(name) == "image"]


def describe(spec: EncoderSpec, encoder: nn.Module) -> str:
    """Return one line about an encoder for the person who waits."""
    count = sum(p.numel() for p in encoder.parameters())
    if spec.modality != "image":
        return f"encoder {spec.name}: {count / 1e6:.2f} M parameters, dim {spec.dim}"
    stem = "3x3 stem without max-pool, chosen for small images" if spec.stem == "small" else "standard stem"
    side = f"{spec.image_size}x{spec.image_size}"
    return f"encoder {spec.name}: {count / 1e6:.2f} M parameters, dim {spec.dim}, {spec.in_channels} x {side}, {stem}"


def _timm_models() -> Any:
    """Import what wraps timm, which is broken wherever torchvision does not fit torch."""
    try:
        return importlib.import_module("nearfar.encoders.timm_models")
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunError(
            f"encoder: timm models need timm and torchvision, which cannot be imported ({first}); "
            f"install them to fit torch, or use one of {', '.join(_of_images())}"
        ) from error
