r"""Cut-points: how near is near enough? Chosen for a target on labelled evidence, with intervals over classes.

Evidence is a list of possible answers: each at a distance, right or wrong, and of a class (the query's). Accepting all
answers up to a cut t gives

    S(t)       right answers accepted          precision(t) = S(t) / (S(t) + D(t))
    D(t)       wrong answers accepted          recall(t)    = S(t) / the number of right answers there are
    F(t)       false ones accepted             FAR(t)       = F(t) / the number of false ones there are

F counts the same wrong answers for pairs; for nearest matches it counts the nearest items of *another* class, which is
what would be answered if the query's own class were missing. F(t) over the number of queries is the false matches a
query. Answers at one distance are accepted together, so a cut never lies within a tie.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import InputError, nearest, require

__all__ = ["Answers", "CutPoint", "Rates", "Target", "calibrate", "curves", "rates_at"]

Reals = NDArray[np.float64]
Measure = Literal["precision", "recall", "f1", "far", "false-matches"]

MEASURES: dict[str, str] = {
    "precision": "share of the accepted answers that are right",
    "recall": "share of the right answers that are accepted",
    "f1": "harmonic mean of both, the largest",
    "far": "share of the false ones that are accepted (false-accept rate)",
    "false-matches": "false ones accepted a query",
}


class Target(NamedTuple):
    """What a cut-point shall reach.

    Attributes:
        measure: precision and recall at least, far and false-matches at most; f1 is made as large as possible.
        value: in [0, 1], or >= 0 for false-matches; 1 and without effect for f1.
    """

    measure: Measure
    value: float

    @classmethod
    def of(cls, text: str) -> Target:
        """Read ``precision=0.99``, ``recall=0.9``, ``f1``, ``far=0.001`` or ``false-matches=0.01``.

        Raises:
            InputError: on another measure (the nearest is offered) or a value out of range.
        """
        name, _, number = text.partition("=")
        name = name.strip()
        if name not in MEASURES:
            raise InputError(f"calibrate: target must be a known measure, got {name!r}; {nearest(name, MEASURES)}")
        if name == "f1" and not number:
            return cls("f1", 1.0)
        ok = re.fullmatch(r"\s*\d*\.?\d+(e-?\d+)?\s*%?\s*", number) is not None
        require(ok, "calibrate", f"target {name}", "a number, as in precision=0.99", repr(number))
        percent = number.strip().endswith("%")
        value = float(number.strip().rstrip("%")) / (100 if percent else 1)
        fits = value <= 1 or name == "false-matches"
        require(fits, "calibrate", f"target {name}", "in [0, 1]", value, f"write {name}={value / 100} for {value} %")
        return cls(name, value)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return "f1" if self.measure == "f1" else f"{self.measure}={self.value:g}"


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """The evidence.

    Attributes:
        distances: (A,) float64, of every answer.
        right: (A,) bool.
        classes: (A,) int64, the query's class: what the bootstrap draws.
        weights: (A,) how many answers each stands for.
        false_distances: (F,) distances of the false ones; None: those of the wrong answers.
        false_classes: (F,) int64.
        findable: class to the number of right answers there are, accepted or not.
        queries: class to the number of queries.

    Raises:
        InputError: on wrong shapes, a distance that is not finite, or no right answer at all.
    """

    distances: Reals
    right: NDArray[np.bool_]
    classes: NDArray[np.int64]
    findable: Mapping[int, float]
    queries: Mapping[int, float]
    weights: Reals | None = None
    false_distances: Reals | None = None
    false_classes: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        shape = self.distances.shape
        ok = len(shape) == 1 and self.right.shape == shape and self.classes.shape == shape
        require(ok, "calibrate", "evidence", "arrays of one length", f"{shape}, {self.right.shape}")
        require(bool(np.isfinite(self.distances).all()), "calibrate", "distances", "finite", "NaN or infinity")
        fix = "give labelled items of classes that the index holds"
        require(bool(self.right.any()), "calibrate", "right answers", ">= 1", 0, fix)


class Rates(NamedTuple):
    """What a cut gives.

    Attributes:
        precision: NaN where nothing is accepted.
        recall: of the right answers there are.
        f1: harmonic mean; 0 where nothing is accepted.
        far: share of the false ones accepted.
        false_matches: false ones accepted a query.
    """

    precision: float
    recall: float
    f1: float
    far: float
    false_matches: float


class CutPoint(NamedTuple):
    """A cut and what it gives, with 95 % intervals by bootstrap over classes.

    Attributes:
        target: what it was chosen for.
        cut: the largest distance accepted.
        cut_low: the lower end of the cut's interval: where the same target puts it on other classes.
        cut_high: its upper end.
        rates: measure to (value, low, high) at the cut, on the evidence it was chosen on.
        checked: measure to its value when the cut is chosen on four fifths of the classes and used on the others.
    """

    target: str
    cut: float
    cut_low: float
    cut_high: float
    rates: dict[str, tuple[float, float, float]]
    checked: dict[str, float]


class _Curve(NamedTuple):
    """Totals of answers accepted at every distinct distance, of the false ones too."""

    cuts: Reals
    S: Reals
    D: Reals
    F: Reals
    findable: float
    false: float
    queries: float

    def rates(self) -> dict[str, Reals]:
        accepted = self.S + self.D
        precision = np.divide(self.S, accepted, out=np.full_like(self.S, np.nan), where=accepted > 0)
        recall = self.S / max(self.findable, 1e-300)
        f1 = 2 * self.S / np.maximum(accepted + self.findable, 1e-300)
        far = self.F / self.false if self.false else np.zeros_like(self.F)
        return {
            "precision": precision,
            "recall": recall,
            "f1": f1,
            "far": far,
            "false-matches": self.F / max(self.queries, 1e-300),
        }


class _Sorted:
    """Evidence in the order of distances, so that each resample is one pass of running sums."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        order = np.argsort(answers.distances, kind="stable")
        self.distances, self.right = answers.distances[order], answers.right[order]
        self.weights = np.ones(len(order)) if answers.weights is None else answers.weights[order]
        self.names = np.array(sorted({*answers.queries, *answers.findable, *answers.classes.tolist()}), dtype=np.int64)
        self.place = np.searchsorted(self.names, answers.classes[order])
        false = answers.false_distances
        self.cuts = np.unique(self.distances if false is None else np.concatenate([self.distances, false]))
        self.upto = np.searchsorted(self.distances, self.cuts, side="right")
        if answers.false_distances is not None and answers.false_classes is not None:
            sorted_false = np.argsort(answers.false_distances, kind="stable")
            self.false_distances = answers.false_distances[sorted_false]
            self.false_place = np.searchsorted(self.names, answers.false_classes[sorted_false])
            self.false_upto = np.searchsorted(self.false_distances, self.cuts, side="right")
        self.findable = np.array([answers.findable.get(int(name), 0.0) for name in self.names])
        self.queries = np.array([answers.queries.get(int(name), 0.0) for name in self.names])

    def curve(self, times: Reals | None = None) -> _Curve:
        """Return the curve where each class counts ``times`` (K,) over; once if not given."""
        times = np.ones(len(self.names)) if times is None else times
        weights = self.weights * times[self.place]
        S = np.concatenate([[0.0], np.cumsum(weights * self.right)])[self.upto]
        D = np.concatenate([[0.0], np.cumsum(weights * ~self.right)])[self.upto]
        if self.answers.false_distances is None:
            F, false = D, float((weights * ~self.right).sum())
        else:
            running = np.concatenate([[0.0], np.cumsum(times[self.false_place])])
            F, false = running[self.false_upto], float(running[-1])
        return _Curve(self.cuts, S, D, F, float(times @ self.findable), false, float(times @ self.queries))


