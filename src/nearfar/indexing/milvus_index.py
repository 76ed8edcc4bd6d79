"""The Milvus back end: a collection of Milvus, embedded in a file or on a cluster, through the same client (pymilvus).

``milvus_rows`` says how items stand in it.
"""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from nearfar.errors import ConfigError, RunError, extra, require
from nearfar.indexing.base import Index
from nearfar.indexing.filters import Filter
from nearfar.indexing.milvus_rows import (
    FIELDS,
    candidates,
    check_thumbnails_fit,
    condition_of,
    id_of,
    records,
    row_of,
    schema,
    vectors_of,
)
from nearfar.indexing.records import Floats, Id, Neighbours, Records
from nearfar.indexing.scan import SLACK, scan_table
from nearfar.indexing.served import Candidates, Served, key_of
from nearfar.indexing.table import Table

__all__ = ["MilvusIndex"]

WHO = "the milvus back end"
KINDS = {"cosine": "COSINE", "euclidean": "L2", "sqeuclidean": "L2", "dot": "IP"}
FLAT_ROWS = 10_000
"""Up to so many rows ``optimise`` makes no cells."""

MOST_CELLS = 65_536
"""The most cells that Milvus makes, and that it can be asked to look into."""

PAGE = 4096
"""Rows asked for at once."""

MOST = 16_384
"""Rows that Milvus returns for a query."""

SHARE = 1000
"""Rows sent at once, so that a request stays below Milvus's 64 MB."""


