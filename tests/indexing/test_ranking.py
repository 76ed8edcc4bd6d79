from __future__ import annotations

import numpy as np
import pytest

from nearfar.ranking import chunks, smallest


@pytest.mark.parametrize("k", [1, 5, 40])
def test_smallest_is_a_stable_sort(k):
    rng = np.random.default_rng(0)
    values = np.round(rng.normal(size=(30, 40)), 1).astype(np.float32)
    values[0, :4] = [np.inf, -np.inf, 0.0, -0.0]
    found, columns = smallest(values, k)
    expected = np.argsort(values, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(columns, expected)
    np.testing.assert_array_equal(found, np.take_along_axis(values, expected, axis=1))
    assert found.dtype == np.float32


def test_both_zeros_are_equal():
    _, columns = smallest(np.array([[0.0, -0.0, 0.0]], np.float32), 3)
    assert columns.tolist() == [[0, 1, 2]]


def test_chunks_cover_all_rows_once():
    parts = list(chunks(10, 3, elements=9))
    assert [list(range(10))[part] for part in parts] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert list(chunks(2, 100, elements=9)) == [slice(0, 1), slice(1, 2)]
    assert list(chunks(0, 3)) == []
