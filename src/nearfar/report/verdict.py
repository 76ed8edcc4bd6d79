"""What numbers say, in a sentence that depends on them: did pretraining help, and is that more than noise?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["Measured", "verdict"]


class Measured(NamedTuple):
    """One number in [0, 1], better when higher, and how far it may be off; 0 where that is not known."""

    value: float
    margin: float = 0.0


def verdict(numbers: Mapping[str, Measured], own: str, *, lead: str, what: str, margin: str) -> str:
    """Compare one number with the best of the others: ahead, behind, or within the margin of either.

    Args:
        numbers: by what was measured, two or more.
        own: which of them is pretraining's.
        lead: how the sentence begins, such as ``"With 5 labels per class"``.
        what: what the numbers are.
        margin: what their margins are, such as ``"sd over draws"``.
    """
    rest = {name: number for name, number in numbers.items() if name != own}
    best = max(rest, key=lambda name: rest[name].value)
    mine, theirs = numbers[own], rest[best]
    noise = max(mine.margin, theirs.margin)
    if abs(mine.value - theirs.value) <= noise:
        found = f"pretraining and {best} are as good as each other"
    elif mine.value > theirs.value:
        found = f"pretraining is ahead of the next, {best}"
    else:
        found = f"pretraining does not help: {best} is better"
    off = f", {margin} at most {noise:.1%}" if noise > 0 else ""
    return f"{lead}, {found} ({what} {mine.value:.1%} and {theirs.value:.1%}{off})."
