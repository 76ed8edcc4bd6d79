"""Encoders on disk: ``encoder.safetensors`` for the weights, ``encoder.json`` for what they are weights of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nearfar._version import __version__
from nearfar.config import from_mapping, to_mapping
from nearfar.encoders.build import EncoderSpec, rebuild
from nearfar.errors import ConfigError, RunError, require
from nearfar.files import write_atomic

__all__ = ["FORMAT", "fingerprint", "load_encoder", "save_encoder"]

FORMAT = 1
"""The version of the file format; a file of a later version is refused."""


def fingerprint(encoder: nn.Module) -> str:
    """Return 16 hexadecimal digits that change with any weight or buffer of the encoder."""
    digest = hashlib.sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(_plain(tensor).reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def save_encoder(folder: Path, encoder: nn.Module, spec: EncoderSpec, extra: Mapping[str, Any] | None = None) -> None:
    """Write the two files; each replaces an older one only when it is complete.

    Args:
        folder: where the files go; it must exist.
        encoder: the module.
        spec: what builds it again.
        extra: further facts for ``encoder.json``, such as the method it was trained with.
    """
    from safetensors.torch import save

    weights = {name: _plain(tensor) for name, tensor in encoder.state_dict().items()}
    card = {
        "format": FORMAT,
        "nearfar": __version__,
        "fingerprint": fingerprint(encoder),
        "spec": to_mapping(spec),
        **(extra or {}),
    }
    write_atomic(folder / "encoder.safetensors", save(weights))
    write_atomic(folder / "encoder.json", json.dumps(card, indent=2))


def load_encoder(folder: str | Path, module: nn.Module | None = None) -> tuple[nn.Module, EncoderSpec]:
    """Read an encoder, without pickle, in eval mode.

    Args:
        folder: a run folder, or any folder with the two files.
        module: a freshly built module to load the weights into, for an encoder that the user built.

    Returns:
        The encoder and its specification.

    Raises:
        RunError: when a file is missing, damaged, of a later version, or does not fit the module.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    card = _read_card(folder / "encoder.json")
    try:
        spec = from_mapping(EncoderSpec, card["spec"], str(folder / "encoder.json"))
    except (ConfigError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{folder / 'encoder.json'}: its specification cannot be used: {error}") from None
    if module is None:
        if spec.name == "custom":
            raise RunError(f"{folder}: holds an encoder of the user's own; pass a freshly built one as module=")
        module = rebuild(spec)
    weights = folder / "encoder.safetensors"
    try:
        module.load_state_dict(load_file(weights))
    except (OSError, SafetensorError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise RunError(f"{weights}: cannot be loaded into encoder {spec.name!r}: {first}") from None
    found = fingerprint(module)
    require(
        found == card.get("fingerprint"),
        str(weights),
        "fingerprint",
        f"the one in encoder.json, {card.get('fingerprint')}",
        found,
        "the two files are not of one encoder; copy both again",
        error=RunError,
    )
    return module.eval(), spec


def _read_card(path: Path) -> dict[str, Any]:
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{path.parent}: holds no encoder (encoder.json is missing); give a finished run") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read: {error}") from None
    ok = isinstance(card, dict) and isinstance(card.get("format"), int)
    require(ok, str(path), "content", "an encoder's description", "something else", error=RunError)
    require(
        card["format"] <= FORMAT,
        str(path),
        "format",
        f"<= {FORMAT}",
        f"{card['format']} (written by nearfar {card.get('nearfar', 'of a later version')})",
        "install a newer nearfar",
        error=RunError,
    )
    return dict(card)


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format).reshape(tensor.shape)
