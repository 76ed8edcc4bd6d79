"""How well classes are told apart where they are of unequal size: ROC-AUC and balanced accuracy.

Also the classifiers that embeddings of a table have to beat: logistic regression on the columns, on their principal
components, and gradient boosting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import require
from nearfar.evaluation.protocol import Floats, Labelled, Labels, Protocol, Score, check_pair

__all__ = [
    "CLASSIFIERS",
    "Auc",
    "Classified",
    "balanced_accuracy",
    "boosting",
    "classify",
    "logistic",
    "macro_auc",
    "pca_logistic",
]

GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2)
"""Of C."""

FOLDS = 3

Classifier: TypeAlias = Callable[[Floats, Labels, Floats, int], NDArray[np.float64]]
"""From training rows, their labels (0, 1, ... all there), queries and a seed to probabilities (Q, classes)."""


class Classified(NamedTuple):
    """Numbers of one classifier on one split.

    Attributes:
        roc_auc: see `macro_auc`.
        balanced_accuracy: see `balanced_accuracy`.
    """

    roc_auc: float
    balanced_accuracy: float


def macro_auc(truth: Labels, scores: NDArray[np.float64]) -> float:
    """Return the area under the ROC curve: of two classes, the probability that the second's scores are higher.

    Of more, the mean over the classes of one against the rest; classes without a row, or with all of them, are left
    out. Equal scores count one half.

    Args:
        truth: (N,) class numbers.
        scores: (N, C) probabilities or any scores that grow with the probability.
    """
    columns = [1] if scores.shape[1] == 2 else range(scores.shape[1])
    found = [_auc(truth == column, scores[:, column]) for column in columns]
    known = [value for value in found if value is not None]
    return float(np.mean(known)) if known else float("nan")


def _auc(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> float | None:
    ones = int(positive.sum())
    zeros = len(positive) - ones
    if not ones or not zeros:
        return None
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2  # the mean rank of equal scores
    return float((ranks[place][positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def balanced_accuracy(truth: Labels, answers: Labels) -> float:
    """Return the mean over the classes of the share of their rows that were answered rightly."""
    return float(np.mean([(answers[truth == label] == label).mean() for label in np.unique(truth)]))


def logistic(x: Floats, labels: Labels, queries: Floats, seed: int) -> NDArray[np.float64]:
    """Logistic regression (L2) on standardised features; C of `GRID` by the log-loss in three stratified folds.

    The features are first turned onto the rows' own directions, at most as many as there are rows: with an L2 penalty
    this changes no answer, and 7,000 columns of 60 rows cost no more than 60.
    """
    scaled, asked = _standardised(x, queries)
    return _fitted(scaled, labels, asked, seed)


def pca_logistic(x: Floats, labels: Labels, queries: Floats, seed: int) -> NDArray[np.float64]:
    """The same on the first principal components of the standardised features: those of 95 % of the variance."""
    scaled, asked = _standardised(x, queries)
    _, values, directions = np.linalg.svd(scaled, full_matrices=False)
    share = np.cumsum(values**2) / np.sum(values**2)
    kept = directions[: int(np.searchsorted(share, 0.95)) + 1]
    return _fitted(scaled @ kept.T, labels, asked @ kept.T, seed)


def boosting(x: Floats, labels: Labels, queries: Floats, seed: int) -> NDArray[np.float64]:
    """scikit-learn's histogram gradient boosting; of more than 300 columns each split sees 300, drawn at random."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        random_state=seed, min_samples_leaf=min(20, max(2, len(x) // 10)), max_features=min(1.0, 300 / x.shape[1])
    )
    return np.asarray(model.fit(x, labels).predict_proba(queries), dtype=np.float64)


CLASSIFIERS: dict[str, Classifier] = {
    "logistic regression": logistic,
    "PCA + logistic regression": pca_logistic,
    "gradient boosting": boosting,
}
"""By name, as tables show them."""


