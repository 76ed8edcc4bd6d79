"""The seam: what every index can do, and the checks that no back end has to repeat."""

from __future__ import annotations

import abc
import json
import math
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from nearfar.errors import InputError, RunError, require, sentence
from nearfar.indexing.checks import (
    check_ids,
    check_labels,
    check_metadata,
    check_one_kind,
    check_thumbnails,
    check_vectors,
)
from nearfar.indexing.filters import Filter, parse_filter
from nearfar.indexing.metrics import METRICS, Metric
from nearfar.indexing.records import Floats, Id, Label, Metadata, Neighbours, Records

__all__ = ["TARGET_RECALL", "Index"]

TARGET_RECALL = 0.95
"""Of the k nearest, the share that an approximate search finds at least, by default."""


class Index(abc.ABC):
    """Vectors under ids. A back end implements the methods that begin with an underscore, and save, open and close.

    It may be used from several threads, which take turns.

    Attributes:
        backend: the name of the back end.
        lasting: whether every write is on disk or in the database when it returns; otherwise ``save`` puts it there.
        metric: the distance, one of ``METRICS``.
        dim: the length of a vector.
        path: the index folder, if it has one.
        recall: the share of the k nearest that ``optimise`` aims to keep.
    """

    backend: ClassVar[str]
    lasting: ClassVar[bool] = False

    def __init__(
        self,
        dim: int,
        *,
        metric: Metric = "cosine",
        fingerprint: str | None = None,
        path: Path | str | None = None,
        recall: float = TARGET_RECALL,
    ) -> None:
        require(isinstance(dim, int) and dim >= 1, "index", "dim", ">= 1", dim)
        require(metric in METRICS, "index", "metric", f"one of {', '.join(METRICS)}", repr(metric))
        require(0 < recall <= 1, "index", "recall", "in (0, 1]", recall)
        self.dim = dim
        self.metric: Metric = metric
        self.path = None if path is None else Path(path)
        self.recall = recall
        self._fingerprint = fingerprint
        self._calibration: Mapping[str, Any] | None = None
        self._lock = threading.RLock()

    # -- what is kept beside the vectors -------------------------------------------------------------------------

    @property
    def fingerprint(self) -> str | None:
        """Of the encoder whose vectors these are, if known; a back end that lasts keeps a new value at once."""
        return self._fingerprint

    @fingerprint.setter
    def fingerprint(self, value: str | None) -> None:
        with self._lock, self._writing():
            self._fingerprint = value
            self._describe()

    @property
    def calibration(self) -> Mapping[str, Any] | None:
        """Cut-points and whatever belongs to them, as JSON values; a back end that lasts keeps a new value at once."""
        return self._calibration

    @calibration.setter
    def calibration(self, value: Mapping[str, Any] | None) -> None:
        require(value is None or isinstance(value, Mapping), "index", "calibration", "a mapping", type(value).__name__)
        try:
            kept = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise InputError(sentence("index", "calibration", "JSON values", str(error))) from None
        with self._lock, self._writing():
            self._calibration = kept
            self._describe()

    # -- writing -------------------------------------------------------------------------------------------------

    def add(
        self,
        ids: Sequence[Id],
        vectors: ArrayLike,
        labels: Sequence[Label] | None = None,
        metadata: Sequence[Metadata | None] | None = None,
        thumbnails: Sequence[bytes | None] | None = None,
        *,
        fingerprint: str | None = None,
    ) -> None:
        """Add vectors under new ids. Either all are added or, on an error, none.

        Args:
            ids: N ids, none of them in the index yet; all text or all whole numbers within one index.
            vectors: (N, D), finite; kept as float32.
            labels: N labels, all text or all whole numbers within one index, ``None`` where unknown.
            metadata: N mappings from names to JSON values (text, booleans, finite numbers with whole ones within ±2⁵³,
                lists and mappings of them), ``None`` where there is none.
            thumbnails: N encoded pictures, ``None`` where there is none.
            fingerprint: of the encoder of the vectors, if known.

        Raises:
            InputError: on a wrong shape, a value that is not finite or beyond ±1e15, an id given twice or already
                present, or ids or labels of two kinds.
            RunError: when the encoder is another than that of the index, or the disk or database refuses.
        """
        rows = self._rows("index add", ids, vectors, labels, metadata, thumbnails)
        with self._lock, self._writing():
            self.check_fingerprint(fingerprint)
            self._check_kinds("index add", rows)
            for name, known in zip(rows.ids, self._contains(rows.ids), strict=True):
                if known:
                    raise _present("index add", name)
            if len(rows.ids):
                self._add(rows)

    def upsert(
        self,
        ids: Sequence[Id],
        vectors: ArrayLike,
        labels: Sequence[Label] | None = None,
        metadata: Sequence[Metadata | None] | None = None,
        thumbnails: Sequence[bytes | None] | None = None,
        *,
        fingerprint: str | None = None,
    ) -> None:
        """Add vectors, taking the place of items with the same id; they count as the last inserted.

        Args and errors are those of ``add``, but for ids already present. All are replaced or, on an error, none.
        """
        rows = self._rows("index upsert", ids, vectors, labels, metadata, thumbnails)
        with self._lock, self._writing():
            self.check_fingerprint(fingerprint)
            self._check_kinds("index upsert", rows)
            if len(rows.ids):
                self._upsert(rows)

    def add_batches(self, batches: Iterable[Records], *, fingerprint: str | None = None) -> int:
        """Add batch after batch, each as a whole, and return how many items these were."""
        count = 0
        for batch in batches:
            self.add(*batch[:4], batch.thumbnails or None, fingerprint=fingerprint)
            count += len(batch.ids)
        return count

    def remove(self, ids: Sequence[Id]) -> None:
        """Remove items. Either all go or, on an error, none; giving an id twice is the same as once.

        Raises:
            InputError: when an id is not in the index.
        """
        names = list(dict.fromkeys(check_ids("index remove", ids)))
        with self._lock, self._writing():
            self._require_present("index remove", names)
            if names:
                self._remove(names)

    def optimise(self, *, recall: float | None = None) -> str:
        """Make searches fast and the store small, and say in a sentence what was chosen and measured.

        A back end that approximates chooses its parameters here, from the number of vectors, their length and the
        target recall, and measures what they keep; before, and where N is small, searches are exact.

        Args:
            recall: a new target for ``recall``.
        """
        require(recall is None or 0 < recall <= 1, "index optimise", "recall", "in (0, 1]", recall)
        with self._lock, self._writing():
            self.recall = self.recall if recall is None else recall
            return self._optimise()

    # -- reading -------------------------------------------------------------------------------------------------

    def search(
        self,
        vectors: ArrayLike,
        k: int = 10,
        *,
        where: Mapping[str, Any] | None = None,
        within: float | None = None,
        fingerprint: str | None = None,
    ) -> Neighbours:
        """Find the k nearest vectors of each query; all of them when the index holds fewer.

        Args:
            vectors: (Q, D) queries, finite.
            k: how many.
            where: only items that pass this filter (``nearfar.indexing.filters`` has the language).
            within: only items at most this far, in the metric of the index.
            fingerprint: of the encoder of the queries, if known.

        Raises:
            InputError: on k < 1, a wrong shape or value, or a filter that is none.
            RunError: when the encoder is another than that of the index.
        """
        require(isinstance(k, int | np.integer) and k >= 1, "index search", "k", ">= 1", k)
        require(within is None or not math.isnan(within), "index search", "within", "a number", within)
        queries = check_vectors("index search", vectors, self.dim, self.metric)
        parsed = None if where is None else parse_filter(where)
        with self._lock:
            self._refresh()
            if fingerprint is not None:
                self.check_fingerprint(fingerprint)
            k = self._at_most(int(k))
            if k == 0 or not len(queries):
                empty = np.empty((len(queries), 0 if parsed else k), np.float32)
                return Neighbours(empty, [[] for _ in queries], [[] for _ in queries])
            found = self._search(queries, k, parsed)
        return found if within is None else _cut(found, within)

    def search_batches(
        self,
        batches: Iterable[ArrayLike],
        k: int = 10,
        *,
        where: Mapping[str, Any] | None = None,
        within: float | None = None,
        fingerprint: str | None = None,
    ) -> Iterator[Neighbours]:
        """Search batch after batch of queries, as they come."""
        for batch in batches:
            yield self.search(batch, k, where=where, within=within, fingerprint=fingerprint)

    def get(self, ids: Sequence[Id], *, thumbnails: bool = False) -> Records:
        """Return items in the order of the ids.

        Args:
            ids: which; an id given twice is returned twice.
            thumbnails: with their thumbnails.

        Raises:
            InputError: when an id is not in the index.
        """
        names = check_ids("index get", ids)
        with self._lock:
            self._refresh()
            self._require_present("index get", names)
            return self._get(names, thumbnails) if names else self._none(thumbnails)

    def iterate(
        self, batch_size: int = 65_536, *, where: Mapping[str, Any] | None = None, thumbnails: bool = False
    ) -> Iterator[Records]:
        """Yield all items (or those that pass a filter) in the order of insertion, batch by batch.

        Items that are written meanwhile may or may not be among them.
        """
        require(batch_size >= 1, "index iterate", "batch_size", ">= 1", batch_size)
        yield from self._iterate(batch_size, None if where is None else parse_filter(where), thumbnails)

    def matching(self, where: Mapping[str, Any] | None = None) -> int:
        """Return how many items pass a filter."""
        with self._lock:
            self._refresh()
            return self.count if where is None else self._matching(parse_filter(where))

    def __len__(self) -> int:
        return self.count

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str | int | np.integer) or isinstance(name, bool):
            return False
        with self._lock:
            self._refresh()
            return bool(self._contains([name if isinstance(name, str) else int(name)])[0])

    @property
    @abc.abstractmethod
    def count(self) -> int:
        """How many vectors the index holds."""

    @property
    @abc.abstractmethod
    def ids(self) -> Sequence[Id]:
        """All ids in the order of insertion."""

    def check_fingerprint(self, fingerprint: str | None) -> None:
        """Refuse vectors of another encoder; an index or vectors of unknown origin are let pass.

        Raises:
            RunError: when both are known and differ.
        """
        if fingerprint is not None and self._fingerprint is not None:
            must = f"the one of the index (fingerprint {self._fingerprint})"
            fix = "give the run that made the index, or embed and index again"
            same = fingerprint == self._fingerprint
            require(same, "search", "the encoder", must, fingerprint, fix, error=RunError)

    # -- where it stands -----------------------------------------------------------------------------------------

    @abc.abstractmethod
    def save(self, path: Path | str | None = None) -> None:
        """Write the index into a folder, replacing an index there as a whole or not at all.

        Args:
            path: the folder; the index's own if not given. A back end that lasts has nothing to do for its own.

        Raises:
            RunError: when the folder holds something else, or the file system refuses.
        """

    @classmethod
    @abc.abstractmethod
    def open(cls, path: Path | str) -> Index:
        """Open a saved index.

        Raises:
            RunError: when the folder holds no index, a damaged one, or one of a later version.
        """

    def bulk(self) -> AbstractContextManager[object]:
        """Within this block, ``add`` may put off what only searching needs."""
        return nullcontext()

    def finish(self) -> None:  # noqa: B027
        """Say that an index made with ``building`` is complete."""

    def destroy(self) -> None:
        """Remove what lies outside the folder, and close; the folder stays."""
        self.close()

    def close(self) -> None:  # noqa: B027
        """Let go of files and connections; the index cannot be used afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- for the back ends ---------------------------------------------------------------------------------------

    @abc.abstractmethod
    def _add(self, rows: Records) -> None: ...

    @abc.abstractmethod
    def _upsert(self, rows: Records) -> None: ...

    @abc.abstractmethod
    def _remove(self, ids: list[Id]) -> None: ...

    @abc.abstractmethod
    def _search(self, queries: Floats, k: int, where: Filter | None) -> Neighbours: ...

    @abc.abstractmethod
    def _get(self, ids: list[Id], thumbnails: bool) -> Records: ...

    @abc.abstractmethod
    def _iterate(self, size: int, where: Filter | None, thumbnails: bool) -> Iterator[Records]: ...

    @abc.abstractmethod
    def _matching(self, where: Filter) -> int: ...

    @abc.abstractmethod
    def _contains(self, ids: list[Id]) -> list[bool]:
        """Say of each id whether the index holds it."""

    @abc.abstractmethod
    def _kinds(self) -> tuple[type | None, type | None]:
        """Return the types of the ids and of the labels, as far as known."""

    def _writing(self) -> AbstractContextManager[object]:
        """Keep other writers out, and take over what they wrote, for the time of one write."""
        return nullcontext()

    def _at_most(self, k: int) -> int:
        """Return k, or the count where that is smaller and known without asking."""
        return min(k, self.count)

    def _refresh(self) -> None:  # noqa: B027
        """Take over what other processes wrote."""

    def _optimise(self) -> str:
        return f"{self.backend}: searches are exact; nothing to choose"

    def _describe(self) -> None:  # noqa: B027
        """Keep fingerprint and calibration, where every write lasts."""

    def _rows(self, who: str, ids: Any, vectors: ArrayLike, labels: Any, metadata: Any, thumbnails: Any) -> Records:
        checked = check_vectors(who, vectors, self.dim, self.metric)
        names = check_ids(who, ids)
        require(len(names) == len(checked), who, "ids", f"as many as vectors, {len(checked)}", len(names))
        if len(set(names)) < len(names):
            twice = next(name for name, times in Counter(names).items() if times > 1)
            raise InputError(sentence(who, "ids", "new and all different", f"{twice!r} given twice"))
        count = len(names)
        return Records(
            names,
            checked,
            check_labels(who, labels, count),
            check_metadata(who, metadata, count),
            check_thumbnails(who, thumbnails, count),
        )

    def _check_kinds(self, who: str, rows: Records) -> None:
        id_kind, label_kind = self._kinds()
        check_one_kind(who, "ids", rows.ids, id_kind)
        check_one_kind(who, "labels", rows.labels, label_kind)

    def _require_present(self, who: str, ids: list[Id]) -> None:
        for name, known in zip(ids, self._contains(ids), strict=True):
            if not known:
                raise InputError(sentence(who, "ids", "in the index", _short(name)))

    def _none(self, thumbnails: bool) -> Records:
        del thumbnails
        return Records([], np.empty((0, self.dim), np.float32), [], [], [])


def _present(who: str, name: Id) -> InputError:
    return InputError(sentence(who, "ids", "new and all different", f"{_short(name)} already in the index"))


def _short(name: Id) -> str:
    text = repr(name)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _cut(found: Neighbours, within: float) -> Neighbours:
    counts = (found.distances <= within).sum(axis=1)
    width = int(counts.max(initial=0))
    distances = np.where(found.distances <= within, found.distances, np.float32(np.inf))[:, :width]
    listed = counts.tolist()
    ids = [row[:count] for row, count in zip(found.ids, listed, strict=True)]
    labels = [row[:count] for row, count in zip(found.labels, listed, strict=True)]
    return Neighbours(distances, ids, labels)
