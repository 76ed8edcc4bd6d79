"""What the back ends share that keep all in this process and write it to a folder when asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from nearfar.errors import RunError
from nearfar.indexing.base import Index
from nearfar.indexing.files import Saved, read_index, write_card, write_index
from nearfar.indexing.filters import Filter
from nearfar.indexing.records import Id, Records
from nearfar.indexing.table import Table

__all__ = ["InMemory"]


class InMemory(Index):
    """A ``Table``, and the folder it is saved in; a back end adds how it is searched."""

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        self._table = Table(dim, self.metric)
        self._unsaved = True

    @property
    def count(self) -> int:
        """How many vectors the index holds."""
        return len(self._table)

    @property
    def ids(self) -> Sequence[Id]:
        """All ids in the order of insertion."""
        return tuple(self._table.slot)

    def save(self, path: Path | str | None = None) -> None:
        """Write the index into a folder (see ``Index.save``); if only the description changed, that alone."""
        target = self.path if path is None else Path(path)
        if target is None:
            raise RunError("index save: path must be given for an index that has none yet, got none")
        with self._lock:
            if self._unsaved or target != self.path:
                self._compact()
                write_index(target, self, self._table, self.write_engine, self.structure())
            else:
                write_card(target, self)
            self.path, self._unsaved = target, False

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Read an index that this or another in-memory back end saved (see ``Index.open``)."""
        saved = read_index(Path(path))
        options = saved.options if saved.backend == cls.backend else {}
        index = cls(
            saved.dim,
            metric=saved.metric,
            fingerprint=saved.fingerprint,
            path=path,
            recall=saved.recall,
            **options,
        )
        index._calibration = saved.calibration
        index._restore(saved)
        index._unsaved = False
        return index

    def _restore(self, saved: Saved) -> None:
        self._table.append(saved.rows, adopt=True)

    def structure(self) -> dict[str, Any]:
        """Return what a back end adds to the description: its ``options`` and the ``plan`` of its structure."""
        return {}

    def write_engine(self, path: Path) -> bool:
        """Write the structure that searches to a file, or return that there is none worth it."""
        del path
        return False

    def _add(self, rows: Records) -> None:
        self._table.append(rows)
        self._unsaved = True

    def _upsert(self, rows: Records) -> None:
        known = [name for name in rows.ids if name in self._table.slot]
        if known:
            self._remove(known)
        self._add(rows)

    def _remove(self, ids: list[Id]) -> None:
        self._table.delete(ids)
        self._unsaved = True
        if self._table.dead > self._bearable():
            self._compact()

    def _bearable(self) -> int:
        """Return how many dead slots are carried along before all is compacted."""
        return 1000 + self._table.size // 4

    def _compact(self) -> None:
        if self._table.dead:
            self._table.compact()

    def _get(self, ids: list[Id], thumbnails: bool) -> Records:
        return self._table.records(self._slots(ids), thumbnails=thumbnails)

    def _slots(self, ids: list[Id]) -> Any:
        import numpy as np

        return np.array([self._table.slot[name] for name in ids], dtype=np.int64)

    def _iterate(self, size: int, where: Filter | None, thumbnails: bool) -> Iterator[Records]:
        import numpy as np

        with self._lock:
            slots = np.flatnonzero(self._table.alive if where is None else self._table.passing(where))
        yield from self._table.batches(size, slots, thumbnails=thumbnails)

    def _matching(self, where: Filter) -> int:
        return int(self._table.passing(where).sum())

    def _contains(self, ids: list[Id]) -> list[bool]:
        slot = self._table.slot
        return [name in slot for name in ids]

    def _kinds(self) -> tuple[type | None, type | None]:
        return self._table.kinds
