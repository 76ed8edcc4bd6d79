"""An open index that many threads search and write, and that keeps every acknowledged write."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from nearfar.errors import InputError, RunError, require
from nearfar.indexing import Id, Index, Neighbours, Records
from nearfar.progress import say
from nearfar.serving.journal import Journal, Write
from nearfar.serving.refusal import Refused

__all__ = ["Store"]

JOURNAL = "writes.journal"
LOCK = "serving.lock"
LONGEST_JOURNAL = 256 * 2**20
"""Bytes of journal after which the index is saved as a whole."""


class Store:
    """One index and its folder; `close` it.

    A back end that lasts keeps its own writes; beside one that lives in memory the store keeps a journal.

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
        self._writer = threading.Lock()
        self._closed = read_only
        kept = path is not None and not index.lasting
        self._journal = Journal(path / JOURNAL) if path is not None and kept else None
        self._held = _hold(path) if path is not None and kept and not read_only else None
        self._unsaved = self._replay()

    @property
    def count(self) -> int:
        """How many vectors the index holds."""
        return self.index.count

    def search(
        self, vectors: ArrayLike, k: int, *, where: Mapping[str, Any] | None = None, within: float | None = None
    ) -> Neighbours:
        """Find the k nearest of each vector; see `Index.search`."""
        return self.index.search(vectors, k, where=where, within=within)

    def get(self, ids: Sequence[Id], *, thumbnails: bool = False) -> Records:
        """Return what is kept under ids.

        Raises:
            Refused: 404 when there is none of an id.
        """
        try:
            return self.index.get(ids, thumbnails=thumbnails)
        except InputError:
            self._known(ids)
            raise

    def add(self, items: Records, *, replace: bool = False) -> None:
        """Add items; once this returns they are on disk.

        Args:
            items: with thumbnails, ``None`` where there is none.
            replace: take the place of items with the same ids.

        Raises:
            Refused: 409 when an id is there already, 507 when the disk takes no more, 503 after `close`.
            InputError: on wrong vectors, labels or metadata.
        """
        with self._writer:
            self._open()
            there = [name for name in dict.fromkeys(items.ids) if name in self.index]
            if there and not replace:
                raise Refused(409, f"add: id {_short(there[0])} is in the index already; replace or remove it")
            before = self.index.get(there, thumbnails=True) if there else None
            (self.index.upsert if replace else self.index.add)(*items)
            self._record(Write(items, []), lambda: self._back(items.ids, before))

    def remove(self, ids: Sequence[Id]) -> None:
        """Take items out; once this returns that is on disk.

        Raises:
            Refused: 404 when there is none of an id, 507 when the disk takes no more, 503 after `close`.
        """
        with self._writer:
            self._open()
            self._known(ids)
            unique = list(dict.fromkeys(ids))
            before = None if self._journal is None else self.index.get(unique, thumbnails=True)
            self.index.remove(unique)
            self._record(Write(None, unique), lambda: self._back([], before))

    def close(self) -> None:
        """Save what was written and let go of the folder; nothing can be written any more.

        Raises:
            RunError: when the index cannot be saved; its writes then stand in the journal.
        """
        with self._writer:
            if not self._closed:
                self._closed = True
                try:
                    if self._unsaved:
                        self._save()
                finally:
                    self._let_go()

    def _let_go(self) -> None:
        if self._journal is not None:
            self._journal.close()
        if self._held is not None:
            self._held.release()

    def _open(self) -> None:
        if self._closed:
            raise Refused(503, "this service is shutting down; try again in a while")

    def _known(self, ids: Sequence[Id]) -> None:
        missing = next((name for name in ids if name not in self.index), None)
        if missing is not None:
            raise Refused(404, f"id {_short(missing)} is not in the index")

    def _back(self, added: Sequence[Id], before: Records | None) -> None:
        """Undo a write: take out what was added, put back what was there."""
        kept = set() if before is None else set(before.ids)
        gone = [name for name in dict.fromkeys(added) if name not in kept]
        if gone:
            self.index.remove(gone)
        if before is not None:
            self.index.upsert(*before)

    def _record(self, write: Write, undo: Callable[[], None]) -> None:
        if self._journal is None:
            return
        try:
            self._journal.append(write)
        except OSError as error:
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
            try:
                if write.put is None:
                    self.index.remove([name for name in write.remove if name in self.index])
                else:
                    self.index.upsert(*write.put)
            except InputError as error:
                raise RunError(f"{self._journal.path}: does not fit the index ({error}); move it away") from None
            count += 1
        if count:
            say(f"{self.path}: took in {count} writes of a service that did not end well")
        return count > 0


def _hold(path: Path) -> Any:
    from filelock import FileLock, Timeout

    lock = FileLock(path / LOCK, thread_local=False)  # closed by the thread that serves
    try:
        lock.acquire(timeout=0)
    except Timeout:
        must, fix = "served by one process", "stop the other one first"
        require(False, str(path), "index", must, "another one at it", fix, error=RunError)
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror}); a service needs to keep what is added") from None
    return lock


def _short(name: Id) -> str:
    text = repr(name)
    return text if len(text) <= 80 else f"{text[:76]}...'"
