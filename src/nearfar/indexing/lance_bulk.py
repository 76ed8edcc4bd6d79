"""What is known of the items while an index of the Lance back end is built: hashes of ids, not the items."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.indexing.card import key_of
from nearfar.indexing.lance_rows import names_of
from nearfar.indexing.records import Id, Records

__all__ = ["BulkIds"]


class BulkIds:
    """What ``add`` must know of the items while an index is built: that ids are new and kinds are not mixed."""

    def __init__(self) -> None:
        self.known = np.empty(0, np.uint64)
        self.kinds: tuple[type | None, type | None] = (None, None)
        self.last = -1

    def contains(self, ids: list[Id]) -> list[bool]:
        """Say of each id whether its hash is known; 64 bits of it, so a new id is refused once in 10^19 / N."""
        hashes = _hashes(ids)
        places = np.searchsorted(self.known, hashes)
        places[places == len(self.known)] = 0
        found: list[bool] = (self.known[places] == hashes).tolist() if len(self.known) else [False] * len(ids)
        return found

    def know(self, rows: Records) -> None:
        """Take in items that were written."""
        self.known = np.sort(np.concatenate([self.known, _hashes(rows.ids)]), kind="stable")
        label = next((type(one) for one in rows.labels if one is not None), None)
        self.kinds = (self.kinds[0] or type(rows.ids[0])), (self.kinds[1] or label)

    def know_batch(self, batch: Any) -> None:
        """Take in items that were written before."""
        ids, labels = names_of(batch)
        self.know(Records(ids, np.empty((0, 0), np.float32), labels, [], []))
        self.last = max(self.last, int(batch["number"].to_numpy().max()))


def _hashes(ids: list[Id]) -> NDArray[np.uint64]:
    return np.frombuffer(b"".join(key_of(name)[:8] for name in ids), np.uint64)
