"""Weighted k-nearest-neighbour classification on frozen embeddings.

Wu, Xiong, Yu, Lin, "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", CVPR 2018,
https://arxiv.org/abs/1805.01978, section 3.4: each of the k training rows of highest cosine s votes for its class with
the weight exp(s / τ).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nearfar.errors import require
from nearfar.evaluation.intervals import wilson
from nearfar.evaluation.protocol import Floats, Labelled, Labels, Protocol, Score, check_pair, unit_rows
from nearfar.ranking import chunks, smallest

__all__ = ["KNN", "capped_k", "knn_predict"]


def capped_k(k: int, labels: Labels) -> int:
    """Return k, but no more than the mean number of rows per class (and at least 1).

    With more, most neighbours of even a perfect embedding would be of other classes.
    """
    return max(1, min(k, len(labels) // len(np.unique(labels))))


def knn_predict(
    x_ND: Floats, labels_N: Labels, queries_QD: Floats, *, k: int = 200, temperature: float = 0.1
) -> Labels:
    """Return the class of each query by the weighted vote of its k nearest rows.

    Args:
        x_ND: training embeddings (N, D) float32; normalised here.
        labels_N: their classes (N,) int64, >= 0.
        queries_QD: embeddings (Q, D) float32; normalised here.
        k: neighbours that vote, at most N; 200 as in the paper.
        temperature: τ; the paper's is 0.07, 0.1 is usual at CIFAR scale.

    Returns:
        (Q,) int64. Equal neighbours are taken in the order of the rows, equal votes go to the lower class.

    Raises:
        InputError: unless 1 <= k <= N and temperature > 0.
    """
    require(1 <= k <= len(x_ND), "knn_predict", "k", f"between 1 and {len(x_ND)}, the number of rows", k)
    require(temperature > 0, "knn_predict", "temperature", "> 0", temperature)
    classes, codes = np.unique(labels_N, return_inverse=True)
    rows, queries = unit_rows(x_ND), unit_rows(queries_QD)
    answer = np.empty(len(queries), dtype=np.int64)
    for part in chunks(len(queries), max(len(rows), len(classes))):
        distances, columns = smallest(-(queries[part] @ rows.T), k)
        weights = np.exp((distances[:, :1] - distances).astype(np.float64) / temperature)
        cells = np.arange(len(columns))[:, None] * len(classes) + codes[columns]
        votes = np.bincount(cells.ravel(), weights.ravel(), minlength=len(columns) * len(classes))
        answer[part] = classes[votes.reshape(len(columns), len(classes)).argmax(axis=1)]
    return answer


@dataclass(frozen=True)
class KNN(Protocol):
    """Weighted cosine kNN: the share of test rows whose class is right.

    Attributes:
        k: neighbours that vote; 200, but never more than the mean number of training rows per class (then said).
        temperature: τ = 0.1, as usual at CIFAR scale.
    """

    k: int = 200
    temperature: float = 0.1

    name: ClassVar[str] = "knn"

    def __post_init__(self) -> None:
        require(self.k >= 1, "KNN", "k", ">= 1", self.k)
        require(self.temperature > 0, "KNN", "temperature", "> 0", self.temperature)

    def describe(self) -> str:
        """Say k, the metric, the weights and the interval."""
        return (
            f"weighted kNN on frozen embeddings: cosine, k = {self.k} (at most the mean number of training rows per "
            f"class), weights exp(cos / {self.temperature:g}); accuracy with Wilson's 95 % interval"
        )

    def scores(self, train: Labelled, test: Labelled) -> Iterator[Score]:
        """Yield ``knn``, the accuracy on the test rows."""
        x, y, queries, truth = check_pair("knn", train, test)
        k = capped_k(self.k, y)
        right = int((knn_predict(x, y, queries, k=k, temperature=self.temperature) == truth).sum())
        low, high = wilson(right, len(truth))
        note = "" if k == self.k else f"k = {k}: {len(y)} training rows in {len(np.unique(y))} classes"
        yield Score("knn", right / len(truth), low=low, high=high, n=len(truth), note=note)
