"""What labelled items say about an index: at which distances its answers are right, and at which they are wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import DataError, require
from nearfar.evaluation.cutpoints import Answers
from nearfar.indexing import Index, pair_distances
from nearfar.progress import track
from nearfar.searching.query import check_fingerprint

__all__ = ["Queries", "index_labels", "match_answers", "pair_answers"]

Label = str | int | None

BATCH = 1024
FIRST_DEPTH = 16
"""How deep the nearest item of another class is looked for at first."""


class Queries(NamedTuple):
    """Labelled items.

    Attributes:
        ids: N ids; an item of the index under the same id is never an answer to it.
        vectors: (N, D) float32.
        labels: N labels, all known.
        fingerprint: of their encoder, if known.
    """

    ids: Sequence[str | int]
    vectors: NDArray[np.float32]
    labels: Sequence[Label]
    fingerprint: str | None = None

    @classmethod
    def labelled(
        cls,
        ids: Sequence[str | int],
        vectors: NDArray[np.float32],
        labels: Sequence[Label] | None,
        fingerprint: str | None = None,
        *,
        who: str = "calibrate",
    ) -> Queries:
        """Keep the items whose label is known.

        Raises:
            DataError: when there is none.
        """
        known = [row for row, label in enumerate(labels or ()) if label is not None]
        require(bool(known), who, "labels of the items", "known for some", "none", "give labelled items",
                error=DataError)  # fmt: skip
        assert labels is not None
        return cls([ids[row] for row in known], vectors[known], [labels[row] for row in known], fingerprint)


class _Nearest(NamedTuple):
    """Of each query the nearest item, and the nearest of another class: distance, and whether there is one."""

    distance: NDArray[np.float64]
    right: NDArray[np.bool_]
    other: NDArray[np.float64]


def index_labels(index: Index, ids: Sequence[str | int] | None = None) -> list[Label]:
    """Return the labels of an index's items, in the order of the ids (of insertion if none are given)."""
    labels: list[Label] = []
    names = list(index.ids if ids is None else ids)
    for start in range(0, len(names), 65_536):
        labels += index.get(names[start : start + 65_536]).labels
    return labels


