"""Orders by classes and groups: exact length, what a batch holds, seeds, ranks and resuming."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nearfar.data import (
    SAMPLERS,
    Apart,
    ArraySource,
    ClassBalanced,
    Hierarchical,
    Loader,
    Order,
    Rows,
    Together,
    build_order,
)
from nearfar.errors import ConfigError, DataError

LABELS = np.repeat(np.arange(12), [3, 9, 4, 5, 6, 7, 3, 4, 5, 6, 7, 5]).astype(np.int64)
SUPERS = LABELS // 4


def hierarchical(seed: int = 0, supers: int = 1) -> Hierarchical:
    return Hierarchical(LABELS, SUPERS, per_class=2, supers=supers, batch_size=8, seed=seed)


ORDERS = {
    "hierarchical": hierarchical,
    "apart": lambda seed: Apart(LABELS, batch_size=8, seed=seed),
    "together": lambda seed: Together(LABELS, batch_size=8, seed=seed),
    "class-balanced": lambda seed: ClassBalanced(LABELS, seed=seed),
}


@pytest.mark.parametrize("name", ORDERS)
def test_length_is_exact_and_rows_depend_on_seed_and_epoch_alone(name: str) -> None:
    order: Order = ORDERS[name](0)
    for epoch in range(3):
        rows = order.rows(epoch)
        assert len(rows) == len(order)
        assert rows.dtype == np.int64
        assert rows.min() >= 0
        assert rows.max() < len(LABELS)
        assert np.array_equal(rows, ORDERS[name](0).rows(epoch))
    assert not np.array_equal(order.rows(0), order.rows(1))
    assert not np.array_equal(order.rows(0), ORDERS[name](1).rows(0))


def test_hierarchical_batches_are_m_rows_of_classes_of_one_super_class() -> None:
    for supers in (1, 2):
        for batch in hierarchical(supers=supers).rows(0).reshape(-1, 8):
            assert (np.unique(LABELS[batch], return_counts=True)[1] == 2).all()
            assert len(np.unique(SUPERS[batch])) <= supers
            assert len(set(batch.tolist())) == 8


def test_hierarchical_takes_the_next_super_class_where_one_has_too_few_classes() -> None:
    order = Hierarchical(LABELS, SUPERS, per_class=1, supers=1, batch_size=6, seed=0)
    for batch in order.rows(0).reshape(-1, 6):
        assert len(np.unique(LABELS[batch])) == 6
        assert sorted(np.unique(SUPERS[batch], return_counts=True)[1].tolist()) == [2, 4]


@settings(max_examples=60, deadline=None)
@given(
    groups=st.lists(st.integers(0, 9), min_size=4, max_size=60),
    batch=st.integers(1, 6),
    epoch=st.integers(0, 5),
)
def test_no_group_meets_a_batch_twice(groups: list[int], batch: int, epoch: int) -> None:
    codes = np.array(groups)
    if len(np.unique(codes)) < batch:
        with pytest.raises(DataError, match="groups must be >= the batch size"):
            Apart(codes, batch_size=batch, seed=0)
        return
    order = Apart(codes, batch_size=batch, seed=0)
    rows = order.rows(epoch)
    assert len(rows) == len(order) > 0
    assert len(np.unique(rows)) == len(rows)
    for part in rows.reshape(-1, batch):
        assert len(np.unique(codes[part])) == batch


def test_apart_uses_every_row_where_groups_are_small() -> None:
    codes = np.arange(40) // 2
    order = Apart(codes, batch_size=8, seed=0)
    assert sorted(order.rows(3).tolist()) == list(range(40))


def test_together_keeps_a_group_in_few_batches() -> None:
    codes = np.random.default_rng(0).permutation(np.repeat(np.arange(8), 8))
    order = Together(codes, batch_size=16, seed=0)
    rows = order.rows(0)
    assert sorted(rows.tolist()) == list(range(64))
    for batch in rows.reshape(-1, 16):
        assert len(np.unique(codes[batch])) == 2


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_class_balanced_shares_visits_out_by_the_power(power: float) -> None:
    labels = np.repeat(np.arange(3), [2, 10, 48]).astype(np.int64)
    visits = np.bincount(labels[ClassBalanced(labels, power=power, seed=0).rows(0)], minlength=3)
    weights = np.array([2, 10, 48.0]) ** (1 - power)
    assert visits.sum() == 60
    assert (np.abs(visits - 60 * weights / weights.sum()) < 1).all()


def test_class_balanced_sees_all_rows_of_a_rare_class_about_equally_often() -> None:
    labels = np.repeat(np.arange(2), [4, 36]).astype(np.int64)
    times = np.bincount(ClassBalanced(labels, seed=0).rows(0), minlength=40)
    assert set(times[:4].tolist()) == {5}
    assert times[4:].max() == 1


def source(labels: NDArray[np.int64] | None = LABELS) -> ArraySource:
    count = len(LABELS)
    images = np.arange(count, dtype=np.uint8).reshape(count, 1, 1, 1).repeat(2, 1).repeat(2, 2)
    return ArraySource(images, labels=labels)


def rows_of(manifest: Path | None = None, labels: NDArray[np.int64] | None = LABELS, batch: int = 8) -> Rows:
    return Rows(source(labels), batch, 0, manifest)


@pytest.mark.parametrize("name", SAMPLERS.names())
def test_every_sampler_runs_in_the_loader_alike_on_one_rank_and_two_and_resumes(name: str) -> None:
    options: dict[str, Any] = {
        "hierarchical": {"groups": r"^(\d)", "per_class": 2, "supers": 3},
        "group-aware": {"groups": r"(\d)$"},
    }.get(name, {})
    if name == "hierarchical":  # a class must lie in one super-class
        rows = Rows(_Named(source(), [f"{s}-{n}" for n, s in enumerate(SUPERS)]), 8, 0)
    else:
        rows = rows_of()
    order = build_order(name, options, rows)

    def loader(rank: int, world: int) -> Loader:
        return Loader(
            rows.source, lambda items, rng: [], batch_size=8 // world, order=order, threads=0, rank=rank,
            world_size=world,
        )  # fmt: skip

    alone = [batch.ids for batch in loader(0, 1)]
    both = [[batch.ids for batch in loader(rank, 2)] for rank in range(2)]
    assert len(alone) == len(both[0]) == len(both[1]) == len(order) // 8
    for whole, first, second in zip(alone, *both, strict=True):
        assert whole is not None
        assert first is not None
        assert second is not None
        assert whole[0::2].equal(first)
        assert whole[1::2].equal(second)
    going = loader(0, 1)
    steps = iter(going)
    next(steps)
    state = going.state_dict()
    later = loader(0, 1)
    later.load_state_dict(state)
    rest = [batch.ids for batch in later]
    assert all(a is not None and b is not None and a.equal(b) for a, b in zip(rest, alone[1:], strict=True))


class _Named:
    """A source under other ids."""

    def __init__(self, of: ArraySource, ids: list[str]) -> None:
        self.of, self.ids, self.labels, self.class_names = of, ids, of.labels, of.class_names

    def __len__(self) -> int:
        return len(self.of)

    def read(self, index: int) -> Any:
        return self.of.read(index)

    def fingerprint(self) -> str | None:
        return self.of.fingerprint()


def test_balanced_takes_more_rows_a_class_where_classes_are_few() -> None:
    labels = np.arange(len(LABELS), dtype=np.int64) % 2
    order = build_order("balanced", {}, rows_of(labels=labels, batch=16))
    batch = order.rows(0)[:16]
    assert np.bincount(labels[batch]).tolist() == [8, 8]
    assert len(np.unique(LABELS[build_order("balanced", {}, rows_of(batch=16)).rows(0)[:16]])) == 4


def test_no_duplicates_goes_by_content_or_by_class() -> None:
    images = np.zeros((20, 2, 2, 1), np.uint8)
    images[:, 0, 0, 0] = np.arange(20) // 2
    rows = Rows(ArraySource(images, labels=np.arange(20) % 5), 4, 0)
    for options, codes in (({}, np.arange(20) // 2), ({"of": "class"}, np.arange(20) % 5)):
        for batch in build_order("no-duplicates", options, rows).rows(0).reshape(-1, 4):
            assert len(np.unique(codes[batch])) == 4


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_groups_come_from_a_column_or_from_the_ids(tmp_path: Path, ending: str) -> None:
    manifest = tmp_path / f"data{ending}"
    names, people = ["p1_a.png", "p1_b.png", "p2_a.png"], ["ann", "ann", "bob"]
    if ending == ".csv":
        manifest.write_text("path,person\n" + "".join(f"{n},{p}\n" for n, p in zip(names, people, strict=True)))
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"path": names, "person": people}), manifest)
    images = ArraySource(np.zeros((3, 2, 2, 1), np.uint8))
    rows = Rows(_Named(images, names), 2, 0, manifest)
    assert rows.groups("person").tolist() == [0, 0, 1]
    assert rows.groups(r"^(p\d)").tolist() == [0, 0, 1]
    assert rows.groups(r"_.").tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("balnced", {}, "did you mean 'balanced'"),
        ("balanced", {"per_clas": 2}, "did you mean 'per_class'"),
        ("balanced", {"per_class": 3}, "a divisor of the batch of 8"),
        ("group-aware", {}, "groups must be a column of the manifest or a regular expression"),
        ("group-aware", {"groups": "(x)"}, "found in every id"),
        ("group-aware", {"groups": "("}, "a regular expression, got"),
        ("hierarchical", {"groups": r"(\d)$"}, "must be in one super-class, got in several"),
        ("class-balanced", {"power": 2.0}, r"power must be in \[0, 1\]"),
    ],
)
def test_wrong_samplers_are_one_sentence(name: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises((ConfigError, DataError), match=sentence):
        build_order(name, options, rows_of())
