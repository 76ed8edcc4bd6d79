"""Views of texts: the text itself (an encoder's dropout then makes two of it), words deleted, spans, words shuffled.

    dropout    the text twice; the encoder's dropout differs      SimCSE, https://arxiv.org/abs/2104.08821, section 3
    deletion   every word is left out with probability p          CLEAR, https://arxiv.org/abs/2012.15466, section 3.2
    spans      one run of neighbouring words                      DeCLUTR, https://arxiv.org/abs/2006.03659, section 3.1
    shuffle    words move by a few places                         Lample et al., https://arxiv.org/abs/1711.00043, eq. 3
    pairs      each text of a row is a view                       SimCSE with labels, section 4
    any        each view another text of the row, drawn           captions of one picture, say

Words are what white space parts, so that a view stays readable; tokens are made afterwards. Everything here works on
lists of words and a generator and imports no tokenizer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from nearfar.errors import DataError, require
from nearfar.registry import Registry

__all__ = ["TEXT_VIEWS", "Row", "TextView", "describe", "draw_texts"]

Row: TypeAlias = tuple[str, ...]
"""The texts of one item."""

ANY = -1
"""In place of a column's number: a text of the row that no other view has, where there are enough."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextView:
    """How one view of a text is drawn: first the span, then deletion, then shuffling.

    Attributes:
        length: the most tokens; the rest is cut off.
        column: which text of a row, from 0; -1 draws one.
        span: the smallest and the largest share of the words that a run of neighbours keeps.
        delete: the probability with which a word is left out; one word always stays.
        shuffle: a word moves by fewer than that many places; 0 and 1 keep the order.
    """

    length: int = 64
    column: int = 0
    span: tuple[float, float] = (1.0, 1.0)
    delete: float = 0.0
    shuffle: int = 0

    def __post_init__(self) -> None:
        """Check every number.

        Raises:
            InputError: on the first that is out of range.
        """
        require(self.length >= 4, "TextView", "length", ">= 4", self.length)
        require(self.column >= ANY, "TextView", "column", ">= -1", self.column)
        low, high = self.span
        require(0 < low <= high <= 1, "TextView", "span", "two shares, 0 < low <= high <= 1", self.span)
        require(0 <= self.delete < 1, "TextView", "delete", "in [0, 1)", self.delete)
        require(self.shuffle >= 0, "TextView", "shuffle", ">= 0", self.shuffle)

    @property
    def size(self) -> int:
        """What views of one pass share: minus the length, so that it never equals a picture's side."""
        return -self.length

    @property
    def changes(self) -> bool:
        """Whether words change at all."""
        return self.span != (1.0, 1.0) or self.delete > 0 or self.shuffle > 1


TEXT_VIEWS: Registry[Callable[[int], tuple[TextView, ...]]] = Registry(
    "views of texts",
    group="nearfar.text_views",
    builtin={
        name: f"nearfar.views.text:{name}"
        for name in ("dropout", "deletion", "spans", "shuffle", "words", "pairs", "any")
    },
)
"""Names to functions from a length in tokens to descriptions; more views than given are made by repeating them."""


def dropout(length: int) -> tuple[TextView, ...]:
    """SimCSE: the text itself, twice."""
    return (TextView(length=length), TextView(length=length))


def deletion(length: int) -> tuple[TextView, ...]:
    """A fifth of the words left out."""
    return (TextView(length=length, delete=0.2), TextView(length=length, delete=0.2))


def spans(length: int) -> tuple[TextView, ...]:
    """Half of the words or more, neighbours all."""
    return (TextView(length=length, span=(0.5, 1.0)), TextView(length=length, span=(0.5, 1.0)))


def shuffle(length: int) -> tuple[TextView, ...]:
    """Words move by up to three places."""
    return (TextView(length=length, shuffle=4), TextView(length=length, shuffle=4))


def words(length: int) -> tuple[TextView, ...]:
    """Span, deletion and shuffling, all of them mild."""
    view = TextView(length=length, span=(0.7, 1.0), delete=0.15, shuffle=3)
    return (view, view)


def pairs(length: int) -> tuple[TextView, ...]:
    """The first text of a row and the second; further views are the next ones: hard negatives."""
    return (TextView(length=length), TextView(length=length, column=1))


def any(length: int) -> tuple[TextView, ...]:  # noqa: A001 - the name of the views
    """Two texts of the row, drawn anew each time."""
    return (TextView(length=length, column=ANY), TextView(length=length, column=ANY))


def draw_texts(rows: Sequence[Row], views: Sequence[TextView], rng: np.random.Generator) -> list[list[str]]:
    """Draw every view of every row.

    Args:
        rows: N items.
        views: V descriptions.
        rng: the only source of randomness.

    Returns:
        V lists of N texts. Views that draw their column take different texts of a row as long as there are some.

    Raises:
        DataError: when a row has fewer texts than a view's column asks for.
    """
    width = min((len(row) for row in rows), default=0)
    column = max(view.column for view in views)
    fix = "take --views dropout for single texts"
    require(column < width, "views of texts", "texts a row", f">= {column + 1}", width, fix, error=DataError)
    drawing = [place for place, view in enumerate(views) if view.column == ANY]
    picked = [rng.permutation(len(row)) for row in rows] if drawing else []
    made = []
    for place, view in enumerate(views):
        if view.column == ANY:
            nth = drawing.index(place)
            texts = [row[int(order[nth % len(row)])] for row, order in zip(rows, picked, strict=True)]
        else:
            texts = [row[view.column] for row in rows]
        made.append([_change(text, view, rng) for text in texts] if view.changes else texts)
    return made


def _change(text: str, view: TextView, rng: np.random.Generator) -> str:
    found = text.split()
    if len(found) < 2:
        return text
    if view.span != (1.0, 1.0):
        count = max(1, round(len(found) * rng.uniform(*view.span)))
        start = int(rng.integers(len(found) - count + 1))
        found = found[start : start + count]
    if view.delete > 0:
        draws = rng.random(len(found))
        kept = [word for word, draw in zip(found, draws, strict=True) if draw >= view.delete]
        found = kept or [found[int(draws.argmax())]]
    if view.shuffle > 1:
        # Sorting by place + U(0, k) moves no word by k places or more.
        keys = np.arange(len(found)) + rng.uniform(0, view.shuffle, len(found))
        found = [found[int(place)] for place in np.argsort(keys, kind="stable")]
    return " ".join(found)


def describe(view: TextView) -> str:
    """Return what a view does, in words."""
    parts: list[Any] = []
    if view.column:
        parts.append("a text of the row" if view.column == ANY else f"text {view.column + 1} of the row")
    if view.span != (1.0, 1.0):
        parts.append(f"{view.span[0]:.0%} to {view.span[1]:.0%} of the words, neighbours")
    if view.delete:
        parts.append(f"each word left out with probability {view.delete:g}")
    if view.shuffle > 1:
        parts.append(f"words moved by fewer than {view.shuffle} places")
    return "; ".join(parts) or "the whole text"
