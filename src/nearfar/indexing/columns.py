"""Metadata of many items in memory, one column per field, and filters over whole columns at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.indexing.filters import ORDERED, And, Compare, Exists, Filter, In, Not, Or, kind_of

__all__ = ["Column", "Columns", "mask", "objects", "reserve"]

Mask = NDArray[np.bool_]
KINDS = {"text": 1, "number": 2, "bool": 3}
OTHER = 4


class Column:
    """The values of one field, ``None`` where an item lacks it; whole numbers that all items have may be int64.

    Beside the values, which are shared with nobody, stand arrays for comparing, made when a filter first asks for the
    field and kept in step: what kind each value is, numbers as float64 (or int64, for ids and labels), and text as
    codes into a vocabulary.
    """

    def __init__(self) -> None:
        self.values: NDArray[Any] = np.empty(0, object)
        self._done = 0
        self._kinds = np.empty(0, np.int8)
        self._numbers: NDArray[Any] = np.empty(0, np.float64)
        self._codes = np.empty(0, np.int64)
        self._vocabulary: dict[str, int] = {}

    def prepare(self, count: int) -> None:
        """Bring the arrays for comparing up to ``count`` values."""
        if self._done == count:
            return
        values = self.values[self._done : count].tolist()
        kinds = np.fromiter((_kind(value) for value in values), np.int8, len(values))
        numbers = np.zeros(len(values), np.float64)
        numeric = np.flatnonzero(kinds >= KINDS["number"])
        numeric = numeric[kinds[numeric] != OTHER]
        if len(numeric):
            given = [values[row] for row in numeric]
            if any(isinstance(v, int) and abs(v) > 2**53 for v in given) or self._numbers.dtype == np.int64:
                self._numbers, numbers = self._numbers.astype(np.int64), np.zeros(len(values), np.int64)
            numbers[numeric] = given
        codes = np.zeros(len(values), np.int64)
        book = self._vocabulary
        for row in np.flatnonzero(kinds == KINDS["text"]).tolist():
            codes[row] = book.setdefault(values[row], len(book))
        self._kinds = np.concatenate([self._kinds[: self._done], kinds])
        self._numbers = np.concatenate([self._numbers[: self._done], numbers])
        self._codes = np.concatenate([self._codes[: self._done], codes])
        self._done = count

    def forget(self) -> None:
        """Drop the arrays for comparing, after rows were taken out."""
        self._done, self._vocabulary = 0, {}
        self._kinds, self._numbers, self._codes = np.empty(0, np.int8), np.empty(0, np.float64), np.empty(0, np.int64)

    @property
    def present(self) -> Mask:
        """(N,) which items have the field."""
        return self._kinds > 0

    def compare(self, op: str, value: Any) -> Mask:
        """(N,) which items have a value of the same kind that is ``op`` the given one."""
        kind = kind_of(value)
        assert kind is not None
        right: Mask = self._kinds == KINDS[kind]
        if kind == "text":
            return np.asarray(right & self._text(op, value))
        if kind == "number" and self._numbers.dtype == np.int64:
            return np.asarray(right & _whole(self._numbers, op, value))
        return np.asarray(right & _compared(self._numbers, op, float(value)))

    def among(self, values: Sequence[Any]) -> Mask:
        """(N,) which items have one of the values."""
        found = np.zeros(len(self._kinds), bool)
        texts = [self._vocabulary[v] for v in values if isinstance(v, str) and v in self._vocabulary]
        if texts:
            found |= (self._kinds == KINDS["text"]) & np.isin(self._codes, texts)
        for kind in ("number", "bool"):
            given = [v for v in values if kind_of(v) == kind]
            if given and self._numbers.dtype == np.int64:
                given = [int(v) for v in given if v == int(v) and -(2**63) <= v < 2**63]
            if given:
                found |= (self._kinds == KINDS[kind]) & np.isin(self._numbers, np.array(given, self._numbers.dtype))
        return found

    def _text(self, op: str, value: str) -> Mask:
        if op == "=":
            return np.asarray(self._codes == self._vocabulary.get(value, -1))
        passing = np.fromiter((ORDERED[op](word, value) for word in self._vocabulary), bool, len(self._vocabulary))
        return passing[self._codes] if len(passing) else np.zeros(len(self._codes), bool)


def _kind(value: Any) -> int:
    if value is None:
        return 0
    return KINDS.get(kind_of(value) or "", OTHER)


def _compared(numbers: NDArray[Any], op: str, value: float | int) -> Mask:
    operations: dict[str, Callable[[Any, Any], Any]] = {"=": np.equal, **ORDERED}
    return np.asarray(operations[op](numbers, value), dtype=bool)


def _whole(numbers: NDArray[Any], op: str, value: float | int) -> Mask:
    """Compare int64 with a number without rounding either."""
    if not -(2**63) <= value < 2**63:
        below = value >= 2**63
        return np.full(len(numbers), op.startswith("<") if below else op.startswith(">"))
    if value != int(value):
        if op == "=":
            return np.zeros(len(numbers), bool)
        op, value = ("<=", math.floor(value)) if op.startswith("<") else (">", math.floor(value))
    return _compared(numbers, op, int(value))


class Columns:
    """The metadata of N items."""

    def __init__(self) -> None:
        self.fields: dict[str, Column] = {}
        self.count = 0

    def append(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add items at the end."""
        after = self.count + len(rows)
        if any(rows):
            for name in dict.fromkeys(name for row in rows for name in row):
                column = self.fields.setdefault(name, Column())
                column.values = reserve(column.values, after)
                column.values[self.count : after] = objects([row.get(name) for row in rows])
        self.count = after

    def rows(self, rows: Iterable[int]) -> list[dict[str, Any]]:
        """Return copies of the metadata of some items."""
        found: list[dict[str, Any]] = []
        for row in rows:
            item = {}
            for name, column in self.fields.items():
                if row < len(column.values) and (value := column.values[row]) is not None:
                    item[name] = _copy(value)
            found.append(item)
        return found

    def keep(self, kept: NDArray[np.int64]) -> None:
        """Keep only these rows, in this order."""
        for column in self.fields.values():
            column.values = reserve(column.values, self.count)[kept]
            column.forget()
        self.count = len(kept)

    def column(self, name: str) -> Column | None:
        """Return a field ready for comparing, or ``None`` if no item has it."""
        column = self.fields.get(name)
        if column is not None:
            column.values = reserve(column.values, self.count)
            column.prepare(self.count)
        return column


