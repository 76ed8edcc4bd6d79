from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from nearfar.data.kept import Kept


def counted():
    """Return a reader of ten bytes a key, and the list of the keys it was asked for."""
    asked = []

    def reader(key):
        def read():
            asked.append(key)
            return np.full(10, key, np.uint8)

        return read

    return reader, asked


def test_the_least_recently_used_goes_first():
    read, asked = counted()
    kept = Kept(most_bytes=25)
    for key in (1, 2, 1, 3, 1, 2):
        assert kept.get(key, read(key)).tolist() == [key] * 10
    assert asked == [1, 2, 3, 2]
    assert kept.bytes == 20


def test_one_value_is_kept_whatever_its_size():
    read, asked = counted()
    kept = Kept(most_bytes=0)
    for key in (1, 1, 2, 2):
        kept.get(key, read(key))
    assert asked == [1, 2]


def test_threads_that_want_the_same_wait_for_one_reading():
    begun, go, asked = threading.Event(), threading.Event(), []

    def slow():
        asked.append(1)
        begun.set()
        assert go.wait(10)
        return np.zeros(1)

    kept = Kept(most_bytes=100)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(kept.get, "slow", slow)
        assert begun.wait(10)
        second = pool.submit(kept.get, "slow", slow)
        assert kept.get("other", lambda: np.ones(1)).tolist() == [1]  # and nobody else waits
        go.set()
        assert first.result() is second.result()
    assert asked == [1]


def test_an_error_reaches_all_who_wait_and_is_not_kept():
    def broken():
        raise OSError("no route")

    kept = Kept(most_bytes=100)
    for _ in range(2):
        with pytest.raises(OSError, match="no route"):
            kept.get("a", broken)
    assert kept.get("a", lambda: np.ones(2)).tolist() == [1, 1]
    assert kept.bytes == 16
