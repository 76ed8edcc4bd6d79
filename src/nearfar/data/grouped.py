"""Orders that look at classes and groups: batches of related classes, of rows kept apart or together, of rare classes.

Each is a function of seed and epoch alone and has an exact length, as every order here: see `nearfar.data.order`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import DataError, require

__all__ = ["Apart", "ClassBalanced", "Hierarchical", "Together"]

_GROUPED = 2
"""Last number of the seed, so that no order shares its random numbers with a batch's views or another order."""

Ints = NDArray[np.int64]


def _rng(seed: int, epoch: int) -> np.random.Generator:
    return np.random.default_rng([seed, epoch, 0, 0, _GROUPED])


class Hierarchical:
    """Batches of M rows of each of P classes, all from one super-class or few: the classes hardest to tell apart.

    Every batch draws super-classes in a random order and takes classes of the first ``supers``, each class at most
    once; where these have fewer than P classes, of the next ones too. An epoch has as many batches as the labelled rows
    fill, but at least one.

    Args:
        labels: (N,) int64, -1 unknown.
        groups: (N,) int64, each row's super-class; all rows of a class must have the same.
        per_class: M.
        supers: super-classes a batch.
        batch_size: P · M, of all ranks together.
        seed: of the draws.

    Raises:
        DataError: when M does not divide the batch, there are fewer than P classes, or a class has two super-classes.
    """

    def __init__(
        self, labels: Ints | None, groups: Ints, *, per_class: int, supers: int, batch_size: int, seed: int
    ) -> None:
        known = np.full(len(groups), -1) if labels is None else labels
        classes, first = np.unique(known, return_index=True)
        classes, first = classes[classes >= 0], first[classes >= 0]
        require(len(classes) > 0, "Hierarchical", "labels", "known for some rows", "none", error=DataError)
        must = f"a divisor of the batch of {batch_size}"
        ok = per_class >= 1 and batch_size % per_class == 0
        require(ok, "Hierarchical", "per_class", must, per_class, error=DataError)
        self.draws = batch_size // per_class
        fix = f"use a smaller batch or a larger per_class than {per_class}"
        enough = self.draws <= len(classes)
        require(enough, "Hierarchical", "classes a batch", f"<= {len(classes)}", self.draws, fix, error=DataError)
        require(supers >= 1, "Hierarchical", "supers", ">= 1", supers, error=DataError)
        of_class = dict(zip(classes.tolist(), groups[first].tolist(), strict=True))
        strange = [c for c, g in zip(known.tolist(), groups.tolist(), strict=True) if c >= 0 and of_class[c] != g]
        must = "in one super-class"
        require(not strange, "Hierarchical", f"class {[*strange, 0][0]}", must, "in several", error=DataError)
        self.per_class, self.supers, self.batch_size, self.seed = per_class, supers, batch_size, seed
        self._members = [np.flatnonzero(known == number) for number in classes]
        self._super = groups[first]
        self._batches = max(1, int((known >= 0).sum()) // batch_size)

    def __len__(self) -> int:
        return self._batches * self.batch_size

    def rows(self, epoch: int) -> Ints:
        """Return the epoch's batches, one after the other."""
        rng = _rng(self.seed, epoch)
        waiting = [np.empty(0, np.int64) for _ in self._members]
        names = np.unique(self._super)
        groups = []
        for _ in range(self._batches):
            for number in self._draw(rng, names):
                while len(waiting[number]) < self.per_class:
                    fresh = rng.permutation(self._members[number])
                    last = np.isin(fresh, waiting[number])  # rows that wait already come last, so none stands twice
                    waiting[number] = np.concatenate([waiting[number], fresh[~last], fresh[last]])
                groups.append(waiting[number][: self.per_class])
                waiting[number] = waiting[number][self.per_class :]
        return np.concatenate(groups)

    def _draw(self, rng: np.random.Generator, names: Ints) -> list[int]:
        order = rng.permutation(names)
        together = np.flatnonzero(np.isin(self._super, order[: self.supers]))
        chosen: list[int] = rng.permutation(together)[: self.draws].tolist()
        for name in order[self.supers :]:
            if len(chosen) >= self.draws:
                break
            chosen += rng.permutation(np.flatnonzero(self._super == name))[: self.draws - len(chosen)].tolist()
        return chosen


class Apart:
    """No two rows of a group in one batch: duplicates, shots of one product or scans of one patient are no negatives.

    Rows, group by group in a random order, are dealt out to the batches like cards, so a group meets a batch at most
    once. Of a group with more rows than there are batches some rows wait for another epoch, as do the rows that fill no
    whole batch.

    Args:
        groups: (N,) int64.
        batch_size: of all ranks together.
        seed: of the draws.

    Raises:
        DataError: when there are fewer groups than rows in a batch.
    """

    def __init__(self, groups: Ints, *, batch_size: int, seed: int) -> None:
        _, self.groups, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        fix = f"use a batch size of {max(1, len(sizes))} or less"
        require(len(sizes) >= batch_size, "Apart", "groups", f">= the batch size, {batch_size}", len(sizes), fix,
                error=DataError)  # fmt: skip
        batches = len(groups) // batch_size
        while np.minimum(sizes, batches).sum() < batches * batch_size:
            batches -= 1
        self.batch_size, self.seed, self._batches = batch_size, seed, batches

    def __len__(self) -> int:
        return self._batches * self.batch_size

    def rows(self, epoch: int) -> Ints:
        """Return the epoch's batches, one after the other."""
        rng = _rng(self.seed, epoch)
        shuffled = rng.permutation(len(self.groups))
        drawn = self.groups[shuffled]
        order = np.argsort(rng.permutation(int(drawn.max()) + 1)[drawn], kind="stable")  # by group, in a random order
        ranked, groups = shuffled[order], drawn[order]
        starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
        place = np.arange(len(groups)) - np.repeat(starts, np.diff(np.r_[starts, len(groups)]))
        ranked = ranked[place < self._batches]
        spare = len(ranked) - len(self)
        if spare:
            ranked = ranked[np.sort(rng.permutation(len(ranked))[spare:])]
        dealt = ranked.reshape(self.batch_size, self._batches).T
        mixed: Ints = rng.permuted(dealt, axis=1)[rng.permutation(self._batches)].reshape(-1)
        return mixed


class Together:
    """Rows of a group stand in one batch where they fit: negatives then differ in what counts, not in their group.

    Args:
        groups: (N,) int64.
        batch_size: of all ranks together.
        seed: of the draws.
    """

    def __init__(self, groups: Ints, *, batch_size: int, seed: int) -> None:
        self.groups = np.unique(groups, return_inverse=True)[1]
        self.batch_size, self.seed = batch_size, seed

    def __len__(self) -> int:
        return len(self.groups)

    def rows(self, epoch: int) -> Ints:
        """Return every row once: groups in a random order, cut into batches, the whole batches in a random order."""
        rng = _rng(self.seed, epoch)
        shuffled = rng.permutation(len(self.groups))
        drawn = self.groups[shuffled]
        ranked = shuffled[np.argsort(rng.permutation(int(drawn.max()) + 1)[drawn], kind="stable")]
        whole = len(ranked) // self.batch_size
        batches = ranked[: whole * self.batch_size].reshape(whole, self.batch_size)
        return np.concatenate([batches[rng.permutation(whole)].reshape(-1), ranked[whole * self.batch_size :]])


class ClassBalanced:
    """As many visits as labelled rows, shared out over the classes: with ``power`` 1 equally, with 0 as they stand.

    A class of n rows has a share in proportion to n^(1 - power); its rows come in a shuffled order that starts anew
    when it is used up, so rare classes are seen several times an epoch and frequent ones in part. Rows of unknown class
    are never drawn.

    Args:
        labels: (N,) int64, -1 unknown.
        power: in [0, 1].
        seed: of the draws.

    Raises:
        DataError: when no label is known or ``power`` is out of range.
    """

    def __init__(self, labels: Ints | None, *, power: float = 1.0, seed: int) -> None:
        known = np.empty(0, np.int64) if labels is None else labels
        classes = np.unique(known[known >= 0])
        require(len(classes) > 0, "ClassBalanced", "labels", "known for some rows", "none", error=DataError)
        require(0 <= power <= 1, "ClassBalanced", "power", "in [0, 1]", power, error=DataError)
        self.power, self.seed = power, seed
        self._members = [np.flatnonzero(known == number) for number in classes]
        self._count = int((known >= 0).sum())

    def __len__(self) -> int:
        return self._count

    def rows(self, epoch: int) -> Ints:
        """Return the epoch's rows, mixed."""
        rng = _rng(self.seed, epoch)
        weights = np.array([len(rows) for rows in self._members], dtype=np.float64) ** (1 - self.power)
        shares = weights / weights.sum() * self._count
        visits = np.floor(shares).astype(np.int64)
        rest = self._count - int(visits.sum())
        if (
            rest
        ):  # whole visits for the largest remainders, in an order that changes with the epoch where they are equal
            remainders = np.round(shares - visits, 9) + rng.random(len(visits)) * 1e-9
            visits[np.argsort(-remainders, kind="stable")[:rest]] += 1
        drawn = []
        for rows, times in zip(self._members, visits.tolist(), strict=True):
            rounds = [rng.permutation(rows) for _ in range(-(-times // len(rows)))]
            drawn.append(np.concatenate([np.empty(0, np.int64), *rounds])[:times])
        return rng.permutation(np.concatenate(drawn))
