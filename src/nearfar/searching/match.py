"""Matching: the label of what is nearest, or "unknown" where nothing is near enough."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from numpy.typing import ArrayLike
from rich.table import Table
from rich.text import Text

from nearfar.errors import RunError, require
from nearfar.evaluation.distance_calibration import Calibration
from nearfar.indexing import Index
from nearfar.searching.query import search_vectors
from nearfar.searching.results import Hit, Results

__all__ = ["Match", "Matches", "match_hits", "match_vectors"]

Vote = Literal["nearest", "majority"]


class Match(NamedTuple):
    """The answer to one query.

    Attributes:
        query: the query's id.
        label: of the match; None where it is unknown, or the item that matched has no label.
        known: whether an item lies within the cut-point.
        id: of the nearest item that speaks for the answer, or the nearest of all where it is unknown.
        distance: to that item; None when the index is empty.
        confidence: how likely an answer at that distance is right, by the calibration; None without one.
        votes: how many of the neighbours within the cut-point are of this label.
    """

    query: str | int
    label: str | int | None
    known: bool
    id: str | int | None
    distance: float | None
    confidence: float | None
    votes: int


@dataclass(frozen=True)
class Matches:
    """The answers to all queries.

    Attributes:
        cut: the largest distance accepted.
        metric: of the distances.
        how: in words.
        matches: one a query.
        skipped: (id, reason) of queries that could not be read.
    """

    cut: float
    metric: str
    how: str
    matches: tuple[Match, ...]
    skipped: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> str:
        """Return the record as JSON text."""
        content = {
            "cut": self.cut,
            "metric": self.metric,
            "how": self.how,
            "matches": [match._asdict() for match in self.matches],
            "skipped": [{"id": name, "reason": reason} for name, reason in self.skipped],
        }
        return json.dumps(content, indent=2, ensure_ascii=False)

    def table(self) -> Table:
        """Return the answers as a table for the terminal."""
        table = Table("query", "label", "confidence", f"{self.metric} distance", "nearest", title=Text(self.how))
        for match in self.matches:
            label = "unknown" if not match.known else "" if match.label is None else str(match.label)
            sure = "" if match.confidence is None else f"{match.confidence:.1%}"
            far = "" if match.distance is None else f"{match.distance:.6g}"
            table.add_row(
                Text(str(match.query)), Text(label), sure, far, Text("" if match.id is None else str(match.id))
            )
        return table


def match_vectors(
    index: Index,
    vectors: ArrayLike,
    cut: float,
    *,
    calibration: Calibration | None = None,
    vote: Vote = "nearest",
    k: int = 10,
    queries: Sequence[str] | None = None,
    fingerprint: str | None = None,
) -> list[Match]:
    """Answer each vector with a label, or with unknown.

    Args:
        index: an opened index.
        vectors: (Q, D).
        cut: the largest distance accepted, in the index's metric.
        calibration: for the confidences.
        vote: see `match_hits`.
        k: neighbours that vote.
        queries: the queries' ids; their row numbers if not given.
        fingerprint: of the encoder of the vectors, if known.

    Raises:
        InputError: on a wrong shape, value or setting.
        RunError: when the vectors, or the calibration, are of another encoder or metric than the index.
    """
    if calibration is not None:
        must = f"of the index's metric, {index.metric}"
        require(calibration.metric == index.metric, "match", "calibration", must, calibration.metric, error=RunError)
    found = search_vectors(index, vectors, 1 if vote == "nearest" else k, queries=queries, fingerprint=fingerprint)
    return match_hits(found, cut, calibration=calibration, vote=vote)


def match_hits(
    found: Results, cut: float, *, calibration: Calibration | None = None, vote: Vote = "nearest"
) -> list[Match]:
    """Turn what a search found into answers.

    Args:
        found: hits of every query, nearest first.
        cut: the largest distance accepted.
        calibration: for the confidences.
        vote: ``"nearest"`` answers with the label of the nearest; ``"majority"`` with the most frequent label among
            the hits within the cut, of equally frequent ones with that of the nearer.
    """
    require(vote in ("nearest", "majority"), "match", "vote", "'nearest' or 'majority'", repr(vote))
    return [_match(query, hits, cut, calibration, vote) for query, hits in found.by_query()]


def _match(query: str | int, hits: list[Hit], cut: float, calibration: Calibration | None, vote: Vote) -> Match:
    if not hits:
        return Match(query, None, known=False, id=None, distance=None, confidence=None, votes=0)
    within = [hit for hit in hits if hit.distance <= cut]
    chosen = within[0] if within else hits[0]
    if vote == "majority" and within:
        votes: dict[str | int | None, int] = {}
        for hit in within:
            votes[hit.label] = votes.get(hit.label, 0) + 1
        chosen = max(within, key=lambda hit: (votes[hit.label], -hit.rank))
    sure = None if calibration is None else calibration.confidence(chosen.distance)
    agreeing = sum(hit.label == chosen.label for hit in within)
    label = chosen.label if within else None
    return Match(query, label, bool(within), chosen.id, chosen.distance, sure, agreeing)
