"""The order of the rows in an epoch, for all ranks together, as a function of seed and epoch alone."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import DataError, require

__all__ = ["Balanced", "Nearby", "Order", "Sequential", "Shuffled"]

_ORDER = 1
"""Last number of the seed, so that no order shares its random numbers with a batch's views."""


class Order(Protocol):
    """Which rows an epoch visits, in which order; ranks and batches are cut out of it by the loader."""

    def __len__(self) -> int:
        """The number of visits in an epoch."""
        ...

    def rows(self, epoch: int) -> NDArray[np.int64]:
        """Return the epoch's row numbers."""
        ...


class Sequential:
    """Every row once, from the first to the last."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def rows(self, epoch: int) -> NDArray[np.int64]:
        """Return 0 .. N - 1."""
        return np.arange(self.count, dtype=np.int64)


class Shuffled:
    """Every row once, in a random order."""

    def __init__(self, count: int, *, seed: int) -> None:
        self.count, self.seed = count, seed

    def __len__(self) -> int:
        return self.count

    def rows(self, epoch: int) -> NDArray[np.int64]:
        """Return a permutation of 0 .. N - 1."""
        return np.random.default_rng([self.seed, epoch, 0, 0, _ORDER]).permutation(self.count)


class Nearby:
    """Every row once, shuffled so that rows visited soon after each other lie in few places of the storage.

    Blocks of ``buffer / 16`` neighbouring rows are put in a random order; then each row moves back by a random number
    of places below ``buffer``, as in a shuffle buffer of that many rows. For data that is slow to jump about in:
    shards read over a network, Parquet row groups.

    Args:
        count: N.
        buffer: how far a row may move.
        seed: of the draws.
    """

    def __init__(self, count: int, *, buffer: int, seed: int) -> None:
        self.count, self.buffer, self.seed = count, buffer, seed

    def __len__(self) -> int:
        return self.count

    def rows(self, epoch: int) -> NDArray[np.int64]:
        """Return a permutation of 0 .. N - 1."""
        rng = np.random.default_rng([self.seed, epoch, 0, 0, _ORDER])
        size = max(1, self.buffer // 16)
        starts = rng.permutation(np.arange(0, self.count, size))
        rows = (starts[:, None] + np.arange(size)).reshape(-1)
        rows = rows[rows < self.count]
        return rows[np.argsort(np.arange(self.count) + rng.random(self.count) * self.buffer, kind="stable")]


class Balanced:
    """Batches of M rows of each of P classes, for metric learning; the rows of a class stand together.

    Every batch draws P classes without replacement, and of each the next M rows of the class's own shuffled order,
    which starts anew when it is used up: a class of fewer than M rows gives some of them twice. Rows of unknown class
    are never drawn. An epoch has as many batches as the labelled rows fill, but at least one.

    Args:
        labels: (N,) int64, -1 unknown.
        per_class: M.
        batch_size: P · M, of all ranks together.
        seed: of the draws.

    Raises:
        DataError: when there are no labels, or M does not divide the batch, or there are fewer than P classes.
    """

    def __init__(self, labels: NDArray[np.int64] | None, *, per_class: int, batch_size: int, seed: int) -> None:
        known = np.empty(0, np.int64) if labels is None else labels
        classes = np.unique(known[known >= 0])
        require(len(classes) > 0, "Balanced", "labels", "known for some rows", "none", error=DataError)
        divides = per_class >= 1 and batch_size % per_class == 0
        require(divides, "Balanced", "per_class", f"a divisor of the batch of {batch_size}", per_class, error=DataError)
        self.draws = batch_size // per_class
        fix = f"use a smaller batch or a larger per_class than {per_class}"
        enough = self.draws <= len(classes)
        require(enough, "Balanced", "classes a batch", f"<= {len(classes)}", self.draws, fix, error=DataError)
        self.per_class, self.batch_size, self.seed = per_class, batch_size, seed
        self._members = [np.flatnonzero(known == number) for number in classes]
        self._batches = max(1, int((known >= 0).sum()) // batch_size)

    def __len__(self) -> int:
        return self._batches * self.batch_size

    def rows(self, epoch: int) -> NDArray[np.int64]:
        """Return the epoch's batches, one after the other."""
        rng = np.random.default_rng([self.seed, epoch, 0, 0, _ORDER])
        waiting = [np.empty(0, np.int64) for _ in self._members]
        groups = []
        for _ in range(self._batches):
            for number in rng.permutation(len(self._members))[: self.draws]:
                while len(waiting[number]) < self.per_class:
                    waiting[number] = np.concatenate([waiting[number], rng.permutation(self._members[number])])
                groups.append(waiting[number][: self.per_class])
                waiting[number] = waiting[number][self.per_class :]
        return np.concatenate(groups)
