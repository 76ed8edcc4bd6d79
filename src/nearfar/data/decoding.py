"""Reading rows of images in order on several threads, each as an image or as the reason why there is none."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data.images import FileSource
from nearfar.data.loader import cpu_count
from nearfar.data.picture import resize_shorter
from nearfar.data.shards import PackedSource
from nearfar.data.skipped import Skipped
from nearfar.data.source import Source, digest, origin, read_many
from nearfar.errors import DataError

__all__ = ["Resized", "decode_rows", "mean_bytes"]

_ROWS_A_TASK = 32
_ROWS_LOOKED_AT = 64


class Resized:
    """A source whose larger images are resized as they are read; large JPEGs are decoded at a smaller scale.

    Args:
        source: (H, W, C) images.
        side: the shorter side that images of a longer one are resized to.
    """

    def __init__(self, source: Source, side: int) -> None:
        self.source, self.side = source, side
        self.ids, self.labels, self.class_names = source.ids, source.labels, source.class_names

    def __len__(self) -> int:
        return len(self.source)

    def read(self, index: int) -> NDArray[Any]:
        """Return one (H, W, C) image."""
        base, row = origin(self.source, index)
        if isinstance(base, FileSource | PackedSource):
            return base.read(row, side=self.side)
        return resize_shorter(base.read(row), self.side)

    def read_many(self, indices: NDArray[np.int64]) -> list[NDArray[Any]]:
        """Return several images; shards are asked for all of theirs at once."""
        places = [origin(self.source, int(index)) for index in indices]
        base = places[0][0] if places else None
        if isinstance(base, PackedSource) and all(one is base for one, _ in places):
            return base.read_many(np.array([row for _, row in places]), side=self.side)
        return [self.read(int(index)) for index in indices]

    def fingerprint(self) -> str | None:
        """The source's, with the side."""
        whole = self.source.fingerprint()
        return None if whole is None else digest("resized", whole, str(self.side))


def decode_rows(
    source: Source, rows: Sequence[int], threads: int | None = None
) -> Generator[tuple[int, NDArray[Any] | Skipped], None, None]:
    """Yield (row, image or the reason why it is broken) of the rows asked for, in their order.

    Args:
        source: images.
        rows: which to read.
        threads: that read; the number of cores when absent, at most 8. A bounded number of images waits.
    """
    workers = min(8, cpu_count()) if threads is None else max(1, threads)
    tasks = iter([rows[at : at + _ROWS_A_TASK] for at in range(0, len(rows), _ROWS_A_TASK)])
    pool = ThreadPoolExecutor(workers, thread_name_prefix="nearfar-decode")
    waiting: deque[Future[list[tuple[int, NDArray[Any] | Skipped]]]] = deque()
    try:
        for _ in range(2 * workers):
            waiting.extend(pool.submit(_read, source, task) for task in [next(tasks, None)] if task is not None)
        while waiting:
            done = waiting.popleft().result()
            waiting.extend(pool.submit(_read, source, task) for task in [next(tasks, None)] if task is not None)
            yield from done
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def mean_bytes(source: Source) -> float:
    """Return the mean size of a decoded image, from 64 of them spread evenly over all; 0 when none can be read."""
    rows = np.unique(np.linspace(0, len(source) - 1, _ROWS_LOOKED_AT).round().astype(int))
    outcomes = [image for _, image in _read(source, [int(row) for row in rows])]
    sizes = [image.nbytes for image in outcomes if not isinstance(image, Skipped)]
    return float(np.mean(sizes)) if sizes else 0.0


def _read(source: Source, rows: Sequence[int]) -> list[tuple[int, NDArray[Any] | Skipped]]:
    try:
        return list(zip(rows, read_many(source, np.asarray(rows)), strict=True))
    except DataError:  # of one of them: the others are read one by one
        pass
    outcomes: list[tuple[int, NDArray[Any] | Skipped]] = []
    for row in rows:
        try:
            outcomes.append((row, source.read(row)))
        except DataError as error:
            outcomes.append((row, Skipped.of(source.ids[row], error)))
    return outcomes