def _standardised(x: Floats, queries: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both with the training rows' mean 0 and deviation 1; constant features become 0."""
    mean, deviation = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    scale = np.where(deviation > 1e-6 * np.maximum(1.0, np.abs(mean)), deviation, np.inf)
    return (x - mean) / scale, (queries - mean) / scale


def _fitted(x: NDArray[np.float64], labels: Labels, queries: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    if x.shape[1] > x.shape[0]:
        _, _, directions = np.linalg.svd(x, full_matrices=False)
        x, queries = x @ directions.T, queries @ directions.T
    smallest = int(np.bincount(labels).min())
    folds = StratifiedKFold(min(FOLDS, smallest), shuffle=True, random_state=seed) if smallest >= 2 else None
    losses = np.zeros(len(GRID))
    for kept, held in folds.split(x, labels) if folds is not None else []:
        for place, C in enumerate(GRID):
            model = LogisticRegression(C=C, max_iter=300, tol=1e-3).fit(x[kept], labels[kept])
            chances = np.clip(model.predict_proba(x[held]), 1e-12, 1)
            losses[place] -= np.log(chances[np.arange(len(held)), labels[held]]).sum()
    C = GRID[int(np.argmin(losses))] if folds is not None else 1.0
    chances = LogisticRegression(C=C, max_iter=1000).fit(x, labels).predict_proba(queries)
    return np.asarray(chances, dtype=np.float64)


def classify(
    x: Floats, labels: Labels, queries: Floats, truth: Labels, *, classifier: Classifier = logistic, seed: int = 0
) -> Classified:
    """Fit a classifier and score it.

    Args:
        x: (N, D) training rows.
        labels: (N,) their classes; any whole numbers.
        queries: (Q, D) test rows; those of a class that is not among ``labels`` are left out.
        truth: (Q,) their classes.
        classifier: what is fitted.
        seed: of its random choices.

    Raises:
        InputError: when fewer than two classes are there to learn from, or to be told apart.
    """
    classes, numbers = np.unique(labels, return_inverse=True)
    require(len(classes) >= 2, "classify", "training classes", "two or more", len(classes))
    known = np.isin(truth, classes)
    require(len(np.unique(truth[known])) >= 2, "classify", "test classes", "two or more", len(np.unique(truth[known])))
    chances = classifier(x, numbers, queries[known], seed)
    right = np.searchsorted(classes, truth[known])
    return Classified(macro_auc(right, chances), balanced_accuracy(right, chances.argmax(axis=1)))


@dataclass(frozen=True)
class Auc(Protocol):
    """ROC-AUC and balanced accuracy of logistic regression, with bootstrap intervals over the test rows.

    Attributes:
        resamples: of the test rows.
        seed: of folds and resamples.
    """

    resamples: int = 1000
    seed: int = 0

    name: ClassVar[str] = "auc"

    def describe(self) -> str:
        """Say the classifier, how C is chosen, and what the intervals are over."""
        grid = ", ".join(f"{C:g}" for C in GRID)
        return (
            f"logistic regression (L2) on frozen embeddings, standardised; C of {{{grid}}} by the log-loss in {FOLDS} "
            "stratified folds of the training rows; roc_auc is one against the rest, averaged over classes; "
            f"95 % percentile intervals over {self.resamples} bootstrap samples of the test rows (seed {self.seed})"
        )

    def scores(self, train: Labelled, test: Labelled) -> Iterator[Score]:
        """Yield ``roc_auc`` and ``balanced_accuracy`` of the test rows."""
        x, y, queries, truth = check_pair("auc", train, test)
        classes, numbers = np.unique(y, return_inverse=True)
        require(len(classes) >= 2, "auc", "training classes", "two or more", len(classes))
        known = np.isin(truth, classes)
        right = np.searchsorted(classes, truth[known])
        require(len(np.unique(right)) >= 2, "auc", "test classes", "two or more", len(np.unique(right)))
        chances = logistic(x, numbers, queries[known], self.seed)
        answers = chances.argmax(axis=1)
        rng = np.random.default_rng([self.seed, len(right)])
        drawn = []
        for _ in range(self.resamples):
            rows = rng.integers(0, len(right), len(right))
            drawn.append((macro_auc(right[rows], chances[rows]), balanced_accuracy(right[rows], answers[rows])))
        ends = np.nanquantile(np.array(drawn), [0.025, 0.975], axis=0)
        values = (macro_auc(right, chances), balanced_accuracy(right, answers))
        for place, name in enumerate(("roc_auc", "balanced_accuracy")):
            low, high = float(ends[0, place]), float(ends[1, place])
            yield Score(name, values[place], low=low, high=high, n=len(right))
