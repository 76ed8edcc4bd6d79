"""Tables as a source: every row an array of numbers, with what each column is stated and shown.

**An item** is a (F,) float64 array, one number a column. A number stands as it is, NaN where it is missing; infinity is
missing. A category stands as a code of its text (`code`), which is the same in every file, so that two files opened
apart agree without knowing each other.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from nearfar.config import load_yaml
from nearfar.data.folder import split_name
from nearfar.data.labels import encode_labels
from nearfar.data.source import Source, check_source, digest, take
from nearfar.data.table_files import Columns, read_columns
from nearfar.errors import ConfigError, DataError, nearest, require
from nearfar.progress import say

__all__ = ["Column", "Role", "TableSource", "code", "infer_roles", "open_table", "read_roles"]

Role: TypeAlias = Literal["number", "category", "label", "group", "split", "id", "ignore"]
"""What a column is. Numbers and categories are what an encoder sees; ``group`` keeps rows on one side of a split."""

LABELS = ("label", "target", "class", "diagnosis", "outcome", "y")
"""Columns that hold the label when none is named; the first one found."""

GROUPS = ("group", "patient", "patient_id", "subject", "subject_id")
"""Columns that hold the group when none is named; the first one found."""

_ROWS = ("label", "group", "split", "id")

MOST_CATEGORIES = 100
"""A text column of more different texts is no category: names, free text."""

MOSTLY = 0.9
"""A column whose texts are numbers in that share or more is a column of numbers; the others are missing."""


class Column(NamedTuple):
    """One column that an encoder sees.

    Attributes:
        name: as in the table.
        kind: ``"number"`` or ``"category"``.
        texts: of a category, the text behind every code of this table.
    """

    name: str
    kind: str
    texts: Mapping[float, str]


def code(text: str) -> float:
    """Return the number that stands for a category: 52 bits of a digest, exact in float64."""
    return float(int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()) >> 12)


class TableSource:
    """The rows of a table.

    Attributes:
        values: (N, F) float64, see the module.
        columns: F columns.
        roles: of all columns of the table, by name.
        facts: what was noticed while reading, in sentences.
    """

    def __init__(
        self,
        values: NDArray[np.float64],
        columns: Sequence[Column],
        *,
        labels: NDArray[np.int64] | None = None,
        class_names: tuple[str, ...] | None = None,
        ids: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
        roles: Mapping[str, str] | None = None,
        facts: Sequence[str] = (),
        who: str = "table",
    ) -> None:
        self.values, self.columns = values, tuple(columns)
        self.roles = dict(roles or {})
        self.ids: Sequence[str] = [str(row) for row in range(len(values))] if ids is None else ids
        self.labels, self.class_names, self.groups, self.facts = labels, class_names, groups, tuple(facts)
        check_source(who, self.ids, labels)

    def __len__(self) -> int:
        return len(self.values)

    def read(self, index: int) -> NDArray[np.float64]:
        """Return one row, (F,) float64."""
        row: NDArray[np.float64] = self.values[index]
        return row

    def read_many(self, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (M, F) rows."""
        return self.values[indices]

    def fingerprint(self) -> str:
        """Digest of all values, columns, ids and labels."""
        labels = b"" if self.labels is None else self.labels.astype("<i8").tobytes()
        names = [f"{column.name}\n{column.kind}" for column in self.columns]
        return digest("table", self.values.astype("<f8").tobytes(), names, self.ids, labels, self.class_names or ())


