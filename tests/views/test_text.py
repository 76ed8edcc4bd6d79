"""Views of texts keep what they promise about words."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nearfar.errors import DataError, InputError
from nearfar.views.text import ANY, TEXT_VIEWS, TextView, describe, draw_texts

TEXT = " ".join(f"w{number}" for number in range(20))
ROWS = [(TEXT,)] * 200


def drawn(**settings: object) -> list[list[str]]:
    view = TextView(**settings)  # type: ignore[arg-type]
    return [text.split() for text in draw_texts(ROWS, [view], np.random.default_rng(0))[0]]


def test_a_span_is_a_run_of_neighbours_of_the_right_length() -> None:
    for found in drawn(span=(0.5, 0.8)):
        numbers = [int(word[1:]) for word in found]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert 10 <= len(numbers) <= 16
    starts = {found[0] for found in drawn(span=(0.5, 0.5))}
    assert starts == {f"w{number}" for number in range(11)}


def test_deletion_keeps_order_and_its_share() -> None:
    found = drawn(delete=0.3)
    numbers = [[int(word[1:]) for word in words] for words in found]
    assert all(row == sorted(row) for row in numbers)
    share = 1 - sum(map(len, numbers)) / (20 * len(numbers))
    assert share == pytest.approx(0.3, abs=0.03)
    assert all(drawn(delete=0.99))


def test_shuffling_moves_words_by_few_places_and_loses_none() -> None:
    moved = 0
    for found in drawn(shuffle=3):
        numbers = [int(word[1:]) for word in found]
        assert sorted(numbers) == list(range(20))
        distances = [abs(place - number) for place, number in enumerate(numbers)]
        assert max(distances) < 3
        moved += sum(distances)
    assert moved > 0
    assert drawn(shuffle=1)[0] == TEXT.split()


def test_columns_and_any_two_different_ones() -> None:
    rows = [("a", "b", "c"), ("d", "e", "f")] * 50
    first, second = draw_texts(rows, TEXT_VIEWS.get("pairs")(64), np.random.default_rng(0))
    assert first[:2] == ["a", "d"]
    assert second[:2] == ["b", "e"]
    views = TEXT_VIEWS.get("any")(64)
    assert all(view.column == ANY for view in views)
    one, two = draw_texts(rows, views, np.random.default_rng(0))
    assert all(x != y for x, y in zip(one, two, strict=True))
    assert set(one[::2]) == {"a", "b", "c"}
    assert all(x in row and y in row for x, y, row in zip(one, two, rows, strict=True))
    with pytest.raises(DataError, match=r"texts a row must be >= 2, got 1; take --views dropout"):
        draw_texts([("a",)], TEXT_VIEWS.get("pairs")(64), np.random.default_rng(0))


def test_the_generator_is_the_only_chance() -> None:
    view = [TextView(span=(0.3, 1.0), delete=0.2, shuffle=3)] * 2
    one, two = (draw_texts(ROWS, view, np.random.default_rng(7)) for _ in range(2))
    assert one == two
    assert one[0] != one[1]
    assert draw_texts(ROWS, view, np.random.default_rng(8)) != one


@pytest.mark.parametrize("name", TEXT_VIEWS.names())
def test_every_name_gives_two_views_of_the_length_asked_for(name: str) -> None:
    views = TEXT_VIEWS.get(name)(48)
    assert len(views) == 2
    assert all(view.length == 48 for view in views)
    assert all(describe(view) for view in views)
    assert draw_texts([("one",)], [dataclasses.replace(views[0], column=0)], np.random.default_rng(0)) == [["one"]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"length": 2}, "length must be >= 4, got 2"),
        ({"span": (0.0, 1.0)}, "span must be two shares"),
        ({"delete": 1.0}, r"delete must be in \[0, 1\), got 1.0"),
        ({"shuffle": -1}, "shuffle must be >= 0"),
        ({"column": -2}, "column must be >= -1"),
    ],
)
def test_settings_out_of_range(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TextView(**settings)  # type: ignore[arg-type]
