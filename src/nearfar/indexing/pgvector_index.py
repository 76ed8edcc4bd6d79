"""The pgvector back end: a table of PostgreSQL with the extension pgvector, through psycopg.

Every write is one transaction, and writers take turns by an advisory lock, on any number of machines. All SQL is
parametrised; names of tables are quoted by psycopg, and filters arrive as parameters. ``pgvector_rows`` says how items
stand in the table.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from nearfar.errors import ConfigError, RunError, extra, require
from nearfar.indexing.base import Index
from nearfar.indexing.filters import Filter
from nearfar.indexing.metrics import normalised
from nearfar.indexing.pgvector_rows import (
    COLUMNS,
    KINDS,
    WRITTEN,
    candidates,
    condition_of,
    definition,
    records,
    shown,
    vectors_of,
    written,
)
from nearfar.indexing.records import Floats, Id, Neighbours, Records
from nearfar.indexing.scan import SLACK
from nearfar.indexing.served import Candidates, Served, decoded_id, key_of

__all__ = ["PgvectorIndex"]

WHO = "the pgvector back end"
FLAT_ROWS = 10_000
"""Up to so many rows ``optimise`` makes no graph: comparing all takes a few milliseconds."""

BREADTHS = (20, 40, 60, 100, 150, 200, 300, 400, 600, 800, 1000)
"""Of hnsw.ef_search, whose largest value is 1,000."""

LARGEST_DIM, LARGEST_GRAPH_DIM = 16_000, 2_000


class PgvectorIndex(Served, Index):
    """Vectors, metadata and thumbnails in a PostgreSQL table.

    Searches compare with every row until ``optimise`` makes an HNSW graph and finds the breadth that keeps the target
    recall. Filtered searches compare with every row that passes, so they are exact; time grows with the table.

    Args:
        dim: the length of a vector, at most 16,000.
        path: the index folder; it holds only the description.
        server: a connection string, ``postgresql://user@host/database``; a password comes from ``PGPASSWORD`` or
            ``~/.pgpass``, and is not kept.
        table: the table's name; a new one if not given.
        building: what it is being built from: it can be opened as usual only after ``finish``.
        options: see ``Index``.
    """

    backend: ClassVar[str] = "pgvector"
    lasting: ClassVar[bool] = True

    def __init__(
        self,
        dim: int,
        *,
        path: Path | str | None = None,
        server: str | None = None,
        table: str | None = None,
        building: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(dim, path=path, **options)
        require(dim <= LARGEST_DIM, WHO, "dim", f"<= {LARGEST_DIM}", dim)
        if server is None:
            raise ConfigError(f"{WHO}: server must be given, got none; for example postgresql://localhost/photos")
        name = table or f"nearfar_{secrets.token_hex(6)}"
        fine = re.fullmatch(r"[a-z_][a-z0-9_]{0,50}", name) is not None
        require(fine, WHO, "table", "lower-case letters, digits and _", repr(name), error=ConfigError)
        self._prepare(server, {"table": name}, building)
        self._connect()
        self._claim_card()
        with self._storage(), self._connection.transaction():
            self._execute("CREATE EXTENSION IF NOT EXISTS vector")
            self._execute(f"CREATE TABLE {{t}} ({definition(dim)})")
        self._write_card()

    @classmethod
    def open(cls, path: Path | str, *, unfinished: bool = False) -> Self:
        """Connect to the server that the folder names (see ``Index.open``)."""
        index, _ = cls._from_card(path, unfinished=unfinished)
        name = str(index.options.get("table"))
        require(index.server is not None, str(path), "server", "named", "none", error=RunError)
        require(re.fullmatch(r"[a-z_][a-z0-9_]{0,50}", name) is not None, str(path), "table", "a name", repr(name))
        index._connect()
        with index._storage():
            found = index._rows_of(
                "SELECT attname, atttypmod FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0", [name]
            )
        columns = dict(found)
        require(bool(columns), str(path), "table", f"{name!r} on the server", "none of that name", error=RunError)
        right = columns.get("point") == index.dim
        got = f"one of other columns or length ({columns.get('point')})"
        require(right, str(path), "table", f"an index of vectors of {index.dim}", got, error=RunError)
        return index

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self._connection.close()

    def destroy(self) -> None:
        """Remove the table from the server, and close; the folder stays."""
        with self._lock, self._storage():
            self._execute("DROP TABLE {t}")
        self.close()

    def _options_of_a_copy(self) -> dict[str, Any]:
        return {"server": self.server}

    # -- the connection ------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        psycopg = extra("psycopg", "pgvector", WHO)
        conninfo = extra("psycopg.conninfo", "pgvector", WHO)
        assert self.server is not None
        try:
            secret = "password" in conninfo.conninfo_to_dict(self.server)
        except psycopg.Error as error:
            raise ConfigError(f"{WHO}: server must be a connection string, got another text ({error})") from None
        fix = "set PGPASSWORD or write it to ~/.pgpass"
        require(not secret, WHO, "server", "without a password", "one with it", fix, error=ConfigError)
        self._psycopg: Any = psycopg
        self._composed: dict[str, str] = {}
        with self._storage("cannot be reached"):
            self._connection: Any = psycopg.connect(self.server, autocommit=True, connect_timeout=10)

    @contextlib.contextmanager
    def _storage(self, what: str = "refuses") -> Iterator[None]:
        try:
            yield
        except self._psycopg.Error as error:
            brief = (str(error).splitlines() or [type(error).__name__])[0][:300]
            raise RunError(f"{self.server}: {what} ({brief}); see that the server runs and has room") from None

    def _keep_connected(self) -> None:
        if self._connection.closed:
            self._connect()

    def _execute(self, text: str, values: Sequence[Any] = (), *, binary: bool = False) -> Any:
        """Run a statement of ours; ``{t}`` is the table, ``%s`` are parameters."""
        self._keep_connected()
        composed = self._composed.get(text)
        if composed is None:  # putting it together takes longer than asking
            table = self._psycopg.sql.Identifier(self.options["table"])
            composed = self._psycopg.sql.SQL(text).format(t=table).as_string(self._connection)
            if len(self._composed) < 1000:
                self._composed[text] = composed
        return self._connection.execute(composed, values or None, binary=binary)

    def _rows_of(self, text: str, values: Sequence[Any] = ()) -> list[Any]:
        found: list[Any] = self._execute(text, values, binary=True).fetchall()
        return found

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        self._keep_connected()
        with self._storage(), self._connection.transaction():
            self._execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [self.options["table"]])
            yield

    # -- reading -------------------------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """How many vectors the index holds."""
        with self._lock, self._storage():
            return int(self._rows_of("SELECT count(*) FROM {t}")[0][0])

    @property
    def ids(self) -> Sequence[Id]:
        """All ids in the order of insertion."""
        with self._lock, self._storage():
            return tuple(decoded_id(*row) for row in self._rows_of("SELECT id, whole FROM {t} ORDER BY number"))

    def _at_most(self, k: int) -> int:
        return k

    def _search(self, queries: Floats, k: int, where: Filter | None) -> Neighbours:
        pointed = normalised(queries) if self.metric == "cosine" else queries
        breadth = int(self._described.get("breadth", 0))
        self._keep_connected()
        if where is None and breadth and k <= 1000:
            found = self._by_graph(pointed, k, max(breadth, k))
            if all(len(one.ids) == k for one in found):
                return self._ranked(queries, found, k)
        with self._storage(), self._connection.transaction():
            found = [self._exactly(q, p, k, where) for q, p in zip(queries, pointed, strict=True)]
        return self._ranked(queries, found, k)

    def _by_graph(self, pointed: Floats, k: int, breadth: int) -> list[Candidates]:
        """Let the graph propose; all is sent before the first answer is awaited, which saves the ways there and back.

        The breadth is set by the statement itself, for itself: no transaction around it, and nothing stays behind on a
        connection that a pooler may give to somebody else.
        """
        near = self._ordered("{t} WHERE chosen.breadth <> ''", k)
        text = (
            "SELECT near.* FROM (SELECT set_config('hnsw.ef_search', %s, true) AS breadth) AS chosen, "
            f"LATERAL ({near}) AS near"
        )
        with self._storage():
            with self._connection.pipeline() if len(pointed) > 1 else contextlib.nullcontext():
                texts = [shown(point) for point in pointed]
                answers = [self._execute(text, [str(breadth), one, one], binary=True) for one in texts]
            return [candidates(answer.fetchall(), self.dim, self.metric) for answer in answers]

    def _exactly(self, query: Floats, point: Floats, k: int, where: Filter | None) -> Candidates:
        condition, values = condition_of(where)
        source = f"(SELECT * FROM {{t}} WHERE {condition} OFFSET 0) AS passing"  # OFFSET 0: no graph for these
        found = self._candidates(self._ordered(source, k + SLACK), point, values)
        if len(found.numbers) == k + SLACK and found.rough[-1] <= found.rough[k - 1] + 2 * self._errors(query):
            limit = float(found.rough[k - 1]) + 2 * self._errors(query)
            if self.metric in ("euclidean", "sqeuclidean"):
                limit = max(limit, 0.0) ** 0.5
            near = f"SELECT {COLUMNS}, {self._raw()}, point {self._operator()} %s::vector FROM {source}"
            text = f"{near} WHERE (point {self._operator()} %s::vector) <= %s"
            asked = [shown(point), *values, shown(point), limit * (1 + 1e-12) + 1e-300]
            found = candidates(self._rows_of(text, asked), self.dim, self.metric)
        return found

    def _ordered(self, source: str, limit: int) -> str:
        operator = self._operator()
        return (
            f"SELECT {COLUMNS}, {self._raw()}, point {operator} %s::vector AS rough FROM {source} "
            f"ORDER BY point {operator} %s::vector LIMIT {int(limit)}"
        )

    def _operator(self) -> str:
        return "<->" if self.metric in ("euclidean", "sqeuclidean") else "<#>"

    def _raw(self) -> str:
        return "raw" if self.metric == "cosine" else "vector_send(point)"

    def _candidates(self, text: str, point: Floats, values: list[Any]) -> Candidates:
        asked = [shown(point), *values, shown(point)]
        return candidates(self._rows_of(text, asked), self.dim, self.metric)

    def _get(self, ids: list[Id], thumbnails: bool) -> Records:
        picture = "thumbnail" if thumbnails else "NULL::bytea"
        text = f"SELECT {COLUMNS}, {self._raw()}, metadata::text, {picture}, key FROM {{t}} WHERE key = ANY(%s)"
        with self._storage():
            rows = {bytes(row[8]): row for row in self._rows_of(text, [[key_of(name) for name in set(ids)]])}
        return records([rows[key_of(name)] for name in ids], self.dim, self.metric, thumbnails)

    def _iterate(self, size: int, where: Filter | None, thumbnails: bool) -> Iterator[Records]:
        condition, values = condition_of(where)
        picture = "thumbnail" if thumbnails else "NULL::bytea"
        text = (
            f"SELECT {COLUMNS}, {self._raw()}, metadata::text, {picture} FROM {{t}} "
            f"WHERE number > %s AND {condition} ORDER BY number LIMIT %s"
        )
        last = -1
        while True:
            with self._lock, self._storage():
                rows = self._rows_of(text, [last, *values, size])
            if not rows:
                return
            yield records(rows, self.dim, self.metric, thumbnails)
            last = rows[-1][0]

    def _matching(self, where: Filter) -> int:
        condition, values = condition_of(where)
        with self._storage():
            return int(self._rows_of(f"SELECT count(*) FROM {{t}} WHERE {condition}", values)[0][0])

    def _contains(self, ids: list[Id]) -> list[bool]:
        if not ids:
            return []
        keys = [key_of(name) for name in ids]
        with self._storage():
            known = {bytes(row[0]) for row in self._rows_of("SELECT key FROM {t} WHERE key = ANY(%s)", [keys])}
        return [key in known for key in keys]

    def _kinds(self) -> tuple[type | None, type | None]:
        with self._storage():
            ids = self._rows_of("SELECT whole FROM {t} LIMIT 1")
            labels = self._rows_of("SELECT label_whole FROM {t} WHERE label IS NOT NULL LIMIT 1")
        kinds = [(int if row[0][0] else str) if row else None for row in (ids, labels)]
        return kinds[0], kinds[1]

    # -- writing -------------------------------------------------------------------------------------------------

    def _add(self, rows: Records) -> None:
        self._know_largest(rows.vectors)
        first = int(self._rows_of("SELECT coalesce(max(number) + 1, 0) FROM {t}")[0][0])
        table = self._psycopg.sql.Identifier(self.options["table"])
        text = self._psycopg.sql.SQL(f"COPY {{t}} ({WRITTEN}) FROM STDIN (FORMAT BINARY)").format(t=table)
        with self._connection.cursor() as cursor, cursor.copy(text) as copy:
            copy.set_types(KINDS)
            for row in written(rows, first, self.metric, self._psycopg.types.json):
                copy.write_row(row)

    def _upsert(self, rows: Records) -> None:
        self._execute("DELETE FROM {t} WHERE key = ANY(%s)", [[key_of(name) for name in rows.ids]])
        self._add(rows)

    def _remove(self, ids: list[Id]) -> None:
        self._execute("DELETE FROM {t} WHERE key = ANY(%s)", [[key_of(name) for name in ids]])

    def _optimise(self) -> str:
        count = self.count
        self._execute("ANALYZE {t}")
        if count <= FLAT_ROWS or self.dim > LARGEST_GRAPH_DIM:
            return f"{self.backend}: {count} vectors of {self.dim}; every row is compared, recall 1"
        graph = self._psycopg.sql.Identifier(f"{self.options['table']}_graph")
        kind = "vector_l2_ops" if self._operator() == "<->" else "vector_ip_ops"
        create = f"CREATE INDEX {{g}} ON {{t}} USING hnsw (point {kind}) WITH (m = 16, ef_construction = 64)"
        table = self._psycopg.sql.Identifier(self.options["table"])
        self._execute("SET LOCAL maintenance_work_mem = '1GB'")
        self._connection.execute(self._psycopg.sql.SQL("DROP INDEX IF EXISTS {g}").format(g=graph))
        self._connection.execute(self._psycopg.sql.SQL(create).format(g=graph, t=table))
        words = self._tune()
        self._write_card()
        return f"{self.backend}: {count} vectors of {self.dim}, target recall {self.recall:g}; {words}"

    def _tune(self) -> str:
        sample = self._rows_of(f"SELECT {self._raw()} FROM {{t}} ORDER BY key LIMIT 64")  # of hashes: any
        queries = vectors_of([row[0] for row in sample], self.dim, self.metric)
        self._described.pop("breadth", None)
        truth = self._search(queries, 11, None)
        aim, recall = self.recall + 0.3 * (1 - self.recall), 0.0
        for breadth in BREADTHS:
            self._described["breadth"] = breadth
            recall = self._recall(self._search(queries, 11, None), truth)
            if recall >= aim:
                break
        return f"hnsw with breadth {self._described['breadth']}, recall@11 measured {recall:.4f}; filters are exact"