def open_table(
    data: Any, roles: Mapping[str, str] | None = None, *, fixed: bool = False, quiet: bool = False
) -> dict[str, Source]:
    """Open a table and its splits.

    Args:
        data: as for `nearfar.data.table_files.read_columns`.
        roles: what columns are, by name, over what `infer_roles` finds.
        fixed: the numbers and categories of ``roles`` are all there are, in their order, as an encoder was trained on
            them; further columns are left out.
        quiet: say nothing about the columns.

    Returns:
        Everything under ``""``, and each split under its name.

    Raises:
        DataError: when a column is missing or cannot be what it is said to be, no column is left, or rows of one group
            are in two splits.
    """
    who = str(data) if isinstance(data, str | Path) else "table"
    given = dict(roles or {})
    label = next((name for name, role in given.items() if role == "label"), "label")
    columns = read_columns(data, label=label)
    _check_names(who, columns, given, fixed)
    found, facts = (given, []) if fixed else infer_roles(columns, given)
    if fixed:
        found = {name: role for name, role in given.items() if name in columns}
    kept = [name for name in found if found[name] in ("number", "category")]
    require(len(kept) > 0, who, "columns", "one number or category at least", "none", "see the schema", error=DataError)
    pairs = [_column(name, columns[name], found[name], facts) for name in kept]
    values = np.stack([values for _, values in pairs], axis=1)
    labels, names = _labels(columns, found)
    source = TableSource(
        values,
        [column for column, _ in pairs],
        labels=labels,
        class_names=names,
        ids=_texts(columns, found, "id", who),
        groups=_texts(columns, found, "group", who),
        roles=found,
        facts=facts,
        who=who,
    )
    if not quiet:
        chosen = [
            f"column {name!r} is the {role}" for name, role in found.items() if role in _ROWS and name not in given
        ]
        for fact in [*chosen, *facts]:
            say(f"{who}: {fact}")
    return _parts(source, _texts(columns, found, "split", who), who)


def read_roles(path: str | Path) -> dict[str, str]:
    """Read a schema: a YAML or JSON file with ``columns:``, name to role.

    Raises:
        ConfigError: when it cannot be read, or a role is unknown.
    """
    content = load_yaml(Path(path))
    columns = content.get("columns", content)
    fits = isinstance(columns, Mapping) and len(columns) > 0
    require(fits, str(path), "schema", "a mapping 'columns' of names to roles", type(columns).__name__,
            error=ConfigError)  # fmt: skip
    known = get_args(Role)
    for name, role in columns.items():
        if role not in known:
            raise ConfigError(
                f"{path}: role of column {name!r} must be known, got {role!r}; {nearest(str(role), known)}"
            )
    return {str(name): str(role) for name, role in columns.items()}


def infer_roles(columns: Columns, given: Mapping[str, str] | None = None) -> tuple[dict[str, str], list[str]]:
    """Say what every column is, and why, where it is no plain number or category.

    The rules: the first column called as one of `LABELS` is the label and one of `GROUPS` the group, ``split`` and
    ``id`` are what they are called, unless roles of that kind are given. Numbers are numbers; so are texts of which
    nine tenths are numbers, the rest missing. Other texts are categories up to `MOST_CATEGORIES` different ones, and
    left out beyond. What is missing in all rows is left out, and so is what tells the label by itself, one to one: a
    second label column.

    Args:
        columns: the table.
        given: roles that are known.

    Returns:
        Every column's role, and sentences about what was left out or changed.
    """
    roles: dict[str, str] = {}
    facts: list[str] = []
    taken = {role for role in (given or {}).values() if role in _ROWS}
    for role, names in (("label", LABELS), ("group", GROUPS), ("split", ("split",)), ("id", ("id",))):
        lower = {name.lower(): name for name in reversed(columns)}
        found = next((lower[name] for name in names if name in lower), None)
        if role in taken or found is None or found in (given or {}):
            continue
        if role == "id" and len({str(value) for value in columns[found]}) < len(columns[found]):
            continue
        roles[found] = role
    for name, values in columns.items():
        known = (given or {}).get(name) or roles.get(name)
        roles[name], fact = (known, "") if known is not None else _infer(name, values)
        facts += [fact] if fact else []
    _leave_out_twins(columns, roles, given or {}, facts)
    return {name: roles[name] for name in columns}, facts


def _infer(name: str, values: NDArray[Any]) -> tuple[str, str]:
    if values.dtype != object:
        known = np.isfinite(values)
        infinite = int(np.isinf(values).sum())
        if not known.any():
            return "ignore", f"column {name!r} is left out, it is missing in all rows"
        return "number", f"column {name!r}: {infinite} infinite values are taken as missing" if infinite else ""
    texts = [value for value in values if value is not None]
    if not texts:
        return "ignore", f"column {name!r} is left out, it is missing in all rows"
    strange = sum(_number(text) is None for text in texts)
    if strange <= (1 - MOSTLY) * len(texts):
        return "number", f"column {name!r} is of numbers, {strange} other values are taken as missing"
    distinct = len(set(texts))
    if distinct > MOST_CATEGORIES or (distinct > 20 and distinct > len(texts) / 2):
        return "ignore", f"column {name!r} is left out, {distinct} different texts are no categories"
    return "category", ""


