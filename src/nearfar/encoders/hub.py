"""What all encoders of ``transformers`` share: building by architecture, and configurations and weights of others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nearfar.errors import ConfigError, RunError, extra

__all__ = ["build_model", "missing", "published_model", "read_config"]


def build_model(architecture: str, config: Mapping[str, Any], *, encoder: str) -> tuple[nn.Module, Any]:
    """Build a model of an architecture with fresh weights.

    Args:
        architecture: the kind of model, as its ``config.json`` has it under ``model_type``.
        config: settings of the model; what is missing is the library's default.
        encoder: the name of the encoder that it is built for, for errors.

    Returns:
        The model and its whole configuration.

    Raises:
        MissingExtraError: when ``transformers`` is not installed.
        ConfigError: when there is no such architecture, or its configuration cannot be used.
    """
    library: Any = extra("transformers", "text", f"encoder {architecture}")
    given = {key: value for key, value in config.items() if key != "model_type"}
    try:
        made = library.AutoConfig.for_model(architecture, **given)
        model: nn.Module = library.AutoModel.from_config(made)
    except (ValueError, KeyError, TypeError, ImportError) as error:
        first = (str(error).splitlines() or [""])[0][:200]
        must = "one that transformers builds"
        raise ConfigError(f"encoder {encoder}: architecture must be {must}, got {architecture!r} ({first})") from None
    return model, made


def published_model(name: str) -> nn.Module:
    """Return the model of a local folder or a hub name, in float32.

    Raises:
        RunError: when its weights cannot be had.
    """
    library: Any = extra("transformers", "text", f"encoder {name}")
    try:
        found: nn.Module = library.AutoModel.from_pretrained(name, trust_remote_code=False, dtype=torch.float32)
    except Exception as error:  # the library raises many kinds
        raise RunError(missing(name, "weights", error)) from None
    return found


def read_config(name: str) -> tuple[str, dict[str, Any]]:
    """Return the architecture and the configuration of a local folder or a hub name.

    Raises:
        RunError: when it cannot be had.
    """
    library: Any = extra("transformers", "text", f"model {name}")
    try:
        found = library.AutoConfig.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # the library raises many kinds
        raise RunError(missing(name, "config.json", error)) from None
    return str(found.model_type), dict(found.to_diff_dict())


def missing(name: str, what: str, error: Exception) -> str:
    """Return the sentence about a part of a model that cannot be had."""
    first = (str(error).splitlines() or [type(error).__name__])[0][:200]
    kind = "folder" if Path(name).is_dir() else "name on the hub, which needs a network"
    return f"{name}: its {what} cannot be had ({first}); give the folder of a model, this is a {kind}"
