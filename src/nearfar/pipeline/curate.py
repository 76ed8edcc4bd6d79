"""Looking after data by embeddings: duplicates, outliers, clusters, what to label, labels that may be wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfar.curation import (
    core_set,
    default_distance,
    hdbscan_clusters,
    k_means_clusters,
    most_uncertain,
    near_duplicates,
    outlier_scores,
    suspicious_labels,
)
from nearfar.curation.listing import Listing
from nearfar.data.embeddings import read_embeddings
from nearfar.errors import ConfigError, DataError, require
from nearfar.evaluation import encode_labels
from nearfar.files import write_atomic
from nearfar.indexing import open_index

__all__ = ["cluster", "dedupe", "label_errors", "outliers", "select"]

Label = str | int | None


class Items(NamedTuple):
    """What is looked at."""

    ids: list[Any]
    vectors: NDArray[np.float32]
    labels: list[Label]

    def codes(self) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """Return class numbers, -1 where unknown, and the classes' names."""
        coded, names = encode_labels(self.labels)
        return coded[0], names


def dedupe(source: str | Path, *, distance: float | None = None, out: str | Path | None = None) -> Listing:
    """Group near-duplicates and say which item of each group to keep.

    Args:
        source: an index folder, or a Parquet file of embeddings.
        distance: items linked by steps of at most this 1 - cos are one group; by default a tenth of the median distance
            to the nearest other item.
        out: write all items as CSV: id, group (empty for those that stand alone), keep (1 or 0), distance.

    Returns:
        A row an item of a group, the largest group first; with ``keep`` 0 for what may go.

    Raises:
        InputError: on a distance out of range.
        DataError: when the source cannot be read.
    """
    items = _read(source)
    distance = default_distance(items.vectors) if distance is None else distance
    found = near_duplicates(items.vectors, distance=distance)
    kept = set(found.keep.tolist())
    rows: list[tuple[Any, ...]] = []
    grouped: set[int] = set()
    for number, (members, apart) in enumerate(zip(found.groups, found.distances, strict=True)):
        for row, far in zip(members.tolist(), apart.tolist(), strict=True):
            rows.append((items.ids[row], number, int(row in kept), round(far, 6), items.labels[row]))
            grouped.add(row)
    alone = [(items.ids[row], None, 1, None, items.labels[row]) for row in range(len(items.ids)) if row not in grouped]
    repeats = f"{len(found.drop):,} of {len(items.ids):,} items repeat another: {len(found.groups):,} groups"
    summary = f"{repeats}, by steps of at most {distance:.3g} (cosine)"
    settings = {"source": str(source), "distance": distance}
    columns = ("id", "group", "keep", "distance", "label")
    if out is not None:
        write_atomic(Path(out), Listing(summary, columns, (*rows, *alone), settings).to_csv())
    return Listing(summary, columns, tuple(rows), settings)


def outliers(
    source: str | Path,
    *,
    count: int = 100,
    k: int = 10,
    how: Literal["distance", "density"] = "distance",
    out: str | Path | None = None,
) -> Listing:
    """List the items that lie farthest from all others.

    Args:
        source: an index folder, or a Parquet file of embeddings.
        count: how many.
        k: neighbours looked at.
        how: mean ``distance`` to the neighbours, or ``density`` compared with theirs (local outlier factor).
        out: write the rows as CSV.

    Raises:
        InputError: on a setting out of range.
        DataError: when the source cannot be read.
    """
    items = _read(source)
    require(count >= 1, "outliers", "count", ">= 1", count, error=ConfigError)
    scores = outlier_scores(items.vectors, k=k, how=how)
    order = np.lexsort((np.arange(len(scores)), -scores))[:count]
    rows = tuple((items.ids[row], float(scores[row]), items.labels[row]) for row in order)
    summary = f"the {len(rows):,} items of {len(items.ids):,} farthest out ({how})"
    settings = {"source": str(source), "k": k, "how": how}
    return _listed(summary, ("id", "score", "label"), rows, settings, out)


def cluster(
    source: str | Path,
    *,
    how: Literal["k-means", "hdbscan"] = "k-means",
    clusters: int = 10,
    smallest: int = 5,
    seed: int = 0,
    out: str | Path | None = None,
) -> Listing:
    """Put every item into a cluster.

    Args:
        source: an index folder, or a Parquet file of embeddings.
        how: ``k-means`` with a number of clusters, or ``hdbscan``, which finds the number and leaves noise out.
        clusters: of k-means.
        smallest: items of the smallest cluster of hdbscan.
        seed: of k-means' start.
        out: write a row an item as CSV.

    Returns:
        A row an item: its cluster, numbered by size (-1 for noise), and its distance to the cluster's middle.

    Raises:
        InputError: on a setting out of range.
        DataError: when the source cannot be read.
    """
    items = _read(source)
    require(how in ("k-means", "hdbscan"), "cluster", "how", "k-means or hdbscan", repr(how), error=ConfigError)
    if how == "k-means":
        found = k_means_clusters(items.vectors, clusters=clusters, seed=seed)
    else:
        found = hdbscan_clusters(items.vectors, smallest=smallest)
    order = np.lexsort((np.nan_to_num(found.distances), np.where(found.labels < 0, len(items.ids), found.labels)))
    rows = tuple(
        (items.ids[row], int(found.labels[row]), _finite(found.distances[row]), items.labels[row]) for row in order
    )
    noise = int((found.labels < 0).sum())
    summary = f"{len(found.centers):,} clusters of {len(items.ids):,} items, {noise:,} in none ({how})"
    chosen = {"clusters": clusters, "seed": seed} if how == "k-means" else {"smallest": smallest}
    settings = {"source": str(source), "how": how, **chosen}
    return _listed(summary, ("id", "cluster", "distance", "label"), rows, settings, out)