def _leave_out_twins(columns: Columns, roles: dict[str, str], given: Mapping[str, str], facts: list[str]) -> None:
    """Leave out columns that name the label a second time: as many different values, one for each class."""
    label = next((name for name, role in roles.items() if role == "label"), None)
    if label is None:
        return
    target = [str(value) for value in columns[label]]
    classes = len(set(target))
    for name, role in list(roles.items()):
        if role not in ("number", "category") or name in given or classes < 2 or len(target) < 3 * classes:
            continue
        own = columns[name]
        if len(np.unique(own[: classes * 50].astype(str))) > classes:
            continue
        pairs = set(zip((str(value) for value in own), target, strict=True))
        if len(pairs) == classes == len({value for value, _ in pairs}):
            roles[name] = "ignore"
            fact = f"column {name!r} is left out, it tells the label {label!r} one to one; give its role to keep it"
            facts.append(fact)


def _check_names(who: str, columns: Columns, roles: Mapping[str, str], fixed: bool) -> None:
    needed = [name for name, role in roles.items() if not fixed or role in ("number", "category")]
    lost = [name for name in needed if name not in columns]
    more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
    must = "those that the encoder was trained on" if fixed else "those that are named"
    require(not lost, who, "columns", must, f"none called {lost[0]!r}{more}" if lost else "",
            nearest(lost[0], columns) if lost else "", error=DataError)  # fmt: skip


def _column(name: str, values: NDArray[Any], role: str, facts: list[str]) -> tuple[Column, NDArray[np.float64]]:
    if role == "number":
        if values.dtype == object:
            found = [_number(text) if text is not None else None for text in values]
            values = np.array([np.nan if value is None else value for value in found], dtype=np.float64)
        return Column(name, "number", {}), np.where(np.isfinite(values), values, np.nan)
    texts = [_category(value) for value in values]
    codes = {text: code(text) for text in set(texts) if text is not None}
    numbers = np.array([np.nan if text is None else codes[text] for text in texts], dtype=np.float64)
    return Column(name, "category", {number: text for text, number in sorted(codes.items())}), numbers


def _category(value: Any) -> str | None:
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _labels(columns: Columns, roles: Mapping[str, str]) -> tuple[NDArray[np.int64] | None, tuple[str, ...] | None]:
    name = next((name for name, role in roles.items() if role == "label"), None)
    return (None, None) if name is None else encode_labels(columns[name].tolist())


def _texts(columns: Columns, roles: Mapping[str, str], role: str, who: str) -> list[str] | None:
    """Return the texts of the column of a role; rows without a group are groups of their own."""
    name = next((name for name, found in roles.items() if found == role), None)
    if name is None:
        return None
    texts = [_category(value) for value in columns[name]]
    if role == "id":
        twice = next((text for text, count in Counter(texts).items() if count > 1 or text is None), "")
        require(twice == "", who, f"ids in column {name!r}", "given and unique", repr(twice), error=DataError)
    return [(f"row {row}" if role == "group" else "") if text is None else text for row, text in enumerate(texts)]


def _parts(source: TableSource, splits: Sequence[str] | None, who: str) -> dict[str, Source]:
    parts: dict[str, Source] = {"": source}
    if splits is None:
        return parts
    names = np.array([(split_name(text) or text) if text else "" for text in splits])
    if source.groups is not None:
        place: dict[str, str] = {}
        for group, name in zip(source.groups, names, strict=True):
            other = place.setdefault(group, str(name))
            must, got = "in one split", f"{other or 'none'!r} and {str(name) or 'none'!r}"
            require(other == name, who, f"rows of group {group!r}", must, got, error=DataError)
    for name in np.unique(names[names != ""]):
        parts[str(name)] = take(source, np.flatnonzero(names == name))
    return parts


def _number(text: Any) -> float | None:
    try:
        number = float(text)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None
