"""Few labels: how good is an embedding when only n items of every class are labelled?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import require
from nearfar.evaluation.knn import capped_k, knn_predict
from nearfar.evaluation.linear import fit_linear
from nearfar.evaluation.protocol import Labelled, Labels, Protocol, Score, check_pair

__all__ = ["FewShot", "draw_labels"]


def draw_labels(labels: Labels, per_class: int, *, draw: int, seed: int = 0) -> NDArray[np.int64]:
    """Return the rows (M,) int64, ascending, of ``per_class`` items of every class.

    The draw depends on the labels, ``seed`` and ``draw`` alone, so every encoder is given the same items; and a draw of
    few items is part of the draw of more.

    Args:
        labels: (N,) int64; rows of -1 are never drawn.
        per_class: items of each class; a class with fewer gives all it has.
        draw: the number of the draw.
        seed: of all draws.
    """
    rng = np.random.default_rng([seed, draw])
    chosen = [rng.permutation(np.flatnonzero(labels == label))[:per_class] for label in np.unique(labels[labels >= 0])]
    return np.sort(np.concatenate(chosen))


@dataclass(frozen=True)
class FewShot(Protocol):
    """kNN and linear probe with n labels per class, mean ± standard deviation over draws of the labels.

    No label is left to tune anything with, so nothing is tuned: k is n (each class can fill the neighbours) and C is
    fixed.

    Attributes:
        per_class: the numbers of labels per class.
        draws: how many times the labels are drawn.
        temperature: τ of the kNN.
        C: of the linear probe; scikit-learn's default.
        seed: of the draws.
    """

    per_class: tuple[int, ...] = (1, 5, 10)
    draws: int = 5
    temperature: float = 0.1
    C: float = 1.0
    seed: int = 0

    name: ClassVar[str] = "fewshot"

    def __post_init__(self) -> None:
        require(min(self.per_class, default=0) >= 1, "FewShot", "per_class", "numbers >= 1", self.per_class)
        require(self.draws >= 2, "FewShot", "draws", ">= 2, for a standard deviation", self.draws)
        require(self.temperature > 0, "FewShot", "temperature", "> 0", self.temperature)
        require(self.C > 0, "FewShot", "C", "> 0", self.C)

    def describe(self) -> str:
        """Say n, the draws and their seed, and the settings of both classifiers."""
        shots = ", ".join(map(str, self.per_class))
        return (
            f"{shots} labels per class drawn from the training rows, mean ± standard deviation over {self.draws} draws "
            f"(seed {self.seed}); knn: cosine, k = labels per class, weights exp(cos / {self.temperature:g}); linear: "
            f"multinomial logistic regression, C = {self.C:g}, centred and divided by one number from the drawn rows; "
            "nothing is tuned"
        )

    def scores(self, train: Labelled, test: Labelled) -> Iterator[Score]:
        """Yield ``knn, n per class`` and ``linear, n per class``, the accuracies on the test rows."""
        x, y, queries, truth = check_pair("fewshot", train, test)
        require(len(np.unique(y)) >= 2, "fewshot", "training classes", "two or more", len(np.unique(y)))
        smallest_class = int(np.unique(y, return_counts=True)[1].min())
        for n in self.per_class:
            knn, linear = [], []
            for draw in range(self.draws):
                rows = draw_labels(y, n, draw=draw, seed=self.seed)
                near = knn_predict(x[rows], y[rows], queries, k=capped_k(n, y[rows]), temperature=self.temperature)
                knn.append(float((near == truth).mean()))
                linear.append(float((fit_linear(x[rows], y[rows], self.C).predict(queries) == truth).mean()))
            note = "" if smallest_class >= n else f"the smallest class has only {smallest_class} training rows"
            yield _over_draws(f"knn, {n} per class", knn, len(truth), note)
            yield _over_draws(f"linear, {n} per class", linear, len(truth), note)


def _over_draws(name: str, values: Sequence[float], count: int, note: str) -> Score:
    return Score(name, float(np.mean(values)), sd=float(np.std(values, ddof=1)), n=count, note=note)
