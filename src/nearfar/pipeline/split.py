"""The two parts of labelled data: what may be learnt from, and what is scored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nearfar.data import Source, hold_out
from nearfar.errors import DataError, nearest
from nearfar.modalities import Modality
from nearfar.pipeline.data import limit_source

__all__ = ["HELD_OUT", "training_and_test"]

HELD_OUT = 0.2
"""The share that is held out where there are no splits."""


def training_and_test(
    modality: Modality,
    data: Any,
    options: Mapping[str, Any],
    *,
    train: str | None = None,
    test: str | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> tuple[Source, Source]:
    """Open ``train`` and ``test`` (or ``val``); where there are none, hold out a fifth, evenly over the classes.

    Items of one group, such as a patient's, are held out together.

    Args:
        modality: what the data are.
        data: as for its `open_splits`.
        options: its settings of reading.
        train: the split to learn from, in place of the usual one.
        test: the split to score.
        limit: learn from that many items only, evenly over the classes.
        seed: draws what is held out and what is left by the limit.

    Raises:
        DataError: when there is no split of a name that was given.
    """
    parts = modality.open_splits(data, options)
    for name in (train, test):
        if name is not None and name not in parts:
            raise DataError(f"{data}: has no split {name!r}; {nearest(name, [key for key in parts if key])}")
    scored = test or next((name for name in ("test", "val") if name in parts), None)
    learnt = train or ("train" if "train" in parts else None)
    if scored is not None and learnt is not None:
        sources = parts[learnt], parts[scored]
    else:
        sources = hold_out(parts[learnt or scored or ""], share=HELD_OUT, seed=seed)
    return (limit_source(sources[0], limit, seed=seed) if limit else sources[0]), sources[1]
