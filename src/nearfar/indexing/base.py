"""The seam: what every index can do, and the checks that no back end has to repeat."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nearfar.errors import InputError, require, sentence
from nearfar.indexing.metrics import METRICS, Metric

__all__ = ["Index", "Label", "Neighbours", "Records"]

Floats = NDArray[np.float32]
Label: TypeAlias = str | int | None

LARGEST = 1e15
"""The largest magnitude of a value, so that no squared norm overflows float32."""


class Neighbours(NamedTuple):
    """The nearest vectors of Q queries, K = min(k, count) each, nearest first.

    Attributes:
        distances: (Q, K) float32, ascending.
        ids: Q lists of K ids; equal distances in the order of insertion.
        labels: Q lists of K labels, ``None`` where unknown.
    """

    distances: Floats
    ids: list[list[str]]
    labels: list[list[Label]]


class Records(NamedTuple):
    """What is kept under N ids.

    Attributes:
        ids: N ids.
        vectors: (N, D) float32, as they were added.
        labels: N labels, ``None`` where unknown.
    """

    ids: list[str]
    vectors: Floats
    labels: list[Label]


class Index(abc.ABC):
    """Vectors under string ids. A back end implements the methods that begin with an underscore, and save and open.

    Attributes:
        backend: the name of the back end.
        metric: the distance, one of ``METRICS``.
        dim: the length of a vector.
        fingerprint: of the encoder whose vectors these are, if known.
    """

    backend: ClassVar[str]

    def __init__(self, dim: int, *, metric: Metric = "cosine", fingerprint: str | None = None) -> None:
        require(dim >= 1, "index", "dim", ">= 1", dim)
        require(metric in METRICS, "index", "metric", f"one of {', '.join(METRICS)}", repr(metric))
        self.dim = dim
        self.metric: Metric = metric
        self.fingerprint = fingerprint

    def add(self, ids: Sequence[str], vectors: ArrayLike, labels: Sequence[Label] | None = None) -> None:
        """Add vectors under new ids. Either all are added or, on an error, none.

        Args:
            ids: N ids, none of them in the index yet.
            vectors: (N, D), finite; kept as float32.
            labels: N labels, all text or all whole numbers within one index, ``None`` where unknown.

        Raises:
            InputError: on a wrong shape, a value that is not finite or beyond ±1e15, an id given twice or already
                present, or labels of two kinds.
        """
        checked = self._vectors("add", vectors)
        names = list(ids)
        require(len(names) == len(checked), "index add", "ids", f"as many as vectors, {len(checked)}", len(names))
        seen: set[str] = set()
        for name in names:
            require(isinstance(name, str), "index add", "ids", "text", repr(name))
            if name in seen or name in self:
                where = "given twice" if name in seen else "already in the index"
                raise InputError(sentence("index add", "ids", "new and all different", f"{name!r} {where}"))
            seen.add(name)
        values: list[Label] = [None] * len(names) if labels is None else [_label(value) for value in labels]
        require(len(values) == len(names), "index add", "labels", f"as many as ids, {len(names)}", len(values))
        self._add(names, checked, values)

    def search(self, vectors: ArrayLike, k: int = 10) -> Neighbours:
        """Find the k nearest vectors of each query; all of them when the index holds fewer.

        Args:
            vectors: (Q, D) queries, finite.
            k: how many.

        Raises:
            InputError: on k < 1 or a wrong shape or value.
        """
        require(k >= 1, "index search", "k", ">= 1", k)
        queries = self._vectors("search", vectors)
        k = min(k, self.count)
        if k == 0 or not len(queries):
            return Neighbours(np.empty((len(queries), k), np.float32), [[] for _ in queries], [[] for _ in queries])
        return self._search(queries, k)

    def get(self, ids: Sequence[str]) -> Records:
        """Return vectors and labels in the order of the ids.

        Raises:
            InputError: when an id is not in the index.
        """
        self._present("get", ids)
        return self._get(list(ids))

    def remove(self, ids: Sequence[str]) -> None:
        """Remove vectors. Either all go or, on an error, none; giving an id twice is the same as once.

        Raises:
            InputError: when an id is not in the index.
        """
        self._present("remove", ids)
        self._remove(list(dict.fromkeys(ids)))

    def __len__(self) -> int:
        return self.count

    @property
    @abc.abstractmethod
    def count(self) -> int:
        """How many vectors the index holds."""

    @property
    @abc.abstractmethod
    def ids(self) -> Sequence[str]:
        """All ids in the order of insertion."""

    @abc.abstractmethod
    def __contains__(self, name: object) -> bool: ...

    @abc.abstractmethod
    def save(self, path: Path | str) -> None:
        """Write the index into a folder, replacing an index there as a whole or not at all.

        Raises:
            RunError: when the folder holds something else, or the file system refuses.
        """

    @classmethod
    @abc.abstractmethod
    def open(cls, path: Path | str) -> Index:
        """Read a saved index.

        Raises:
            RunError: when the folder holds no index, a damaged one, or one of a later version.
        """

    @abc.abstractmethod
    def _add(self, ids: list[str], vectors: Floats, labels: list[Label]) -> None: ...

    @abc.abstractmethod
    def _search(self, queries: Floats, k: int) -> Neighbours: ...

    @abc.abstractmethod
    def _get(self, ids: list[str]) -> Records: ...

    @abc.abstractmethod
    def _remove(self, ids: list[str]) -> None: ...

    def _present(self, verb: str, ids: Sequence[str]) -> None:
        require(not isinstance(ids, str), f"index {verb}", "ids", "a list of ids", repr(ids), "put it in a list")
        for name in ids:
            require(name in self, f"index {verb}", "ids", "in the index", repr(name))

    def _vectors(self, verb: str, vectors: ArrayLike) -> Floats:
        who = f"index {verb}"
        array = np.asarray(vectors)
        require(array.dtype.kind in "fiu", who, "vectors", "real numbers", array.dtype)
        shape = f"(N, {self.dim})"
        require(array.ndim == 2 and array.shape[1] == self.dim, who, "vectors", f"of shape {shape}", array.shape)
        array = np.ascontiguousarray(array, dtype=np.float32)
        fine = (np.abs(array) <= LARGEST).all(axis=1)
        bad = int(np.argmin(fine)) if len(fine) and not fine.all() else -1
        require(bad < 0, who, "values", "finite and within ±1e15", f"another in row {bad}")
        if self.metric == "cosine":
            norms = np.linalg.norm(array, axis=1)
            tiny = np.flatnonzero((norms < 1 / LARGEST) & array.any(axis=1))
            require(not len(tiny), who, "vectors", "zero or of norm >= 1e-15 for cosine", f"row {[*tiny, 0][0]} below")
        return array


def _label(value: object) -> Label:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value)
    raise InputError(sentence("index add", "labels", "text, whole numbers or None", repr(value)))
