"""The exact back end: every query against every vector, in chunks, by numpy or by torch on any device."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import ConfigError
from nearfar.indexing.filters import Filter
from nearfar.indexing.memory import InMemory
from nearfar.indexing.metrics import normalised, rough_error
from nearfar.indexing.records import Floats, Id, Neighbours, Records
from nearfar.indexing.scan import SLACK, scan_table, settle, unsettled
from nearfar.ranking import chunks

__all__ = ["ExactIndex"]


class ExactIndex(InMemory):
    """Vectors in one array of this process; nothing is approximated.

    Memory: the vectors once, and some 100 MB while it searches; with a device, the vectors once more there.

    Args:
        dim: the length of a vector.
        device: where torch compares, ``cuda`` or ``cpu``; numpy does if not given. It is of this process and not kept
            with the index. Distances and their order are the same everywhere: whatever a device proposes is measured
            again on the CPU.
        options: see ``Index``.
    """

    backend: ClassVar[str] = "exact"

    def __init__(self, dim: int, *, device: str | None = None, **options: Any) -> None:
        super().__init__(dim, **options)
        self.device = device
        self._copy: Any = None
        if device is not None:
            _check_device(device)

    def _add(self, rows: Records) -> None:
        super()._add(rows)
        self._copy = None

    def _remove(self, ids: list[Id]) -> None:
        super()._remove(ids)
        self._copy = None

    def _search(self, queries: Floats, k: int, where: Filter | None) -> Neighbours:
        table = self._table
        passing = None if where is None else table.passing(where)
        if passing is not None:
            k = min(k, int(passing.sum()))
            if k == 0:
                return Neighbours(np.empty((len(queries), 0), np.float32), [[] for _ in queries], [[] for _ in queries])
        if self.device is not None:
            return table.neighbours(*self._on_device(queries, k, passing))
        return table.neighbours(*scan_table(table, queries, k, passing))

    def _on_device(
        self, queries: Floats, k: int, passing: NDArray[np.bool_] | None
    ) -> tuple[Floats, NDArray[np.int64]]:
        """Let the device propose k + ``SLACK`` of each query, and settle them here."""
        import torch

        table = self._table
        if self._copy is None:
            side = None if self.metric == "dot" else torch.from_numpy(table.side.copy()).to(self.device)
            self._copy = torch.from_numpy(table.vectors.copy()).to(self.device), side
        vectors, side = self._copy
        hidden = None if passing is None and not table.dead else ~(table.alive if passing is None else passing)
        mask = None if hidden is None else torch.from_numpy(hidden).to(self.device)
        pointed = normalised(queries) if self.metric == "cosine" else queries
        wanted = min(table.size, k + SLACK)
        values = np.empty((len(queries), wanted), np.float32)
        candidates = np.empty((len(queries), wanted), np.int64)
        with torch.inference_mode():
            for part in chunks(len(queries), table.size, 64_000_000 if self.device != "cpu" else 4_000_000):
                rough = torch.from_numpy(pointed[part]).to(self.device) @ vectors.T
                rough = rough.mul_(-1.0) if self.metric in ("cosine", "dot") else rough.mul_(-2.0).add_(side)
                rough = rough.mul_(side) if self.metric == "cosine" else rough
                if mask is not None:
                    rough.masked_fill_(mask, torch.inf)
                best, places = torch.topk(rough, wanted, largest=False)
                values[part], candidates[part] = best.cpu().numpy(), places.cpu().numpy()
        candidates[np.isinf(values)] = -1
        distances, slots = settle(self.metric, queries, table.vectors, candidates, k)
        errors = rough_error(self.metric, pointed, table.largest_square)
        again = np.flatnonzero(unsettled(values, errors, k, table.size))
        if len(again):
            distances[again], slots[again] = scan_table(table, queries[again], k, passing)
        return distances, slots


def _check_device(device: str) -> None:
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        brief = (str(error).splitlines() or [""])[0][:200]
        raise ConfigError(f"index: device must be one that torch can use, got {device!r} ({brief})") from None