class MilvusIndex(Served, Index):
    """Vectors, metadata and thumbnails in a collection of Milvus.

    Searches compare with every row until ``optimise`` makes cells (IVF_FLAT) and finds how many to look into for the
    target recall. Filtered searches look into all cells, so they are exact; time grows with the collection.

    The embedded file belongs to one process at a time. On a cluster, ``add`` of up to 1,000 rows is one request;
    larger batches are several, each as a whole.

    Args:
        dim: the length of a vector.
        path: the index folder; the embedded file lies in it.
        server: the address of a cluster, ``http://host:19530``; embedded if not given. A token comes from the
            environment, ``MILVUS_TOKEN``, and is not kept.
        collection: the collection's name; a new one if not given.
        building: what it is being built from: it can be opened as usual only after ``finish``.
        options: see ``Index``.
    """

    backend: ClassVar[str] = "milvus"
    lasting: ClassVar[bool] = True
    _torn = False

    def __init__(
        self,
        dim: int,
        *,
        path: Path | str | None = None,
        server: str | None = None,
        collection: str | None = None,
        building: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(dim, path=path, **options)
        name = collection or f"nearfar_{secrets.token_hex(6)}"
        fine = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,200}", name) is not None
        require(fine, WHO, "collection", "letters, digits and _", repr(name), error=ConfigError)
        self._prepare(server, {"collection": name}, building)
        extra("pymilvus", "milvus", WHO)
        self._claim_card()
        self._connect()
        with self._storage():
            self._client.create_collection(name, schema=schema(self._milvus, self.dim), consistency_level="Strong")
            self._client.create_index(name, self._parameters("FLAT", {}), sync=False)
            self._client.load_collection(name)
        self._write_card()

    @classmethod
    def open(cls, path: Path | str, *, unfinished: bool = False) -> Self:
        """Open the embedded file, or connect to the cluster that the folder names (see ``Index.open``)."""
        index, _ = cls._from_card(path, unfinished=unfinished)
        index._connect()
        with index._storage("is a damaged index"):
            there = index._client.has_collection(index._name)
        require(there, str(path), "collection", f"{index._name!r} in Milvus", "none", error=RunError)
        with index._storage("is a damaged index"):
            fields = {one["name"]: one for one in index._client.describe_collection(index._name)["fields"]}
            index._agree()
            index._client.load_collection(index._name)
        dim = fields.get("vector", {}).get("params", {}).get("dim")
        require(dim == index.dim, str(path), "collection", f"of vectors of {index.dim}", dim, error=RunError)
        return index

    def close(self) -> None:
        """Close the client; an embedded file is then free for other processes."""
        with contextlib.suppress(*self._failure):
            self._client.close()
        if self.server is None:
            from milvus_lite.server_manager import server_manager_instance

            server_manager_instance.release_server(str(self._file))

    def _agree(self) -> None:
        """Let the description follow the collection, in case ``optimise`` was killed between the two.

        How many cells there are stands in our description alone: the embedded Milvus does not say.
        """
        about = (
            self._client.describe_index(self._name, "vector") if self._client.list_indexes(self._name, "vector") else {}
        )
        if not about:
            self._client.create_index(self._name, self._parameters("FLAT", {}))
        if (about or {}).get("index_type") != "IVF_FLAT":
            self._described |= {"nlist": 0, "nprobe": 0}
        elif not self._described.get("nlist"):
            self._described |= {"nlist": MOST_CELLS, "nprobe": MOST_CELLS}

    def destroy(self) -> None:
        """Remove the collection, and close; the folder stays."""
        with self._lock, self._storage():
            self._client.drop_collection(self._name)
        self.close()

    def _options_of_a_copy(self) -> dict[str, Any]:
        return {"server": self.server} if self.server else {}

    # -- the connection ------------------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return str(self.options["collection"])

    @property
    def _file(self) -> Path:
        assert self.path is not None
        return self.path.absolute() / "milvus.db"

    def _connect(self) -> None:
        import os

        milvus = extra("pymilvus", "milvus", WHO)
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # its errors reach the caller as one sentence
        self._milvus = milvus
        self._failure = (milvus.exceptions.MilvusException, OSError, ValueError)
        token = os.environ.get("MILVUS_TOKEN", "") if self.server else ""
        with self._storage("cannot be opened"):
            self._client: Any = milvus.MilvusClient(self.server or str(self._file), token=token)

    @contextlib.contextmanager
    def _storage(self, what: str = "refuses") -> Iterator[None]:
        try:
            yield
        except self._failure as error:
            brief = (str(error).splitlines() or [type(error).__name__])[0][:300]
            fix = "see that no other process has it open, that it is whole, and that the disk has room"
            raise RunError(f"{self.server or self._file}: {what} ({brief}); {fix}") from None

    def _parameters(self, kind: str, params: dict[str, Any]) -> Any:
        made = self._milvus.MilvusClient.prepare_index_params()
        made.add_index("vector", index_type=kind, metric_type=KINDS[self.metric], params=params)
        return made

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with self._only_writer():
            yield

    # -- reading -------------------------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """How many vectors the index holds."""
        return self._counted("")

    @property
    def ids(self) -> Sequence[Id]:
        """All ids in the order of insertion."""
        with self._lock:
            found = self._pages("", ["number", "id", "whole"])
            return tuple(id_of(row) for row in sorted(found, key=lambda row: row["number"]))

    def _at_most(self, k: int) -> int:
        return k

    def _counted(self, condition: str) -> int:
        with self._lock, self._storage():
            return int(self._client.query(self._name, filter=condition, output_fields=["count(*)"])[0]["count(*)"])

    def _search(self, queries: Floats, k: int, where: Filter | None) -> Neighbours:
        if k > MOST:
            return self._locally(queries, k, where)
        cells = int(self._described.get("nlist", 0))
        exact = where is not None or not cells
        probe, limit = (cells, min(k + SLACK, MOST)) if exact else (int(self._described["nprobe"]), k)
        condition = condition_of(where)
        found = self._candidates(queries, limit, probe, condition)
        if exact:
            again = [row for row, one in enumerate(found) if self._unsure(one, queries[row], k, limit)]
        else:
            again = [row for row, one in enumerate(found) if len(one.ids) < k]
            again = again if again and min(len(found[row].ids) for row in again) < self.count else []
        if again:
            everything = self._candidates(queries[again], MOST, cells, condition)
            for row, one in zip(again, everything, strict=True):
                found[row] = one
        return self._ranked(queries, found, k)

    def _locally(self, queries: Floats, k: int, where: Filter | None) -> Neighbours:
        """Compare here, with all items brought here: for more neighbours than Milvus returns."""
        table = Table(self.dim, self.metric)
        for rows in self._iterate(PAGE, where, False):
            table.append(rows)
        return table.neighbours(*scan_table(table, queries, min(k, len(table))))

    def _unsure(self, one: Candidates, query: Floats, k: int, limit: int) -> bool:
        """Say whether an item beyond these candidates could belong to the k nearest; fewer than asked for are all."""
        return len(one.ids) == limit > k and bool(one.rough[-1] <= one.rough[k - 1] + 2 * self._errors(query))

    def _candidates(self, queries: Floats, limit: int, probe: int, condition: str) -> list[Candidates]:
        fields = ["number", "id", "whole", "vector", "label", "label_whole"]
        params = {"metric_type": KINDS[self.metric], "params": {"nprobe": probe} if probe else {}}
        with self._storage():
            answers = self._client.search(
                self._name,
                data=list(queries),
                limit=limit,
                filter=condition,
                output_fields=fields,
                search_params=params,
            )
        sign = 1.0 if KINDS[self.metric] == "L2" else -1.0
        return [
            candidates([hit["entity"] for hit in hits], [sign * hit["distance"] for hit in hits], self.dim)
            for hits in answers
        ]

    def _get(self, ids: list[Id], thumbnails: bool) -> Records:
        keys = [key_of(name).hex() for name in ids]
        found = {row["key"]: row for row in self._keyed(keys, [*FIELDS, *["thumbnail"] * thumbnails])}
        return records([found[key] for key in keys], self.dim, thumbnails)

    def _keyed(self, keys: list[str], fields: list[str]) -> Iterator[Any]:
        wanted = list(dict.fromkeys(keys))
        for start in range(0, len(wanted), PAGE):
            listed = ", ".join(f'"{key}"' for key in wanted[start : start + PAGE])
            with self._storage():
                yield from self._client.query(self._name, filter=f"key in [{listed}]", output_fields=fields, limit=PAGE)

    def _pages(self, condition: str, fields: list[str]) -> list[Any]:
        found: list[Any] = []
        with self._storage():
            pages = self._client.query_iterator(
                self._name, batch_size=PAGE, filter=condition or 'key >= ""', output_fields=fields
            )
            while page := pages.next():
                found += page
            pages.close()
        return found

    def _iterate(self, size: int, where: Filter | None, thumbnails: bool) -> Iterator[Records]:
        with self._lock:
            rows = sorted(self._pages(condition_of(where), ["number", "key"]), key=lambda row: row["number"])
        for start in range(0, len(rows), size):
            keys = [row["key"] for row in rows[start : start + size]]
            with self._lock:
                found = {row["key"]: row for row in self._keyed(keys, [*FIELDS, *["thumbnail"] * thumbnails])}
            yield records([found[key] for key in keys if key in found], self.dim, thumbnails)

    def _matching(self, where: Filter) -> int:
        return self._counted(condition_of(where))

    def _contains(self, ids: list[Id]) -> list[bool]:
        keys = [key_of(name).hex() for name in ids]
        known = {row["key"] for row in self._keyed(keys, ["key"])}
        return [key in known for key in keys]

    def _kinds(self) -> tuple[type | None, type | None]:
        with self._storage():
            ids = self._client.query(self._name, filter="", output_fields=["whole"], limit=1)
            labels = self._client.query(self._name, filter="label is not null", output_fields=["label_whole"], limit=1)
        id_kind = (int if ids[0]["whole"] else str) if ids else None
        return id_kind, (int if labels[0]["label_whole"] else str) if labels else None

    # -- writing -------------------------------------------------------------------------------------------------

    def _add(self, rows: Records) -> None:
        self._upsert(rows)  # the ids are new; the primary key keeps them so

    def _upsert(self, rows: Records) -> None:
        check_thumbnails_fit(rows)
        self._know_largest(rows.vectors)
        self._last = max(getattr(self, "_last", 0) + 1, time.time_ns())
        first, self._last = self._last, self._last + len(rows.ids)
        with self._log():
            for start in range(0, len(rows.ids), SHARE):
                share = range(start, min(start + SHARE, len(rows.ids)))
                self._client.upsert(self._name, [row_of(rows, row, first + row) for row in share])

    @contextlib.contextmanager
    def _log(self) -> Iterator[None]:
        """Write to the log of an embedded file; after a refusal the next write counts once it is out of the log.

        A full disk leaves a torn record, and what is appended behind it would be lost by a kill: reading ends there. To
        flush begins a new log, but only when there is something to flush.
        """
        with self._storage():
            try:
                yield
            except self._failure:
                self._torn = self.server is None
                raise
            if self._torn:
                self._client.flush(self._name)
                self._torn = False

    def _remove(self, ids: list[Id]) -> None:
        keys = [key_of(name).hex() for name in ids]
        with self._log():
            for start in range(0, len(keys), PAGE):
                self._client.delete(self._name, ids=keys[start : start + PAGE])

    def _optimise(self) -> str:
        count = self.count
        with self._storage():
            self._client.flush(self._name)
        if count <= FLAT_ROWS:
            return f"{self.backend}: {count} vectors of {self.dim}; every row is compared, recall 1"
        rows = self._client.query(self._name, filter="", output_fields=["vector"], limit=64)
        queries = vectors_of(rows, self.dim)
        cells = 2 ** round(np.log2(4 * count**0.5))
        # enough for the cells of before and of afterwards, of which a kill may leave either
        self._look_into_all(max(cells, int(self._described.get("nlist", 0))))
        truth = self._search(queries, 11, None)
        with self._storage():
            self._client.release_collection(self._name)
            self._client.drop_index(self._name, "vector")
            self._client.create_index(self._name, self._parameters("IVF_FLAT", {"nlist": cells}))
            self._client.load_collection(self._name)
        self._look_into_all(cells)
        aim, recall, probe = self.recall + 0.3 * (1 - self.recall), 0.0, 1
        while True:
            self._described["nprobe"] = probe
            recall = self._recall(self._search(queries, 11, None), truth)
            if recall >= aim or probe >= cells:
                break
            probe = min(cells, probe * 2)
        self._write_card()
        words = f"ivf of {cells} cells, {probe} looked into, recall@11 measured {recall:.4f}; filters are exact"
        return f"{self.backend}: {count} vectors of {self.dim}, target recall {self.recall:g}; {words}"

    def _look_into_all(self, cells: int) -> None:
        self._described |= {"nlist": cells, "nprobe": cells}
        self._write_card()
