"""Batches of views, made on threads while the training step runs, and the same for any number of threads."""

from __future__ import annotations

import itertools
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.data.batch import Batch, Views
from nearfar.data.order import Balanced, Nearby, Order, Sequential, Shuffled
from nearfar.data.skipped import MOST_BROKEN, Skipped, check_skipped
from nearfar.data.source import Source, TargetSource, read_many
from nearfar.errors import DataError, RunError, require

__all__ = ["Loader", "MakeViews", "cpu_count"]

MakeViews: TypeAlias = Callable[[Any, np.random.Generator], Sequence[Views]]
"""Items of one batch (a (N, H, W, C) array, or a list of items) and a generator to the views of the batch."""

_MOST_REPLACEMENTS = 1_000


def cpu_count() -> int:
    """The number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Loader:
    """Iterates over `Batch`; each ``for`` loop is one epoch.

    **Order of the batches.** An epoch's order is one sequence g for all ranks, drawn from ``[seed, epoch]``. Batch b of
    rank r out of R holds the items ``g[b·B·R + r :: R]``, B of them: batch b of all ranks together is the batch b
    that one process with a batch of B·R would see, with the ranks taking turns. The views of batch b are drawn from
    ``numpy.random.default_rng([seed, epoch, b, r])``, on whichever thread. Without ``drop_last``, a shuffled sequence
    is filled up from its start until all ranks have the same number of items, since collectives need that; one that
    is not shuffled never is, so each item is seen exactly once and the ranks' numbers may differ by one.

    **Where it stands.** `state_dict` tells the next batch that was not handed out yet; after `load_state_dict` the
    next ``for`` loop starts there. An epoch that was left half-way starts again at its first batch otherwise.

    Args:
        source: the items.
        make_views: turns the items of one batch into views; called on the loader's threads.
        batch_size: B, items on this rank.
        seed: of the order and the views.
        shuffle: a new permutation each epoch, or the rows in order.
        drop_last: leave the last, smaller batch out.
        per_class: with a number M, every batch of all ranks together holds M items of each of its classes
            (see `Balanced`); needs ``shuffle``.
        order: the order itself, made for batches of all ranks together, in place of the permutation; needs ``shuffle``.
        buffer: shuffle only nearby, as with a buffer of this many rows (see `Nearby`), for sources that are slow to
            jump about in.
        threads: that make batches; 0 makes them in the caller's thread. The number of cores when absent, at most 8.
        prefetch: batches ready or in the making beyond the one handed out; at least ``threads``.
        rank: r.
        world_size: R.
        with_labels: whether batches carry labels, where the source has any.
        on_broken: what an item that cannot be read leads to: ``"raise"`` its error, ``"replace"`` it by the next
            row that can be read (for training), or ``"drop"`` it (for embedding; a batch of nothing is left out).
            With the last two it is noted in ``skipped``.
        most_broken: the largest share of broken items that ``on_broken`` puts up with.
        pin_memory: hand out tensors in page-locked memory; when absent, where CUDA is there.

    Attributes:
        epoch: the epoch that the next ``for`` loop goes through.
        skipped: the items that could not be read so far.
        waited: seconds that the caller waited for batches in the current epoch.
        waited_share: ``waited`` over the time since the current epoch began.

    Raises:
        InputError: when an argument is out of range.
        DataError: when the batch of all ranks is larger than the data set, or an item cannot be read.
    """

    def __init__(
        self,
        source: Source,
        make_views: MakeViews,
        *,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = True,
        per_class: int | None = None,
        order: Order | None = None,
        buffer: int | None = None,
        threads: int | None = None,
        prefetch: int = 2,
        rank: int = 0,
        world_size: int = 1,
        with_labels: bool = True,
        on_broken: Literal["raise", "replace", "drop"] = "raise",
        most_broken: float = MOST_BROKEN,
        pin_memory: bool | None = None,
    ) -> None:
        require(batch_size >= 1, "Loader", "batch_size", ">= 1", batch_size)
        require(seed >= 0, "Loader", "seed", ">= 0", seed)
        require(0 <= rank < world_size, "Loader", "rank", f"in [0, {world_size})", rank)
        require(threads is None or threads >= 0, "Loader", "threads", ">= 0", threads)
        require(prefetch >= 1, "Loader", "prefetch", ">= 1", prefetch)
        require(per_class is None or shuffle, "Loader", "shuffle", "true when per_class is given", shuffle)
        self.source, self.make_views = source, make_views
        self.batch_size, self.seed, self.shuffle, self.drop_last = batch_size, seed, shuffle, drop_last
        self.rank, self.world_size = rank, world_size
        self.with_labels, self.on_broken, self.most_broken = with_labels, on_broken, most_broken
        self.threads = min(8, cpu_count()) if threads is None else threads
        self.prefetch = max(prefetch, self.threads)
        self.pin_memory = torch.cuda.is_available() if pin_memory is None else pin_memory
        require(buffer is None or (buffer >= 1 and per_class is None), "Loader", "buffer", ">= 1, without per_class",
                buffer)  # fmt: skip
        alone = order is None or (shuffle and per_class is None and buffer is None)
        require(alone, "Loader", "order", "given with shuffle, without per_class and buffer", "otherwise")
        self._order = self._make_order(per_class, buffer) if order is None else order
        self.epoch = 0
        self.waited = 0.0
        self._began: float | None = None
        self._start = 0
        self._next = (0, 0)
        self._broken: dict[int, Skipped] = {}
        self._lock = threading.Lock()

    def _make_order(self, per_class: int | None, buffer: int | None) -> Order:
        count, size = len(self.source), self.batch_size * self.world_size
        if not self.shuffle:
            return Sequential(count)
        fix = "another item is what an item is told apart from"
        require(count >= 2, "Loader", "the number of items", ">= 2", count, fix, error=DataError)
        fix = f"use a batch size of {max(1, count // self.world_size)} or less"
        who = "batch_size" if self.world_size == 1 else f"batch_size x {self.world_size} ranks"
        require(size <= count, "Loader", who, f"<= the {count} items", size, fix, error=DataError)
        if buffer is not None:
            return Nearby(count, buffer=buffer, seed=self.seed)
        if per_class is None:
            return Shuffled(count, seed=self.seed)
        return Balanced(self.source.labels, per_class=per_class, batch_size=size, seed=self.seed)

    def __len__(self) -> int:
        """The number of batches of a whole epoch on this rank."""
        count, size = len(self._order), self.batch_size
        if self.drop_last:
            return count // (size * self.world_size)
        mine = math.ceil(count / self.world_size) if self.shuffle else len(range(self.rank, count, self.world_size))
        return math.ceil(mine / size)

    def __iter__(self) -> Iterator[Batch]:
        start, self._start = self._start, 0
        self._next = (self.epoch, start)
        self.waited, self._began = 0.0, None
        return self._run(self.epoch, start)

    @property
    def skipped(self) -> list[Skipped]:
        """The items that could not be read so far, in the order of their rows."""
        with self._lock:
            return [self._broken[row] for row in sorted(self._broken)]

    @property
    def waited_share(self) -> float:
        """The share of the current epoch's time that the caller waited for batches, in [0, 1]."""
        if self._began is None:
            return 0.0
        return min(1.0, self.waited / max(1e-9, time.perf_counter() - self._began))

    def set_epoch(self, epoch: int) -> None:
        """Make ``epoch`` the next one; a position loaded within this same epoch stays."""
        if epoch != self.epoch:
            self.epoch, self._start, self._next = epoch, 0, (epoch, 0)

    def state_dict(self) -> dict[str, int]:
        """Return where the loader stands, and what must be the same to go on from there."""
        epoch, batch = self._next
        return {"epoch": epoch, "batch": batch, **self._settings()}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on where the loader of ``state`` stood.

        Raises:
            RunError: when the data set, the seed, the batch size or the number of ranks is another one.
        """
        for name, value in self._settings().items():
            fix = "resume with the settings and data that the run began with"
            require(state.get(name) == value, "Loader", name, str(state.get(name)), value, fix, error=RunError)
        self.epoch, self._start = int(state["epoch"]), int(state["batch"])
        self._next = (self.epoch, self._start)

    def _settings(self) -> dict[str, int]:
        return {
            "items": len(self.source),
            "seed": self.seed,
            "batch_size": self.batch_size,
            "world_size": self.world_size,
        }

    def _rows(self, epoch: int) -> NDArray[np.int64]:
        """Return this rank's rows of an epoch."""
        rows = self._order.rows(epoch)
        if self.shuffle and not self.drop_last:
            rows = np.concatenate([rows, rows[: -len(rows) % self.world_size]])
        return rows[self.rank :: self.world_size]

    def _run(self, epoch: int, start: int) -> Iterator[Batch]:
        self._began = time.perf_counter()
        mine, size, count = self._rows(epoch), self.batch_size, len(self)
        jobs = ((number, mine[number * size : (number + 1) * size]) for number in range(start, count))
        made = self._made_here(epoch, jobs) if self.threads == 0 else self._made_on_threads(epoch, jobs)
        try:
            for number in range(start, count):
                asked = time.perf_counter()
                batch = next(made)
                self.waited += time.perf_counter() - asked
                last = number + 1 == count
                self._next = (epoch + 1, 0) if last else (epoch, number + 1)
                if last:
                    # Before the last batch is handed out: whoever knows the length never asks again.
                    self.epoch = epoch + 1
                if batch is not None:
                    yield batch
        finally:
            made.close()

    def _made_here(
        self, epoch: int, jobs: Iterator[tuple[int, NDArray[np.int64]]]
    ) -> Generator[Batch | None, None, None]:
        for number, rows in jobs:
            yield self._make(epoch, number, rows)

    def _made_on_threads(
        self, epoch: int, jobs: Iterator[tuple[int, NDArray[np.int64]]]
    ) -> Generator[Batch | None, None, None]:
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="nearfar-loader")
        waiting: deque[Future[Batch | None]] = deque()
        try:
            for number, rows in itertools.islice(jobs, self.prefetch):
                waiting.append(pool.submit(self._make, epoch, number, rows))
            while waiting:
                batch = waiting.popleft().result()
                for number, rows in itertools.islice(jobs, 1):
                    waiting.append(pool.submit(self._make, epoch, number, rows))
                yield batch
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _make(self, epoch: int, number: int, rows: NDArray[np.int64]) -> Batch | None:
        """Read one batch and make its views; ``None`` when all of its items are broken and dropped."""
        rows, items = self._read(rows)
        if len(rows) == 0:
            return None
        views = self.make_views(items, np.random.default_rng([self.seed, epoch, number, self.rank]))
        labels = self.source.labels if self.with_labels else None
        tensors = None if labels is None else torch.from_numpy(labels[rows])
        targets = self.source.targets if isinstance(self.source, TargetSource) and self.with_labels else None
        said = None if targets is None else torch.from_numpy(targets[rows])
        batch = Batch(views=views, labels=tensors, ids=torch.from_numpy(rows), targets=said)
        return _pinned(batch) if self.pin_memory else batch

    def _read(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], Any]:
        try:
            return rows, read_many(self.source, rows)
        except DataError:
            if self.on_broken == "raise":
                raise
        pairs = [pair for row in rows if (pair := self._read_one(int(row))) is not None]
        return np.array([row for row, _ in pairs], dtype=np.int64), [item for _, item in pairs]

    def _read_one(self, row: int) -> tuple[int, Any] | None:
        """Read one row, or what takes its place."""
        tries = min(len(self.source), _MOST_REPLACEMENTS) if self.on_broken == "replace" else 1
        for step in range(tries):
            at = (row + step) % len(self.source)
            try:
                return at, self.source.read(at)
            except DataError as error:
                self._note(at, error)
        require(self.on_broken == "drop", "Loader", "an item", "readable", f"{tries} broken in a row", error=DataError)
        return None

    def _note(self, row: int, error: DataError) -> None:
        with self._lock:
            self._broken[row] = Skipped.of(self.source.ids[row], error)
            broken = list(self._broken.values())
        check_skipped(broken, len(self.source), most=self.most_broken, who="Loader")


def _pinned(batch: Batch) -> Batch:
    """Copy a batch into page-locked memory, from which copies to the GPU are asynchronous."""

    def pin(views: Views) -> Views:
        if isinstance(views, Tensor):
            return views.pin_memory()
        return {name: view.pin_memory() for name, view in views.items()}

    rest = [None if x is None else x.pin_memory() for x in (batch.labels, batch.ids, batch.targets)]
    return Batch([pin(view) for view in batch.views], *rest)
