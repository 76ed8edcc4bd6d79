"""Many requests at once, one call: what comes in while a batch is at work makes up the next batch."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from nearfar.serving.refusal import Refused

__all__ = ["Batcher"]

In = TypeVar("In")
Out = TypeVar("Out")


class Batcher(Generic[In, Out]):
    """Gathers items of concurrent requests for a function that is faster on many than one by one.

    Nothing waits for company: an item that finds the worker idle goes at once, and under load batches grow by
    themselves.
    When a batch fails its items are tried one by one, so that a bad one harms nobody else.

    Args:
        work: takes a list and returns as many results; called in one thread of its own.
        most: items in a batch.
        waiting: items that may wait; more are refused with 503.
        seen: called with the size of every batch.
    """

    def __init__(
        self,
        work: Callable[[list[In]], Iterable[Out]],
        *,
        most: int = 64,
        waiting: int = 1024,
        seen: Callable[[int], None] | None = None,
    ) -> None:
        self._work, self._most, self._limit, self._seen = work, most, waiting, seen
        self._queue: deque[tuple[In, asyncio.Future[Out]]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="nearfar-batch")
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, item: In) -> Out:
        """Return the function's result for one item.

        Raises:
            Refused: 503 when too many wait already.
        """
        if len(self._queue) >= self._limit:
            raise Refused(503, f"{self._limit} requests wait already; try again in a while")
        future: asyncio.Future[Out] = asyncio.get_running_loop().create_future()
        self._queue.append((item, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return await future

    async def close(self) -> None:
        """Finish what waits and end the thread."""
        if self._task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._thread.shutdown(wait=True)

    async def _run(self) -> None:
        while self._queue:
            batch: list[tuple[In, asyncio.Future[Out]]] = []
            while self._queue and len(batch) < self._most:
                item, future = self._queue.popleft()
                if not future.done():  # its request may have given up
                    batch.append((item, future))
            if batch:
                await self._batch(batch)

    async def _batch(self, batch: list[tuple[In, asyncio.Future[Out]]]) -> None:
        if self._seen is not None:
            self._seen(len(batch))
        try:
            results = await self._in_thread([item for item, _ in batch])
        except Exception as error:
            if len(batch) == 1:
                _settle(batch[0][1], error)
                return
            for one in batch:
                await self._batch([one])
            return
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)

    async def _in_thread(self, items: list[In]) -> Iterable[Out]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._work, items)


def _settle(future: asyncio.Future[Out], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
