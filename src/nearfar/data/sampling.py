"""Samplers by name: what ``--sampler`` chooses, each a function of the rows with settings by keyword."""

from __future__ import annotations

import csv
import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nearfar.config import check_options
from nearfar.data.grouped import Apart, ClassBalanced, Hierarchical, Together
from nearfar.data.order import Balanced, Order, Shuffled
from nearfar.data.source import Source, digest, groups_of
from nearfar.errors import DataError, require
from nearfar.registry import Registry

__all__ = ["SAMPLERS", "Rows", "build_order"]

SAMPLERS: Registry[Callable[..., Order]] = Registry(
    "sampler",
    group="nearfar.samplers",
    builtin={
        "shuffled": "nearfar.data.sampling:shuffled",
        "balanced": "nearfar.data.sampling:balanced",
        "hierarchical": "nearfar.data.sampling:hierarchical",
        "class-balanced": "nearfar.data.sampling:class_balanced",
        "no-duplicates": "nearfar.data.sampling:no_duplicates",
        "group-aware": "nearfar.data.sampling:group_aware",
    },
)
"""Name to a function of `Rows` that returns an order; other packages add theirs by the group ``nearfar.samplers``."""


@dataclasses.dataclass(frozen=True)
class Rows:
    """What a sampler may look at.

    Attributes:
        source: the items, as the loader reads them.
        batch_size: items a batch of all ranks together.
        seed: of the draws.
        manifest: the CSV or Parquet file that the data were read from, where there is one.
    """

    source: Source
    batch_size: int
    seed: int
    manifest: Path | None = None

    def groups(self, by: str) -> NDArray[np.int64]:
        """Return each row's group.

        Args:
            by: a column of the manifest, or a regular expression over ids whose first group (or whole match) names the
                group; empty for the groups that the source tells by itself.

        Raises:
            DataError: when there is neither such a column nor a match in every id.
        """
        told = groups_of(self.source)
        if by == "" and told is not None:
            return np.unique(np.array(list(told)), return_inverse=True)[1].astype(np.int64)
        require(by != "", "sampler", "groups", "a column of the manifest or a regular expression over ids", "nothing",
                "add --sampler-options.groups", error=DataError)  # fmt: skip
        column = None if self.manifest is None else _column(self.manifest, by)
        names = _matches(self.source.ids, by) if column is None else [column.get(name, "") for name in self.source.ids]
        return np.unique(np.array(names), return_inverse=True)[1].astype(np.int64)


def build_order(name: str, options: Mapping[str, Any], rows: Rows) -> Order:
    """Return the order that a sampler of that name gives.

    Raises:
        ConfigError: on an unknown name or setting; the nearest is offered.
        DataError: when the data do not allow it.
    """
    factory = SAMPLERS.get(name)
    return factory(rows, **check_options(f"sampler {name}", factory, options))


def shuffled(rows: Rows) -> Order:
    """Every row once, in a random order."""
    return Shuffled(len(rows.source), seed=rows.seed)


def balanced(rows: Rows, *, per_class: int | None = None) -> Order:
    """M rows of each of P classes a batch; by default 4, or more where there are too few classes to fill the batch."""
    labels = rows.source.labels
    if per_class is None:
        classes = 0 if labels is None else len(np.unique(labels[labels >= 0]))
        fitting = [m for m in range(1, rows.batch_size + 1) if rows.batch_size % m == 0]
        few = [m for m in fitting if rows.batch_size // m <= max(1, classes)]
        per_class = next((m for m in few if m >= 4), few[-1])
    return Balanced(labels, per_class=per_class, batch_size=rows.batch_size, seed=rows.seed)


def hierarchical(rows: Rows, *, groups: str = "", per_class: int = 4, supers: int = 1) -> Order:
    """M rows of each of P classes a batch, all of few super-classes, which ``groups`` names."""
    return Hierarchical(
        rows.source.labels,
        rows.groups(groups),
        per_class=per_class,
        supers=supers,
        batch_size=rows.batch_size,
        seed=rows.seed,
    )


def class_balanced(rows: Rows, *, power: float = 1.0) -> Order:
    """Every class as often as every other (``power`` 1), or in between that and as they stand (0)."""
    return ClassBalanced(rows.source.labels, power=power, seed=rows.seed)


def no_duplicates(rows: Rows, *, of: Literal["content", "class"] = "content") -> Order:
    """No two items of equal content, or of one class, in a batch."""
    source = rows.source
    if of == "class":
        require(source.labels is not None, "sampler no-duplicates", "labels", "given", "none", error=DataError)
        assert source.labels is not None
        alone = -1 - np.arange(len(source))  # unlabelled rows are of no class, so each stands alone
        groups = np.where(source.labels < 0, alone, source.labels)
    else:
        names = [digest(_content(source.read(row))) for row in range(len(source))]
        groups = np.unique(np.array(names), return_inverse=True)[1].astype(np.int64)
    return Apart(groups, batch_size=rows.batch_size, seed=rows.seed)


def group_aware(rows: Rows, *, groups: str = "", keep: Literal["apart", "together"] = "apart") -> Order:
    """No two rows of a group in a batch, or a group's rows in as few batches as possible."""
    kind = Apart if keep == "apart" else Together
    return kind(rows.groups(groups), batch_size=rows.batch_size, seed=rows.seed)


def _content(item: Any) -> bytes:
    array = np.ascontiguousarray(item)
    return f"{array.dtype} {array.shape} ".encode() + array.tobytes()


def _column(manifest: Path, name: str) -> dict[str, str] | None:
    """Return a column of a manifest by the rows' paths, or None when it has none of that name."""
    if manifest.suffix.lower() == ".parquet":
        import pyarrow.parquet

        if not {"path", name} <= set(pyarrow.parquet.read_schema(manifest).names):
            return None
        table = pyarrow.parquet.read_table(manifest, columns=["path", name])
        return {str(key): str(value) for key, value in zip(*(c.to_pylist() for c in table.columns), strict=True)}
    with manifest.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, delimiter="\t" if manifest.suffix.lower() == ".tsv" else ",")
        if not {"path", name} <= {field.strip() for field in reader.fieldnames or ()}:
            return None
        return {row["path"].strip(): str(row[name]).strip() for row in reader}


def _matches(ids: Sequence[str], pattern: str) -> list[str]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise DataError(f"sampler: groups must be a regular expression, got {pattern!r} ({error})") from None
    names = []
    for name in ids:
        found = expression.search(name)
        fix = "name a column of the manifest, or a regular expression that fits every id"
        require(found is not None, "sampler", "groups", f"found in every id by {pattern!r}", f"not in {name!r}", fix,
                error=DataError)  # fmt: skip
        assert found is not None
        names.append(found.group(1) if expression.groups else found.group(0))
    return names
