"""An open index that many threads search and write, and that keeps every acknowledged write."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import InputError, RunError, require
from nearfar.indexing import Index, Neighbours, Records
from nearfar.progress import say
from nearfar.serving.journal import Journal, Write
from nearfar.serving.locks import ReadWriteLock
from nearfar.serving.refusal import Refused

__all__ = ["Store"]

T = TypeVar("T")

JOURNAL = "writes.journal"
LOCK = "serving.lock"
LONGEST_JOURNAL = 256 * 2**20
"""Bytes of journal after which the index is saved as a whole."""


class Store:
    """One index and its folder; `close` it.

    Args:
        index: an opened index.
        path: its folder; ``None`` for an index that nobody keeps, as when embeddings are only looked at.
        read_only: nothing will be written, so several processes may serve the folder at once.
        longest_journal: bytes of journal after which the whole index is saved.

    Raises:
        RunError: when another process serves the folder, or the journal is damaged.
    """

    def __init__(
        self, index: Index, path: Path | None = None, *, read_only: bool = False, longest_journal: int = LONGEST_JOURNAL
    ) -> None:
        self.index, self.path = index, path
        self._longest = longest_journal
        self._lock = ReadWriteLock()
        self._writer = threading.Lock()
        self._closed = read_only
        self._journal = None if path is None else Journal(path / JOURNAL)
        self._held = None if path is None or read_only else _hold(path)
        self._unsaved = self._replay()

    def search(self, vectors: NDArray[np.float32], k: int) -> Neighbours:
        """Find the k nearest of each vector."""
        with self._lock.read():
            return self.index.search(vectors, k)

    def get(self, ids: Sequence[str]) -> Records:
        """Return what is kept under ids.

        Raises:
            Refused: 404 when there is none of an id.
        """
        with self._lock.read():
            self._known(ids)
            return self.index.get(ids)

    def use(self, work: Callable[[Index], T]) -> T:
        """Do something with the index while nobody writes."""
        with self._lock.read():
            return work(self.index)

    @property
    def count(self) -> int:
        """How many vectors the index holds."""
        return self.index.count

    def add(self, ids: list[str], vectors: NDArray[np.float32], labels: list[str | int | None]) -> None:
        """Add items; once this returns they are on disk.

        Raises:
            Refused: 409 when an id is there already, 507 when the disk takes no more, 503 after `close`.
            InputError: on wrong vectors or labels.
        """
        with self._writer:
            self._open()
            taken = next((name for name in ids if name in self.index), None)
            if taken is not None:
                raise Refused(409, f"add: id {_short(taken)} is in the index already; remove it first")
            with self._lock.write():
                self.index.add(ids, vectors, labels)
            self._record(Write(False, ids, vectors, labels, {}), undo=lambda: self.index.remove(ids))

    def remove(self, ids: list[str]) -> None:
        """Take items out; once this returns that is on disk.

        Raises:
            Refused: 404 when there is none of an id, 507 when the disk takes no more, 503 after `close`.
        """
        with self._writer:
            self._open()
            self._known(ids)
            unique = list(dict.fromkeys(ids))
            before = self.index.get(unique)
            with self._lock.write():
                self.index.remove(unique)
            gone = Write(True, unique, np.empty((0, 0), np.float32), [], {})
            self._record(gone, undo=lambda: self.index.add(before.ids, before.vectors, before.labels))

    def close(self) -> None:
        """Save what was written and let go of the folder; nothing can be written any more.

        Raises:
            RunError: when the index cannot be saved; its writes then stand in the journal.
        """
        with self._writer:
            if self._closed:
                return
            self._closed = True
            try:
                if self._unsaved:
                    self._save()
            finally:
                if self._journal is not None:
                    self._journal.close()
                if self._held is not None:
                    self._held.release()

    def _open(self) -> None:
        if self._closed:
            raise Refused(503, "this service is shutting down; try again in a while")

    def _known(self, ids: Sequence[str]) -> None:
        missing = next((name for name in ids if name not in self.index), None)
        if missing is not None:
            raise Refused(404, f"id {_short(missing)} is not in the index")

    def _record(self, write: Write, undo: Callable[[], Any]) -> None:
        if self._journal is None:
            return
        try:
            self._journal.append(write)
        except OSError as error:
            with self._lock.write():
                undo()
            raise Refused(507, f"the disk takes no more writes ({error.strerror}); free some space") from None
        self._unsaved = True
        if self._journal.size > self._longest:
            try:
                self._save()
            except RunError as error:  # the write is safe in the journal
                say(str(error))

    def _save(self) -> None:
        if self.path is None or self._journal is None:
            return
        with self._lock.read():
            self.index.save(self.path)
        self._journal.clear()
        self._unsaved = False

    def _replay(self) -> bool:
        """Bring writes of a service that was killed into the index; return whether there were any."""
        if self._journal is None:
            return False
        if self._closed and self._journal.size:
            must, fix = "without unsaved writes to be only read", "serve it once without --read-only"
            require(False, str(self.path), "index", must, "a journal of writes", fix, error=RunError)
        count = 0
        for write in self._journal.read():
            there = [name for name in write.ids if name in self.index]
            if there:
                self.index.remove(there)
            if not write.remove:
                try:
                    self.index.add(write.ids, write.vectors, write.labels)
                except InputError as error:
                    raise RunError(f"{self._journal.path}: does not fit the index ({error}); move it away") from None
            count += 1
        if count:
            say(f"{self.path}: took in {count} writes of a service that did not end well")
        return count > 0


def _hold(path: Path) -> Any:
    from filelock import FileLock, Timeout

    lock = FileLock(path / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        must, fix = "served by one process", "stop the other one first"
        require(False, str(path), "index", must, "another one at it", fix, error=RunError)
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror}); a service needs to keep what is added") from None
    return lock


def _short(name: str) -> str:
    text = repr(name)
    return text if len(text) <= 80 else f"{text[:76]}...'"
