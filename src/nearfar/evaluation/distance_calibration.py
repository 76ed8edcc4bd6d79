"""Calibration of distances, as it is stored with an index: cut-points, and how likely an answer at a distance is right.

The calibration of a classifier's probabilities is `probability_calibration`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import InputError, nearest, require
from nearfar.evaluation.cutpoints import Answers, CutPoint, Target

__all__ = ["Calibration", "confidence_curve"]

Reals = NDArray[np.float64]

FORMAT = 1
"""Of a stored calibration."""


def confidence_curve(answers: Answers, *, most: int = 64) -> tuple[Reals, Reals]:
    """Return how likely an answer at a distance is right: a curve that never rises with the distance.

    Isotonic regression of right on distance (Zadrozny, Elkan, KDD 2002, https://doi.org/10.1145/775047.775151), kept
    off 0 and 1 by one right and one wrong answer at each of its ends.

    Args:
        answers: the evidence.
        most: corners kept.

    Returns:
        Distances (M,) ascending, and the confidence at each; between them it is a straight line, beyond them level.
    """
    from sklearn.isotonic import IsotonicRegression

    d, right = answers.distances, answers.right.astype(np.float64)
    weights = np.ones(len(d)) if answers.weights is None else answers.weights
    ends = np.array([d.min(), d.min(), d.max(), d.max()])
    x, y = np.concatenate([ends, d]), np.concatenate([[1.0, 0.0, 1.0, 0.0], right])
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, increasing=False, out_of_bounds="clip")
    fitted.fit(x, y, sample_weight=np.concatenate([np.ones(4), weights]))
    knots, values = np.asarray(fitted.X_thresholds_), np.asarray(fitted.y_thresholds_)
    if len(knots) > most:
        keep = np.unique(np.linspace(0, len(knots) - 1, most).round().astype(int))
        knots, values = knots[keep], values[keep]
    return knots.astype(np.float64), values.astype(np.float64)


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What is stored with an index.

    Attributes:
        metric: the distance of the cuts.
        fingerprint: of the encoder, if known.
        over: ``"matches"`` (nearest answers) or ``"pairs"``.
        cuts: the cut-points; the first is used unless another is named.
        distances: where the confidence is known.
        confidences: there.
        sentence: how all of it was found.
    """

    metric: str
    fingerprint: str | None
    over: str
    cuts: tuple[CutPoint, ...]
    distances: tuple[float, ...]
    confidences: tuple[float, ...]
    sentence: str

    def cut(self, name: str | None = None) -> CutPoint:
        """Return the cut-point of that target, or the first.

        Raises:
            InputError: when there is none of that name; the nearest is offered.
        """
        if name is None:
            return self.cuts[0]
        wanted = str(Target.of(name))
        names = {one.target: one for one in self.cuts}
        if wanted not in names:
            raise InputError(f"calibration: has no cut-point {wanted!r}; {nearest(wanted, names)}")
        return names[wanted]

    def confidence(self, distance: float) -> float:
        """Return how likely an answer at this distance is right."""
        return float(np.interp(distance, self.distances, self.confidences))

    def to_mapping(self) -> dict[str, Any]:
        """Return the record as plain values, ready for JSON."""
        cuts = [
            {
                **one._asdict(),
                "rates": {name: [_stored(x) for x in values] for name, values in one.rates.items()},
                "checked": {name: _stored(x) for name, x in one.checked.items()},
            }
            for one in self.cuts
        ]
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values = {**plain, "cuts": cuts, "format": FORMAT}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Calibration:
        """Read what ``to_mapping`` returned.

        Raises:
            InputError: when it is something else.
        """
        try:
            require(values["format"] == FORMAT, "calibration", "format", str(FORMAT), values["format"])
            cuts = [
                CutPoint(
                    **{
                        **one,
                        "rates": {name: _three(three) for name, three in one["rates"].items()},
                        "checked": {name: _read(x) for name, x in one["checked"].items()},
                    }
                )
                for one in values["cuts"]
            ]
            distances, confidences = (tuple(float(x) for x in values[key]) for key in ("distances", "confidences"))
            texts = {key: values[key] for key in ("metric", "fingerprint", "over", "sentence")}
            return cls(cuts=tuple(cuts), distances=distances, confidences=confidences, **texts)
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"calibration: is not a stored one ({type(error).__name__}: {error})") from None

    def text(self) -> str:
        """Return the cut-points in words, a line a number."""
        lines = [self.sentence]
        for one in self.cuts:
            lines += [
                "",
                f"{one.target}: accept up to {one.cut:.6g} [{one.cut_low:.6g}, {one.cut_high:.6g}] ({self.metric})",
            ]
            for name, (value, low, high) in one.rates.items():
                checked = f"   on classes not used to choose it {one.checked[name]:.4f}" if name in one.checked else ""
                lines.append(f"  {name:<14} {value:.4f} [{low:.4f}, {high:.4f}]{checked}")
        return "\n".join(lines) + "\n"


def _three(values: Sequence[float | None]) -> tuple[float, float, float]:
    value, low, high = (_read(x) for x in values)
    return value, low, high


def _stored(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _read(value: float | None) -> float:
    return math.nan if value is None else float(value)
