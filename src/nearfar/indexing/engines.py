"""FAISS's structures behind one small face: add points at the end, and propose candidates for queries.

A point is a vector as the metric wants it (normalised for cosine); its number is the slot of the table. Values order
like distances: smaller is nearer. Dead or hidden slots are left out by a bitmap.
"""

from __future__ import annotations

import abc
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.indexing.plans import Plan
from nearfar.indexing.records import Floats

__all__ = ["Cells", "Engine", "Flat", "Graph", "build"]

Slots = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Engine(abc.ABC):
    """A FAISS index over the points of slots 0 to S - 1.

    Args:
        index: the FAISS index.
        plan: what it is.
        inner: whether the metric is an inner product.
    """

    def __init__(self, index: Any, plan: Plan, *, inner: bool) -> None:
        self.index = index
        self.plan = plan
        self.inner = inner

    def add(self, points: Floats) -> None:
        """Add points at the end."""
        self.index.add(points)

    def search(
        self, points: Floats, k: int, shown: Mask | None = None, *, filtered: bool = False, widen: float = 1.0
    ) -> tuple[Floats, Slots]:
        """Return (Q, k) values, ascending, and slots, -1 where there are no more.

        Args:
            points: (Q, D) queries.
            k: how many.
            shown: (S,) which slots count; all if not given.
            filtered: whether those not shown are hidden by a filter, which may leave few, or none nearby.
            widen: look this much more widely than the plan says, for more neighbours than it was tuned with.
        """
        values, slots = self._search(points, k, shown, filtered, widen)
        if self.inner:
            values = -values
        return values, slots

    @abc.abstractmethod
    def emptied(self) -> Engine:
        """Return the same structure without points, trained as it was."""

    @abc.abstractmethod
    def _search(
        self, points: Floats, k: int, shown: Mask | None, filtered: bool, widen: float
    ) -> tuple[Floats, Slots]: ...


def _selector(shown: Mask | None) -> tuple[Any, Any]:
    import faiss

    if shown is None:
        return None, None
    bits = np.packbits(shown, bitorder="little")
    return faiss.IDSelectorBitmap(bits), bits  # the bits must live as long as the selector


class Flat(Engine):
    """Every point is compared; hidden slots are the caller's business."""

    def emptied(self) -> Engine:
        """Return the same structure without points."""
        return build(self.plan, self.index.d, inner=self.inner)

    def _search(self, points: Floats, k: int, shown: Mask | None, filtered: bool, widen: float) -> tuple[Floats, Slots]:
        del shown, filtered, widen
        found: tuple[Floats, Slots] = self.index.search(points, k)
        return found

    def remove(self, slots: Slots) -> None:
        """Take slots out; later ones move up."""
        self.index.remove_ids(slots)


class Graph(Engine):
    """HNSW. FAISS cannot remove from it: dead slots stay as stepping stones and are not returned."""

    def emptied(self) -> Engine:
        """Return the same structure without points."""
        return build(self.plan, self.index.d, inner=self.inner)

    def _search(self, points: Floats, k: int, shown: Mask | None, filtered: bool, widen: float) -> tuple[Floats, Slots]:
        import faiss

        del filtered
        selector, bits = _selector(shown)
        wanted = 1.0 if shown is None else len(shown) / max(1, int(shown.sum()))
        params = faiss.SearchParametersHNSW()
        params.efSearch = int(max(self.plan.breadth * widen, k) * min(wanted, 50))
        if selector is not None:
            params.sel = selector
        found: tuple[Floats, Slots] = _search(self.index, points, k, params)
        del bits
        return found


