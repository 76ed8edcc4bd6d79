"""Filters for stores that compare for themselves: every value as text whose byte order is the order of the values.

An item becomes a flat mapping from keys to such text, and a filter a tree of comparisons of one key with one text. Both
are made of the digits 0-9 and the letters a-g alone, so no quoting can go wrong, numbers lose nothing, and every store
agrees with ``matches``.

    key     a letter for the kind (t text, n number, b boolean, x anything at all), then the field's name in hexadecimal
    text    its UTF-8 bytes in hexadecimal; beyond 1,000 bytes the rest becomes a hash, which keeps equality
    number  the bits of the float64 (for id and label: of the int64), turned so that they sort, in hexadecimal
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from nearfar.indexing.filters import And, Compare, Exists, Filter, In, Not, Or, Scalar, kind_of

__all__ = ["fold", "terms_of"]

T = TypeVar("T")
LONG = 1000
WHOLE_FIELDS = ("id", "label")
LETTERS = {"text": "t", "number": "n", "bool": "b"}


def terms_of(item: Mapping[str, Any]) -> dict[str, str]:
    """Return an item (its metadata, with ``id`` and ``label``) as keys and texts."""
    found: dict[str, str] = {}
    for field, value in item.items():
        if value is None:
            continue
        name = field.encode().hex()
        found[f"x{name}"] = "1"
        kind = kind_of(value)
        if kind is not None:
            found[LETTERS[kind] + name] = _text(field, value)
    return found


def fold(
    where: Filter,
    *,
    leaf: Callable[[str, str, list[str]], T],
    both: Callable[[list[T]], T],
    either: Callable[[list[T]], T],
    negate: Callable[[T], T],
) -> T:
    """Build a store's own condition.

    Args:
        where: the filter.
        leaf: from a key, an operator (= < <= > >= in exists) and texts (one; several for in; none for exists).
        both: all of them; of none, true.
        either: one of them; of none, false.
        negate: the opposite.
    """

    def build(part: Filter) -> T:
        if isinstance(part, And | Or):
            return (both if isinstance(part, And) else either)([build(one) for one in part.parts])
        if isinstance(part, Not):
            return negate(build(part.part))
        name = part.field.encode().hex()
        if isinstance(part, Exists):
            return leaf(f"x{name}", "exists", [])
        return either(_choices(part, name, leaf)) if isinstance(part, In) else compare(part, name)

    def compare(part: Compare, name: str) -> T:
        op, value = part.operator, part.value
        if kind_of(value) == "number" and part.field in WHOLE_FIELDS:
            op, value = _whole(op, value)
            if op == "never":
                return either([])
            if op == "exists":
                return leaf(f"n{name}", "exists", [])
        return leaf(LETTERS[kind_of(value) or ""] + name, op, [_text(part.field, value)])

    return build(where)


def _choices(part: In, name: str, leaf: Callable[[str, str, list[str]], T]) -> list[T]:
    found = []
    for kind, letter in LETTERS.items():
        values = [value for value in part.values if kind_of(value) == kind]
        if kind == "number" and part.field in WHOLE_FIELDS:
            values = [int(v) for v in values if v == int(v) and -(2**63) <= v < 2**63]
        if values:
            found.append(leaf(letter + name, "in", sorted({_text(part.field, value) for value in values})))
    return found


def _whole(op: str, value: Any) -> tuple[str, Any]:
    """Turn a comparison of whole numbers with any number into one with a whole number of 64 bits."""
    if not -(2**63) <= value < 2**63:
        always = op.startswith("<") if value > 0 else op.startswith(">")
        return ("exists" if always else "never"), 0
    if value == int(value):
        return op, int(value)
    if op == "=":
        return "never", 0
    return ("<=" if op.startswith("<") else ">"), math.floor(value)


def _text(field: str, value: Scalar) -> str:
    if isinstance(value, str):
        data = value.encode()
        return data.hex() if len(data) <= LONG else f"{data[:LONG].hex()}g{hashlib.sha256(data).hexdigest()}"
    if isinstance(value, bool):
        return "1" if value else "0"
    if field in WHOLE_FIELDS:
        return f"{int(value) + 2**63:016x}"
    (bits,) = struct.unpack(">Q", struct.pack(">d", float(value) + 0.0))  # adding 0 makes -0 equal 0
    return f"{bits ^ (2**64 - 1) if bits >> 63 else bits | 1 << 63:016x}"