def match_answers(index: Index, queries: Queries) -> Answers:
    """Return the evidence of nearest answers.

    Each query is answered by its nearest item, itself excluded: right where that item has the query's label. The false
    ones are the nearest items of other labels: what the answer would be were the query's own class not in the index.
    Items of unknown label are answers too, and wrong ones.

    Raises:
        RunError: when the vectors are of another encoder than the index's.
        DataError: when the index is empty, or no class of the queries is in it.
    """
    check_fingerprint(index, queries.fingerprint)
    require(index.count > 0, "calibrate", "the index", "of one item or more", "an empty one", error=DataError)
    codes, own = _coded(index, queries)
    parts = []
    for start in track(range(0, len(codes), BATCH), "calibrate", total=-(-len(codes) // BATCH)):
        rows = np.arange(start, min(start + BATCH, len(codes)))
        parts.append(_nearest(index, queries, rows, min(index.count, FIRST_DEPTH)))
    found = _Nearest(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    answered = np.isfinite(found.distance)
    false = np.isfinite(found.other)
    per_class = Counter(codes[own].tolist())
    return Answers(
        distances=found.distance[answered],
        right=found.right[answered],
        classes=codes[answered],
        findable={name: float(count) for name, count in per_class.items()},
        queries={name: float(count) for name, count in Counter(codes.tolist()).items()},
        false_distances=found.other[false],
        false_classes=codes[false],
    )


def pair_answers(index: Index, queries: Queries, *, most: int = 2_000_000, seed: int = 0) -> Answers:
    """Return the evidence of pairs of a query and an item of the index, in the index's distance.

    All pairs of one class, and of two classes all, or so many drawn (items, not pairs) that there are about ``most`` in
    all; each then stands for several.

    Args:
        index: the index; items of unknown label make no pair.
        queries: the labelled items.
        most: pairs at most, about.
        seed: of the draw.

    Raises:
        RunError: when the vectors are of another encoder than the index's.
        DataError: when there is no pair of one class.
    """
    check_fingerprint(index, queries.fingerprint)
    codes, _ = _coded(index, queries)
    names = list(index.ids)
    labels = index_labels(index, names)
    place = {label: number for number, label in enumerate(dict.fromkeys(queries.labels))}
    item_codes = np.array([-2 if label is None else place.get(label, -1) for label in labels], dtype=np.int64)
    known = np.flatnonzero(item_codes > -2)
    rng = np.random.default_rng([seed, len(names)])
    wanted = max(1, most // (2 * max(1, len(codes))))
    drawn = known if len(known) <= wanted else np.sort(rng.permutation(known)[:wanted])
    own = np.flatnonzero(item_codes >= 0)
    limit = max(1, most // (2 * max(1, int(np.bincount(codes).max()))))
    if len(own) > limit:
        own = np.sort(rng.permutation(own)[:limit])
    parts = [
        _pairs(index, queries, codes, item_codes, names, chosen, same=same, weight=len(whole) / max(1, len(chosen)))
        for chosen, whole, same in ((own, np.flatnonzero(item_codes >= 0), True), (drawn, known, False))
    ]
    distances, right, classes, weights = (np.concatenate(column) for column in zip(*parts, strict=True))
    require(bool(right.any()), "calibrate", "pairs of one class", ">= 1", 0, error=DataError)
    findable: Counter[int] = Counter()
    for name in np.unique(classes):
        findable[int(name)] = weights[right & (classes == name)].sum()
    counts = {name: float(count) for name, count in Counter(codes.tolist()).items()}
    return Answers(distances, right, classes, {k: float(v) for k, v in findable.items()}, counts, weights)


def _pairs(
    index: Index,
    queries: Queries,
    codes: NDArray[np.int64],
    item_codes: NDArray[np.int64],
    names: Sequence[str | int],
    chosen: NDArray[np.int64],
    *,
    same: bool,
    weight: float,
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64], NDArray[np.float64]]:
    """Return the pairs of one kind between all queries and the chosen items."""
    empty = np.empty(0)
    if not len(chosen):
        return empty, empty.astype(bool), empty.astype(np.int64), empty
    vectors = index.get([names[row] for row in chosen]).vectors
    chosen_codes = item_codes[chosen]
    item_place = {names[row]: column for column, row in enumerate(chosen)}
    distances, classes = [], []
    for row, vector in enumerate(queries.vectors):
        keep = (chosen_codes == codes[row]) == same
        column = item_place.get(queries.ids[row])
        if column is not None:
            keep[column] = False
        if keep.any():
            found = pair_distances(index.metric, vector[None], vectors[keep][None])[0]
            distances.append(found.astype(np.float64))
            classes.append(np.full(len(found), codes[row]))
    if not distances:
        return empty, empty.astype(bool), empty.astype(np.int64), empty
    joined = np.concatenate(distances)
    return joined, np.full(len(joined), same), np.concatenate(classes), np.full(len(joined), weight)


def _coded(index: Index, queries: Queries) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the queries' class numbers, and which classes have an item in the index other than the query itself."""
    place = {label: number for number, label in enumerate(dict.fromkeys(queries.labels))}
    codes = np.array([place[label] for label in queries.labels], dtype=np.int64)
    held = Counter(index_labels(index))
    inside = np.array([name in index for name in queries.ids])
    own = np.array([held[label] > int(itself) for label, itself in zip(queries.labels, inside, strict=True)])
    got, fix = "none of them", "index labelled items, and calibrate on items of the same classes"
    require(bool(own.any()), "calibrate", "classes of the labelled items", "in the index", got, fix, error=DataError)
    return codes, own


def _nearest(index: Index, queries: Queries, rows: NDArray[np.int64], depth: int) -> _Nearest:
    found = index.search(queries.vectors[rows], depth)
    distance, other = np.full(len(rows), np.inf), np.full(len(rows), np.inf)
    right = np.zeros(len(rows), dtype=bool)
    for place, row in enumerate(rows):
        for far, name, label in zip(found.distances[place], found.ids[place], found.labels[place], strict=False):
            if name == queries.ids[row]:
                continue
            same = label is not None and label == queries.labels[row]
            if not np.isfinite(distance[place]):
                distance[place], right[place] = float(far), same
            if not same:
                other[place] = float(far)
                break
    missing = np.flatnonzero(~np.isfinite(other))
    if len(missing) and depth < index.count:  # all so far are of the query's class: look deeper
        deeper = _nearest(index, queries, rows[missing], min(index.count, depth * 8))
        distance[missing], right[missing], other[missing] = deeper
    return _Nearest(distance, right, other)
