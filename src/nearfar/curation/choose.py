"""What to label next: rows that cover the data, or rows that the labels so far leave in doubt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.curation.neighbours import unit
from nearfar.errors import require
from nearfar.progress import track

__all__ = ["core_set", "most_uncertain"]

Ints = NDArray[np.int64]


def core_set(embeddings_ND: Any, count: int, *, chosen: Sequence[int] | Ints = (), seed: int = 0) -> Ints:
    """Choose rows so that every row is near a chosen one: each next one is the farthest from all so far.

    The largest distance left is at most twice the smallest possible with as many rows (Gonzalez 1985). Sener, Savarese,
    "Active Learning for Convolutional Neural Networks: A Core-Set Approach", ICLR 2018,
    https://arxiv.org/abs/1708.00489, algorithm 1.

    Args:
        embeddings_ND: (N, D) float.
        count: how many to choose beside those that are chosen already.
        chosen: rows that have labels already; they are covered and not chosen again.
        seed: draws the first row where none is chosen.

    Returns:
        (count,) int64 in the order of choosing, so that any beginning of it is a choice too.

    Raises:
        InputError: when more rows are asked for than are left, or on a wrong shape or value.
    """
    rows = unit("select", embeddings_ND)
    before = np.unique(np.asarray(chosen, dtype=np.int64))
    left = len(rows) - len(before)
    require(1 <= count <= left, "select", "count", f"in [1, {left}], the rows without labels", count)
    nearest = np.full(len(rows), np.inf, dtype=np.float32)
    for start in range(0, len(before), 256):
        block = rows[before[start : start + 256]]
        nearest = np.minimum(nearest, (1 - rows @ block.T).min(axis=1))
    taken = np.zeros(len(rows), dtype=bool)
    taken[before] = True
    picked: list[int] = []
    for _ in track(range(count), "select"):
        if not picked and not len(before):
            row = int(np.random.default_rng([seed, len(rows)]).integers(len(rows)))
        else:
            row = int(np.argmax(np.where(taken, -np.inf, nearest)))
        picked.append(row)
        taken[row] = True
        nearest = np.minimum(nearest, 1 - rows @ rows[row])
    return np.array(picked, dtype=np.int64)


def most_uncertain(embeddings_ND: Any, labels_N: Ints, count: int, *, k: int = 10, diverse: bool = True) -> Ints:
    """Choose the unlabelled rows whose labelled neighbours disagree most or lie farthest.

    A row's doubt is the entropy of the labels of its k nearest labelled rows, weighted by exp(cos / 0.1), over its
    largest possible value, plus the distance to the nearest of them: both say that the labels so far tell little about
    it (uncertainty sampling, Lewis, Gale, SIGIR 1994, https://arxiv.org/abs/cmp-lg/9407020).

    Args:
        embeddings_ND: (N, D) float.
        labels_N: (N,) int64, -1 where unknown.
        count: how many to choose.
        k: labelled neighbours.
        diverse: choose by `core_set` among the 5 · count rows of the largest doubt, so that not ten near-duplicates are
            chosen; else those of the largest doubt, the largest first.

    Raises:
        InputError: when no row or every row has a label, too many are asked for, or on a wrong shape or value.
    """
    rows = unit("select", embeddings_ND)
    labels = np.asarray(labels_N)
    require(labels.shape == (len(rows),), "select", "labels", f"of shape ({len(rows)},)", labels.shape)
    known, open_rows = np.flatnonzero(labels >= 0), np.flatnonzero(labels < 0)
    fix = "use the core-set where nothing is labelled yet"
    require(len(known) > 0, "select", "labelled rows", ">= 1", 0, fix)
    require(
        1 <= count <= len(open_rows), "select", "count", f"in [1, {len(open_rows)}], the rows without labels", count
    )
    doubt = _doubt(rows[open_rows], rows[known], labels[known], min(k, len(known)))
    order = open_rows[np.lexsort((open_rows, -doubt))]
    if not diverse or count == len(open_rows):
        return order[:count]
    pool = order[: min(len(order), 5 * count)]
    both = np.concatenate([known, pool])
    picked = core_set(rows[both], count, chosen=np.arange(len(known)))
    return both[picked]


def _doubt(queries: NDArray[np.float32], known: NDArray[np.float32], labels: Ints, k: int) -> NDArray[np.float64]:
    import faiss

    index = faiss.IndexFlatIP(known.shape[1])
    index.add(known)
    similarity, place = index.search(queries, k)
    classes, codes = np.unique(labels, return_inverse=True)
    weights = np.exp((similarity.astype(np.float64) - 1) / 0.1)
    votes = np.zeros((len(queries), len(classes)))
    np.add.at(votes, (np.arange(len(queries))[:, None], codes[place]), weights)
    share = votes / np.maximum(votes.sum(axis=1, keepdims=True), 1e-300)
    entropy = -(share * np.log(np.maximum(share, 1e-300))).sum(axis=1)
    most = np.log(max(2, len(classes)))
    return np.asarray(entropy / most + np.clip(1 - similarity[:, 0], 0, 2))
