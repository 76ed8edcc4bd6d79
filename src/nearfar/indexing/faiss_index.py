"""The FAISS back end: FAISS finds candidates, the one distance of all back ends ranks them.

Douze et al., "The Faiss library", https://arxiv.org/abs/2401.08281.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import RunError
from nearfar.indexing.engines import Cells, Engine, Flat, Graph, build
from nearfar.indexing.files import Saved
from nearfar.indexing.filters import Filter
from nearfar.indexing.memory import InMemory
from nearfar.indexing.metrics import normalised, rough_error
from nearfar.indexing.plans import FLAT_NUMBERS, Codes, Kind, Plan, choose
from nearfar.indexing.records import Floats, Neighbours, Records
from nearfar.indexing.scan import SLACK, scan_some, scan_table, settle, unsettled
from nearfar.indexing.table import Table
from nearfar.indexing.tuning import K as TUNED_K
from nearfar.indexing.tuning import tune

__all__ = ["FaissIndex"]

DEAD = 256
"""Dead slots that a flat structure carries along: so many more candidates are asked for."""

BATCH = 65_536


class FaissIndex(InMemory):
    """A flat, HNSW or IVF structure of FAISS beside the vectors themselves.

    Every query is compared with every item until ``optimise`` chooses a structure and its parameters; from then on
    items are added to and removed from that structure. Whatever FAISS proposes is measured again, so distances are
    those of every other back end; a flat structure is exact: where a near tie could be missing, a scan answers.

    Filters: few passing items are compared one by one, exactly, and with HNSW all; of many, cells are taken until
    they hold enough that pass.

    Memory: the vectors, and the structure: the vectors again for flat and HNSW (and its links), a quarter for int8, a
    sixteenth for pq, a thirtieth for binary.

    Args:
        dim: the length of a vector.
        kind: ``flat``, ``hnsw``, ``ivf``, or ``auto``: flat while that takes a millisecond, then ivf.
        codes: of ivf: ``float``, ``int8`` (also ``auto``), ``pq`` or ``binary``.
        options: see ``Index``.

    Attributes:
        plan: the structure and what was measured of it.
    """

    backend: ClassVar[str] = "faiss"

    def __init__(self, dim: int, *, kind: Kind = "auto", codes: Codes = "auto", **options: Any) -> None:
        super().__init__(dim, **options)
        choose(0, dim, kind, codes)  # complains about unknown ones
        self.kind: Kind = kind
        self.codes: Codes = codes
        self._inner = self.metric in ("cosine", "dot")
        self._engine: Engine = build(Plan(recall=1.0), dim, inner=self._inner)

    @property
    def plan(self) -> Plan:
        """The structure and what was measured of it."""
        return self._engine.plan

    def structure(self) -> dict[str, Any]:
        """Return what else the folder's description says (see ``InMemory``)."""
        return {"options": {"kind": self.kind, "codes": self.codes}, "plan": self.plan.to_json()}

    def _optimise(self) -> str:
        self._compact()
        table = self._table
        plan = choose(len(table), self.dim, self.kind, self.codes)
        points = self._pointed(table.vectors)
        unit = self.metric == "cosine"
        engine = build(plan, self.dim, inner=self._inner, sample=points, spherical=unit)
        for start in range(0, len(points), BATCH):
            engine.add(points[start : start + BATCH])
        if not isinstance(engine, Flat):

            def again(rows: NDArray[np.int64], candidates: NDArray[np.int64], k: int) -> NDArray[np.int64]:
                return settle(self.metric, table.vectors[rows], table.vectors, candidates, k)[1]

            tune(engine, points, again, self.recall)
        self._engine = engine
        self._unsaved = True
        return f"{self.backend}: {len(table)} vectors of {self.dim}, target recall {self.recall:g}; {self.plan.words()}"

    def _add(self, rows: Records) -> None:
        self.append(rows, None)

    def _search(self, queries: Floats, k: int, where: Filter | None) -> Neighbours:
        table, pointed = self._table, self._pointed(queries)
        shown = None
        if where is not None:
            shown = table.passing(where)
            k = min(k, int(shown.sum()))
            if k == 0:
                return Neighbours(np.empty((len(queries), 0), np.float32), [[] for _ in queries], [[] for _ in queries])
            if isinstance(self._engine, Flat) or self._few(shown):
                return table.neighbours(*self._exactly(queries, pointed, k, np.flatnonzero(shown)))
        if isinstance(self._engine, Flat):
            return table.neighbours(*self._flat(queries, pointed, k))
        wanted = min(table.size, k * self.plan.factor)
        living = table.alive if shown is None and table.dead else shown
        widen = max(1.0, (k / TUNED_K) ** 0.5)
        _, candidates = self._engine.search(pointed, wanted, living, filtered=shown is not None, widen=widen)
        distances, slots = settle(self.metric, queries, table.vectors, candidates, k)
        short = np.flatnonzero(np.isinf(distances[:, -1]))
        if len(short):  # the structure found fewer than k, though there are k
            distances[short], slots[short] = scan_table(table, queries[short], k, shown)
        return table.neighbours(distances, slots)

    def _few(self, shown: NDArray[np.bool_]) -> bool:
        """Say whether to compare all that pass: few, or of a graph, whose walk would miss those of far clusters."""
        return int(shown.sum()) * self.dim <= FLAT_NUMBERS or isinstance(self._engine, Graph)

    def _flat(self, queries: Floats, pointed: Floats, k: int) -> tuple[Floats, NDArray[np.int64]]:
        table = self._table
        values, candidates = self._engine.search(pointed, min(table.size, k + SLACK + table.dead))
        if table.dead:
            values[~table.alive[candidates]] = np.inf
            order = np.argsort(values, axis=1, kind="stable")[:, : min(table.size, k + SLACK)]
            values, candidates = np.take_along_axis(values, order, 1), np.take_along_axis(candidates, order, 1)
            candidates[np.isinf(values)] = -1
        distances, slots = settle(self.metric, queries, table.vectors, candidates, k)
        errors = rough_error(self.metric, pointed, table.largest_square)
        again = np.flatnonzero(unsettled(values, errors, k, table.size))
        if len(again):
            distances[again], slots[again] = scan_table(table, queries[again], k)
        return distances, slots

    def _exactly(
        self, queries: Floats, pointed: Floats, k: int, slots: NDArray[np.int64]
    ) -> tuple[Floats, NDArray[np.int64]]:
        import faiss

        table = self._table
        points = self._pointed(table.vectors[slots])
        metric = faiss.METRIC_INNER_PRODUCT if self._inner else faiss.METRIC_L2
        values, rows = faiss.knn(pointed, points, min(len(slots), k + SLACK), metric=metric)
        distances, found = settle(self.metric, queries, table.vectors, slots[rows], k)
        errors = rough_error(self.metric, pointed, table.largest_square)
        again = np.flatnonzero(unsettled(-values if self._inner else values, errors, k, len(slots)))
        if len(again):
            distances[again], found[again] = scan_some(table, queries[again], k, slots)
        return distances, found

    def _bearable(self) -> int:
        return DEAD if isinstance(self._engine, Flat) else 1000 + self._table.size // 3

    def _compact(self) -> None:
        table = self._table
        if not table.dead:
            return
        dead = np.flatnonzero(~table.alive)
        table.compact()
        self._unsaved = True
        if isinstance(self._engine, Flat):
            self._engine.remove(dead)
            return
        self._engine = self._engine.emptied()
        for start in range(0, table.size, BATCH):
            self._engine.add(self._pointed(table.vectors[start : start + BATCH]))

    def write_engine(self, path: Path) -> bool:
        """Write the structure to a file, if it is worth keeping: a flat one is only the vectors again."""
        import faiss

        if isinstance(self._engine, Flat):
            return False
        faiss.write_index(self._engine.index, str(path))
        return True

    def _restore(self, saved: Saved) -> None:
        try:
            plan = Plan.from_json(saved.plan) if saved.plan else Plan(recall=1.0)
        except (TypeError, ValueError) as error:
            raise RunError(f"{self.path}: is a damaged index ({error}); build it again") from None
        self._table.append(saved.rows, adopt=True)
        self._engine = self._read_engine(saved.engine, plan)

    @property
    def table(self) -> Table:
        """The items: for a back end that keeps an index like this in step with a store of its own."""
        return self._table

    def append(self, rows: Records, stamps: NDArray[np.int64] | None) -> None:
        """Add checked items under the store's own ascending numbers."""
        self._table.append(rows, stamps)
        self._engine.add(self._pointed(rows.vectors))
        self._unsaved = True

    def adopt(self, structure: tuple[Path | None, Plan]) -> None:
        """Search what was put into ``table`` by a structure from a file, or a flat one."""
        self._engine = self._read_engine(*structure)

    def _read_engine(self, file: Path | None, plan: Plan) -> Engine:
        """Read what ``write_engine`` wrote and add what the table has beyond it; without a file, a flat structure.

        Raises:
            RunError: when the file holds something else.
        """
        import faiss

        if file is None or plan.kind == "flat":
            engine: Engine = build(Plan(recall=1.0), self.dim, inner=self._inner)
        else:
            try:
                index = faiss.read_index(str(file))
                kind = Cells if plan.kind == "ivf" else Graph
                engine = kind(index, plan, inner=self._inner)
                fits = index.d == self.dim and index.ntotal <= self._table.size
            except (RuntimeError, AttributeError) as error:
                raise RunError(f"{file}: is damaged ({str(error).splitlines()[-1][:100]}); optimise again") from None
            if not fits:
                raise RunError(f"{file}: belongs to another index; build it again")
            if isinstance(engine, Cells):
                engine.know_cells()
        for start in range(engine.index.ntotal, self._table.size, BATCH):
            engine.add(self._pointed(self._table.vectors[start : start + BATCH]))
        return engine

    def _pointed(self, vectors: Floats) -> Floats:
        return normalised(vectors) if self.metric == "cosine" else vectors
