"""What a search found, as a record, as JSON and as a table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from nearfar.indexing import Id, Neighbours

__all__ = ["Hit", "Results"]


class Hit(NamedTuple):
    """One neighbour of one query.

    Attributes:
        query: the query's id.
        rank: from 1, the nearest.
        id: the neighbour's.
        label: the neighbour's, if known.
        distance: in the index's metric.
    """

    query: Id
    rank: int
    id: Id
    label: str | int | None
    distance: float


@dataclass(frozen=True)
class Results:
    """The hits of all queries, query after query, nearest first.

    Attributes:
        metric: of the distances.
        queries: the queries' ids, also of those that found nothing.
        hits: the neighbours.
        skipped: (id, reason) of queries that could not be read.
    """

    metric: str
    queries: tuple[Id, ...]
    hits: tuple[Hit, ...]
    skipped: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(
        cls, metric: str, queries: Sequence[Id], found: Neighbours, skipped: Sequence[tuple[str, str]] = ()
    ) -> Results:
        """Put the queries' ids to what an index found for them."""
        hits = tuple(
            Hit(query, rank, name, label, float(distance))
            for query, names, labels, distances in zip(queries, found.ids, found.labels, found.distances, strict=True)
            for rank, (name, label, distance) in enumerate(zip(names, labels, distances, strict=False), start=1)
        )
        return cls(metric, tuple(queries), hits, tuple(skipped))

    def by_query(self) -> Iterator[tuple[Id, list[Hit]]]:
        """Yield every query with its hits."""
        groups: dict[Id, list[Hit]] = {query: [] for query in self.queries}
        for hit in self.hits:
            groups[hit.query].append(hit)
        yield from groups.items()

    def to_json(self) -> str:
        """Return the record as JSON text."""
        hits = [hit._asdict() for hit in self.hits]
        skipped = [{"id": name, "reason": reason} for name, reason in self.skipped]
        content = {"metric": self.metric, "queries": list(self.queries), "hits": hits, "skipped": skipped}
        return json.dumps(content, indent=2, ensure_ascii=False)

    def table(self) -> Table:
        """Return the hits as a table for the terminal."""
        table = Table("query", "rank", "id", "label", f"{self.metric} distance")
        for query, hits in self.by_query():
            for hit in hits:
                label = "" if hit.label is None else str(hit.label)
                first = str(query) if hit.rank == 1 else ""
                table.add_row(Text(first), str(hit.rank), Text(str(hit.id)), Text(label), f"{hit.distance:.6g}")
            table.add_section()
        return table