def select(
    source: str | Path,
    *,
    count: int,
    how: Literal["core-set", "uncertain"] = "core-set",
    ignore_labels: bool = False,
    k: int = 10,
    seed: int = 0,
    out: str | Path | None = None,
) -> Listing:
    """Choose what to label next.

    Args:
        source: an index folder, or a Parquet file of embeddings; items with a label count as labelled.
        count: how many to choose.
        how: ``core-set`` covers the data: each choice is the item farthest from all labelled and chosen ones;
            ``uncertain`` takes items whose labelled neighbours disagree or lie far, and spreads the choice over them.
        ignore_labels: choose among all items, as if none had a label.
        k: neighbours that are asked by ``uncertain``.
        seed: of the first choice, where nothing is labelled.
        out: write the rows as CSV.

    Returns:
        A row a choice, in the order of choosing.

    Raises:
        InputError: when more are asked for than there are.
        DataError: when the source cannot be read.
    """
    items = _read(source)
    require(how in ("core-set", "uncertain"), "select", "how", "core-set or uncertain", repr(how), error=ConfigError)
    codes, _ = items.codes()
    if ignore_labels:
        codes = np.full(len(codes), -1)
    known = np.flatnonzero(codes >= 0)
    fix = "add --ignore-labels to choose among labelled items"
    require(len(known) < len(codes), "select", "items without a label", ">= 1", 0, fix, error=DataError)
    if how == "core-set":
        chosen = core_set(items.vectors, count, chosen=known, seed=seed)
    else:
        chosen = most_uncertain(items.vectors, codes, count, k=k)
    rows = tuple((items.ids[row], place) for place, row in enumerate(chosen.tolist(), start=1))
    summary = f"{len(rows):,} items to label of {len(codes) - len(known):,} without a label ({how})"
    settings = {"source": str(source), "how": how, "k": k, "seed": seed}
    return _listed(summary, ("id", "order"), rows, settings, out)


def label_errors(
    source: str | Path, *, k: int = 10, least: float = 0.5, count: int = 100, out: str | Path | None = None
) -> Listing:
    """List the items whose neighbours have another label.

    Args:
        source: an index folder, or a Parquet file of embeddings with labels.
        k: neighbours that vote.
        least: how much larger the share of votes for the other label must be, in [0, 1).
        count: how many at most.
        out: write the rows as CSV.

    Returns:
        A row a candidate, the most suspicious first: its label, the neighbours' label, and the shares of votes.

    Raises:
        InputError: on a setting out of range.
        DataError: when the source cannot be read or has no labels.
    """
    items = _read(source)
    codes, names = items.codes()
    fix = "embed data with labels"
    require(bool((codes >= 0).any()), "label-errors", "labels", "known for some items", "none", fix, error=DataError)
    found = suspicious_labels(items.vectors, codes, k=k, least=least)
    rows = tuple(
        (items.ids[row], items.labels[row], names[new], round(own, 4), round(suspicion, 4))
        for row, new, own, suspicion in zip(*(column.tolist() for column in found), strict=True)
    )[:count]
    summary = f"{len(found.rows):,} of {int((codes >= 0).sum()):,} labels that the neighbours do not share"
    settings = {"source": str(source), "k": k, "least": least}
    return _listed(summary, ("id", "label", "neighbours", "own_share", "suspicion"), rows, settings, out)


def _read(source: str | Path) -> Items:
    path = Path(source)
    fix = "give an index folder or a Parquet file of embeddings"
    require(path.exists(), str(source), "SOURCE", "an existing folder or file", "neither", fix, error=DataError)
    if path.is_dir():
        with open_index(path) as opened:
            require(opened.count > 0, str(source), "index", "of one item or more", "an empty one", error=DataError)
            parts = list(opened.iterate())
        ids = [name for part in parts for name in part.ids]
        labels: list[Label] = [label for part in parts for label in part.labels]
        return Items(ids, np.concatenate([part.vectors for part in parts]), labels)
    read = read_embeddings(path)
    return Items(list(read.ids), read.vectors, [None] * len(read.ids) if read.labels is None else list(read.labels))


def _listed(
    summary: str, columns: Sequence[str], rows: tuple[tuple[Any, ...], ...], settings: dict[str, Any], out: Any
) -> Listing:
    found = Listing(summary, tuple(columns), rows, settings)
    if out is not None:
        write_atomic(Path(out), found.to_csv())
    return found


def _finite(value: Any) -> float | None:
    return round(float(value), 6) if math.isfinite(float(value)) else None
