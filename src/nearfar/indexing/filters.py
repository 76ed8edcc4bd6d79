"""Filters on metadata: a small language of plain mappings, parsed once into a tree that every back end understands.

    {"brand": "x"}                                   equal
    {"price": {">=": 5, "<": 10}}                    all of them
    {"brand": {"in": ["x", "y"]}, "year": {"!=": 2020}}
    {"colour": {"exists": False}}
    {"or": [{"brand": "x"}, {"not": {"price": {">": 3}}}]}

Fields are names of metadata, or ``id`` and ``label``. Values are text, numbers (whole ones within ±2⁵³), and booleans.
A comparison holds only between values of one kind, so ``"10"`` is not 10 and ``True`` is not 1, and never for a field
that an item lacks; ``!=`` and ``not in`` are the opposites of ``=`` and ``in``, so they hold for such an item. Text is
ordered by code points. ``None`` stands for a field that is lacking. Nothing of a filter is ever run as code or SQL.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from nearfar.errors import InputError, nearest, require

__all__ = ["And", "Compare", "Exists", "Filter", "In", "Not", "Or", "Scalar", "kind_of", "matches", "parse_filter"]

Scalar: TypeAlias = str | int | float | bool

WHO = "filter"
TERMS, DEPTH, CHOICES = 1000, 20, 10_000
ORDERED: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
OPERATORS = ("=", "!=", *ORDERED, "in", "not in", "exists")


@dataclass(frozen=True)
class Compare:
    """The field has a value of the same kind that is ``operator`` (one of = < <= > >=) the given one."""

    field: str
    operator: str
    value: Scalar


@dataclass(frozen=True)
class In:
    """The field has one of the values."""

    field: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True)
class Exists:
    """The item has the field."""

    field: str


@dataclass(frozen=True)
class And:
    """All parts hold; without parts, always."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True)
class Or:
    """One of the parts holds; without parts, never."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True)
class Not:
    """The part does not hold."""

    part: Filter


Filter: TypeAlias = Compare | In | Exists | And | Or | Not


def kind_of(value: object) -> str | None:
    """Return text, number or bool, or ``None`` for what cannot be compared."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else None


def matches(where: Filter, item: Mapping[str, Any]) -> bool:
    """Say whether an item (its metadata, with ``id`` and ``label``) passes: what every back end must agree with."""
    if isinstance(where, And):
        return all(matches(part, item) for part in where.parts)
    if isinstance(where, Or):
        return any(matches(part, item) for part in where.parts)
    if isinstance(where, Not):
        return not matches(where.part, item)
    return _holds(where, item.get(where.field))


def _holds(where: Compare | In | Exists, value: object) -> bool:
    if isinstance(where, Exists):
        return value is not None
    kind = kind_of(value)
    if isinstance(where, In):
        return kind is not None and any(kind == kind_of(v) and v == value for v in where.values)
    if kind is None or kind != kind_of(where.value):
        return False
    return bool(value == where.value if where.operator == "=" else ORDERED[where.operator](value, where.value))


def parse_filter(where: Mapping[str, Any]) -> Filter:
    """Turn a mapping into a tree.

    Raises:
        InputError: when it is not of the language above; the nearest operator is named.
    """
    counter = [0]
    return _mapping(where, 0, counter)


def _mapping(where: object, depth: int, counter: list[int]) -> Filter:
    require(depth <= DEPTH, WHO, "depth", f"<= {DEPTH}", "more")
    require(isinstance(where, Mapping), WHO, "filter", "a mapping from fields to conditions", _short(where))
    assert isinstance(where, Mapping)
    parts = [_entry(name, value, depth, counter) for name, value in where.items()]
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _entry(name: object, value: object, depth: int, counter: list[int]) -> Filter:
    counter[0] += 1
    require(counter[0] <= TERMS, WHO, "terms", f"at most {TERMS}", "more")
    fine = isinstance(name, str) and 0 < len(name) <= 200 and _encodes(name)
    require(fine, WHO, "fields", "text of 1 to 200 characters", _short(name))
    assert isinstance(name, str)
    if name in ("and", "or"):
        is_list = isinstance(value, list | tuple)
        require(is_list, WHO, f"the value of {name!r}", "a list of filters", _short(value))
        assert isinstance(value, list | tuple)
        parts = tuple(_mapping(part, depth + 1, counter) for part in value)
        return And(parts) if name == "and" else Or(parts)
    if name == "not":
        return Not(_mapping(value, depth + 1, counter))
    if value is None:
        return Not(Exists(name))
    if not isinstance(value, Mapping):
        return Compare(name, "=", _scalar(name, value))
    require(bool(value), WHO, f"the condition on {name!r}", "one operator or more", "none")
    terms = [_condition(name, op, given) for op, given in value.items()]
    return terms[0] if len(terms) == 1 else And(tuple(terms))


def _condition(field: str, op: object, value: object) -> Filter:
    if not isinstance(op, str) or op not in OPERATORS:
        raise InputError(f"{WHO}: operator must be a known one, got {_short(op)}; {nearest(str(op), OPERATORS)}")
    if op == "exists":
        require(isinstance(value, bool), WHO, "the value of 'exists'", "true or false", _short(value))
        return Exists(field) if value else Not(Exists(field))
    if op in ("in", "not in"):
        is_list = isinstance(value, list | tuple | set | frozenset) and len(value) <= CHOICES
        require(is_list, WHO, f"the value of {op!r}", f"a list of at most {CHOICES} values", _short(value))
        assert isinstance(value, Sequence | set | frozenset)
        among = In(field, tuple(_scalar(field, v) for v in value))
        return among if op == "in" else Not(among)
    if op in ("=", "!="):
        same = Not(Exists(field)) if value is None else Compare(field, "=", _scalar(field, value))
        return same if op == "=" else Not(same)
    scalar = _scalar(field, value)
    require(kind_of(scalar) != "bool", WHO, f"the value of {op!r}", "text or a number", _short(value))
    return Compare(field, op, scalar)


def _scalar(field: str, value: object) -> Scalar:
    if hasattr(value, "item") and not isinstance(value, str | int | float):
        value = value.item()  # a numpy scalar
    if isinstance(value, str) and len(value) <= 60_000 and _encodes(value):
        return str(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and (abs(value) <= 2**53 or (field in ("id", "label") and -(2**63) <= value < 2**63)):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    must = "text, a finite number (whole ones within ±2^53) or a boolean"
    raise InputError(f"{WHO}: the value for {field!r} must be {must}, got {_short(value)}")


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