class Cells(Engine):
    """IVF: the cells nearest to a query are looked into.

    With hidden slots, cells are taken in the order of nearness until they hold as many shown slots as the cells of an
    unfiltered search hold on average; so neither a rare filter nor one that follows the cells costs recall.
    """

    def __init__(self, index: Any, plan: Plan, *, inner: bool) -> None:
        super().__init__(index, plan, inner=inner)
        self._cell: NDArray[np.int32] = np.empty(0, np.int32)
        self._sizes: NDArray[np.int64] = np.zeros(plan.nlist, np.int64)

    def add(self, points: Floats) -> None:
        """Add points at the end."""
        import faiss

        cells = np.empty(len(points), np.int64)
        for start in range(0, len(points), 65_536):
            part = slice(start, start + 65_536)
            cells[part] = self.index.quantizer.assign(points[part], 1).ravel()
        self.index.add_core(len(points), faiss.swig_ptr(points), None, faiss.swig_ptr(cells))
        self._know(cells)

    def know_cells(self) -> None:
        """Find out which cell each slot is in, after the index was read from a file."""
        import faiss

        cells = np.empty(self.index.ntotal, np.int64)
        for cell in range(self.plan.nlist):
            size = self.index.invlists.list_size(cell)
            if size:
                cells[faiss.rev_swig_ptr(self.index.invlists.get_ids(cell), size)] = cell
        self._cell, self._sizes = np.empty(0, np.int32), np.zeros(self.plan.nlist, np.int64)
        self._know(cells)

    def _know(self, cells: NDArray[np.int64]) -> None:
        self._cell = np.concatenate([self._cell, cells.astype(np.int32)])
        self._sizes = self._sizes + np.bincount(cells, minlength=self.plan.nlist)

    def emptied(self) -> Engine:
        """Return the same cells and codes without points."""
        import faiss

        index = faiss.clone_index(self.index)
        index.reset()
        return Cells(index, self.plan, inner=self.inner)

    def _search(self, points: Floats, k: int, shown: Mask | None, filtered: bool, widen: float) -> tuple[Floats, Slots]:
        import faiss

        binary = self.plan.codes == "binary"
        params = faiss.IVFRaBitQSearchParameters() if binary else faiss.SearchParametersIVF()
        if binary:
            params.qb = 8  # bits of the query's numbers, which cost little
        selector, bits = _selector(shown)
        if selector is not None:
            params.sel = selector
        if shown is None or not filtered:
            params.nprobe = min(self.plan.nlist, math.ceil(self.plan.nprobe * widen))
            found: tuple[Floats, Slots] = _search(self.index, points, k, params)
            del bits
            return found
        cells, nearness = self._cells_holding(points, shown, self.plan.nprobe * widen)
        params.nprobe = cells.shape[1]
        values, slots = np.empty((len(points), k), np.float32), np.empty((len(points), k), np.int64)
        arrays = (faiss.swig_ptr(one) for one in (cells, nearness, values, slots))
        self.index.search_preassigned_c(len(points), faiss.swig_ptr(points), k, *arrays, False, params)
        del bits
        return values, slots

    def _cells_holding(self, points: Floats, shown: Mask, probes: float) -> tuple[Slots, Floats]:
        """Return (Q, P) the cells to look into, -1 for none, and the coarse values FAISS expects beside them."""
        wanted = probes * self._sizes.sum() / np.count_nonzero(self._sizes)
        held = np.bincount(self._cell[shown], minlength=self.plan.nlist)
        share = held.sum() / len(shown)
        breadth = min(self.plan.nlist, 64 + int(2 * probes / max(share, 1e-9)))
        while True:
            nearness, cells = self.index.quantizer.search(points, breadth)
            inside = held[cells]
            before = np.cumsum(inside, axis=1) - inside
            if breadth == self.plan.nlist or (before[:, -1] >= wanted).all():
                break
            breadth = min(self.plan.nlist, 4 * breadth)
        look = (inside > 0) & (before < wanted)
        width = int(look.sum(axis=1).max(initial=1))
        order = np.argsort(~look, axis=1, kind="stable")[:, :width]
        cells = np.where(np.take_along_axis(look, order, 1), np.take_along_axis(cells, order, 1), -1)
        return np.ascontiguousarray(cells), np.ascontiguousarray(np.take_along_axis(nearness, order, 1))


def build(
    plan: Plan, dim: int, *, inner: bool, sample: Floats | None = None, spherical: bool = False, seed: int = 0
) -> Engine:
    """Make an empty engine; cells are found by k-means on ``sample`` (N, D), at most 64 rows for each, in 10 rounds."""
    import faiss

    metric = faiss.METRIC_INNER_PRODUCT if inner else faiss.METRIC_L2
    if plan.kind == "flat":
        return Flat(faiss.IndexFlat(dim, metric), plan, inner=inner)
    if plan.kind == "hnsw":
        graph = faiss.IndexHNSWFlat(dim, plan.links, metric)
        graph.hnsw.efConstruction = 80
        return Graph(graph, plan, inner=inner)
    assert sample is not None
    rng = np.random.default_rng(seed)
    rows = min(len(sample), 64 * plan.nlist)
    chosen = sample if rows == len(sample) else sample[np.sort(rng.choice(len(sample), rows, replace=False))]
    quantizer = faiss.IndexFlat(dim, metric)
    index = {"float": _ivf_flat, "int8": _ivf_int8, "pq": _ivf_pq, "binary": _ivf_binary}[plan.codes](
        faiss, quantizer, dim, plan.nlist, metric
    )
    index.cp.spherical = spherical  # centres of unit vectors have norm 1 as well
    index.cp.niter, index.cp.seed, index.cp.max_points_per_centroid = 10, seed, 64
    index.train(np.ascontiguousarray(chosen))
    return Cells(index, plan, inner=inner)


def _ivf_flat(faiss: Any, quantizer: Any, dim: int, nlist: int, metric: Any) -> Any:
    return faiss.IndexIVFFlat(quantizer, dim, nlist, metric)


def _ivf_int8(faiss: Any, quantizer: Any, dim: int, nlist: int, metric: Any) -> Any:
    return faiss.IndexIVFScalarQuantizer(quantizer, dim, nlist, faiss.ScalarQuantizer.QT_8bit, metric)


def _ivf_pq(faiss: Any, quantizer: Any, dim: int, nlist: int, metric: Any) -> Any:
    parts = next(size for size in range(max(1, dim // 2), 0, -1) if dim % size == 0)
    return faiss.IndexIVFPQ(quantizer, dim, nlist, parts, 4 if dim > 1 else 8, metric)


def _ivf_binary(faiss: Any, quantizer: Any, dim: int, nlist: int, metric: Any) -> Any:
    return faiss.IndexIVFRaBitQ(quantizer, dim, nlist, metric)


def _search(index: Any, points: Floats, k: int, params: Any) -> tuple[Floats, Slots]:
    """Search with parameters, also where ``faiss.contrib.torch_utils`` has put a search without them in the way."""
    search = getattr(index, "search_numpy", index.search)
    found: tuple[Floats, Slots] = search(points, k, params=params)
    return found