def curves(answers: Answers) -> tuple[Reals, dict[str, Reals]]:
    """Return every possible cut, ascending, and each measure's value there."""
    curve = _Sorted(answers).curve()
    return curve.cuts, curve.rates()


def rates_at(answers: Answers, cut: float) -> Rates:
    """Return what accepting all answers up to ``cut`` gives."""
    return _rates_at(_Sorted(answers).curve(), cut)


def _rates_at(curve: _Curve, cut: float) -> Rates:
    at = int(np.searchsorted(curve.cuts, cut, side="right")) - 1
    if at < 0:
        return Rates(float("nan"), 0.0, 0.0, 0.0, 0.0)
    return Rates(*(float(values[at]) for values in curve.rates().values()))


def _choose(curve: _Curve, target: Target) -> float | None:
    """Return the cut for a target, or None where no cut reaches it.

    The one that accepts most for precision, far and false matches; the one that accepts least for recall. A cut stands
    midway to the next distance, so that rounding turns no answer away.
    """
    values = curve.rates()[target.measure]
    if target.measure == "f1":
        at = int(np.argmax(values))
    elif target.measure == "recall":
        reached = np.flatnonzero(values >= target.value - 1e-12)
        if not len(reached):
            return None
        at = int(reached[0])
    else:
        good = values >= target.value - 1e-12 if target.measure == "precision" else values <= target.value + 1e-12
        reached = np.flatnonzero(good)
        if not len(reached):
            return None
        at = int(reached[-1])
    following = curve.cuts[at + 1] if at + 1 < len(curve.cuts) else curve.cuts[at]
    return float((curve.cuts[at] + following) / 2)


