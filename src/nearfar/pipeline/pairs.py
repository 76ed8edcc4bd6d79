"""Evaluating without learning: pairs of texts, images and their captions, classes by their names."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.config import check
from nearfar.data import Source
from nearfar.data.source import origin
from nearfar.errors import DataError, require
from nearfar.evaluation import Labelled, Report, Result
from nearfar.evaluation.similarity import Paired, PairRetrieval, Similarity, evaluate_pairs
from nearfar.evaluation.zero_shot import ZeroShot
from nearfar.pipeline.features import Subject, features

__all__ = ["PAIRED", "paired_protocols", "score_pairs"]

PAIRED: dict[str, type[Any]] = {one.name: one for one in (Similarity, PairRetrieval, ZeroShot)}
"""The protocols that learn from nothing, by name."""


def paired_protocols(names: Sequence[str], options: Mapping[str, Any], seed: int) -> tuple[list[Any], set[str]]:
    """Build the protocols of these names that are in `PAIRED`, and return the options that they took."""
    built: list[Any] = []
    used: set[str] = set()
    for name in (name for name in names if name in PAIRED):
        hints = typing.get_type_hints(PAIRED[name])
        fields = {field.name for field in dataclasses.fields(PAIRED[name])}
        mine = {key: value for key, value in {"seed": seed, **options}.items() if key in fields}
        used |= set(mine)
        built.append(PAIRED[name](**{k: check(f"protocol {name}", k, hints[k], v) for k, v in mine.items()}))
    return built, used


def score_pairs(subject: Subject, source: Source, protocols: Sequence[Any], threads: int | None) -> Report:
    """Score an encoder on pairs, or on classes by their names.

    Raises:
        DataError: when the data have no pairs, scores or labels.
    """
    results: list[Result] = []
    about = ""
    pairs = [one for one in protocols if not isinstance(one, ZeroShot)]
    if pairs:
        report = evaluate_pairs(_paired(subject, source, threads), pairs, subject=subject.name)
        results, about = list(report.results), report.test
    for protocol in (one for one in protocols if isinstance(one, ZeroShot)):
        test, classes = _by_name(subject, source, protocol, threads)
        scores = tuple(protocol.scores(test, classes))
        results.append(Result(protocol.name, protocol.describe(), dataclasses.asdict(protocol), scores))
        about = about or f"scored on {test.describe()}"
    return Report(subject.name, "nothing is learnt", about, tuple(results))


class _Items:
    """Some items as a source of their own."""

    labels = None
    class_names = None

    def __init__(self, items: Sequence[Any], ids: Sequence[str] | None = None) -> None:
        self.items = items
        self.ids: Sequence[str] = [str(row) for row in range(len(items))] if ids is None else ids

    def __len__(self) -> int:
        return len(self.items)

    def read(self, index: int) -> Any:
        """Return one item."""
        return self.items[index]

    def fingerprint(self) -> str | None:
        """Unknown."""
        return None


class _Side:
    """One side of every item of a source."""

    labels = None
    class_names = None

    def __init__(self, source: Source, subject: Subject, side: int) -> None:
        self.source, self.subject, self.side, self.ids = source, subject, side, source.ids

    def __len__(self) -> int:
        return len(self.source)

    def read(self, index: int) -> Any:
        """Return one side of an item."""
        return self.subject.inputs.sides(self.source.read(index))[self.side]

    def fingerprint(self) -> str | None:
        """The source's."""
        return self.source.fingerprint()


def _paired(subject: Subject, source: Source, threads: int | None) -> Paired:
    inputs = subject.inputs
    inputs.sides(source.read(0))  # says so when items have no two sides
    found = []
    for side in (0, 1):
        name = inputs.side_names[side]
        found.append(features(subject, _Side(source, subject, side), threads=threads, description=f"embed: {name}"))
    rows = np.intersect1d(found[0][0], found[1][0])
    vectors = [part[np.searchsorted(numbers, rows)] for numbers, part in found]
    places = [origin(source, int(row)) for row in rows]
    scores = [None if (given := getattr(whole, "scores", None)) is None else given[place] for whole, place in places]
    known = None if any(score is None for score in scores) else np.array(scores, np.float64)
    same = [_same(subject, source, rows, side) for side in (0, 1)]
    return Paired(
        vectors[0], vectors[1], known, same[0], same[1], split="test", view=subject.view, names=inputs.side_names
    )


def _same(subject: Subject, source: Source, rows: NDArray[np.int64], side: int) -> NDArray[np.int64] | None:
    """Number the different texts of a side; ``None`` for what is no text, where every item is its own."""
    items = [subject.inputs.sides(source.read(int(row)))[side] for row in rows[:1]]
    if not isinstance(items[0], str):
        return None
    texts = [subject.inputs.sides(source.read(int(row)))[side] for row in rows]
    return np.unique(np.array(texts, dtype=str), return_inverse=True)[1].astype(np.int64)


def _by_name(
    subject: Subject, source: Source, protocol: ZeroShot, threads: int | None
) -> tuple[Labelled, NDArray[np.float32]]:
    known = source.labels is not None and source.class_names is not None
    must, fix = "given, with the names of the classes", "name the column of labels"
    require(known, "zero-shot", "labels", must, "none", fix, error=DataError)
    assert source.labels is not None
    assert source.class_names is not None
    rows, vectors = features(subject, source, threads=threads, description="embed: items")
    texts = protocol.texts(source.class_names)
    _, classes = features(subject, _Items(texts), threads=threads, description="embed: classes")
    return Labelled(vectors, source.labels[rows], split="test", view=subject.view), classes
