"""Tables: numbers and categories with gaps; seen with columns replaced, hidden or shaken; encoded by an MLP."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nearfar.data import Glance, Source
from nearfar.data.source import origin, read_many
from nearfar.data.table import Column, TableSource, code, open_table, read_roles
from nearfar.data.table_files import ENDINGS
from nearfar.errors import DataError, RunError, require
from nearfar.modalities.base import Modality
from nearfar.modalities.table_inputs import MARGINALS, TableColumn, TableInputs, few
from nearfar.progress import say
from nearfar.views.table import TABLE_VIEWS, TableView

__all__ = ["TABLE", "TableColumn", "TableInputs", "TableOptions"]

MOST_ROWS, MOST_NUMBERS = 4096, 4_000_000
"""The most rows, and numbers, that the columns' empirical distributions are kept as."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableOptions:
    """How a table is read.

    Attributes:
        label: the column with the label; the first called label, target, class, diagnosis, outcome or y when absent.
        group: the column whose rows stay together, such as a patient; the first called group, patient, patient_id,
            subject or subject_id when absent.
        split: the column that names each row's split; ``split`` when absent.
        id: the column with each row's name; ``id`` when absent and unique.
        ignore: columns to leave out.
        columns: roles by name: number, category, label, group, split, id or ignore.
        schema: a YAML or JSON file of ``columns``, as ``nearfar schema`` writes it.
        scale: ``standard`` by mean and standard deviation, ``robust`` by median and quartiles, ``none``.
        fill: what a missing number becomes: the training rows' ``mean`` or ``median``. That it was missing is told to
            the encoder by a further number, where it happens in the training rows.
    """

    label: str | None = None
    group: str | None = None
    split: str | None = None
    id: str | None = None
    ignore: tuple[str, ...] = ()
    columns: dict[str, str] = dataclasses.field(default_factory=dict)
    schema: str | None = None
    scale: Literal["standard", "robust", "none"] = "standard"
    fill: Literal["mean", "median"] = "mean"


class TableModality(Modality):
    """Tables."""

    name = "table"
    items = "rows"
    labels_fix = "name the column with --input-options.label COLUMN, or use simclr"
    query = "a table of rows"
    options = TableOptions
    inputs = TableInputs
    given = ("sizes",)

    def recognises(self, seen: Glance) -> bool:
        """Whether there is a CSV, Parquet or AnnData file without paths of files, or an array of two axes."""
        if seen.kind == "object":
            return bool(seen.columns) or (hasattr(seen.data, "obs") and hasattr(seen.data, "X")) or _is_table(seen.data)
        if seen.kind == "array" or seen.suffix in (".npy", ".npz"):
            return any(len(fact.shape) == 2 and fact.dtype.kind in "fiu" for fact in seen.arrays.values())
        name = str(seen.data).lower()
        return seen.kind == "file" and name.endswith(ENDINGS) and "path" not in seen.columns

    def open_splits(self, data: Any, options: Mapping[str, Any]) -> dict[str, Source]:
        """Open a table and its splits."""
        if _is_table(data):
            return {"": data}
        if options.get("fixed"):
            parts = open_table(data, options["columns"], fixed=True)
            _say_strange(parts[""], options.get("texts", {}))
            return parts
        return open_table(data, _roles(options))

    def fit(self, source: Source, options: Mapping[str, Any]) -> TableInputs:
        """Take scaling, filling, categories and the columns' distributions from the training rows."""
        base = origin(source, 0)[0]
        must = "opened as a table"
        require(isinstance(base, TableSource), "table", "data", must, type(base).__name__, error=DataError)
        assert isinstance(base, TableSource)
        rows = np.asarray(read_many(source, np.arange(len(source))), dtype=np.float64)
        scale, fill = options.get("scale", "standard"), options.get("fill", "mean")
        found = [_fitted(column, rows[:, place], scale, fill) for place, column in enumerate(base.columns)]
        dropped = tuple(column.name for column, one in zip(base.columns, found, strict=True) if one is None)
        facts = list(base.facts)
        if dropped:
            facts.append(f"{len(dropped)} columns are constant in the training rows and left out: {few(dropped)}")
            say(f"table: {facts[-1]}")
        columns = tuple(one for one in found if one is not None)
        require(len(columns) > 0, "table", "columns", "one or more that vary", "none", error=DataError)
        kept = np.array([place for place, one in enumerate(found) if one is not None])
        return TableInputs(
            columns=columns,
            dropped=dropped,
            order=tuple(column.name for column in base.columns),
            roles={name: role for name, role in base.roles.items() if role not in ("number", "category")},
            rows=len(rows),
            scale=scale,
            fill=fill,
            facts=tuple(facts),
            marginals=_marginals(rows[:, kept]),
        )

    def restore(self, values: Mapping[str, Any], folder: Path | None = None) -> TableInputs:
        """Read the inputs and, where there is a folder, the marginals."""
        found = super().restore(values)
        assert isinstance(found, TableInputs)
        path = None if folder is None else folder / MARGINALS
        if path is None or not path.is_file():
            return found
        try:
            marginals = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise RunError(f"{path}: cannot be read ({error}); pretrain again") from None
        must = f"(rows, {len(found.columns)})"
        fits = marginals.ndim == 2 and marginals.shape[1] == len(found.columns)
        require(fits, str(path), "marginals", must, marginals.shape, "pretrain again", error=RunError)
        return dataclasses.replace(found, marginals=marginals)

    def views(self, name: str) -> tuple[TableView, ...]:
        """Return the views of a name."""
        return tuple(TABLE_VIEWS.get(name)())

    def view_names(self) -> list[str]:
        """Return the names of the registry."""
        return TABLE_VIEWS.names()


