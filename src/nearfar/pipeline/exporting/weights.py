"""An encoder's weights in files that others load: timm's names, and a folder in the style of Hugging Face."""

from __future__ import annotations

import io
import json
from typing import Any

import torch
from torch import Tensor

from nearfar.config import to_mapping
from nearfar.encoders import Encoder
from nearfar.errors import ConfigError
from nearfar.pipeline.exporting.card import model_card
from nearfar.pipeline.exporting.contents import Contents

__all__ = ["hub_files", "timm_files"]

SMALL_STEM = (
    "model.conv1 = torch.nn.Conv2d({channels}, {width}, 3, 1, 1, bias=False)",
    "model.maxpool = torch.nn.Identity()",
)
"""What makes timm's ResNet into ours for small images."""


def timm_files(contents: Contents, name: str) -> dict[str, bytes | str]:
    """Return a state dict with timm's names, as safetensors or by ``torch.save``, and its description.

    Args:
        contents: the encoder.
        name: of the file; the ending decides.

    Raises:
        ConfigError: when the encoder is no timm model.
    """
    model = _timm(contents)
    if model is None:
        raise ConfigError(
            f"export: the encoder must be a timm model for --format timm, got {contents.spec.name}; take safetensors"
        )
    description = json.dumps({**contents.description(), "timm": _recipe(contents, model)}, indent=2)
    tensors = _tensors(model)
    if name.lower().endswith(".safetensors"):
        return {name: _safetensors(tensors), f"{name}.json": description}
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    return {name: buffer.getvalue(), f"{name}.json": description}


def hub_files(contents: Contents) -> dict[str, bytes | str]:
    """Return the files of a model repository: weights, configuration, preprocessing and card.

    ``timm.create_model("local-dir:FOLDER", pretrained=True)`` and, once uploaded, ``hf-hub:`` read the folder of a timm
    model whose stem was not replaced; `nearfar.load_weights` reads every one.
    """
    model = _timm(contents)
    tensors = _tensors(contents.encoder)
    plain = model is not None and contents.spec.stem == "standard"
    return {
        "model.safetensors": _safetensors(tensors),
        "config.json": json.dumps(_config(contents, model), indent=2),
        "preprocessor_config.json": json.dumps(_preprocessor(contents), indent=2),
        "README.md": model_card(contents, timm=plain),
    }


def _timm(contents: Contents) -> Encoder | None:
    """Return the encoder where it wraps a timm model; asked without importing timm."""
    encoder = contents.encoder
    return encoder if isinstance(encoder, Encoder) and hasattr(encoder, "arguments") else None


def _tensors(module: torch.nn.Module) -> dict[str, Tensor]:
    inner = getattr(module, "model", None) if hasattr(module, "arguments") else module
    assert isinstance(inner, torch.nn.Module)
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in inner.state_dict().items()}


def _recipe(contents: Contents, model: Any) -> dict[str, Any]:
    """Return what builds the timm model that the weights fit."""
    arguments = ", ".join(f"{key}={value!r}" for key, value in model.arguments.items())
    steps = [f"model = timm.create_model({contents.spec.name!r}, {arguments})"]
    if contents.spec.stem == "small":
        channels, width = contents.spec.in_channels, model.model.conv1.out_channels
        steps += [step.format(channels=channels, width=width) for step in SMALL_STEM]
    return {"architecture": contents.spec.name, "arguments": model.arguments, "build": steps}


def _config(contents: Contents, model: Any) -> dict[str, Any]:
    spec = contents.spec
    own = {"nearfar": {**contents.description(), "encoder": to_mapping(spec)}}
    if model is None:
        return {"architecture": f"nearfar/{spec.name}", "num_features": spec.dim, **own}
    ready = contents.preprocessing()
    known = {key: value for key, value in model.arguments.items() if key != "num_classes"}
    return {
        "architecture": spec.name.partition(".")[0],
        "num_classes": 0,
        "num_features": spec.dim,
        "model_args": known,
        "pretrained_cfg": {
            "input_size": [spec.in_channels, spec.image_size, spec.image_size],
            "interpolation": "bicubic",
            "crop_pct": spec.image_size / ready["resize_shorter_side"],
            "crop_mode": "center",
            "mean": ready["mean"],
            "std": ready["std"],
            "num_classes": 0,
        },
        "timm": _recipe(contents, model),
        **own,
    }


def _preprocessor(contents: Contents) -> dict[str, Any]:
    """Return the preprocessing in the words of transformers' image processors."""
    ready, side = contents.preprocessing(), contents.spec.image_size
    return {
        "image_processor_type": "BitImageProcessor",
        "do_convert_rgb": contents.spec.in_channels == 3,
        "do_resize": True,
        "size": {"shortest_edge": ready["resize_shorter_side"]},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": side, "width": side},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": ready["mean"],
        "image_std": ready["std"],
    }


def _safetensors(tensors: dict[str, Tensor]) -> bytes:
    from safetensors.torch import save

    return save(tensors, metadata={"format": "pt"})
