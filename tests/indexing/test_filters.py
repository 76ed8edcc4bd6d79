"""The language of filters: every back end agrees with ``matches``, which is plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nearfar.errors import InputError
from nearfar.indexing import BACKENDS, parse_filter
from nearfar.indexing.filters import matches
from tests.indexing.places import new

FIELDS = ["brand", "price", "new", 'it\'s "odd" [0] \\ %s {v} $$', "label", "id"]
TEXTS = ["x", "y", "", "'; DROP TABLE x; --", '"', "\\", "%", "ünï 🙂", "\n", "10", "true", "{v}", "$1"]
scalars = st.one_of(
    st.sampled_from(TEXTS),
    st.integers(-3, 3),
    st.sampled_from([0.5, -1.5, 2.0, 1e300, 2**53, -(2**53)]),
    st.booleans(),
)
numbers_or_text = scalars.filter(lambda value: not isinstance(value, bool))
values = st.one_of(st.none(), scalars, st.lists(scalars, max_size=2), st.just({"a": 1}))
conditions = st.one_of(
    scalars,
    st.none(),
    st.fixed_dictionaries({"=": st.none() | scalars}),
    st.fixed_dictionaries({"!=": st.none() | scalars}),
    st.dictionaries(st.sampled_from(["<", "<=", ">", ">="]), numbers_or_text, min_size=1, max_size=2),
    st.fixed_dictionaries({"in": st.lists(scalars, max_size=3)}),
    st.fixed_dictionaries({"not in": st.lists(scalars, max_size=3)}),
    st.fixed_dictionaries({"exists": st.booleans()}),
)
filters = st.recursive(
    st.dictionaries(st.sampled_from(FIELDS), conditions, max_size=2),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"and": st.lists(inner, max_size=2)}),
        st.fixed_dictionaries({"or": st.lists(inner, max_size=2)}),
        st.fixed_dictionaries({"not": inner}),
    ),
    max_leaves=4,
)
COUNT = 40


def item(rng):
    pool = [*TEXTS, -3, 0, 1, 2, 3, 0.5, 2.0, 1e300, 2**53, True, False, ["x"], {"a": 1}]
    return {name: pool[int(rng.integers(len(pool)))] for name in FIELDS[:4] if rng.random() < 0.7}


@pytest.fixture(scope="module", params=BACKENDS.names())
def filled(request, tmp_path_factory):
    from tests.indexing import places

    patch = pytest.MonkeyPatch()
    patch.setattr(places, "ROOT", tmp_path_factory.mktemp("filters"))
    rng = np.random.default_rng(0)
    index = new(3, backend=request.param)
    ids = TEXTS + [f"item {row}" for row in range(COUNT - len(TEXTS))]
    labels = [TEXTS[row % len(TEXTS)] if row % 4 else None for row in range(COUNT)]
    metadata = [item(rng) for _ in range(COUNT)]
    index.add(ids, rng.normal(size=(COUNT, 3)), labels, metadata)
    items = [{**m, "id": i, "label": n} for m, i, n in zip(metadata, ids, labels, strict=True)]
    yield index, items
    index.close()
    patch.undo()


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=filters)
def test_every_back_end_agrees_with_plain_python(filled, where):
    index, items = filled
    expected = [one["id"] for one in items if matches(parse_filter(where), one)]
    found = index.search(np.ones((1, 3)), COUNT, where=where)
    assert sorted(found.ids[0]) == sorted(expected), where
    assert index.matching(where) == len(expected)


def test_whole_ids_and_labels_are_compared_exactly():
    for backend in BACKENDS.names():
        index = new(2, backend=backend)
        ids = [2**53, 2**53 + 1, -5, 2**62]
        index.add(ids, np.ones((4, 2)), [2**53 + 1, 1, 2, None])
        for where in (
            {"id": 2**53},
            {"id": {">": 2**53}},
            {"id": {"in": [2**53 + 1, -5.0, 0.5]}},
            {"label": 2**53 + 1},
            {"id": {"<": 0.5}},
            {"id": {"<=": -5.5}},
            {"id": {">=": 1e300}},
            {"id": {"<": 1e300}},
            {"id": -5.5},
            {"id": "2"},
        ):
            items = [{"id": i, "label": n} for i, n in zip(ids, [2**53 + 1, 1, 2, None], strict=True)]
            expected = [one["id"] for one in items if matches(parse_filter(where), one)]
            assert index.search(np.ones((1, 2)), 4, where=where).ids[0] == expected, (backend, where)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("brand = 'x'", "a mapping from fields to conditions"),
        ({"price": {"not  in": 3}}, "did you mean 'not in'"),
        ({"price": {}}, "one operator or more"),
        ({"price": float("nan")}, "a finite number"),
        ({"price": 2**53 + 1}, "within"),
        ({"price": [1, 2]}, "text, a finite number"),
        ({"price": {"in": "abc"}}, "a list of at most"),
        ({"price": {"<": True}}, "text or a number"),
        ({"price": {"exists": 1}}, "true or false"),
        ({"and": {"a": 1}}, "a list of filters"),
        ({3: 1}, "text of 1 to 200 characters"),
        ({"a\0": 1}, "text of 1 to 200 characters"),
        ({"a": "\ud800"}, "text, a finite number"),
        ({"or": [{"a": 1}] * 2000}, "at most 1000"),
    ],
)
def test_what_is_no_filter_is_one_sentence(where, message):
    with pytest.raises(InputError, match=message) as caught:
        parse_filter(where)
    assert "\n" not in str(caught.value)


def test_depth_is_limited():
    where = {"a": 1}
    for _ in range(30):
        where = {"not": where}
    with pytest.raises(InputError, match="depth must be <= 20"):
        parse_filter(where)
