"""What a person can change when the training step waits for data, in the words of the settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nearfar.data import DecodedSource
from nearfar.data.loader import cpu_count
from nearfar.pipeline.settings import PretrainConfig

__all__ = ["remedy"]

_SMALL = 64


def remedy(config: PretrainConfig, decoded: DecodedSource, views: Sequence[Any]) -> str:
    """Return what would make the data come sooner and is not in use yet, the strongest first; empty for nothing.

    Args:
        config: the run's settings, resolved.
        decoded: where the images are.
        views: the descriptions of the views.
    """
    found = []
    if decoded.where == "files":
        found.append("--cache memory or --cache disk (images are decoded each time they are read)")
    cores = cpu_count() // (config.devices or 1)
    if (config.threads or 1) < cores:
        found.append(f"more --threads ({config.threads or 1} of {cores} cores are in use)")
    if any(view.jitter > 0 and view.color == "exact" for view in views):
        found.append("--view-options.color matrix (cheaper colours, close to the exact ones)")
    if any(view.interpolation == "bicubic" for view in views):
        found.append("--view-options.interpolation bilinear")
    if max((view.size for view in views), default=0) > _SMALL:
        found.append("a smaller --image-size")
    found = found or ["a larger encoder: this one is faster than its views"]
    return ", or ".join(found)
