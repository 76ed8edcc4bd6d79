from __future__ import annotations

import gc
import itertools
import threading
import time

import numpy as np
import pytest
import torch

from nearfar.data import ArraySource, Balanced, ItemError, Loader, Shuffled
from nearfar.errors import DataError, InputError, RunError
from tests.data.pictures import noise


def source_of(count=23, labels=None):
    return ArraySource(noise(count, 3, 3, 1), labels)


def noisy_views(images, rng):
    """Two views that depend on the images and on the generator."""
    x = torch.from_numpy(np.stack(list(images)).astype(np.float32))
    return [x + float(rng.random()), x * float(rng.random())]


def contents(batches):
    """What batches hold, as plain values that compare exactly."""
    return [(batch.ids.tolist(), [view.numpy().tobytes() for view in batch.views]) for batch in batches]


def ids_of(loader):
    return [batch.ids.tolist() for batch in loader]


def flat(lists):
    return list(itertools.chain.from_iterable(lists))


class Counting:
    """A source that counts its reads, takes its time, and breaks where told."""

    def __init__(self, count, *, broken=(), wait=0.0):
        self.ids = [f"item {row}" for row in range(count)]
        self.labels = np.arange(count, dtype=np.int64)
        self.class_names = None
        self.broken, self.wait = set(broken), wait
        self.reads = 0
        self.lock = threading.Lock()

    def __len__(self):
        return len(self.ids)

    def read(self, index):
        with self.lock:
            self.reads += 1
        time.sleep(self.wait)
        if index in self.broken:
            raise ItemError(self.ids[index], "made so")
        return np.full((2, 2, 1), index, np.uint8)

    def fingerprint(self):
        return "counting"


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_change_nothing(threads):
    source = source_of()
    settings = {"batch_size": 4, "seed": 7, "drop_last": False}
    alone, together = (
        Loader(source, noisy_views, threads=0, **settings),
        Loader(source, noisy_views, threads=threads, **settings),
    )
    for _ in range(2):
        assert contents(alone) == contents(together)


def test_every_item_once_in_an_order_of_its_own_each_epoch():
    loader = Loader(source_of(), noisy_views, batch_size=4, drop_last=False, threads=2)
    first, second = ids_of(loader), ids_of(loader)
    assert [len(ids) for ids in first] == [4, 4, 4, 4, 4, 3]
    assert sorted(flat(first)) == sorted(flat(second)) == list(range(23))
    assert first != second
    assert loader.epoch == 2
    other = Loader(source_of(), noisy_views, batch_size=4, drop_last=False, seed=1)
    assert ids_of(other) != first
    loader.set_epoch(0)
    assert ids_of(loader) == first


def test_views_are_drawn_from_seed_epoch_batch_and_rank():
    loader = Loader(
        source_of(), lambda images, rng: [torch.tensor(rng.random(len(images)))], batch_size=4, seed=5, threads=2
    )
    loader.set_epoch(3)
    batches = list(loader)
    expected = np.random.default_rng([5, 3, 2, 0]).random(4)
    np.testing.assert_array_equal(batches[2].views[0].numpy(), expected)


def test_drop_last_and_length():
    for drop_last in (True, False):
        for world in (1, 2, 3):
            for rank in range(world):
                for shuffle in (True, False):
                    loader = Loader(
                        source_of(), noisy_views, batch_size=3, drop_last=drop_last, rank=rank, world_size=world,
                        shuffle=shuffle, threads=1,
                    )  # fmt: skip
                    assert len(ids_of(loader)) == len(loader)


@pytest.mark.parametrize("drop_last", [True, False])
def test_ranks_share_the_batches_of_one_process(drop_last):
    settings = {"seed": 3, "drop_last": drop_last, "threads": 1}
    whole = ids_of(Loader(source_of(), noisy_views, batch_size=6, **settings))
    ranks = [
        ids_of(Loader(source_of(), noisy_views, batch_size=3, rank=rank, world_size=2, **settings)) for rank in (0, 1)
    ]
    assert len(ranks[0]) == len(ranks[1]) == len(whole)
    for number, batch in enumerate(whole):
        if len(batch) == 6:
            assert ranks[0][number] == batch[0::2]
            assert ranks[1][number] == batch[1::2]
    if not drop_last:
        assert [len(batch) for batch in ranks[0]] == [len(batch) for batch in ranks[1]]
        seen = flat(ranks[0] + ranks[1])
        assert set(seen) == set(range(23))
        assert len(seen) == 24


