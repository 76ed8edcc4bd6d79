"""Columns that a map is coloured by: classes as codes, measures as numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Column"]

MOST_CLASSES = 2_000
"""Classes with a name of their own; the rarer ones are one class together."""
FEW_NUMBERS = 24
"""Up to that many different whole numbers are classes."""
OTHERS = "(others)"


@dataclass(frozen=True)
class Column:
    """One value an item.

    Attributes:
        name: of the column.
        kind: ``"class"`` or ``"number"``.
        values: (N,) int16 codes into ``names``, -1 = unknown; or (N,) float32, NaN = unknown.
        names: the classes, the most frequent first, but numbers in their order.
        raw: the values as they came; ``None`` = unknown.
    """

    name: str
    kind: Literal["class", "number"]
    values: NDArray[Any]
    names: tuple[str, ...]
    raw: Sequence[Any]

    @classmethod
    def of(cls, name: str, raw: Sequence[Any]) -> Column | None:
        """Make a column of text, numbers or booleans; ``None`` when there is nothing to colour by."""
        known = [value for value in raw if value is not None]
        if not known or not all(isinstance(value, str | int | float) for value in known):
            return None
        counts = Counter(known)
        numbers = not any(isinstance(value, str | bool) for value in counts)
        if numbers and (len(counts) > FEW_NUMBERS or any(isinstance(value, float) for value in counts)):
            values = np.array([np.nan if value is None else value for value in raw], dtype=np.float32)
            values[~np.isfinite(values)] = np.nan
            return cls(name, "number", values, (), raw)
        if len(counts) == len(raw) > FEW_NUMBERS:
            return None  # another id
        ordered = sorted(counts) if numbers else [value for value, _ in sorted(counts.items(), key=_by_frequency)]
        names = [str(value) for value in ordered[:MOST_CLASSES]] + [OTHERS] * (len(ordered) > MOST_CLASSES)
        place = {value: min(code, MOST_CLASSES) for code, value in enumerate(ordered)}
        codes = np.array([-1 if value is None else place[value] for value in raw], dtype=np.int16)
        return cls(name, "class", codes, tuple(names), raw)

    def described(self) -> dict[str, Any]:
        """Return what a page needs to know beside the values."""
        said: dict[str, Any] = {"name": self.name, "kind": self.kind}
        if self.kind == "number":
            fine = self.values[np.isfinite(self.values)]
            # A few extremes would leave no colour to the others.
            low, high = np.percentile(fine, [1, 99]) if len(fine) else (0.0, 1.0)
            return said | {"least": float(low), "most": float(high)}
        counts = np.bincount(self.values[self.values >= 0], minlength=len(self.names))
        unknown = int((self.values < 0).sum())
        return said | {"names": list(self.names), "counts": counts.tolist(), "unknown": unknown}

    def packed(self) -> bytes:
        """Return the values as little-endian bytes."""
        kind = "<f4" if self.kind == "number" else "<i2"
        return self.values.astype(kind).tobytes()


def _by_frequency(item: tuple[Any, int]) -> tuple[int, str]:
    return -item[1], str(item[0])
