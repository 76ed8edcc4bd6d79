"""The store: every acknowledged write is there after any end."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from nearfar.errors import RunError
from nearfar.indexing import open_index
from nearfar.serving import Store
from nearfar.serving.journal import Journal, Write
from nearfar.serving.refusal import Refused
from tests.samples import limited_files
from tests.serving.service import records, vectors, write_index


@pytest.fixture
def path(tmp_path):
    return write_index(tmp_path / "index")


def let_go(store):
    """Leave a store as a kill would: nothing is saved."""
    store._journal.close()
    store._held.release()


def test_writes_of_a_killed_service_are_taken_in(path):
    store = Store(open_index(path), path)
    store.add(records(["new", "gone"], 1, ["a", "b"]))
    store.remove(["gone", "item 5"])
    store.add(records(["gone"], 2))
    let_go(store)
    assert open_index(path).count == 20
    again = Store(open_index(path), path)
    assert again.count == 21
    found = again.get(["new", "gone"])
    assert found.labels == ["a", None]
    np.testing.assert_array_equal(found.vectors, np.concatenate([vectors(2, seed=1)[:1], vectors(1, seed=2)]))
    again.close()
    assert open_index(path).count == 21
    assert not (path / "writes.journal").exists()


def test_a_journal_that_is_gone_through_twice_does_no_harm(path):
    store = Store(open_index(path), path)
    store.add(records(["x", "y"], 1))
    store.remove(["x"])
    store.add(records(["x"], 3, ["late"]))
    store.index.save(path)  # killed between saving and beginning a new journal
    let_go(store)
    again = Store(open_index(path), path)
    assert again.count == 22
    np.testing.assert_array_equal(again.get(["x"]).vectors, vectors(1, seed=3))
    again.close()


@pytest.mark.parametrize("cut", [1, 9, 40])
def test_a_torn_last_line_is_no_write(path, cut):
    store = Store(open_index(path), path)
    store.add(records(["one"], 1))
    store.add(records(["two"], 2))
    let_go(store)
    journal = path / "writes.journal"
    journal.write_bytes(journal.read_bytes()[:-cut])
    again = Store(open_index(path), path)
    assert "one" in again.index
    assert "two" not in again.index
    again.add(records(["two"], 2))
    again.close()
    assert open_index(path).count == 22


def test_a_damaged_journal_is_said(path):
    journal = Journal(path / "writes.journal")
    for name in ("one", "two"):
        journal.append(Write(records([name]), []))
    journal.close()
    content = bytearray(journal.path.read_bytes())
    content[30] ^= 1
    journal.path.write_bytes(content)
    with pytest.raises(RunError, match="is damaged after byte 0"):
        Store(open_index(path), path)


def test_a_full_disk_refuses_the_write_and_keeps_the_rest(path):
    store = Store(open_index(path), path)
    store.add(records(["before"], 1))
    size = (path / "writes.journal").stat().st_size
    with limited_files(size + 50), pytest.raises(Refused, match="takes no more writes") as caught:
        store.add(records(["after"], 2))
    assert caught.value.status == 507
    with limited_files(size + 50), pytest.raises(Refused):
        store.remove([f"item {row}" for row in range(20)])
    assert (path / "writes.journal").stat().st_size == size
    assert store.count == 21
    assert "after" not in store.index
    store.add(records(["after"], 2))
    let_go(store)
    assert Store(open_index(path), path).count == 22


def test_a_long_journal_is_folded_into_the_index(path):
    store = Store(open_index(path), path, longest_journal=500)
    for row in range(9):
        store.add(records([f"new {row}"], row))
    assert open_index(path).count > 24
    let_go(store)
    assert Store(open_index(path), path).count == 29


def test_one_process_at_a_time_serves_a_folder(path):
    store = Store(open_index(path), path)
    with pytest.raises(RunError, match="served by one process"):
        Store(open_index(path), path)
    store.close()
    reader = Store(open_index(path), path, read_only=True)
    with pytest.raises(Refused):
        reader.add(records(["x"], 0))
    Store(open_index(path), path).close()


def test_many_threads_read_and_write(path):
    store = Store(open_index(path), path)
    wrong: list[object] = []

    def write(part):
        for row in range(25):
            store.add(records([f"{part}/{row}"], part * 100 + row))
            if row % 3 == 0:
                store.remove([f"{part}/{row}"])

    def read():
        for seed in range(60):
            found = store.search(vectors(2, seed=seed), 5)
            if found.distances.shape != (2, 5) or not (np.diff(found.distances) >= 0).all():
                wrong.append(found)

    threads = [threading.Thread(target=write, args=(part,)) for part in range(3)]
    threads += [threading.Thread(target=read) for _ in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not wrong
    assert store.count == 20 + 3 * 16
    store.close()
    assert open_index(path).count == 68


def test_replacing_is_taken_back_as_a_whole_when_the_disk_is_full(path):
    store = Store(open_index(path), path)
    before = store.get(["item 3"])
    with limited_files(50), pytest.raises(Refused):
        store.add(records(["item 3", "new"], 9, ["other", "other"]), replace=True)
    assert "new" not in store.index
    np.testing.assert_array_equal(store.get(["item 3"]).vectors, before.vectors)
    with pytest.raises(Refused, match="in the index already"):
        store.add(records(["new", "item 3"], 9))
    store.add(records(["item 3", "new"], 9, ["other", "other"]), replace=True)
    assert store.get(["item 3"]).labels == ["other"]
    assert store.count == 21
    store.close()


def test_metadata_and_pictures_go_through_the_journal(path):
    store = Store(open_index(path), path)
    items = records(["x"])._replace(metadata=[{"brand": "ü", "price": 3.5}], thumbnails=[b"picture"])
    store.add(items)
    let_go(store)
    again = Store(open_index(path), path)
    found = again.get(["x"], thumbnails=True)
    assert (found.metadata, found.thumbnails) == ([{"brand": "ü", "price": 3.5}], [b"picture"])
    again.close()
