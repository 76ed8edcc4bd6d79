"""What fine-tuning and distillation begin from: an encoder, its head, and the views that it was trained with."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from nearfar.config import load_yaml
from nearfar.encoders import EncoderSpec, load_head
from nearfar.errors import ConfigError, RunError, require
from nearfar.fewlabels.settings import LabelChoice
from nearfar.modalities import MODALITIES, Inputs, Modality
from nearfar.pipeline.features import open_subject, untrained

__all__ = ["Start", "open_start", "pretrained", "reading", "view_settings"]


@dataclasses.dataclass(frozen=True)
class Start:
    """An encoder as it was found; it is copied before it is trained.

    Attributes:
        name: for tables and errors.
        encoder: in eval mode.
        spec: what builds it.
        inputs: what is known about its items.
        head: its projection head, where the run kept one.
        settings: ``views`` and ``view_options`` of the run.
        fingerprint: changes with any weight.
    """

    name: str
    encoder: nn.Module
    spec: EncoderSpec
    inputs: Inputs
    head: nn.Sequential | None
    settings: Mapping[str, Any]
    fingerprint: str

    def copy(self) -> nn.Module:
        """Return the encoder with its weights, to be trained."""
        return copy.deepcopy(self.encoder)

    def fresh(self, seed: int) -> nn.Module:
        """Return the same encoder with random weights."""
        made = untrained(self.spec, seed=seed, inputs=self.inputs).encoder
        assert made is not None
        return made


def open_start(
    run: str | Path, data: Any, options: Mapping[str, Any] | None = None, module: nn.Module | None = None
) -> Start:
    """Open a run, or a stock encoder by its name.

    Args:
        run: the folder, or the name.
        data: what it will read, for a stock encoder.
        options: settings that data are read with.
        module: a freshly built encoder of the user's own, for a run that trained one.

    Raises:
        RunError: when there is no such run, or it is not finished.
        ConfigError: when there is no encoder of the name, or a setting is not the run's.
    """
    subject = open_subject(run, data=data, options=options, module=module)
    assert subject.encoder is not None
    folder = Path(run)
    head = load_head(folder) if folder.is_dir() else None
    return Start(
        str(run), subject.encoder, subject.spec, subject.inputs, head, view_settings(folder), subject.fingerprint
    )


def reading(inputs: Inputs, choice: LabelChoice) -> tuple[Modality, dict[str, Any]]:
    """Return what the data are, and the settings that they are read with.

    Raises:
        ConfigError: when a setting contradicts what the encoder was trained on.
    """
    modality = MODALITIES.get(inputs.modality)
    return modality, inputs.reading("labels", modality.check_options(choice.input_options))


def view_settings(folder: Path) -> dict[str, Any]:
    """Return the views that a run's encoder was pretrained with, also through several fine-tunings."""
    try:
        values = load_yaml(folder / "config.yaml")
    except ConfigError:
        return {"views": "auto", "view_options": {}}
    views, given = (values.get(f"pretrained_{name}", values.get(name)) for name in ("views", "view_options"))
    views, given = views or "auto", given or {}
    plain = isinstance(views, str) and isinstance(given, dict)
    require(plain, str(folder / "config.yaml"), "views", "a name with options", views, error=RunError)
    return {"views": views, "view_options": given}


def pretrained(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the next run's ``config.yaml`` says of the views, so that `view_settings` finds them again."""
    return {f"pretrained_{name}": value for name, value in settings.items()}