def calibrate(answers: Answers, target: Target | str, *, resamples: int = 500, seed: int = 0) -> CutPoint:
    """Choose the cut for a target, and say how sure it is.

    Args:
        answers: the evidence.
        target: such as ``"precision=0.99"``.
        resamples: how often classes are drawn with replacement for the 95 % intervals (percentile bootstrap, Efron,
            https://doi.org/10.1214/aos/1176344552).
        seed: of the draws.

    Raises:
        InputError: when no cut reaches the target (the best is said), or there are fewer than two classes.
    """
    target = Target.of(target) if isinstance(target, str) else target
    require(resamples >= 1, "calibrate", "resamples", ">= 1", resamples)
    ranked = _Sorted(answers)
    classes = len(ranked.names)
    require(classes >= 2, "calibrate", "classes of the labelled items", ">= 2", classes)
    curve = ranked.curve()
    cut = _choose(curve, target)
    if cut is None:
        best = np.nanmax(curve.rates()[target.measure]) if target.measure in ("precision", "recall") else None
        best = np.nanmin(curve.rates()[target.measure]) if best is None else best
        raise InputError(
            f"calibrate: {target} is reached by no cut, the best is {best:.4f}; choose another target, "
            "a better encoder or more labelled items"
        )
    rng = np.random.default_rng([seed, classes, 3])
    cuts: list[float] = []
    drawn: list[Rates] = []
    for _ in range(resamples):
        again = ranked.curve(np.bincount(rng.integers(classes, size=classes), minlength=classes).astype(np.float64))
        drawn.append(_rates_at(again, cut))
        other = _choose(again, target)
        if other is not None:
            cuts.append(other)
    value = _rates_at(curve, cut)
    low, high = _interval(np.array(cuts)) if cuts else (cut, cut)
    intervals = [_interval(column) for column in np.array(drawn, dtype=np.float64).T]
    rates = {name: (float(point), *interval) for name, point, interval in zip(MEASURES, value, intervals, strict=True)}
    return CutPoint(str(target), cut, low, high, rates, _checked(ranked, target, seed))


def _interval(values: Reals) -> tuple[float, float]:
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def _checked(ranked: _Sorted, target: Target, seed: int, folds: int = 5) -> dict[str, float]:
    """Return the rates on classes that had no part in choosing the cut, pooled over folds."""
    classes = len(ranked.names)
    fold = np.random.default_rng([seed, classes, 4]).permutation(classes) % min(folds, classes)
    totals = np.zeros(6)
    for number in np.unique(fold):
        others, own = (ranked.curve((fold != number).astype(np.float64)), ranked.curve((fold == number).astype(float)))
        cut = _choose(others, target)
        at = -1 if cut is None else int(np.searchsorted(own.cuts, cut, side="right")) - 1
        accepted = (0.0, 0.0, 0.0) if at < 0 else (own.S[at], own.D[at], own.F[at])
        totals += np.array([*accepted, own.findable, own.false, own.queries])
    one = np.array([1.0])
    pooled = _Curve(one, *(totals[k] * one for k in range(3)), *(float(x) for x in totals[3:])).rates()
    return {name: float(values[0]) for name, values in pooled.items()}
