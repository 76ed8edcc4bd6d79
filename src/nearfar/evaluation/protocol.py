"""What every protocol takes and gives: labelled embeddings in, scores out."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import InputError, require

__all__ = ["Labelled", "Protocol", "Score", "encode_labels", "unit_rows"]

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


class Score(NamedTuple):
    """One number.

    Attributes:
        name: what was measured, such as ``"knn"`` or ``"recall@1"``.
        value: the number, or the mean over draws.
        sd: the standard deviation over draws (n - 1 in the denominator), if there were several.
        low: the lower end of the 95 % confidence interval, if there is one.
        high: its upper end.
        n: how many test rows, queries or pairs the value is over.
        note: what this number needs to be read rightly and its protocol could not know, such as the C chosen.
    """

    name: str
    value: float
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    note: str = ""


@dataclass(frozen=True, eq=False)
class Labelled:
    """Embeddings with the labels of their rows, checked once.

    Attributes:
        embeddings: (N, D) float32, all finite.
        labels: (N,) int64, -1 where unknown.
        split: what the rows are, in a word: ``"train"``, ``"test"``.
        view: how the items were shown to the encoder, for example ``"centre crop, no augmentation"``.

    Raises:
        InputError: on a wrong shape, a value that is not finite, labels below -1, or no rows.
    """

    embeddings: Floats
    labels: Labels
    split: str = ""
    view: str = ""
    unknown: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        embeddings, labels = np.asarray(self.embeddings), np.asarray(self.labels)
        who = f"embeddings of {self.split}" if self.split else "embeddings"
        require(embeddings.ndim == 2 and embeddings.size > 0, who, "shape", "(N, D), N and D > 0", embeddings.shape)
        require(embeddings.dtype.kind in "fiu", who, "dtype", "a real number's", embeddings.dtype)
        require(labels.shape == embeddings.shape[:1], who, "labels", f"of shape ({len(embeddings)},)", labels.shape)
        require(labels.dtype.kind in "iu", who, "labels", "whole numbers", labels.dtype, "use encode_labels for names")
        embeddings = np.ascontiguousarray(embeddings, dtype=np.float32)
        finite = np.isfinite(embeddings).all(axis=1)
        require(bool(finite.all()), who, "values", "finite", f"NaN or infinity in row {int(np.argmin(finite))}")
        labels = labels.astype(np.int64)
        require(int(labels.min()) >= -1, who, "labels", ">= 0, or -1 for unknown", int(labels.min()))
        object.__setattr__(self, "embeddings", embeddings)
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "unknown", int((labels == -1).sum()))

    def __len__(self) -> int:
        return len(self.labels)

    def known(self, who: str) -> tuple[Floats, Labels]:
        """Return the embeddings and labels of the rows whose label is known.

        Raises:
            InputError: when no label is known.
        """
        if not self.unknown:
            return self.embeddings, self.labels
        keep = self.labels >= 0
        rows = f"the {self.split} rows" if self.split else "the rows"
        require(bool(keep.any()), who, f"labels of {rows}", "known for some", "none", "give labelled data")
        return self.embeddings[keep], self.labels[keep]

    def describe(self) -> str:
        """Say what the rows are: the split, how many, how many were left out, and the view."""
        text = f"{self.split or 'unnamed'} split: {len(self) - self.unknown} rows"
        if self.unknown:
            text += f" ({self.unknown} more of unknown label left out)"
        return f"{text}, view: {self.view}" if self.view else text


class Protocol(abc.ABC):
    """A way to score embeddings: a frozen dataclass whose fields are all that changes the number.

    Attributes:
        name: the name under which the command line and a report know it.
    """

    name: ClassVar[str]

    @abc.abstractmethod
    def describe(self) -> str:
        """Return the sentence printed beside the numbers: every choice that changes them."""

    @abc.abstractmethod
    def scores(self, train: Labelled, test: Labelled) -> Iterator[Score]:
        """Yield the numbers of ``test``; ``train`` is what may be learnt from, and is unused by some protocols.

        Raises:
            InputError: when the rows do not allow the protocol (no known label, one class only, ...).
        """


def check_pair(who: str, train: Labelled, test: Labelled) -> tuple[Floats, Labels, Floats, Labels]:
    """Return the known rows of both, checked to be of one width."""
    x, y = train.known(who)
    queries, truth = test.known(who)
    require(
        x.shape[1] == queries.shape[1],
        who,
        "test embeddings",
        f"as wide as those of train, {x.shape[1]}",
        queries.shape[1],
        "embed both with one encoder",
    )
    return x, y, queries, truth


def unit_rows(embeddings: Floats) -> Floats:
    """Return the rows divided by their Euclidean norm; a row of zeros stays one, at cosine 0 to everything."""
    norms: Floats = np.linalg.norm(embeddings, axis=1, keepdims=True)
    norms[norms == 0] = 1
    return embeddings / norms


def encode_labels(*groups: Sequence[str | int | None]) -> tuple[list[Labels], tuple[str, ...]]:
    """Turn labels of several splits into class numbers with one numbering.

    Args:
        groups: the labels of each split; ``None`` means unknown.

    Returns:
        For each group (N,) int64 with -1 for unknown, and the class names in sorted order (numbers as numbers).

    Raises:
        InputError: when text and numbers are mixed.
    """
    values: set[Any] = {value for group in groups for value in group if value is not None}
    if len({isinstance(value, str) for value in values}) > 1:
        raise InputError("encode_labels: labels must be all text or all whole numbers, got both; convert one kind")
    names = sorted(values)
    number = {value: position for position, value in enumerate(names)}
    coded = [np.array([-1 if v is None else number[v] for v in group], dtype=np.int64) for group in groups]
    return coded, tuple(str(name) for name in names)