def test_without_shuffling_ranks_see_every_item_exactly_once():
    ranks = [
        ids_of(Loader(source_of(), noisy_views, batch_size=4, shuffle=False, drop_last=False, rank=rank, world_size=3))
        for rank in range(3)
    ]
    assert sorted(flat(flat(ranks))) == list(range(23))
    assert flat(ranks[1]) == list(range(1, 23, 3))


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_resume_in_the_middle_of_an_epoch(stop):
    settings = {"batch_size": 4, "seed": 2, "drop_last": False, "threads": 2}
    straight = Loader(source_of(), noisy_views, **settings)
    expected = [contents(straight) for _ in range(3)]
    first = Loader(source_of(), noisy_views, **settings)
    list(first)
    batches = iter(first)
    head = contents(next(batches) for _ in range(stop))
    state = first.state_dict()
    batches.close()
    second = Loader(source_of(), noisy_views, **settings)
    second.load_state_dict(state)
    second.set_epoch(1)
    assert head + contents(second) == expected[1]
    assert contents(second) == expected[2]


def test_position_after_the_last_batch_is_the_next_epoch():
    loader = Loader(source_of(8), noisy_views, batch_size=4, threads=2)
    batches = iter(loader)
    next(batches), next(batches)  # the caller knows the length and never asks for a third
    assert (loader.state_dict()["epoch"], loader.state_dict()["batch"]) == (1, 0)
    assert loader.epoch == 1


def test_an_epoch_left_half_way_starts_again():
    loader = Loader(source_of(), noisy_views, batch_size=4, threads=2)
    next(iter(loader))
    expected = contents(Loader(source_of(), noisy_views, batch_size=4, threads=0))
    assert contents(loader) == expected


def test_resuming_with_other_settings_is_refused():
    state = Loader(source_of(), noisy_views, batch_size=4).state_dict()
    with pytest.raises(RunError, match="Loader: batch_size must be 4, got 5; resume with"):
        Loader(source_of(), noisy_views, batch_size=5).load_state_dict(state)
    with pytest.raises(RunError, match="Loader: items must be 23, got 22"):
        Loader(source_of(22), noisy_views, batch_size=4).load_state_dict(state)


def test_labels_and_ids():
    source = source_of(6, [0, 1, 2, 0, 1, None])
    (batch,) = Loader(source, noisy_views, batch_size=6, shuffle=False)
    assert batch.labels.tolist() == [0, 1, 2, 0, 1, -1]
    assert batch.labels.dtype == batch.ids.dtype == torch.int64
    assert batch.ids.tolist() == list(range(6))
    (batch,) = Loader(source, noisy_views, batch_size=6, with_labels=False)
    assert batch.labels is None
    (batch,) = Loader(source_of(6), noisy_views, batch_size=6)
    assert batch.labels is None


def loader_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("nearfar-loader")]


def test_prefetching_is_bounded_and_threads_end_when_the_iterator_is_dropped():
    source = Counting(100)
    loader = Loader(source, noisy_views, batch_size=2, threads=2, prefetch=3)
    batches = iter(loader)
    next(batches)
    deadline = time.monotonic() + 5
    while source.reads < 8 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert source.reads == 8  # the one handed out, and three ahead
    assert loader_threads()
    del batches
    gc.collect()
    assert not loader_threads()


def test_threads_end_when_the_caller_fails():
    def consume():
        for _ in Loader(source_of(), noisy_views, batch_size=2, threads=2):
            raise KeyError("the training step")

    with pytest.raises(KeyError):
        consume()
    gc.collect()
    assert not loader_threads()


def test_a_failing_view_reaches_the_caller():
    def fail(images, rng):
        raise ZeroDivisionError("in a view")

    with pytest.raises(ZeroDivisionError, match="in a view"):
        list(Loader(source_of(), fail, batch_size=2, threads=2))
    assert not loader_threads()


def test_waiting_is_measured():
    slow = Loader(Counting(12, wait=0.01), noisy_views, batch_size=2, threads=1)
    list(slow)
    assert slow.waited > 0.06
    assert slow.waited_share > 0.5
    fast = Loader(source_of(12), noisy_views, batch_size=2, threads=1)
    for _ in fast:
        time.sleep(0.05)
    assert fast.waited_share < 0.5


