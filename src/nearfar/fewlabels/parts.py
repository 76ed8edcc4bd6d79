"""The data of learning from few labels: all training items, the labels that may be used, and what is scored."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfar.data import Source, hold_out_rows, take
from nearfar.data.source import groups_of
from nearfar.errors import DataError, nearest, require
from nearfar.fewlabels.label_files import read_labels, row_of
from nearfar.fewlabels.settings import LabelChoice
from nearfar.fewlabels.targets import Array, Targets, known_rows, parse
from nearfar.modalities import Modality
from nearfar.pipeline.split import HELD_OUT, training_and_test

__all__ = ["NOTHING", "Data", "choose_rows", "open_data"]

NOTHING = "none"
"""The test split that does not exist: nothing is held out and nothing is scored."""


@dataclasses.dataclass(frozen=True)
class Data:
    """Items and labels.

    Attributes:
        train: all items that may be learnt from; without their labels, but for those of ``rows``.
        test: the items that are scored, or ``None``.
        targets: what the labels stand for.
        values: (N, ...) the targets of all training items, as far as they are known.
        rows: the rows of ``train`` whose labels may be used, ascending.
        test_values: the targets of the test items, or ``None``.
    """

    train: Source
    test: Source | None
    targets: Targets
    values: Array
    rows: NDArray[np.int64]
    test_values: Array | None

    @property
    def share(self) -> float:
        """The share of the training items whose labels are used."""
        return len(self.rows) / len(self.train)

    def labelled(self) -> tuple[Source, Array]:
        """Return the labelled items and their targets."""
        return take(self.train, self.rows), self.values[self.rows]

    def per_class(self) -> dict[str, int]:
        """Return how many labels of each class are used; of numbers, how many there are."""
        used = self.values[self.rows]
        if self.targets.task == "regression":
            return {"numbers": len(self.rows)}
        if self.targets.task == "multilabel":
            return dict(zip(self.targets.names, used.sum(axis=0).astype(int).tolist(), strict=True))
        counts = np.bincount(used, minlength=self.targets.outputs)
        return {name: int(counts[number]) for number, name in enumerate(self.targets.names)}


def open_data(
    data: Any, choice: LabelChoice, modality: Modality, options: Mapping[str, Any], *, needed: bool = True
) -> Data:
    """Open data and labels, and draw the labels that may be used.

    Args:
        data: as for `nearfar.pretrain`.
        choice: which labels.
        modality: what the data are.
        options: its settings of reading.
        needed: whether there must be labels; without them no row is labelled.

    Raises:
        DataError: when labels are of unknown or of test items, an id has two of them, there are none, all are of one
            class, or a class has fewer than were asked for.
    """
    opened = _parts(data, choice, modality, options)
    targets, values, test_values = _values(opened, choice, needed)
    none = not needed and len(known_rows(values)) == 0
    rows = np.empty(0, np.int64) if none else choose_rows(targets, values, choice)
    scaled = targets if none else _scaled(targets, values[rows])
    return Data(opened.train, opened.test, scaled, values, rows, test_values)


def choose_rows(targets: Targets, values: Array, choice: LabelChoice) -> NDArray[np.int64]:
    """Return the rows whose labels may be used, ascending: stratified, and a function of seed and draw alone.

    A draw of few is part of the draw of more.

    Raises:
        DataError: when a class has fewer labels than asked for, there are none, or all are of one class.
    """
    known = known_rows(values)
    require(len(known) > 0, "labels", "labels", "at least one", "none", "give labels by --labels", error=DataError)
    if targets.task != "classes":
        return known
    classes, counts = np.unique(values[known], return_counts=True)
    if choice.per_class is not None:
        least = int(np.argmin(counts))
        missing = sorted(set(range(targets.outputs)) - {int(number) for number in classes})
        name, count = (missing[0], 0) if missing else (int(classes[least]), int(counts[least]))
        must, fix = (
            f"one with at least {choice.per_class} labels",
            f"ask for {count} or fewer" if count else "label some",
        )
        require(
            count >= choice.per_class, "labels", f"class {targets.names[name]!r}", must, count, fix, error=DataError
        )
    rng = np.random.default_rng([choice.draw_seed, choice.draw])
    chosen = []
    for number, count in zip(classes, counts, strict=True):
        rows = known[values[known] == number]
        if choice.per_class is not None or choice.fraction is not None:
            wanted = choice.per_class or max(1, round((choice.fraction or 1) * int(count)))
            rows = rng.permutation(rows)[:wanted]
        chosen.append(rows)
    must, fix = "of two or more classes", "label some of another class"
    got = f"only {targets.names[int(classes[0])]!r}"
    require(len(classes) >= 2, "labels", "labels", must, got, fix, error=DataError)
    return np.sort(np.concatenate(chosen))


class _Opened(NamedTuple):
    """Training and scored items, and the labels that tables give them."""

    train: Source
    test: Source | None
    given: Mapping[str, str] | None
    asked: Mapping[str, str] | None


def _parts(data: Any, choice: LabelChoice, modality: Modality, options: Mapping[str, Any]) -> _Opened:
    """Open what may be learnt from and what is scored."""
    given = None if choice.labels is None else read_labels(choice.labels)
    asked = None if choice.test_labels is None else read_labels(choice.test_labels)
    parts = modality.open_splits(data, options)
    if choice.test_split == NOTHING:
        return _Opened(_part(data, parts, choice), None, given, None)
    split = choice.test_split is not None or any(name in parts for name in ("test", "val"))
    if split or (given is None and asked is None):
        train, test = training_and_test(
            modality, data, options, train=choice.train_split, test=choice.test_split, seed=choice.draw_seed
        )
        return _Opened(train, test, given, asked)
    whole = _part(data, parts, choice)
    place = {text: row for row, text in enumerate(whole.ids)}
    if asked is None:
        assert given is not None
        row_of(str(choice.labels), list(given), place, {})
        given, asked = _without_a_fifth(choice, given, whole, place)
    scored = np.sort(row_of(str(choice.test_labels), list(asked), place, {}))
    rest = np.setdiff1d(np.arange(len(whole)), scored)
    require(len(rest) > 0, "labels", "training items", "at least one", "none: all are scored", error=DataError)
    return _Opened(take(whole, rest), take(whole, scored), given, asked)


def _part(data: Any, parts: Mapping[str, Source], choice: LabelChoice) -> Source:
    name = choice.train_split or ("train" if "train" in parts else "")
    if name not in parts:
        raise DataError(f"{data}: has no split {name!r}; {nearest(name, [key for key in parts if key])}")
    return parts[name]


def _without_a_fifth(
    choice: LabelChoice, given: Mapping[str, str], whole: Source, place: Mapping[str, int]
) -> tuple[dict[str, str], dict[str, str]]:
    """Hold out a fifth of the labels, evenly over the classes; return what is learnt from and what is scored."""
    names = list(given)
    classes = np.unique(np.array(list(given.values())), return_inverse=True)[1].astype(np.int64)
    enough, fix = len(names) >= 2, "give --test-labels, or more labels"
    require(enough, "labels", "labels", "two or more where a fifth is held out", len(names), fix, error=DataError)
    labels = classes if choice.task == "classes" else None
    found = groups_of(whole)
    groups = None if found is None else [found[place[name]] for name in names]
    kept, held = hold_out_rows(labels, len(names), share=HELD_OUT, seed=choice.draw_seed, groups=groups)
    learnt, scored = ({names[row]: given[names[row]] for row in rows} for rows in (kept, held))
    return learnt, scored


def _texts(source: Source, given: Mapping[str, str], path: str | None, other: Source | None) -> list[str]:
    """Return the label of every item as text, "" where none is given."""
    place = {text: row for row, text in enumerate(source.ids)}
    elsewhere = {} if other is None else {text: row for row, text in enumerate(other.ids)}
    texts = [""] * len(source)
    for row, label in zip(row_of(str(path), list(given), place, elsewhere), given.values(), strict=True):
        texts[row] = label
    return texts


def _values(opened: _Opened, choice: LabelChoice, needed: bool) -> tuple[Targets, Array, Array | None]:
    """Return what labels stand for, and the targets of the training and the test items."""
    train, test, given, asked = opened
    learnt = None if given is None else _texts(train, given, choice.labels, test)
    tested = None if asked is None or test is None else _texts(test, asked, choice.test_labels or choice.labels, None)
    own = choice.task == "classes"
    names = _own_names(train, test) if own else None
    if learnt is None:
        fix = "give a table of labels by --labels" + (", or put items into one folder per class" if own else "")
        known = not needed or (own and train.labels is not None)
        require(known, "labels", "labels of the training items", "given", "none", fix, error=DataError)
    texts = [*(learnt or []), *(tested or [])]
    unknown = np.full(len(train), -1, np.int64) if own else np.full((len(train), 1), np.nan, np.float32)
    if not texts:
        own_values = train.labels if own and train.labels is not None else unknown
        return Targets(choice.task, names or ()), own_values, test.labels if own and test is not None else None
    values, found = parse(choice.task, texts, names, str(choice.labels or choice.test_labels))
    targets = Targets(choice.task, names if own and names is not None and learnt is None else found)
    count = len(learnt or [])
    train_values: Array = unknown
    if learnt is not None or (own and train.labels is not None):
        train_values = values[:count] if learnt is not None else train.labels  # type: ignore[assignment]
    test_values: Array | None = values[count:] if tested is not None else None
    if test_values is None and own and test is not None:
        test_values = test.labels
    return targets, train_values, test_values


def _own_names(train: Source, test: Source | None) -> tuple[str, ...] | None:
    """Return the classes that the data itself knows, or ``None``."""
    sources = [source for source in (train, test) if source is not None and source.labels is not None]
    for source in sources:
        if source.class_names is not None:
            return source.class_names
    largest = max((int(source.labels.max()) for source in sources if source.labels is not None), default=-1)
    return tuple(map(str, range(largest + 1))) if largest >= 0 else None


def _scaled(targets: Targets, used: Array) -> Targets:
    if targets.task != "regression":
        return targets
    scale = np.maximum(used.std(axis=0), 1e-12)
    return targets._replace(offset=tuple(used.mean(axis=0).tolist()), scale=tuple(scale.tolist()))
