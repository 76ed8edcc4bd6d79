"""What a person can change when the training step waits for data, in the words of the settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nearfar.data import DecodedSource
from nearfar.data.loader import cpu_count
from nearfar.modalities import Inputs
from nearfar.pipeline.settings import PretrainConfig

__all__ = ["remedy"]


def remedy(config: PretrainConfig, inputs: Inputs, decoded: DecodedSource, views: Sequence[Any]) -> str:
    """Return what would make the data come sooner and is not in use yet, the strongest first; empty for nothing.

    Args:
        config: the run's settings, resolved.
        inputs: what is known about the items.
        decoded: where the items are.
        views: the descriptions of the views.
    """
    found = []
    if decoded.where == "files":
        found.append("--cache memory or --cache disk (images are decoded each time they are read)")
    cores = cpu_count() // (config.devices or 1)
    if (config.threads or 1) < cores:
        found.append(f"more --threads ({config.threads or 1} of {cores} cores are in use)")
    found += inputs.remedies(views)
    found = found or ["a larger encoder: this one is faster than its views"]
    return ", or ".join(found)
