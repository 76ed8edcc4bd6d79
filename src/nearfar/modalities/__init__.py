"""One file per modality: its reader, its views, its encoder. The only place where a modality is put together.

May import data, views and encoders; knows neither methods nor training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nearfar.data import glance
from nearfar.encoders import EncoderSpec
from nearfar.modalities.base import CUSTOM, Inputs, Media, Modality, Seen
from nearfar.registry import Registry

__all__ = ["CUSTOM", "FOLDER", "MODALITIES", "Inputs", "Media", "Modality", "Seen", "choose", "inputs_of"]

FOLDER = "inputs"
"""Where, in a run folder, a modality's files stand."""

MODALITIES: Registry[Modality] = Registry(
    "modality",
    group="nearfar.modalities",
    builtin={
        "audio": "nearfar.modalities.audio:AUDIO",
        "image-text": "nearfar.modalities.image_text:IMAGE_TEXT",
        "text": "nearfar.modalities.text:TEXT",
        "series": "nearfar.modalities.series:SERIES",
        "table": "nearfar.modalities.table:TABLE",
        "image": "nearfar.modalities.image:IMAGE",
    },
)
"""Modalities of our own, the most particular first, and of other packages."""


def choose(name: str, data: Any) -> Modality:
    """Return the modality of that name; of ``"auto"``, the first that recognises the data, other packages' first.

    Data that none recognises are opened as images, whose reader says what it can read.

    Raises:
        ConfigError: on an unknown name.
    """
    if name != "auto":
        return MODALITIES.get(name)
    seen = glance(data)
    names = MODALITIES.names()
    ours = [key for key in names if key in MODALITIES.builtin]
    for key in [*(key for key in names if key not in MODALITIES.builtin), *ours]:
        found = MODALITIES.get(key)
        if found.recognises(seen):
            return found
    return MODALITIES.get("image")


def inputs_of(spec: EncoderSpec, folder: str | Path | None = None) -> Inputs:
    """Return what is known about an encoder's items.

    Args:
        spec: of `nearfar.load_encoder`.
        folder: the run folder, for modalities that keep files in it.
    """
    return MODALITIES.get(spec.modality).from_spec(spec, None if folder is None else Path(folder) / FOLDER)
