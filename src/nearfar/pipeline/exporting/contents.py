"""What a run has to tell about its encoder, and the description that goes with every export."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from nearfar._version import __version__
from nearfar.config import load_yaml, to_mapping
from nearfar.encoders import EncoderSpec, load_encoder
from nearfar.errors import ConfigError, InputError, require
from nearfar.evaluation import Report
from nearfar.modalities import MODALITIES, Inputs, inputs_of
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
        inputs: what is known about the items.
    """

    name: str
    encoder: nn.Module
    spec: EncoderSpec
    card: Mapping[str, Any]
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    reports: Mapping[str, Report]
    inputs: Inputs

    def preprocessing(self) -> dict[str, Any]:
        """Return how an item becomes an input: nothing of it is part of the encoder or of any exported graph."""
        return self.inputs.preprocessing()

    def example(self, count: int) -> Tensor:
        """Return made-up rows as the encoder takes them.

        Raises:
            ConfigError: when they are no single tensor.
        """
        found = self.inputs.example(count)
        fix = "take safetensors"
        require(isinstance(found, Tensor), "export", "the encoder's input", "one tensor", "several", fix,
                error=ConfigError)  # fmt: skip
        assert isinstance(found, Tensor)
        return found

    def _input(self) -> dict[str, Any]:
        name = MODALITIES.get(self.spec.modality).items
        try:
            made = self.inputs.example(1)
        except ConfigError:
            return {"name": name}
        if isinstance(made, Tensor):
            return {"name": name, "shape": ["batch", *made.shape[1:]], "dtype": str(made.dtype).removeprefix("torch.")}
        return {"name": name, "parts": {key: ["batch", *part.shape[1:]] for key, part in made.items()}}

    def description(self) -> dict[str, Any]:
        """Return plain values that say what the weights are, what goes in and what comes out."""
        spec = self.spec
        return {
            "nearfar": __version__,
            "fingerprint": self.card.get("fingerprint"),
            "method": self.card.get("method"),
            "epochs": self.card.get("epochs"),
            "encoder": to_mapping(spec),
            "input": self._input(),
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
        inputs=inputs_of(spec, folder),
    )


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
