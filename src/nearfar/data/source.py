"""What a data set is to the rest of the library: rows that can be read, with ids and perhaps labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nearfar.errors import DataError, require

__all__ = [
    "BulkSource",
    "ItemError",
    "Joined",
    "Source",
    "Subset",
    "TargetSource",
    "check_source",
    "digest",
    "file_stamp",
    "groups_of",
    "read_many",
    "relabel",
    "take",
]


class ItemError(DataError):
    """One item is broken: ``NAME: cannot be read (REASON)``.

    Attributes:
        reason: why, in a few words.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: cannot be read ({reason})")
        self.reason = reason


class Source(Protocol):
    """Rows of a data set of any modality.

    A source whose rows belong together (all visits of a patient) has an attribute ``groups`` as well: one text a row,
    read through `groups_of`. Rows of one group never come apart when rows are held out.

    Attributes:
        ids: one text a row, unique and stable: a relative path with forward slashes, or the row number.
        labels: (N,) int64 class numbers, -1 where unknown; ``None`` when no row has a label.
        class_names: the name of class 0, 1, ...; ``None`` when there are none.
    """

    @property
    def ids(self) -> Sequence[str]:
        """One unique text a row."""
        ...

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """(N,) int64, -1 where unknown, or ``None``."""
        ...

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The classes' names in the order of their numbers, or ``None``."""
        ...

    def __len__(self) -> int:
        """The number of rows."""
        ...

    def read(self, index: int) -> Any:
        """Return the item of one row; may be called from several threads at once.

        For images this is a (H, W, C) uint8 or uint16 array, which the caller must not write to.

        Raises:
            DataError: when the item is broken; the sentence starts with its id.
        """
        ...

    def fingerprint(self) -> str | None:
        """A text that differs when ids, labels or contents differ, also across processes and machines.

        ``None`` when contents cannot be told without reading everything, as for a torch data set.
        """
        ...


@runtime_checkable
class BulkSource(Protocol):
    """A source that reads many rows faster at once than one by one."""

    def read_many(self, indices: NDArray[np.int64]) -> Sequence[Any] | NDArray[Any]:
        """Return the items of several rows, in the order asked for."""
        ...


def groups_of(source: Source) -> Sequence[str] | None:
    """Return which group every row belongs to, such as a patient; ``None`` where rows stand alone."""
    groups: Sequence[str] | None = getattr(source, "groups", None)
    return groups


@runtime_checkable
class TargetSource(Protocol):
    """A source that says more of a row than one class: a score, or a set of labels."""

    @property
    def targets(self) -> NDArray[np.float32] | None:
        """(N,) or (N, C) float32, or ``None``."""
        ...


def read_many(source: Source, indices: NDArray[np.int64]) -> Sequence[Any] | NDArray[Any]:
    """Read several rows, at once where the source can; the outcome is the same as of `Source.read` on each."""
    if isinstance(source, BulkSource):
        return source.read_many(indices)
    return [source.read(int(index)) for index in indices]


def digest(*parts: str | bytes | Iterable[str]) -> str:
    """Return a hexadecimal BLAKE2b-128 digest in which the borders between the parts count."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        texts = [part] if isinstance(part, str | bytes) else part
        for text in texts:
            raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
            state.update(len(raw).to_bytes(8, "little"))
            state.update(raw)
        state.update(b"\xff" * 8)
    return state.hexdigest()


def file_stamp(path: str) -> str:
    """Return what changes with a file: its size and time of change; ``missing`` where there is none."""
    try:
        status = Path(path).stat()
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"


def check_source(who: str, ids: Sequence[str], labels: NDArray[np.int64] | None) -> None:
    """Raise unless there are rows, ids are unique and labels fit them.

    Raises:
        DataError: with one sentence that starts with ``who``.
    """
    require(len(ids) > 0, who, "the number of items", ">= 1", 0, error=DataError)
    if len(set(ids)) != len(ids):
        seen: set[str] = set()
        twice = next(text for text in ids if text in seen or seen.add(text))  # type: ignore[func-returns-value]
        raise DataError(f"{who}: ids must be unique, got {twice!r} more than once")
    if labels is not None:
        fits = labels.shape == (len(ids),) and labels.dtype == np.int64
        require(
            fits, who, "labels", f"({len(ids)},) int64", f"{labels.shape} {labels.dtype}", "one a row", error=DataError
        )
        require(int(labels.min()) >= -1, who, "labels", ">= -1", int(labels.min()), "-1 is unknown", error=DataError)


class Subset:
    """Some rows of another source, in the order given; made by `take`."""

    def __init__(self, source: Source, indices: NDArray[np.int64]) -> None:
        self.source = source
        self.indices = indices
        self.ids: Sequence[str] = [source.ids[int(index)] for index in indices]
        labels = source.labels
        kept = None if labels is None else labels[indices]
        self.labels: NDArray[np.int64] | None = None if kept is None or bool((kept < 0).all()) else kept
        self.class_names = source.class_names
        groups = groups_of(source)
        self.groups = None if groups is None else [groups[int(index)] for index in indices]

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, index: int) -> Any:
        """Return the item of one row."""
        return self.source.read(int(self.indices[index]))

    def read_many(self, indices: NDArray[np.int64]) -> Sequence[Any] | NDArray[Any]:
        """Return the items of several rows."""
        return read_many(self.source, self.indices[indices])

    def fingerprint(self) -> str | None:
        """The source's, with the rows chosen."""
        whole = self.source.fingerprint()
        return None if whole is None else digest("subset", whole, self.indices.astype("<i8").tobytes())