def mask(where: Filter, count: int, column: Callable[[str], Column | None]) -> Mask:
    """Evaluate a filter over ``count`` items: what ``matches`` says of each."""
    if isinstance(where, And | Or):
        found = np.full(count, isinstance(where, And))
        for part in where.parts:
            other = mask(part, count, column)
            found = found & other if isinstance(where, And) else found | other
        return found
    if isinstance(where, Not):
        return ~mask(where.part, count, column)
    field = column(where.field)
    if field is None:
        return np.zeros(count, bool)
    if isinstance(where, Exists):
        return field.present
    if isinstance(where, In):
        return field.among(where.values)
    assert isinstance(where, Compare)
    return field.compare(where.operator, where.value)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copy(v) for name, v in value.items()}
    return [_copy(v) for v in value] if isinstance(value, list) else value


def objects(values: Sequence[Any]) -> NDArray[np.object_]:
    """Return values as an array of objects, lists among them left alone."""
    return np.fromiter(values, object, len(values))


def reserve(values: NDArray[Any], count: int) -> NDArray[Any]:
    """Return the array with room for ``count`` values, new ones ``None`` among objects."""
    if count <= len(values):
        return values
    grown = np.empty(max(count, len(values) * 3 // 2), values.dtype)  # objects are filled with None
    grown[: len(values)] = values
    return grown
