"""What a run has to tell about its encoder, and the description that goes with every export."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from nearfar._version import __version__
from nearfar.config import load_yaml, to_mapping
from nearfar.encoders import EncoderSpec, load_encoder
from nearfar.errors import ConfigError, InputError
from nearfar.evaluation import Report
from nearfar.modalities import IMAGE
from nearfar.progress import say

__all__ = ["Contents", "read_run"]


@dataclasses.dataclass(frozen=True)
class Contents:
    """An encoder, and all that its run folder says about it.

    Attributes:
        name: the folder's name.
        encoder: the module, in eval mode.
        spec: what it is fed with.
        card: the contents of ``encoder.json``.
        config: the run's settings; empty when the folder has none.
        environment: versions and machine; empty when the folder has none.
        reports: the evaluations in the folder, by the name of their file.
    """

    name: str
    encoder: nn.Module
    spec: EncoderSpec
    card: Mapping[str, Any]
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    reports: Mapping[str, Report]

    def preprocessing(self) -> dict[str, Any]:
        """Return how a picture becomes an input: nothing of it is part of the encoder or of any exported graph."""
        spec = self.spec
        view = IMAGE.evaluation_view(spec.image_size, mean=spec.mean, std=spec.std)
        return {
            "channels": spec.in_channels,
            "value_range": [0.0, 1.0],
            "resize_shorter_side": max(spec.image_size, round(spec.image_size / view.proportion)),
            "interpolation": f"{view.interpolation}, antialiased",
            "center_crop": spec.image_size,
            "mean": _per_channel(spec.mean, spec.in_channels),
            "std": _per_channel(spec.std, spec.in_channels),
            "included_in_the_model": False,
        }

    def description(self) -> dict[str, Any]:
        """Return plain values that say what the weights are, what goes in and what comes out."""
        spec = self.spec
        side = spec.image_size
        return {
            "nearfar": __version__,
            "fingerprint": self.card.get("fingerprint"),
            "method": self.card.get("method"),
            "epochs": self.card.get("epochs"),
            "encoder": to_mapping(spec),
            "input": {"name": "images", "shape": ["batch", spec.in_channels, side, side], "dtype": "float32"},
            "output": {"name": "embedding", "shape": ["batch", spec.dim], "dtype": "float32"},
            "preprocessing": self.preprocessing(),
        }


def read_run(folder: Path, module: nn.Module | None = None) -> Contents:
    """Read a run, or any folder with ``encoder.safetensors`` and ``encoder.json``.

    Args:
        folder: the folder.
        module: a freshly built encoder of the user's own, for a run that trained one.

    Raises:
        RunError: when it holds no encoder, or a damaged one.
    """
    encoder, spec = load_encoder(folder, module)
    return Contents(
        name=folder.resolve().name,
        encoder=encoder,
        spec=spec,
        card=_json(folder / "encoder.json"),
        config=_config(folder / "config.yaml"),
        environment=_json(folder / "environment.json"),
        reports=_reports(folder),
    )


def _per_channel(values: tuple[float, ...], channels: int) -> list[float]:
    return list(values * channels) if len(values) == 1 else list(values)


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        say(f"{path}: left out, cannot be read: {error}")
        return {}
    return content if isinstance(content, dict) else {}


def _config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return load_yaml(path)
    except ConfigError as error:
        say(f"{error}; left out")
        return {}


def _reports(folder: Path) -> dict[str, Report]:
    found = {}
    for path in sorted(folder.glob("evaluation*.json")):
        try:
            found[path.name] = Report.from_json(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, InputError) as error:
            say(f"{path}: left out, cannot be read: {error}")
    return found