def take(source: Source, indices: ArrayLike) -> Subset:
    """Return the rows ``indices`` of ``source``, in that order; nothing is read or copied.

    Args:
        source: any source; of a `Subset`, its own source is referred to.
        indices: (M,) distinct row numbers in ``[0, len(source))``.

    Raises:
        DataError: when there are none, one stands twice, or one is out of range.
    """
    rows = np.asarray(indices)
    require(rows.ndim == 1 and len(rows) > 0, "take", "indices", "one or more row numbers", rows.shape, error=DataError)
    require(np.issubdtype(rows.dtype, np.integer), "take", "indices", "whole numbers", rows.dtype, error=DataError)
    rows = rows.astype(np.int64)
    low, high = int(rows.min()), int(rows.max())
    wanted = f"in [0, {len(source)})"
    require(low >= 0 and high < len(source), "take", "indices", wanted, low if low < 0 else high, error=DataError)
    require(len(np.unique(rows)) == len(rows), "take", "indices", "distinct", "one of them twice", error=DataError)
    if isinstance(source, Subset):
        return Subset(source.source, source.indices[rows])
    return Subset(source, rows)


class Joined:
    """Several sources as one, one after the other; their ids and class names must agree.

    Args:
        parts: one source or more; those without labels have unknown ones.

    Raises:
        DataError: when an id stands in two of them, or class names differ.
    """

    def __init__(self, parts: Sequence[Source]) -> None:
        self.parts = list(parts)
        self._starts = np.cumsum([0] + [len(part) for part in parts])
        self.ids: Sequence[str] = [text for part in parts for text in part.ids]
        known = [part.labels is not None for part in parts]
        names = {part.class_names for part in parts if part.labels is not None}
        require(len(names) <= 1, "Joined", "class names", "the same in all parts", "different ones", error=DataError)
        self.class_names = names.pop() if names else None
        self.labels: NDArray[np.int64] | None = None
        if any(known):
            unknown = [np.full(len(part), -1, np.int64) for part in parts]
            self.labels = np.concatenate(
                [none if part.labels is None else part.labels for part, none in zip(parts, unknown, strict=True)]
            )
        groups = [groups_of(part) for part in parts]
        together = [
            list(found) if found is not None else [""] * len(part) for found, part in zip(groups, parts, strict=True)
        ]
        self.groups = None if all(found is None for found in groups) else [text for some in together for text in some]
        check_source("Joined", self.ids, self.labels)

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, index: int) -> Any:
        """Return the item of one row."""
        part, row = self.locate(index)
        return part.read(row)

    def locate(self, index: int) -> tuple[Source, int]:
        """Return the part that holds a row, and the row's number in it."""
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self.parts[part], index - int(self._starts[part])

    def fingerprint(self) -> str | None:
        """All parts' together."""
        prints = [part.fingerprint() for part in self.parts]
        known = [text for text in prints if text is not None]
        return digest("joined", known) if len(known) == len(prints) else None


class _Relabelled:
    """All rows of a source, under other class numbers."""

    def __init__(self, source: Source, labels: NDArray[np.int64], class_names: tuple[str, ...]) -> None:
        self.source = source
        self.ids = source.ids
        self.labels: NDArray[np.int64] | None = labels
        self.class_names: tuple[str, ...] | None = class_names
        self.groups = groups_of(source)
        self._print = digest(class_names, labels.astype("<i8").tobytes())

    def __len__(self) -> int:
        return len(self.source)

    def read(self, index: int) -> Any:
        """Return the item of one row."""
        return self.source.read(index)

    def read_many(self, indices: NDArray[np.int64]) -> Sequence[Any] | NDArray[Any]:
        """Return the items of several rows."""
        return read_many(self.source, indices)

    def fingerprint(self) -> str | None:
        """The source's, with the new labels."""
        whole = self.source.fingerprint()
        return None if whole is None else digest("relabelled", whole, self._print)


def origin(source: Source, index: int) -> tuple[Source, int]:
    """Return the source, and its row, that ``source`` has row ``index`` from: what `take` and the like wrap."""
    while True:
        if isinstance(source, Subset):
            index = int(source.indices[index])
            source = source.source
        elif isinstance(source, _Relabelled):
            source = source.source
        elif isinstance(source, Joined):
            source, index = source.locate(index)
        else:
            return source, index


def relabel(source: Source, class_names: Sequence[str]) -> Source:
    """Number the classes of ``source`` as in ``class_names``, so that two separately opened data sets agree.

    Args:
        source: a source with class names, or without labels, which is returned as it is.
        class_names: the names in the order wanted; may hold more names than the source has.

    Raises:
        DataError: when a class that occurs in ``source`` is not in ``class_names``, or labels have no names.
    """
    names = tuple(class_names)
    if source.labels is None or source.class_names == names:
        return source
    require(source.class_names is not None, "relabel", "the source", "one with class names", "none", error=DataError)
    place = {name: number for number, name in enumerate(names)}
    old = source.class_names or ()
    for number in np.unique(source.labels[source.labels >= 0]):
        name = old[int(number)]
        require(name in place, "relabel", "every class", f"one of {', '.join(names[:20])}", repr(name), error=DataError)
    table = np.array([place.get(name, -1) for name in old] + [-1], dtype=np.int64)
    return _Relabelled(source, table[source.labels], names)
