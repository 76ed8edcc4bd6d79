"""One service: the store, the encoder, the batches and the numbers, without a word of HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import RunError, require
from nearfar.indexing import Id, Neighbours
from nearfar.searching import check_fingerprint
from nearfar.serving.batching import Batcher
from nearfar.serving.encoding import Encoder
from nearfar.serving.media import Content, Media, media_type
from nearfar.serving.metrics import Metrics
from nearfar.serving.refusal import Refused
from nearfar.serving.settings import Limits
from nearfar.serving.store import Store

__all__ = ["Asked", "Service"]

T = TypeVar("T")
Floats = NDArray[np.float32]
ENCODED_AT_ONCE = 64
SEARCHED_AT_ONCE = 128


class Asked(NamedTuple):
    """A search.

    Attributes:
        vectors: (Q, D) queries.
        k: how many neighbours of each.
        where: only items that pass this filter.
        within: only items at most this far.
    """

    vectors: Floats
    k: int
    where: dict[str, Any] | None = None
    within: float | None = None


class Service:
    """What the routes call.

    Args:
        store: the index.
        encoder: turns queries into vectors; ``None`` = only vectors and ids can be asked.
        media: shows the items; ``None`` = they are not shown.
        limits: what a request may ask for.
        threads: that decode and write; batches have threads of their own.

    Raises:
        RunError: when the encoder is not that of the index.
    """

    def __init__(
        self,
        store: Store,
        *,
        encoder: Encoder | None = None,
        media: Media | None = None,
        limits: Limits | None = None,
        threads: int = 4,
    ) -> None:
        self.store, self.encoder, self.media = store, encoder, media
        self.limits = limits or Limits()
        self.metrics = Metrics(lambda: store.count)
        self.ready = False
        self._threads = threads
        if encoder is not None:
            check_fingerprint(store.index, encoder.fingerprint)
            must, got = f"as long as the index's vectors, {store.index.dim}", encoder.dim
            require(encoder.dim == store.index.dim, "serve", "the encoder's vectors", must, got, error=RunError)

    async def start(self) -> None:
        """Begin to work; called in the event loop that serves."""
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="nearfar-serve")
        self._searches: Batcher[Asked, Neighbours] = Batcher(
            self._search_many, most=SEARCHED_AT_ONCE, seen=self.metrics.batch_of("search")
        )
        self._items: Batcher[Any, Floats] = Batcher(
            self._embed_many, most=ENCODED_AT_ONCE, seen=self.metrics.batch_of("encode")
        )
        await self.in_thread(self._warm_up)
        self.ready = True

    def _warm_up(self) -> None:
        """Search once, so that what is compiled when first used is not waited for by a client."""
        if self.store.count:
            self.store.search(np.zeros((1, self.store.index.dim), np.float32), 1)

    async def stop(self) -> None:
        """Finish what is at work and save; called once no request is left."""
        self.ready = False
        await self._items.close()
        await self._searches.close()
        self._pool.shutdown(wait=True)
        self.store.close()

    async def in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        """Call something that takes time, without holding up other requests."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    async def search(self, asked: Asked, *, checked: bool = False) -> Neighbours:
        """Find the k nearest of each vector, in one call with the searches of others.

        Args:
            asked: the search.
            checked: whether its size was looked at already.

        Raises:
            InputError: on wrong vectors or a filter that is none.
            Refused: 422 when too many neighbours are asked for, 503 when too many wait.
        """
        if not checked:
            self.check_k(len(asked.vectors), asked.k)
        return await self._searches(asked)

    async def embed(self, content: bytes) -> Floats:
        """Turn the body of a request into a (1, D) vector.

        Raises:
            Refused: 415 or 413 by the encoder's reader, 503 when too many wait.
            DataError: when the item is broken.
        """
        assert self.encoder is not None
        item = await self.in_thread(self.encoder.read, content)
        return (await self._items(item))[None]

    def check_rows(self, count: int) -> None:
        """Refuse more rows in a request than allowed."""
        if count > self.limits.rows:
            raise Refused(422, f"request: must have at most {self.limits.rows} rows, got {count}; ask in parts")

    def check_ids(self, ids: Sequence[Id]) -> None:
        """Refuse ids that are too long or that no file could hold."""
        self.check_rows(len(ids))
        for name in ids:
            if isinstance(name, int):
                continue
            if len(name) > self.limits.id_length:
                raise Refused(422, f"id: must have at most {self.limits.id_length} characters, got {len(name)}")
            if not _encodes(name):
                raise Refused(422, "id: must be text without NUL and lone surrogates")

    def check_k(self, rows: int, k: int) -> None:
        """Refuse more neighbours than allowed."""
        self.check_rows(rows)
        if k > self.limits.k:
            raise Refused(422, f"k: must be <= {self.limits.k}, got {k}")
        if rows * k > self.limits.hits:
            raise Refused(422, f"rows x k: must be <= {self.limits.hits}, got {rows * k}; ask in parts")

    def metadata_of(self, ids: Iterable[Id]) -> dict[Id, dict[str, Any]]:
        """Return the metadata of items; those that are gone meanwhile are left out."""
        there = [name for name in ids if name in self.store.index]
        found = self.store.get(there)
        return dict(zip(found.ids, found.metadata, strict=True))

    def thumbnail(self, name: Id) -> Content | None:
        """Return a small picture of an item: of its data where they are at hand, else the one in the index."""
        shown = None if self.media is None else self.media.thumbnail(str(name))
        if shown is not None or name not in self.store.index:
            return shown
        kept = self.store.get([name], thumbnails=True).thumbnails[0]
        return None if kept is None else Content(media_type(kept), kept)

    def id_of(self, text: str) -> Id:
        """Return an id as the index has it: a whole number where its ids are such and the text is one."""
        if text.isdecimal() and len(text) < 19 and text not in self.store.index and int(text) in self.store.index:
            return int(text)
        return text

    def _search_many(self, asked: list[Asked]) -> list[Neighbours]:
        """Answer several searches; those for the same k, filter and limit go to the index together."""
        found: list[Neighbours | None] = [None] * len(asked)
        groups: dict[tuple[int, str, float | None], list[int]] = {}
        for row, one in enumerate(asked):
            groups.setdefault((one.k, json.dumps(one.where, sort_keys=True), one.within), []).append(row)
        for rows in groups.values():
            first = asked[rows[0]]
            vectors = np.concatenate([asked[row].vectors for row in rows])
            together = self.store.search(vectors, first.k, where=first.where, within=first.within)
            start = 0
            for row in rows:
                part = slice(start, start + len(asked[row].vectors))
                found[row] = Neighbours(together.distances[part], together.ids[part], together.labels[part])
                start = part.stop
        return [one for one in found if one is not None]

    def _embed_many(self, items: list[Any]) -> Floats:
        assert self.encoder is not None
        vectors = np.asarray(self.encoder.embed(items), dtype=np.float32)
        must = f"({len(items)}, {self.encoder.dim})"
        require(vectors.shape == (len(items), self.encoder.dim), "encoder", "vectors", must, vectors.shape)
        return vectors


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
