"""The ways to ask an index."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nearfar.errors import DataError, require
from nearfar.indexing import Id, Index, Neighbours
from nearfar.searching.results import Results

if TYPE_CHECKING:
    from nearfar.data.source import Source

__all__ = [
    "Embed",
    "check_fingerprint",
    "search_ids",
    "search_images",
    "search_source",
    "search_vectors",
    "without_itself",
]

Embed: TypeAlias = Callable[[Sequence[Any]], ArrayLike]
"""Items as their source reads them (images: (H, W, C) arrays) to vectors (N, D)."""

BATCH = 256


def check_fingerprint(index: Index, fingerprint: str | None) -> None:
    """Refuse vectors of another encoder; an index or a query of unknown origin is let pass.

    Raises:
        RunError: when both are known and differ.
    """
    index.check_fingerprint(fingerprint)


def search_vectors(
    index: Index,
    vectors: ArrayLike,
    k: int = 10,
    *,
    queries: Sequence[Id] | None = None,
    fingerprint: str | None = None,
    where: Mapping[str, Any] | None = None,
    within: float | None = None,
) -> Results:
    """Find the k nearest of each vector.

    Args:
        index: an opened index.
        vectors: (Q, D).
        k: how many; all when the index holds fewer.
        queries: the queries' ids; their row numbers if not given.
        fingerprint: of the encoder of the vectors, if known.
        where: only items that pass this filter (see ``nearfar.indexing.filters``).
        within: only items at most this far.

    Raises:
        InputError: on a wrong shape or value, or ids that are not Q different ones.
        RunError: when the vectors are of another encoder than the index.
    """
    check_fingerprint(index, fingerprint)
    found = index.search(vectors, k, where=where, within=within)
    names: list[Id] = [str(row) for row in range(len(found.ids))] if queries is None else list(queries)
    different = len(set(names)) == len(names) == len(found.ids)
    require(different, "search", "query ids", f"{len(found.ids)} different ones", f"{len(set(names))}")
    return Results.of(index.metric, names, found)


def search_ids(
    index: Index,
    ids: Sequence[Id],
    k: int = 10,
    *,
    where: Mapping[str, Any] | None = None,
    within: float | None = None,
) -> Results:
    """Find the k nearest of items that the index holds, each without itself.

    Args:
        index: an opened index.
        ids: the queries.
        k: how many.
        where: only items that pass this filter (see ``nearfar.indexing.filters``).
        within: only items at most this far.

    Raises:
        InputError: when an id is not in the index, or stands twice, or on k < 1.
    """
    require(k >= 1, "search", "k", ">= 1", k)
    require(len(set(ids)) == len(ids), "search", "ids", "all different", "one of them twice")
    found = index.search(index.get(ids).vectors, k + 1, where=where, within=within)
    return Results.of(index.metric, ids, without_itself(found, ids, k))


def without_itself(found: Neighbours, ids: Sequence[Id], k: int) -> Neighbours:
    """Return the k nearest of items that the index holds, each without itself.

    Args:
        found: the k + 1 nearest of each.
        ids: the items.
        k: how many.
    """
    others = [_without(found, row, name, k) for row, name in enumerate(ids)]
    distances = np.full((len(others), max(map(len, others), default=0)), np.inf, np.float32)
    for row, columns in enumerate(others):
        distances[row, : len(columns)] = found.distances[row, columns]
    return Neighbours(
        distances,
        [[found.ids[row][column] for column in picked] for row, picked in enumerate(others)],
        [[found.labels[row][column] for column in picked] for row, picked in enumerate(others)],
    )


def _without(found: Neighbours, row: int, name: Id, k: int) -> list[int]:
    """Return the columns of the first k neighbours that are not the query (which ties or "dot" may put anywhere)."""
    return [column for column, other in enumerate(found.ids[row]) if other != name][:k]


def search_images(
    index: Index,
    data: Any,
    embed: Embed,
    k: int = 10,
    *,
    channels: int | None = None,
    fingerprint: str | None = None,
    where: Mapping[str, Any] | None = None,
    within: float | None = None,
) -> Results:
    """Find the k nearest of every image of a file, a folder, or whatever ``nearfar.data.open_images`` opens.

    Images that cannot be read are left out and named in ``Results.skipped``.

    Args:
        index: an opened index.
        data: the queries.
        embed: the encoder of the index, from (H, W, C) arrays to vectors.
        k: how many neighbours each.
        channels: what the encoder takes; given to ``open_images``.
        fingerprint: the encoder's.
        where: only items that pass this filter (see ``nearfar.indexing.filters``).
        within: only items at most this far.

    Raises:
        DataError: when there is no image that can be read.
        RunError: when the encoder is another than that of the index.
    """
    from nearfar.data import open_images

    check_fingerprint(index, fingerprint)
    source = open_images(data, channels=channels)
    return search_source(index, source, embed, k, fingerprint=fingerprint, who=str(data), where=where, within=within)


def search_source(
    index: Index,
    source: Source,
    embed: Embed,
    k: int = 10,
    *,
    fingerprint: str | None = None,
    who: str = "search",
    where: Mapping[str, Any] | None = None,
    within: float | None = None,
) -> Results:
    """Find the k nearest of every item of a source; those that cannot be read are named in ``Results.skipped``.

    Args:
        index: an opened index.
        source: the queries, of any modality.
        embed: the encoder of the index, from what the source reads to vectors.
        k: how many neighbours each.
        fingerprint: the encoder's.
        who: what the queries are called in errors.
        where: only items that pass this filter (see ``nearfar.indexing.filters``).
        within: only items at most this far.

    Raises:
        DataError: when there is no item that can be read.
        RunError: when the encoder is another than that of the index.
    """
    from nearfar.data import ItemError

    check_fingerprint(index, fingerprint)
    names, skipped, vectors = [], [], []
    for start in range(0, len(source), BATCH):
        items = []
        for row in range(start, min(start + BATCH, len(source))):
            try:
                items.append(source.read(row))
            except ItemError as error:
                skipped.append((source.ids[row], error.reason))
            else:
                names.append(source.ids[row])
        if items:
            vectors.append(_embedded(embed, items))
    if not names:
        raise DataError(f"{who}: holds no item that can be read; the first, {skipped[0][0]}, because {skipped[0][1]}")
    found = index.search(np.concatenate(vectors), k, where=where, within=within)
    return Results.of(index.metric, names, found, skipped)


def _embedded(embed: Embed, items: Sequence[Any]) -> NDArray[np.float32]:
    vectors = np.asarray(embed(items), dtype=np.float32)
    require(len(vectors) == len(items), "search", "embed's vectors", f"as many as items, {len(items)}", len(vectors))
    return vectors