class TestBroken:
    def test_raise(self):
        with pytest.raises(ItemError, match=r"item 5: cannot be read \(made so\)"):
            list(Loader(Counting(10, broken=[5]), noisy_views, batch_size=5, threads=2))

    @pytest.mark.parametrize("threads", [0, 3])
    def test_replace_by_the_next_that_can_be_read(self, threads):
        settings = {"batch_size": 5, "threads": threads, "drop_last": False}
        whole = ids_of(Loader(Counting(20), noisy_views, **settings))
        loader = Loader(Counting(20, broken=[4, 5, 19]), noisy_views, on_broken="replace", most_broken=0.2, **settings)
        batches = list(loader)
        instead = {4: 6, 5: 6, 19: 0}
        assert [batch.ids.tolist() for batch in batches] == [[instead.get(row, row) for row in ids] for ids in whole]
        for batch in batches:
            assert batch.labels.tolist() == batch.ids.tolist()
        assert [tuple(item) for item in loader.skipped] == [(f"item {row}", "made so") for row in (4, 5, 19)]

    def test_drop(self):
        loader = Loader(
            Counting(9, broken=[1, 3, 4, 5]), noisy_views, batch_size=3, shuffle=False, drop_last=False,
            on_broken="drop", most_broken=0.5,
        )  # fmt: skip
        assert ids_of(loader) == [[0, 2], [6, 7, 8]]
        assert [item.id for item in loader.skipped] == ["item 1", "item 3", "item 4", "item 5"]

    def test_too_many(self):
        loader = Loader(Counting(200, broken=[1, 2, 3]), noisy_views, batch_size=10, on_broken="replace")
        with pytest.raises(DataError, match="the 200 items must be readable but for 1%, got 3 broken"):
            list(loader)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"batch_size": 0}, "batch_size must be >= 1, got 0"),
        ({"batch_size": 24}, "batch_size must be <= the 23 items, got 24; use a batch size of 23 or less"),
        ({"batch_size": 12, "world_size": 2}, "batch_size x 2 ranks must be <= the 23 items, got 24; .* of 11 or less"),
        ({"batch_size": 2, "rank": 2, "world_size": 2}, r"rank must be in \[0, 2\), got 2"),
        ({"batch_size": 2, "seed": -1}, "seed must be >= 0"),
        ({"batch_size": 2, "threads": -1}, "threads must be >= 0"),
        ({"batch_size": 2, "per_class": 2}, "labels must be known for some rows, got none"),
    ],
)
def test_wrong_arguments(settings, sentence):
    with pytest.raises(InputError, match=f"(Loader|Balanced): {sentence}"):
        Loader(source_of(), noisy_views, **settings)


def test_one_item_cannot_be_trained_on_but_can_be_embedded():
    with pytest.raises(DataError, match="the number of items must be >= 2, got 1"):
        Loader(source_of(1), noisy_views, batch_size=1)
    assert ids_of(Loader(source_of(1), noisy_views, batch_size=8, shuffle=False, drop_last=False)) == [[0]]


class TestBalanced:
    labels = np.repeat([0, 1, 2, 3, -1], [40, 20, 10, 3, 50])

    def test_every_batch_has_m_of_each_of_p_classes(self):
        order = Balanced(self.labels, per_class=4, batch_size=12, seed=0)
        rows = order.rows(0).reshape(-1, 12)
        assert len(rows) == len(order) // 12 == 73 // 12
        for batch in rows:
            classes, counts = np.unique(self.labels[batch], return_counts=True)
            assert len(classes) == 3
            assert (counts == 4).all()
            assert -1 not in classes

    def test_rows_do_not_repeat_before_a_class_is_used_up(self):
        order = Balanced(np.repeat([0, 1], 8), per_class=4, batch_size=8, seed=0)
        assert sorted(order.rows(0)) == list(range(16))
        assert order.rows(0).tolist() != order.rows(1).tolist()
        assert order.rows(1).tolist() == order.rows(1).tolist()

    def test_through_the_loader(self):
        source = source_of(40, [row % 5 for row in range(40)])
        settings = {"batch_size": 8, "per_class": 4, "seed": 1}
        batches = list(Loader(source, noisy_views, threads=2, **settings))
        assert len(batches) == 5
        for batch in batches:
            assert sorted(np.unique(batch.labels, return_counts=True)[1]) == [4, 4]
        resumed = Loader(source, noisy_views, **settings)
        resumed.load_state_dict({**resumed.state_dict(), "batch": 2})
        assert contents(resumed) == contents(batches[2:])

    def test_wrong_arguments(self):
        with pytest.raises(DataError, match="per_class must be a divisor of the batch of 12, got 5"):
            Balanced(self.labels, per_class=5, batch_size=12, seed=0)
        with pytest.raises(DataError, match="classes a batch must be <= 4, got 6; use a smaller batch"):
            Balanced(self.labels, per_class=2, batch_size=12, seed=0)


def test_the_order_shares_no_random_numbers_with_views():
    order = Shuffled(1000, seed=4).rows(2)
    views = np.random.default_rng([4, 2, 0, 0]).permutation(1000)
    assert order.tolist() != views.tolist()


@pytest.mark.gpu
def test_tensors_are_pinned_where_cuda_is():
    (batch,) = Loader(source_of(6, range(6)), noisy_views, batch_size=6, threads=1)
    assert all(tensor.is_pinned() for tensor in (*batch.views, batch.labels, batch.ids))
