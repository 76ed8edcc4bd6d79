"""Data as the verbs see it: which split is meant when none is named."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nearfar.data import Source, take
from nearfar.data.folder import split_name
from nearfar.data.source import digest
from nearfar.errors import DataError, nearest
from nearfar.modalities import Modality

__all__ = ["content_digest", "limit_source", "open_test_data", "open_training_data"]

SAMPLE = 8
"""Items whose content tells two data sets of equal names apart."""


def open_training_data(modality: Modality, data: Any, options: Mapping[str, Any], *, split: str | None) -> Source:
    """Open the split that is named, else ``train`` where there is one, else everything."""
    return open_part(modality, data, options, split, ("train",))


def open_test_data(modality: Modality, data: Any, options: Mapping[str, Any], *, split: str | None) -> Source:
    """Open the split that is named, else ``test``, else ``val``, else everything."""
    return open_part(modality, data, options, split, ("test", "val"))


def content_digest(source: Source) -> str:
    """Return a digest of a source's names and labels, and of a few of its items where those stay the same."""
    labels = b"" if source.labels is None else source.labels.tobytes()
    sample = []
    if source.fingerprint() is not None:  # else the items may be drawn anew each time
        for row in np.unique(np.linspace(0, len(source) - 1, SAMPLE).astype(np.int64)):
            with contextlib.suppress(DataError):
                sample.append(_content(source.read(int(row))))
    return digest(source.ids, labels, *sample)


def _content(item: Any) -> bytes:
    """Return the bytes of an item of any modality: an array, a text, or several of them."""
    if isinstance(item, str | bytes):
        return item.encode("utf-8", "surrogatepass") if isinstance(item, str) else item
    if isinstance(item, Mapping):
        item = [part for pair in sorted(item.items()) for part in pair]
    if isinstance(item, Sequence):
        return b"\xff".join(_content(part) for part in item)
    return np.ascontiguousarray(item).tobytes()


def open_part(
    modality: Modality, data: Any, options: Mapping[str, Any], split: str | None, preferred: tuple[str, ...] = ()
) -> Source:
    """Open the split that is named, else the first of the preferred ones that is there, else everything.

    Raises:
        DataError: when there is no split of that name, or the data cannot be used.
    """
    parts = modality.open_splits(data, options)
    if split is None:
        return next((parts[name] for name in preferred if name in parts), parts[""])
    split = split if split in parts else split_name(split) or split
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
