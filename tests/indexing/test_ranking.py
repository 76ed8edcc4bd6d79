from __future__ import annotations

import numpy as np
import pytest

from nearfar.indexing.measure import measure
from nearfar.ranking import chunks, smallest


@pytest.mark.parametrize("k", [1, 5, 40])
@pytest.mark.parametrize(
    ("rows", "columns", "digits"), [(30, 40, 1), (30, 3000, 1), (30, 3000, 4), (30, 3000, 9), (0, 900, 1)]
)
def test_smallest_is_a_stable_sort(k, rows, columns, digits):
    rng = np.random.default_rng(0)
    values = np.round(rng.normal(size=(rows, columns)), digits).astype(np.float32)
    values[1::3, columns // 2 :] = np.inf
    values[:1, :4] = [np.inf, -np.inf, 0.0, -0.0]
    found, columns = smallest(values, k)
    expected = np.argsort(values, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(columns, expected)
    np.testing.assert_array_equal(found, np.take_along_axis(values, expected, axis=1))
    assert found.dtype == np.float32


def test_both_zeros_are_equal():
    _, columns = smallest(np.array([[0.0, -0.0, 0.0]], np.float32), 3)
    assert columns.tolist() == [[0, 1, 2]]
    _, columns = smallest(np.tile(np.array([[0.0, -0.0]], np.float32), (2, 500)), 3)
    assert columns.tolist() == [[0, 1, 2]] * 2


def test_chunks_cover_all_rows_once():
    parts = list(chunks(10, 3, elements=9))
    assert [list(range(10))[part] for part in parts] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert list(chunks(2, 100, elements=9)) == [slice(0, 1), slice(1, 2)]
    assert list(chunks(0, 3)) == []


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "sqeuclidean", "dot"])
@pytest.mark.parametrize("dim", [1, 2, 3, 7, 8, 16, 33, 100, 513])
def test_a_pair_has_one_distance_from_either_side_and_at_any_place(metric, dim):
    rng = np.random.default_rng(dim)
    x = rng.normal(size=(60, dim)).astype(np.float32)
    x[30:40] = x[:10]
    every = np.tile(np.arange(60), (60, 1))
    found = measure(metric, x, x, every)
    assert (found == found.T).all()
    assert (found[:, :10] == found[:, 30:40]).all()
    if metric != "dot":
        assert (np.diag(found) == 0).all()
    alone = np.concatenate([measure(metric, x[row : row + 1], x, every[:1]) for row in range(60)])
    assert (alone == found).all()
    shifted = np.empty(60 * dim + 3, np.float32)[3:].reshape(60, dim)  # rows that lie elsewhere in their cache lines
    shifted[:] = x
    assert (measure(metric, x, shifted, every) == found).all()
