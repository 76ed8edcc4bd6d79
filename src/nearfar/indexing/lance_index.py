"""The Lance back end: a LanceDB table in the index folder or on object storage, and its FAISS index in memory.

Every write is one transaction of the table, so it is there or it is not, whatever happens to the process. Searches go
to a FAISS index of the table in this process, kept in step with every write, so filters and thresholds behave as they
do there. LanceDB's own approximate search is not used: its defaults lose most neighbours, and filtered ones more.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import RunError, extra, require
from nearfar.files import atomic_path
from nearfar.indexing.base import Index
from nearfar.indexing.card import STRUCTURE, LastingCard, digest
from nearfar.indexing.faiss_index import FaissIndex
from nearfar.indexing.files import read_card
from nearfar.indexing.filters import Filter
from nearfar.indexing.lance_bulk import BulkIds
from nearfar.indexing.lance_rows import WITHOUT_PICTURES, from_arrow, schema, to_arrow
from nearfar.indexing.plans import Codes, Kind, Plan
from nearfar.indexing.records import Floats, Id, Neighbours, Records

__all__ = ["LanceIndex"]

TABLE = "items"
READ = 65_536
SMALL_WRITES = 200
"""Writes after which the table is compacted and versions older than an hour are dropped."""


class LanceIndex(LastingCard, Index):
    """Vectors, metadata and thumbnails in a LanceDB table that lasts.

    Several processes on one machine may use the folder: writers take turns, readers see a write with their next call.
    On object storage one process may write at a time.

    Memory: that of ``FaissIndex``; thumbnails stay on disk.

    Args:
        dim: the length of a vector.
        path: the index folder.
        server: where the table lies, if not in the folder, for example ``s3://bucket/photos``.
        kind: of the structure in memory, see ``FaissIndex``.
        codes: of the structure in memory, see ``FaissIndex``.
        building: what it is being built from: it can be opened as usual only after ``finish``.
        options: see ``Index``.
    """

    backend: ClassVar[str] = "lance"
    lasting: ClassVar[bool] = True

    def __init__(
        self,
        dim: int,
        *,
        path: Path | str | None = None,
        server: str | None = None,
        kind: Kind = "auto",
        codes: Codes = "auto",
        building: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(dim, path=path, **options)
        self._prepare(server, {"kind": kind, "codes": codes}, building)
        self._connect()
        self._claim_card()
        with self._storage():
            self._table = self._database.create_table(TABLE, schema=schema(self.dim), exist_ok=False)
        self._write_card()

    @classmethod
    def open(cls, path: Path | str, *, unfinished: bool = False) -> Self:
        """Open the folder, read the table and its structure (see ``Index.open``).

        Args:
            path: the folder.
            unfinished: open an index that is still being built, to go on; the table is then read when it is needed.
        """
        index, card = cls._from_card(path, unfinished=unfinished)
        index._connect()
        with index._storage("is a damaged index"):
            index._table = index._database.open_table(TABLE)
            fields = set(index._table.schema.names)
        fits = fields >= set(schema(index.dim).names)
        require(fits, str(path), "table", "that of an index", f"one with {sorted(fields)}", error=RunError)
        if not unfinished:
            index._load(card)
        return index

    # -- the table -----------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        lancedb = extra("lancedb", "lance", "the lance back end")
        assert self.path is not None
        self._local = self.server is None
        self._database: Any = lancedb.connect(self.server or str(self.path))
        self._versions = self.path / f"{TABLE}.lance" / "_versions"
        self._seen: object = None
        self._small = 0
        self._loaded: FaissIndex | None = None
        self._bulk: BulkIds | None = None

    @contextlib.contextmanager
    def _storage(self, what: str = "cannot be written") -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError, ValueError) as error:
            if isinstance(error, RunError):
                raise
            brief = (str(error).splitlines() or [type(error).__name__])[0][:300]
            raise RunError(
                f"{self.server or self.path}: {what} ({brief}); see that the place is whole and has room"
            ) from None

    def _load(self, card: dict[str, Any] | None = None) -> None:
        """Read the whole table, and its structure from the file beside it if there is one that fits."""
        options = {"kind": self.options["kind"], "codes": self.options["codes"], "recall": self.recall}
        memory = FaissIndex(self.dim, metric=self.metric, **options)
        self._seen = self._stamp()
        table, columns = memory.table, list(WITHOUT_PICTURES)
        with self._storage("is a damaged index"):
            self._table.checkout_latest()
            count = self._table.count_rows()
            vectors = np.empty((count, self.dim), np.float32)
            parts, numbers = [], []
            start = 0
            for batch in self._batches(None, columns):
                rows, stamps = from_arrow(batch)
                vectors[start : start + len(rows.ids)] = rows.vectors
                parts.append(rows)
                numbers.append(stamps)
                start += len(rows.ids)
        if count:
            require(start == count, str(self.path), "table", f"of {count} rows", start, error=RunError)
            stamps = np.concatenate(numbers)
            order = np.argsort(stamps, kind="stable")
            ids = [name for part in parts for name in part.ids]
            labels = [label for part in parts for label in part.labels]
            metadata = [item for part in parts for item in part.metadata]
            if not (order == np.arange(count)).all():
                vectors, stamps = vectors[order], stamps[order]
                ids, labels, metadata = ([one[row] for row in order.tolist()] for one in (ids, labels, metadata))
            twice = len(ids) - len(set(ids))
            require(not twice, str(self.path), "ids", "all different", f"{twice} of them twice", error=RunError)
            table.append(Records(ids, vectors, labels, metadata, []), stamps, adopt=True)
        memory.adopt(self._structure(card, table.stamps))
        self._loaded = memory

    @property
    def _memory(self) -> FaissIndex:
        """The index in memory, read when first needed."""
        if self._loaded is None:
            assert self.path is not None
            self._load(read_card(self.path))
        assert self._loaded is not None
        return self._loaded

    def _structure(self, card: dict[str, Any] | None, stamps: NDArray[np.int64]) -> tuple[Path | None, Plan]:
        """Return the file of the structure and its plan, if its slots are still those of the table."""
        said = (card or {}).get("structure")
        flat = (None, Plan(recall=1.0))
        if not said or self.path is None:
            return flat
        try:
            file, plan = self.path / str(said["file"]), Plan.from_json(said["plan"])
            covered = int(said["count"])
            fits = STRUCTURE.fullmatch(str(said["file"])) and file.is_file() and file.stat().st_size == said["bytes"]
            same = covered <= len(stamps) and digest(stamps[:covered]) == said["digest"]
        except (KeyError, TypeError, ValueError, OSError):
            return flat
        return (file, plan) if fits and same else flat

    # -- reading -------------------------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """How many vectors the index holds."""
        if self._loaded is None:
            with self._storage("cannot be read"):
                return int(self._table.count_rows())
        with self._lock:
            self._refresh()
            return self._memory.count

    @property
    def ids(self) -> Sequence[Id]:
        """All ids in the order of insertion."""
        self._refresh()
        return self._memory.ids

    @property
    def plan(self) -> Plan:
        """The structure in memory and what was measured of it."""
        return self._memory.plan

    def _search(self, queries: Floats, k: int, where: Filter | None) -> Neighbours:
        return self._memory._search(queries, k, where)

    def _get(self, ids: list[Id], thumbnails: bool) -> Records:
        found = self._memory._get(ids, False)
        if not thumbnails:
            return found
        stamps = self._memory.table.stamps[[self._memory.table.slot[name] for name in ids]].tolist()
        return found._replace(thumbnails=self._pictures(stamps))

    def _pictures(self, numbers: list[int]) -> list[bytes | None]:
        wanted = ", ".join(str(int(number)) for number in sorted(set(numbers)))
        with self._storage("cannot be read"):
            found: dict[int, bytes | None] = {}
            for batch in self._batches(f"number IN ({wanted})", ["number", "thumbnail"]):
                found |= dict(zip(batch["number"].to_pylist(), batch["thumbnail"].to_pylist(), strict=True))
        return [found.get(number) for number in numbers]

    def _iterate(self, size: int, where: Filter | None, thumbnails: bool) -> Iterator[Records]:
        self._refresh()
        for part in self._memory._iterate(size, where, False):
            yield self._get(part.ids, True) if thumbnails else part

    def _matching(self, where: Filter) -> int:
        return self._memory._matching(where)

    def _contains(self, ids: list[Id]) -> list[bool]:
        if self._bulk is not None:
            return self._bulk.contains(ids)
        return self._memory._contains(ids)

    def _kinds(self) -> tuple[type | None, type | None]:
        if self._bulk is not None:
            return self._bulk.kinds
        return self._memory._kinds()

    # -- writing -------------------------------------------------------------------------------------------------

    def _add(self, rows: Records) -> None:
        stamps = self._next(len(rows.ids))
        with self._storage():
            self._table.add(to_arrow(rows, stamps))
        self._wrote(rows, stamps, [])

    def _upsert(self, rows: Records) -> None:
        stamps = self._next(len(rows.ids))
        known = [name for name, there in zip(rows.ids, self._contains(rows.ids), strict=True) if there]
        with self._storage():
            if known:
                merge = self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
                merge.execute(to_arrow(rows, stamps))
            else:
                self._table.add(to_arrow(rows, stamps))
        self._wrote(rows, stamps, known)

    def _remove(self, ids: list[Id]) -> None:
        table = self._memory.table
        numbers = table.stamps[[table.slot[name] for name in ids]].tolist()
        with self._storage():
            self._table.delete(f"number IN ({', '.join(map(str, numbers))})")
        self._wrote(None, None, ids)

    def _wrote(self, rows: Records | None, stamps: NDArray[np.int64] | None, gone: list[Id]) -> None:
        """Bring the memory into step."""
        if self._bulk is not None and rows is not None:
            self._bulk.know(rows)
        elif gone:
            self._memory._remove(gone)
        if rows is not None and self._bulk is None:
            self._memory.append(rows._replace(thumbnails=[]), stamps)
        self._small += 1
        if self._small >= SMALL_WRITES:
            self._tidy()
        self._seen = self._stamp()

    def _tidy(self) -> None:
        import datetime

        with self._storage():
            self._table.optimize(cleanup_older_than=datetime.timedelta(hours=1))
        self._small = 0

    @contextlib.contextmanager
    def bulk(self) -> Iterator[None]:
        """Within this block only hashes of the ids are in memory, 8 bytes each; other writers are kept out."""
        with self._lock, self._only_writer():
            self._loaded, self._bulk = None, BulkIds()
            with self._storage("cannot be read"):
                self._table.checkout_latest()
                for batch in self._batches(None, ["number", "id", "whole", "label", "label_number"]):
                    self._bulk.know_batch(batch)
            self._last = self._bulk.last
            try:
                yield
            finally:
                self._bulk, self._seen = None, None

    def _next(self, count: int) -> NDArray[np.int64]:
        if self._bulk is None:
            stamps = self._memory.table.stamps
            self._last = max(getattr(self, "_last", -1), int(stamps[-1]) if len(stamps) else -1)
        first = self._last + 1
        self._last += count
        return np.arange(first, first + count)

    def _optimise(self) -> str:
        self._tidy()
        self._memory.recall = self.recall
        words = self._memory._optimise().partition(": ")[2]
        self._keep_structure()
        self._seen = self._stamp()
        return f"{self.backend}: {words}"

    def destroy(self) -> None:
        """Remove the table, if it lies elsewhere."""
        if self.server is not None:
            with self._storage():
                self._database.drop_table(TABLE)
        self.close()

    def _keep_structure(self) -> None:
        assert self.path is not None
        stamps = self._memory.table.stamps
        file = self.path / f"structure-{digest(stamps)[:16]}.faiss"
        self._described.pop("structure", None)
        written = False
        with contextlib.suppress(_Nothing), atomic_path(file) as temporary:
            written = self._memory.write_engine(temporary)
            if not written:
                raise _Nothing
        if written:
            plan = self._memory.plan.to_json()
            size = file.stat().st_size
            about = {"file": file.name, "bytes": size, "count": len(stamps), "digest": digest(stamps), "plan": plan}
            self._described["structure"] = about
        self._write_card()
        for old in self.path.iterdir():
            if STRUCTURE.fullmatch(old.name) and (not written or old.name != file.name):
                old.unlink(missing_ok=True)

    # -- other processes -----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        if self._bulk is not None:
            yield
            return
        with self._only_writer():
            self._refresh()
            yield

    def _stamp(self) -> object:
        """Return what changes when anybody writes: cheap enough to ask before every search."""
        if not self._local:
            with self._storage("cannot be read"):
                self._table.checkout_latest()
                return self._table.version
        try:
            return os.stat(self._versions).st_mtime_ns  # noqa: PTH116 - a search asks this, and Path.stat takes longer
        except OSError as error:
            raise RunError(f"{self._versions}: cannot be read ({error.strerror}); is the index still there?") from None

    def _refresh(self) -> None:
        if self._bulk is not None or self._loaded is None:
            return
        if (now := self._stamp()) == self._seen:
            return
        table = self._memory.table
        with self._storage("cannot be read"):
            self._table.checkout_latest()
            there = [batch["number"].to_numpy() for batch in self._batches(None, ["number"])]
        numbers = np.sort(np.concatenate(there)) if there else np.empty(0, np.int64)
        known = table.stamps[table.alive]
        gone = np.flatnonzero(table.alive)[~np.isin(known, numbers)]
        if len(gone):
            self._memory._remove(table.records(gone).ids)
        last = int(known[-1]) if len(known) else -1
        if len(numbers) and numbers[-1] > last:
            with self._storage("cannot be read"):
                new = [from_arrow(b) for b in self._batches(f"number > {last}", list(WITHOUT_PICTURES))]
            for rows, stamps in sorted(new, key=lambda one: int(one[1].min(initial=0))):
                order = np.argsort(stamps)
                self._memory.append(_ordered(rows, order), stamps[order])
        self._read_description()
        self._seen = now

    def _batches(self, where: str | None, columns: list[str]) -> Iterator[Any]:
        """Yield record batches; ``where`` holds nothing but our own numbers."""
        query = self._table.search().select(columns)
        if where is not None:
            query = query.where(where)
        for batch in query.to_batches(READ):
            if len(batch):
                yield batch


class _Nothing(Exception):  # noqa: N818
    pass


def _ordered(rows: Records, order: NDArray[np.int64]) -> Records:
    listed = order.tolist()
    ids, labels, metadata = ([one[row] for row in listed] for one in (rows.ids, rows.labels, rows.metadata))
    return Records(ids, rows.vectors[order], labels, metadata, [])
