"""Labels that may be wrong: those that a row's neighbours disagree with."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfar.curation.neighbours import neighbours
from nearfar.errors import require

__all__ = ["LabelErrors", "outvoted_labels", "suspicious_labels"]

CELLS = 2**22
"""Votes held at once, rows times classes."""


class LabelErrors(NamedTuple):
    """Candidates, the most suspicious first.

    Attributes:
        rows: (M,) int64.
        suggested: (M,) int64 the label that the neighbours give.
        given: (M,) float64 the share of the neighbours' votes for the row's own label.
        suspicion: (M,) float64 the share for the suggested label less ``given``, in (0, 1].
    """

    rows: NDArray[np.int64]
    suggested: NDArray[np.int64]
    given: NDArray[np.float64]
    suspicion: NDArray[np.float64]


def suspicious_labels(
    embeddings_ND: Any, labels_N: NDArray[np.int64], *, k: int = 10, temperature: float = 0.1, least: float = 0.5
) -> LabelErrors:
    """Return the rows whose k nearest labelled rows vote for another label.

    Votes are weighted by exp(cos / temperature), and by the inverse of a class's frequency, so that a frequent class
    does not outvote a rare one by its size alone. A row never votes for itself. Neighbours are as good as the encoder:
    one trained on these labels has learned the wrong ones too.

    Args:
        embeddings_ND: (N, D) float.
        labels_N: (N,) int64, -1 where unknown; such rows neither vote nor are judged.
        k: neighbours.
        temperature: > 0; smaller listens more to the nearest.
        least: suspicion from which on a row is a candidate, in [0, 1).

    Raises:
        InputError: on a setting out of range, fewer than 2 labelled rows, or a wrong shape or value.
    """
    labels, rows = np.asarray(labels_N), np.asarray(embeddings_ND)
    require(labels.shape == rows.shape[:1], "label_errors", "labels", f"of shape {rows.shape[:1]}", labels.shape)
    known = np.flatnonzero(labels >= 0)
    require(len(known) >= 2, "label_errors", "labelled rows", ">= 2", len(known))
    distances, found = neighbours(rows[known], k, who="label_errors")
    judged = outvoted_labels(distances, found, labels[known], temperature=temperature, least=least)
    return judged._replace(rows=known[judged.rows])


def outvoted_labels(
    distances_NK: NDArray[np.float32],
    found_NK: NDArray[Any],
    labels_N: NDArray[np.int64],
    *,
    temperature: float = 0.1,
    least: float = 0.5,
) -> LabelErrors:
    """Do what `suspicious_labels` does where every row's neighbours are known already.

    Args:
        distances_NK: (N, K) float distances 1 - cos.
        found_NK: (N, K) int rows of the neighbours, -1 where there is none.
        labels_N: (N,) int64, -1 where unknown; such rows neither vote nor are judged.
        temperature: see `suspicious_labels`.
        least: see `suspicious_labels`.

    Raises:
        InputError: on a setting out of range, or shapes that do not fit.
    """
    require(temperature > 0, "label_errors", "temperature", "> 0", temperature)
    require(0 <= least < 1, "label_errors", "least", "in [0, 1)", least)
    labels, found = np.asarray(labels_N), np.asarray(found_NK)
    fits = found.shape == np.shape(distances_NK) and found.shape[:1] == labels.shape
    require(fits, "label_errors", "neighbours", f"of shape ({len(labels)}, K)", found.shape)
    known = np.flatnonzero(labels >= 0)
    classes, sizes = np.unique(labels[known], return_counts=True)
    codes = np.searchsorted(classes, labels)
    best, given, most = np.empty(len(known), np.int64), np.zeros(len(known)), np.zeros(len(known))
    block = max(1, CELLS // max(1, len(classes)))
    for start in range(0, len(known), block):
        rows = known[start : start + block]
        part = slice(start, start + len(rows))
        voters = found[rows]
        votes = (voters >= 0) & (labels[voters] >= 0)
        weights = np.exp(-np.asarray(distances_NK)[rows].astype(np.float64) / temperature)
        at, place = np.nonzero(votes)
        cast = codes[voters[at, place]]
        share = np.zeros((len(rows), len(classes)))
        np.add.at(share, (at, cast), weights[at, place] / sizes[cast])
        share /= np.maximum(share.sum(axis=1, keepdims=True), 1e-300)
        best[part], given[part], most[part] = share.argmax(1), share[np.arange(len(rows)), codes[rows]], share.max(1)
    suspicion = most - given
    chosen = np.flatnonzero((best != codes[known]) & (suspicion > 0) & (suspicion >= least))
    chosen = chosen[np.lexsort((known[chosen], -suspicion[chosen]))]
    return LabelErrors(known[chosen], classes[best[chosen]], given[chosen], suspicion[chosen])
