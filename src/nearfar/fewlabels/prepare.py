"""Items made ready to be read many times, with their targets in the same order."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from nearfar.data import DecodedSource, Source, Subset, take
from nearfar.errors import DataError, require
from nearfar.fewlabels.label_files import write_labels
from nearfar.fewlabels.parts import Data
from nearfar.fewlabels.targets import Array, write_out
from nearfar.modalities import Inputs
from nearfar.progress import say
from nearfar.training.run import Run

__all__ = ["decoded", "kept", "labelled_source", "ready", "unlabelled_source"]


def ready(source: Source, inputs: Inputs, threads: int | None, *, whole: bool = False) -> Source:
    """Return a source whose items are read once and kept, without the broken ones; as it is when they are already."""
    inner = source.source if isinstance(source, Subset) else source
    return source if isinstance(inner, DecodedSource) else inputs.keep(source, threads=threads, whole=whole)


def decoded(data: Data, inputs: Inputs, threads: int | None) -> Data:
    """Return the same data, read once and kept, without the items that are broken."""
    train, kept_rows = _kept(data.train, inputs, threads, whole=False)
    old_rows = np.flatnonzero(np.isin(kept_rows, data.rows))
    test, test_values = data.test, data.test_values
    if test is not None:
        test, scored = _kept(test, inputs, threads, whole=True)
        test_values = None if test_values is None else test_values[scored]
    return dataclasses.replace(
        data, train=train, values=data.values[kept_rows], rows=old_rows, test=test, test_values=test_values
    )


def _kept(source: Source, inputs: Inputs, threads: int | None, *, whole: bool) -> tuple[Source, NDArray[np.int64]]:
    found = ready(source, inputs, threads, whole=whole)
    if len(found) == len(source):
        return found, np.arange(len(source))
    place = {text: row for row, text in enumerate(source.ids)}
    return found, np.array([place[text] for text in found.ids], dtype=np.int64)


def labelled_source(data: Data, inputs: Inputs, threads: int | None) -> tuple[Source, Array]:
    """Return the labelled items that can be read, and their targets.

    Raises:
        DataError: when fewer than two can be read.
    """
    source, values = data.labelled()
    found = ready(source, inputs, threads)
    if len(found) < len(source):
        say(f"{len(source) - len(found)} of {len(source)} labelled items cannot be read and are left out")
        place = {text: row for row, text in enumerate(source.ids)}
        values = values[np.array([place[text] for text in found.ids])]
    require(len(found) >= 2, "labels", "labelled items", "two or more that can be read", len(found), error=DataError)
    return found, values


def unlabelled_source(
    data: Data, inputs: Inputs, threads: int | None, limit: int | None = None, seed: int = 0
) -> Source:
    """Return all training items that can be read, or some of them; nobody reads their labels."""
    source = data.train
    if limit is not None and limit < len(source):
        source = take(source, np.sort(np.random.default_rng([seed, limit]).permutation(len(source))[:limit]))
    return ready(source, inputs, threads)


def kept(run: Run, data: Data) -> None:
    """Write down which labels are used."""
    ids = [data.train.ids[int(row)] for row in data.rows]
    write_labels(run.path / "labels.csv", ids, write_out(data.targets, data.values[data.rows]))
