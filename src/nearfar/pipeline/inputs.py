"""What is known about the items of a run: fitted once on its training rows, kept in its folder, read ever after."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from nearfar.encoders import EncoderSpec, save_encoder, save_head
from nearfar.errors import ConfigError, RunError
from nearfar.files import write_atomic
from nearfar.modalities import FOLDER, Inputs, Modality

__all__ = ["restored", "save_with_inputs", "write_inputs"]

FILE = "inputs.json"


def restored(modality: Modality, run: Path) -> Inputs | None:
    """Return what the training rows told when a run was started; ``None`` for a run that does not say.

    Raises:
        RunError: when the run's file is damaged.
    """
    path = run / FOLDER / FILE
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return modality.restore(values["inputs"], path.parent)
    except (OSError, ValueError, KeyError, TypeError, ConfigError) as error:
        raise RunError(f"{path}: cannot be used ({error}); start again with --overwrite") from None


def write_inputs(run: Path, inputs: Inputs) -> None:
    """Write ``inputs.json`` and the files that belong to it, unless a run that goes on has them already."""
    path = run / FOLDER / FILE
    if path.is_file():
        return
    _write_files(path.parent, inputs)
    write_atomic(path, json.dumps({"modality": inputs.modality, "inputs": inputs.to_json()}, indent=2))


def save_with_inputs(
    folder: Path,
    encoder: nn.Module,
    spec: EncoderSpec,
    inputs: Inputs,
    extra: Mapping[str, Any] | None = None,
    *,
    head: nn.Module | None = None,
) -> None:
    """Write an encoder, and beside it, in ``inputs/``, the files that its inputs need, and a plain projection head."""
    save_head(folder, head)
    if inputs.files():
        _write_files(folder / FOLDER, inputs)
    for name, content in inputs.encoder_files(encoder).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / name, content)
    save_encoder(folder, encoder, spec, extra)


def _write_files(folder: Path, inputs: Inputs) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in inputs.files().items():
        write_atomic(folder / name, content)
