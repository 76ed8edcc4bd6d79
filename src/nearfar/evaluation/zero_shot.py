"""Zero-shot classification: the class whose name, as a text, is nearest to an item.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
https://arxiv.org/abs/2103.00020, section 3.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nearfar.errors import require
from nearfar.evaluation.intervals import wilson
from nearfar.evaluation.protocol import Floats, Labelled, Score, unit_rows
from nearfar.ranking import smallest

__all__ = ["ZeroShot"]


@dataclass(frozen=True)
class ZeroShot:
    """The nearest class name by cosine; nothing is learnt, no label is used but to score.

    Attributes:
        prompt: the text of a class, with {} in the place of its name.
    """

    prompt: str = "{}"

    name: ClassVar[str] = "zero-shot"

    def __post_init__(self) -> None:
        require("{}" in self.prompt, "zero-shot", "prompt", "a text with {} for the name", repr(self.prompt))

    def describe(self) -> str:
        """Say how a class becomes a text."""
        return (
            f"the class whose name is nearest by cosine, each class as the text {self.prompt!r}; no label is learnt "
            "from; 95 % interval by Wilson"
        )

    def texts(self, class_names: tuple[str, ...]) -> list[str]:
        """Return the text of every class."""
        return [self.prompt.replace("{}", name.replace("_", " ")) for name in class_names]

    def scores(self, test: Labelled, classes: Floats) -> Iterator[Score]:
        """Yield top-1, top-5 (where there are more than 5 classes), and the mean of the classes' own top-1.

        Args:
            test: the items.
            classes: (C, D) vectors of the classes' texts, in the order of their numbers.
        """
        x, y = test.known("zero-shot")
        require(int(y.max()) < len(classes), "zero-shot", "labels", f"below the {len(classes)} classes", int(y.max()))
        k = min(5, len(classes))
        _, order = smallest(-(unit_rows(x) @ unit_rows(classes).T), k)
        hits = order == y[:, None]
        for name, right in (("top-1", hits[:, 0]), *([("top-5", hits.any(axis=1))] if len(classes) > 5 else [])):
            low, high = wilson(int(right.sum()), len(y))
            yield Score(f"zero-shot, {name}", float(right.mean()), low=low, high=high, n=len(y))
        means = [float(hits[y == label, 0].mean()) for label in np.unique(y)]
        yield Score("zero-shot, mean over classes", float(np.mean(means)), n=len(y), note=f"{len(means)} classes")
