from __future__ import annotations

import pytest

from nearfar.errors import InputError
from nearfar.indexing import read_where
from nearfar.indexing.filters import matches, parse_filter

ITEM = {"brand": "it's", "price": 9.5, "new": True, "unit price": 3, "label": "shoe", "id": 7}


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("brand = 'it''s'", True),
        ('brand = "it\'s" and price < 10', True),
        ("brand != 'it''s' or price >= 9.5", True),
        ("not (brand = 'x' or price > 9) ", False),
        ("`unit price` in (1, 2, 3)", True),
        ("`unit price` not in (1, 2, 3)", False),
        ("sold exists", False),
        ("NOT sold exists AND new = true", True),
        ("not new = true or label = 'shoe' and id = 7", True),
        ("price<10 and price>-1e1", True),
        ("price == 9.5", True),
        ('{"price": {"<": 5}}', False),
        ("brand = 'x'' OR 1=1 --'", False),
    ],
)
def test_a_line_of_text_is_a_filter(text, passes):
    assert matches(parse_filter(read_where(text)), ITEM) is passes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must go on with the name of a field, got its end"),
        ("brand", "must go on with = or == or"),
        ("brand = x", "a text in quotes, a number, true or false at 9, got 'x'"),
        ("brand = 'x", 'must be understood, got "\'x" at 9'),
        ("brand = 'x' price = 3", "must have and, or, or the end at 13"),
        ("(brand = 'x'", r"must go on with \)"),
        ("brand in 'x'", r"must have \( at 10"),
        ("brand = 'x'; DROP TABLE y", "must be understood, got '; DROP TABLE y' at 12"),
        ("1 = 1", "the name of a field at 1"),
        ("`and` = 1", "must not be called 'and'"),
        ("{", "must be JSON"),
        ("[1]", "must be understood"),
        ("new < true", "text or a number"),
        ("(" * 100, "depth must be <= 40"),
        ("a = 1 " * 20_000, "at most 100000 characters"),
    ],
)
def test_what_cannot_be_understood_is_one_sentence(text, message):
    with pytest.raises(InputError, match=message) as caught:
        read_where(text)
    assert "\n" not in str(caught.value)
