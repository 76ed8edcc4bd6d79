"""Labels that may be wrong: those that a row's neighbours disagree with."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfar.curation.neighbours import neighbours
from nearfar.errors import require

__all__ = ["LabelErrors", "suspicious_labels"]


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
    labels = np.asarray(labels_N)
    rows = np.asarray(embeddings_ND)
    require(labels.shape == rows.shape[:1], "label_errors", "labels", f"of shape {rows.shape[:1]}", labels.shape)
    require(temperature > 0, "label_errors", "temperature", "> 0", temperature)
    require(0 <= least < 1, "label_errors", "least", "in [0, 1)", least)
    known = np.flatnonzero(labels >= 0)
    require(len(known) >= 2, "label_errors", "labelled rows", ">= 2", len(known))
    distances, found = neighbours(rows[known], k, who="label_errors")
    classes, codes, sizes = np.unique(labels[known], return_inverse=True, return_counts=True)
    weights = np.exp(-distances.astype(np.float64) / temperature) / sizes[codes[found]]
    votes = np.zeros((len(known), len(classes)))
    np.add.at(votes, (np.arange(len(known))[:, None], codes[found]), weights)
    share = votes / np.maximum(votes.sum(axis=1, keepdims=True), 1e-300)
    given = share[np.arange(len(known)), codes]
    best = share.argmax(axis=1)
    suspicion = share.max(axis=1) - given
    chosen = np.flatnonzero((best != codes) & (suspicion > 0) & (suspicion >= least))
    chosen = chosen[np.lexsort((known[chosen], -suspicion[chosen]))]
    return LabelErrors(known[chosen], classes[best[chosen]], given[chosen], suspicion[chosen])
