"""The linear probe: multinomial logistic regression on frozen embeddings.

Alain and Bengio, "Understanding intermediate layers using linear classifier probes", https://arxiv.org/abs/1610.01644.
scikit-learn's C multiplies the sum of the rows' cross entropies beside ½‖w‖²; the intercept is not penalised.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import require
from nearfar.evaluation.intervals import wilson
from nearfar.evaluation.protocol import Floats, Labelled, Labels, Protocol, Score, check_pair

__all__ = ["Linear", "LinearModel", "fit_linear"]

MAX_ITERATIONS = 1000


class LinearModel(NamedTuple):
    """A fitted probe: predicts ``classes[argmax(((x - mean) / scale) @ weights + intercept)]``.

    Attributes:
        mean: (D,) float32, the mean of the training rows.
        scale: one number for all features: the root mean square of the centred training values.
        weights: (D, C) float32.
        intercept: (C,) float32.
        classes: (C,) int64, the classes in sorted order.
        converged: whether the solver reached its tolerance.
    """

    mean: Floats
    scale: float
    weights: Floats
    intercept: Floats
    classes: Labels
    converged: bool

    def predict(self, x: Floats) -> Labels:
        """Return the classes (Q,) int64 of embeddings (Q, D)."""
        logits = ((x - self.mean) / np.float32(self.scale)) @ self.weights + self.intercept
        answer: Labels = self.classes[logits.argmax(axis=1)]
        return answer


def fit_linear(x: Floats, labels: Labels, C: float) -> LinearModel:
    """Fit the probe with one C.

    Args:
        x: (N, D) float32.
        labels: (N,) int64, at least two classes.
        C: the inverse strength of the L2 penalty.

    Raises:
        InputError: when there are fewer than two classes, or C <= 0.
    """
    return _fit_path(x, labels, [C])[0]


def _fit_path(x: Floats, labels: Labels, grid: Sequence[float]) -> list[LinearModel]:
    """Fit every C, ascending, each from the weights of the one before."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    classes = np.unique(labels)
    require(len(classes) >= 2, "linear", "training classes", "two or more", len(classes))
    require(min(grid) > 0, "linear", "C", "> 0", min(grid))
    mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)
    scale = float(np.sqrt(np.mean(np.square(x - mean), dtype=np.float64))) or 1.0
    scaled = (x - mean) / np.float32(scale)
    solver = LogisticRegression(solver="lbfgs", max_iter=MAX_ITERATIONS, warm_start=True)
    models = []
    for C in grid:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            solver.set_params(C=C).fit(scaled, labels)
        models.append(_model(solver, mean, scale, classes, converged=not caught))
    return models


def _model(solver: Any, mean: Floats, scale: float, classes: Labels, *, converged: bool) -> LinearModel:
    weights, intercept = solver.coef_, solver.intercept_
    if len(classes) == 2:  # scikit-learn keeps one column for two classes: the log-odds of the second
        weights, intercept = np.concatenate([-weights, weights]) / 2, np.concatenate([-intercept, intercept]) / 2
    return LinearModel(
        mean, scale, weights.T.astype(np.float32), intercept.astype(np.float32), classes, converged=converged
    )


def _validation_rows(labels: Labels, part: float, seed: int) -> NDArray[np.bool_]:
    """Mark ``part`` of every class (at least one row where a class has two) for validation."""
    rng = np.random.default_rng([seed, len(labels)])
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        chosen[rows[: 0 if len(rows) < 2 else max(1, int(part * len(rows)))]] = True
    return chosen


@dataclass(frozen=True)
class Linear(Protocol):
    """Multinomial logistic regression (lbfgs); C is chosen on a part of the training rows, then all are fitted.

    The embeddings are centred and divided by *one* number, both from the training rows. Dividing every feature by its
    own deviation was measured to be worse on raw pixels, where near-constant pixels become loud, and to be no better
    elsewhere; a single scale also keeps the geometry that the other protocols score.

    Attributes:
        grid: the values of C; the best on the validation part is taken, of equals the smallest.
        validation: the part of every class held back to choose C.
        seed: which rows are held back.
    """

    grid: tuple[float, ...] = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2)
    validation: float = 0.2
    seed: int = 0

    name: ClassVar[str] = "linear"

    def __post_init__(self) -> None:
        require(len(self.grid) > 0 and min(self.grid, default=0) > 0, "Linear", "grid", "of numbers > 0", self.grid)
        require(0 < self.validation < 1, "Linear", "validation", "between 0 and 1", self.validation)
        object.__setattr__(self, "grid", tuple(sorted(self.grid)))

    def describe(self) -> str:
        """Say the model, the scaling, the grid of C, how it is chosen, the seed and the interval."""
        grid = ", ".join(f"{C:g}" for C in self.grid)
        return (
            "multinomial logistic regression (lbfgs, L2) on frozen embeddings, centred and divided by one number from "
            f"the training rows; C of {{{grid}}} chosen on {self.validation:.0%} of the training rows (stratified, "
            f"seed {self.seed}), then fitted to all of them; accuracy with Wilson's 95 % interval"
        )

    def choose(self, x: Floats, labels: Labels) -> float:
        """Return the C with the highest accuracy on the held-back part of the training rows.

        Raises:
            InputError: when there are fewer than two classes, or no class has two rows.
        """
        held = _validation_rows(labels, self.validation, self.seed)
        require(bool(held.any()), "linear", "training rows", "two or more in some class", "one in each", "use few-shot")
        models = _fit_path(x[~held], labels[~held], self.grid)
        right = [int((model.predict(x[held]) == labels[held]).sum()) for model in models]
        return self.grid[int(np.argmax(right))]

    def scores(self, train: Labelled, test: Labelled) -> Iterator[Score]:
        """Yield ``linear``, the accuracy on the test rows."""
        x, y, queries, truth = check_pair("linear", train, test)
        C = self.choose(x, y)
        model = fit_linear(x, y, C)
        right = int((model.predict(queries) == truth).sum())
        low, high = wilson(right, len(truth))
        note = f"C = {C:g}"
        if C in (self.grid[0], self.grid[-1]) and len(self.grid) > 1:
            note += ", at the edge of its grid"
        if not model.converged:
            note += f", solver stopped after {MAX_ITERATIONS} iterations"
        yield Score("linear", right / len(truth), low=low, high=high, n=len(truth), note=note)
