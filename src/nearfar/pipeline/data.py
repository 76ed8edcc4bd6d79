"""Data as the verbs see it: which split is meant when none is named."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from nearfar.data import Source, open_splits, take
from nearfar.data.source import digest
from nearfar.errors import DataError, nearest

__all__ = ["content_digest", "limit_source", "open_test_data", "open_training_data"]

SAMPLE = 8
"""Items whose content tells two data sets of equal names apart."""


def open_training_data(data: Any, *, split: str | None, channels: int | None) -> Source:
    """Open the split that is named, else ``train`` where there is one, else everything."""
    return _open(data, split, channels, ("train",))


def open_test_data(data: Any, *, split: str | None, channels: int | None) -> Source:
    """Open the split that is named, else ``test``, else ``val``, else everything."""
    return _open(data, split, channels, ("test", "val"))


def content_digest(source: Source) -> str:
    """Return a digest of a source's names and labels, and of a few of its items where those stay the same."""
    labels = b"" if source.labels is None else source.labels.tobytes()
    sample = []
    if source.fingerprint() is not None:  # else the items may be drawn anew each time
        for row in np.unique(np.linspace(0, len(source) - 1, SAMPLE).astype(np.int64)):
            with contextlib.suppress(DataError):
                sample.append(np.ascontiguousarray(source.read(int(row))).tobytes())
    return digest(source.ids, labels, *sample)


def _open(data: Any, split: str | None, channels: int | None, preferred: tuple[str, ...]) -> Source:
    parts = open_splits(data, channels=channels)
    if split is None:
        return next((parts[name] for name in preferred if name in parts), parts[""])
    if split not in parts:
        names = [name for name in parts if name]
        raise DataError(f"{data}: has no split {split!r}; {nearest(split, names)}")
    return parts[split]


def limit_source(source: Source, limit: int, *, seed: int) -> Source:
    """Return ``limit`` items drawn by the seed: evenly over the classes, or from all where there are no labels."""
    if limit >= len(source):
        return source
    order = np.random.default_rng([seed, limit]).permutation(len(source))
    if source.labels is None:
        return take(source, np.sort(order[:limit]))
    labels = source.labels[order]
    place = np.zeros(len(order), dtype=np.int64)  # the how-manieth of its class an item is
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        place[rows] = np.arange(len(rows))
    return take(source, np.sort(order[np.argsort(place, kind="stable")[:limit]]))
