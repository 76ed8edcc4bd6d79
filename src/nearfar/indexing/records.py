"""What goes into an index and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Floats", "Id", "Label", "Metadata", "Neighbours", "Records"]

Floats: TypeAlias = NDArray[np.float32]
Id: TypeAlias = str | int
Label: TypeAlias = str | int | None
Metadata: TypeAlias = Mapping[str, Any]


class Neighbours(NamedTuple):
    """The nearest vectors of Q queries, nearest first.

    Attributes:
        distances: (Q, K) float32, ascending; infinity where a query found fewer than K.
        ids: Q lists of at most K ids; equal distances in the order of insertion.
        labels: Q lists as long as those of the ids, ``None`` where unknown.
    """

    distances: Floats
    ids: list[list[Id]]
    labels: list[list[Label]]


class Records(NamedTuple):
    """N items of an index.

    Attributes:
        ids: N ids, all text or all whole numbers.
        vectors: (N, D) float32, as they were added.
        labels: N labels, ``None`` where unknown.
        metadata: N mappings from a field's name to its value; empty where nothing is known.
        thumbnails: N small encoded pictures (JPEG, PNG, WebP), ``None`` where there is none; an empty list when they
            were not asked for.
    """

    ids: list[Id]
    vectors: Floats
    labels: list[Label]
    metadata: list[dict[str, Any]]
    thumbnails: list[bytes | None]
