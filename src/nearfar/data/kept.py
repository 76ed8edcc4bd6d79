"""The most recently used of what is slow to read, up to a number of bytes, shared by threads and files."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any

from nearfar.data.memory import available_bytes

__all__ = ["Kept"]

_MOST = 2 << 30


class Kept:
    """Values by key; each is read by the thread that asks first, while the others that want it wait for that one.

    Args:
        most_bytes: of all values together; an eighth of the memory that is left, but at most 2 GiB, when absent. One
            value is kept whatever its size.
    """

    def __init__(self, most_bytes: int | None = None) -> None:
        self.most_bytes = min(_MOST, available_bytes() // 8) if most_bytes is None else most_bytes
        self.bytes = 0
        self._values: OrderedDict[Hashable, Future[Any]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, read: Callable[[], Any]) -> Any:
        """Return the value of a key, from ``read`` when it is not kept; it has ``nbytes``. An error is not kept."""
        with self._lock:
            value = self._values.get(key)
            mine = value is None
            if value is None:
                value = self._values[key] = Future()
            self._values.move_to_end(key)
        if mine:
            self._read(key, value, read)
        return value.result()

    def _read(self, key: Hashable, value: Future[Any], read: Callable[[], Any]) -> None:
        try:
            found = read()
        except BaseException as error:
            with self._lock:
                self._values.pop(key, None)
            value.set_exception(error)
            return
        value.set_result(found)
        with self._lock:
            self.bytes += found.nbytes
            for old in [name for name, one in self._values.items() if one.done() and name != key]:
                if self.bytes <= self.most_bytes:
                    break
                self.bytes -= self._values.pop(old).result().nbytes