def _fitted(column: Column, values: NDArray[np.float64], scale: str, fill: str) -> TableColumn | None:
    """Return what the training rows say about a column; ``None`` when it is constant."""
    known = values[np.isfinite(values)]
    gaps = len(known) < len(values)
    missing = 1 - len(known) / len(values)
    distinct = np.unique(known)
    if len(distinct) < 2 and not (gaps and len(distinct)):
        return None
    if column.kind == "category":
        texts = tuple(sorted(column.texts[float(number)] for number in distinct))
        return TableColumn(name=column.name, kind="category", texts=texts, gaps=gaps, missing=missing)
    centre, spread = 0.0, 1.0
    if scale == "standard":
        centre, spread = float(known.mean()), float(known.std())
    elif scale == "robust":
        low, middle, high = np.quantile(known, [0.25, 0.5, 0.75])
        centre, spread = float(middle), float((high - low) / 1.349)  # a normal distribution's standard deviation
    filled = float(np.median(known) if fill == "median" else known.mean())
    spread = spread if spread > 1e-12 * max(1.0, abs(centre)) else float(known.std()) or 1.0
    return TableColumn(
        name=column.name, kind="number", centre=centre, spread=spread, fill=filled, gaps=gaps, missing=missing
    )


def _marginals(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each column's values, shuffled by itself so that no row can be told, and thinned where there are many."""
    most = max(2, min(MOST_ROWS, MOST_NUMBERS // rows.shape[1]))
    rng = np.random.default_rng(0x7AB1E)
    kept = rows if len(rows) <= most else rows[np.sort(rng.permutation(len(rows))[:most])]
    return rng.permuted(kept, axis=0)


def _roles(options: Mapping[str, Any]) -> dict[str, str]:
    roles = dict(read_roles(options["schema"])) if options.get("schema") else {}
    roles |= dict.fromkeys(options.get("ignore") or (), "ignore")
    roles |= dict(options.get("columns") or {})
    return roles | {str(options[role]): role for role in ("label", "group", "split", "id") if options.get(role)}


def _say_strange(source: Source, texts: Mapping[str, Sequence[str]]) -> None:
    """Say how many values are no category of the training rows."""
    base = origin(source, 0)[0]
    assert isinstance(base, TableSource)
    for place, column in enumerate(base.columns):
        if column.kind == "category":
            values = base.values[:, place]
            known = np.array([code(text) for text in texts.get(column.name, column.texts.values())])
            strange = values[~np.isnan(values) & ~np.isin(values, known)]
            if len(strange):
                first = column.texts[float(strange[0])]
                what = f"{len(strange)} values such as {first!r} are no category of the training rows"
                say(f"table: column {column.name!r}: {what} and count as none")


def _is_table(data: Any) -> bool:
    """Whether data are rows of an opened table already."""
    return callable(getattr(data, "fingerprint", None)) and isinstance(origin(data, 0)[0], TableSource)


TABLE = TableModality()
