"""Verification: are two items of the same class? Scored over pairs by their cosine, at every threshold at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import require
from nearfar.evaluation.protocol import Floats, Labelled, Labels, Protocol, Score, unit_rows
from nearfar.ranking import chunks

__all__ = ["Verification", "equal_error_rate", "roc_auc", "roc_points"]


def roc_points(
    similarities: Floats, same: NDArray[np.bool_], weights: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ROC curve: false and true accept rates, from (0, 0) to (1, 1), one point per distinct similarity.

    Args:
        similarities: (P,) one per pair; higher means more alike.
        same: (P,) bool, whether the pair is of one class.
        weights: (P,) how often each pair counts; once if not given.

    Raises:
        InputError: unless there are pairs of both kinds.
    """
    order = np.argsort(-similarities, kind="stable")
    return _curve(_ends(similarities[order]), same[order], None if weights is None else weights[order])


def _ends(sorted_similarities: Floats) -> NDArray[np.int64]:
    """Return where each run of equal similarities ends: equal pairs are accepted together."""
    return np.append(np.flatnonzero(np.diff(sorted_similarities)), len(sorted_similarities) - 1)


def _curve(
    ends: NDArray[np.int64], same: NDArray[np.bool_], weights: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    once = same.astype(np.float64) if weights is None else weights * same
    total = np.arange(1, len(same) + 1, dtype=np.float64) if weights is None else np.cumsum(weights)
    true = np.cumsum(once)
    false = total - true
    require(true[-1] > 0 and false[-1] > 0, "verification", "pairs", "of both kinds", "only one kind")
    accepted_false = np.concatenate([[0.0], false[ends] / false[-1]])
    return accepted_false, np.concatenate([[0.0], true[ends] / true[-1]])


def _area(false_accepts: NDArray[np.float64], true_accepts: NDArray[np.float64]) -> float:
    return float(np.sum(np.diff(false_accepts) * (true_accepts[1:] + true_accepts[:-1])) / 2)


def _crossing(false_accepts: NDArray[np.float64], true_accepts: NDArray[np.float64]) -> float:
    """Return where the false accept rate meets the false reject rate, by straight lines between the curve's points."""
    gap = false_accepts + true_accepts - 1  # from -1 at (0, 0) to 1 at (1, 1), never falling
    after = int(np.argmax(gap >= 0))
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    return float(false_accepts[after - 1] + share * (false_accepts[after] - false_accepts[after - 1]))


def roc_auc(similarities: Floats, same: NDArray[np.bool_], weights: NDArray[np.float64] | None = None) -> float:
    """Return the area under the ROC curve: the chance that a same pair is more alike than a different one (ties ½).

    Raises:
        InputError: unless there are pairs of both kinds.
    """
    return _area(*roc_points(similarities, same, weights))


def equal_error_rate(
    similarities: Floats, same: NDArray[np.bool_], weights: NDArray[np.float64] | None = None
) -> float:
    """Return the rate at which false accepts and false rejects are equal.

    Raises:
        InputError: unless there are pairs of both kinds.
    """
    return _crossing(*roc_points(similarities, same, weights))


class _Pairs(NamedTuple):
    first: Labels
    second: Labels
    complete: bool


def _choose_pairs(labels: Labels, limit: int, seed: int) -> _Pairs:
    """Return all pairs if there are at most ``limit``, else half of it of each kind, drawn with replacement."""
    count = len(labels)
    if count * (count - 1) // 2 <= limit:
        first, second = np.triu_indices(count, 1)
        return _Pairs(first.astype(np.int64), second.astype(np.int64), complete=True)
    rng = np.random.default_rng([seed, count])
    same = _same_pairs(labels, limit // 2, rng)
    different = _different_pairs(labels, limit - limit // 2, rng)
    both = np.concatenate([same, different])
    return _Pairs(both[:, 0], both[:, 1], complete=False)


def _same_pairs(labels: Labels, wanted: int, rng: np.random.Generator) -> Labels:
    """Draw pairs of one class, every such pair equally likely."""
    order = np.argsort(labels, kind="stable")
    _, starts, sizes = np.unique(labels[order], return_index=True, return_counts=True)
    pairs = sizes * (sizes - 1.0)
    chosen = rng.choice(len(sizes), size=wanted, p=pairs / pairs.sum())
    first = rng.integers(sizes[chosen])
    second = (first + 1 + rng.integers(sizes[chosen] - 1)) % sizes[chosen]
    return np.stack([order[starts[chosen] + first], order[starts[chosen] + second]], axis=1)


def _different_pairs(labels: Labels, wanted: int, rng: np.random.Generator) -> Labels:
    """Draw pairs of two classes, every such pair equally likely: first its class by weight, then any other's row."""
    order = np.argsort(labels, kind="stable")
    _, starts, sizes = np.unique(labels[order], return_index=True, return_counts=True)
    others = len(labels) - sizes
    weight = sizes * others.astype(np.float64)
    chosen = rng.choice(len(sizes), size=wanted, p=weight / weight.sum())
    first = starts[chosen] + rng.integers(sizes[chosen])
    second = (starts[chosen] + sizes[chosen] + rng.integers(others[chosen])) % len(labels)
    return np.stack([order[first], order[second]], axis=1)


def _similarities(rows: Floats, pairs: _Pairs) -> Floats:
    values = np.empty(len(pairs.first), dtype=np.float32)
    for part in chunks(len(values), rows.shape[1]):
        values[part] = np.einsum("pd,pd->p", rows[pairs.first[part]], rows[pairs.second[part]])
    return values


@dataclass(frozen=True)
class Verification(Protocol):
    """ROC-AUC and equal error rate of same / different pairs of test rows.

    Pairs share rows, so they are not independent: the interval draws rows, and a pair counts as often as the product
    of its rows' counts. A row drawn twice makes no pair with itself.

    Attributes:
        max_pairs: all pairs are scored up to this many (1,000 rows make 499,500), else so many drawn with replacement,
            half of each kind; neither number depends on the share of same pairs.
        resamples: of the bootstrap over rows; 0 for no interval.
        seed: of the pairs and of the bootstrap.
    """

    max_pairs: int = 500_000
    resamples: int = 200
    seed: int = 0

    name: ClassVar[str] = "verification"

    def __post_init__(self) -> None:
        require(self.max_pairs >= 2, "Verification", "max_pairs", ">= 2", self.max_pairs)
        require(self.resamples >= 0, "Verification", "resamples", ">= 0", self.resamples)

    def describe(self) -> str:
        """Say which pairs, the metric, and the interval."""
        interval = f"95 % interval by bootstrap over rows ({self.resamples} resamples)" if self.resamples else ""
        return (
            f"same / different class of pairs of test rows, cosine; all pairs up to {self.max_pairs:,}, else that many "
            f"drawn with replacement, half of each kind (seed {self.seed}); {interval or 'no interval'}"
        )

    def scores(self, train: Labelled, test: Labelled) -> Iterator[Score]:
        """Yield ``roc-auc`` and ``eer``; ``train`` is unused."""
        x, y = test.known("verification")
        sizes = np.unique(y, return_counts=True)[1]
        ok = len(sizes) >= 2 and sizes.max() >= 2
        got = f"{len(sizes)} classes, at most {sizes.max()} rows in one"
        require(bool(ok), "verification", "test rows", "of two or more classes, two or more in some", got)
        pairs = _choose_pairs(y, self.max_pairs, self.seed)
        similarities = _similarities(unit_rows(x), pairs)
        order = np.argsort(-similarities, kind="stable")
        first, second = pairs.first[order], pairs.second[order]
        ends, same = _ends(similarities[order]), y[first] == y[second]
        curve = _curve(ends, same, None)
        values = np.array([_area(*curve), _crossing(*curve)])
        low, high = self._interval(ends, same, first, second, len(y))
        total = len(y) * (len(y) - 1) // 2
        note = f"all {total:,} pairs" if pairs.complete else f"{len(first):,} pairs drawn of {total:,}"
        for position, name in enumerate(("roc-auc", "eer")):
            yield Score(name, float(values[position]), low=low[position], high=high[position], n=len(first), note=note)

    def _interval(
        self, ends: Labels, same: NDArray[np.bool_], first: Labels, second: Labels, rows: int
    ) -> tuple[list[float | None], list[float | None]]:
        rng = np.random.default_rng([self.seed, rows, 1])
        drawn = []
        for _ in range(self.resamples):
            times = np.bincount(rng.integers(rows, size=rows), minlength=rows).astype(np.float64)
            weights = times[first] * times[second]
            if weights[same].any() and weights[~same].any():
                curve = _curve(ends, same, weights)
                drawn.append((_area(*curve), _crossing(*curve)))
        if not drawn:
            return [None, None], [None, None]
        low, high = np.quantile(np.array(drawn), [0.025, 0.975], axis=0)
        return [float(value) for value in low], [float(value) for value in high]
