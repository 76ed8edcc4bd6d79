"""What the training rows of a table told, and what follows from it: views, inputs of the encoder, pictures."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from nearfar.config import dump_yaml, to_mapping
from nearfar.data import Views
from nearfar.data.table import code
from nearfar.errors import RunError, require
from nearfar.modalities.base import Inputs, Seen
from nearfar.modalities.pictures import heat_map
from nearfar.views.table import TABLE_VIEWS, TableView, change

__all__ = ["MARGINALS", "TableColumn", "TableInputs", "few"]

MARGINALS = "marginals.npy"
SCHEMA = "schema.yaml"

FAR = 10.0
"""Scaled numbers are cut off this far from 0: a measurement a thousand deviations out would drown all others."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableColumn:
    """A column as the training rows have it.

    Attributes:
        name: of the column.
        kind: ``"number"`` or ``"category"``.
        centre: subtracted from a number.
        spread: a number is then divided by.
        fill: what a missing number becomes, before scaling.
        texts: of a category, those that occur; a text that does not is no category, like a missing one.
        gaps: whether there are missing ones: the encoder then gets a further number, 1 where it is missing.
        missing: the share of missing ones.
    """

    name: str
    kind: Literal["number", "category"]
    centre: float = 0.0
    spread: float = 1.0
    fill: float = 0.0
    texts: tuple[str, ...] = ()
    gaps: bool = False
    missing: float = 0.0

    @property
    def size(self) -> int:
        """How many numbers the encoder gets."""
        return (1 if self.kind == "number" else len(self.texts)) + self.gaps


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableInputs(Inputs):
    """What is known of a table.

    Attributes:
        columns: those that the encoder sees.
        dropped: columns that are constant in the training rows: they are read, and told to nobody.
        order: all columns that are read, in the table's order: ``columns`` and ``dropped``.
        roles: label, group, split, id and ignored columns.
        rows: how many training rows there were.
        scale: how numbers were scaled.
        facts: what was noticed, in sentences.
    """

    modality: ClassVar[str] = "table"
    raw_name: ClassVar[str] = "raw columns"
    default_views = "scarf"
    default_encoder = "table-mlp"

    columns: tuple[TableColumn, ...]
    dropped: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    roles: Mapping[str, str] = dataclasses.field(default_factory=dict)
    rows: int = 0
    scale: str = "standard"
    fill: str = "mean"
    facts: tuple[str, ...] = ()
    marginals: NDArray[np.float64] | None = dataclasses.field(default=None, compare=False, repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return all but the marginals."""
        return to_mapping(dataclasses.replace(self, marginals=None))

    def files(self) -> dict[str, bytes]:
        """Return the columns' values in the training rows, each column shuffled by itself, and the schema."""
        buffer = io.BytesIO()
        assert self.marginals is not None
        np.save(buffer, self.marginals, allow_pickle=False)
        return {MARGINALS: buffer.getvalue(), SCHEMA: self.schema().encode()}

    def schema(self) -> str:
        """Return the columns' roles and what the training rows say about them, as YAML that can be edited."""
        known = {column.name: column for column in self.columns}
        lines = ["# name: role (number, category, label, group, split, id, ignore)", "columns:"]
        kinds = {name: known[name].kind if name in known else "number" for name in self.order}
        for name, role in {**kinds, **self.roles}.items():
            note = "constant in the training rows, left out" if name in self.dropped else ""
            note = _note(known[name]) if name in known else note
            text = dump_yaml({name: role}).strip()
            lines.append(f"  {text}{f'  # {note}' if note else ''}")
        return "\n".join([*lines, *(f"# {fact}" for fact in self.facts)]) + "\n"

    @property
    def options(self) -> dict[str, Any]:
        """Scaling and filling, and the roles that are no features."""
        named = {role: name for name, role in self.roles.items() if role in ("label", "group", "split", "id")}
        return {**named, "scale": self.scale, "fill": self.fill}

    def reading(self, who: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the columns of the training rows, in their order, and the roles that were given."""
        kinds = {column.name: column.kind for column in self.columns}
        roles = {name: str(kinds.get(name, "number")) for name in self.order}
        named = [role for role in ("label", "group", "split", "id") if given.get(role)]
        roles |= {name: role for name, role in self.roles.items() if role not in named and role != "ignore"}
        roles |= {str(given[role]): role for role in named}
        texts = {column.name: column.texts for column in self.columns if column.kind == "category"}
        return {"columns": roles, "fixed": True, "texts": texts}

    def views(self, name: str) -> tuple[TableView, ...]:
        """Return the views of a name."""
        return tuple(TABLE_VIEWS.get(self.default_views if name == "auto" else name)())

    def evaluation_view(self) -> TableView:
        """Return the row as it is."""
        return TableView()

    @property
    def view_words(self) -> str:
        """How many columns there are."""
        numbers = sum(column.kind == "number" for column in self.columns)
        width = sum(column.size for column in self.columns)
        what = f"{numbers} numbers and {len(self.columns) - numbers} categories"
        return f"whole row, {what} as {width} inputs, scaled and filled as in {self.rows} training rows"

    def make_views(self, items: Any, views: Sequence[Any], rng: np.random.Generator) -> Sequence[Views]:
        """Return one (n, D) float32 tensor a view."""
        rows = np.asarray(items, dtype=np.float64)[:, self._places]
        made = []
        for view in views:
            changed = rows
            if view != TableView():
                require(self.marginals is not None, "table", "marginals", "there", "none", error=RunError)
                assert self.marginals is not None
                changed = change(rows, view, self.marginals, self._deviations, rng)
            made.append(torch.from_numpy(self.encode(changed)))
        return made

    def encoder_arguments(self) -> dict[str, Any]:
        """Return how many numbers each column has."""
        return {"sizes": [column.size for column in self.columns]}

    def raw(self, items: Any) -> NDArray[np.float32]:
        """Return the row as the encoder gets it: scaled, filled, one-hot."""
        return self.encode(np.asarray(items, dtype=np.float64)[:, self._places])

    def encode(self, rows: NDArray[np.float64]) -> NDArray[np.float32]:
        """Scale, fill and write out categories.

        Args:
            rows: (n, F) of ``columns``.

        Returns:
            (n, D) float32, a category's texts beside each other, the mark of a gap after its column.
        """
        missing = np.isnan(rows)
        parts = np.zeros((len(rows), sum(column.size for column in self.columns)), np.float32)
        place = self._layout
        numbers = place["numbers"]
        filled = np.where(missing[:, numbers], self._facts["fill"], rows[:, numbers])
        scaled = (filled - self._facts["centre"]) / self._facts["spread"]
        parts[:, place["to"]] = np.clip(scaled, -FAR, FAR)
        for column, start, codes in place["categories"]:
            parts[:, start : start + len(codes)] = rows[:, column, None] == codes
        parts[:, place["marks"]] = missing[:, place["gaps"]]
        return parts

    def thumbnail(self, item: Any) -> NDArray[Any]:
        """Return the scaled row as cells."""
        return heat_map(self.raw(np.asarray(item)[None])[0], limit=3.0)

    def picture(self, view: Views, row: int) -> NDArray[Any]:
        """Return one row of a view as cells."""
        assert isinstance(view, torch.Tensor)
        return heat_map(view[row].numpy(), limit=3.0)

    def words(self, item: Any) -> str:
        """Return the columns that are furthest from the training rows' mean."""
        values = np.asarray(item, dtype=np.float64)[self._places]
        size = np.zeros(len(values))
        numbers = self._layout["numbers"]
        size[numbers] = np.abs(np.nan_to_num((values[numbers] - self._facts["centre"]) / self._facts["spread"]))
        names = {column.name: {code(text): text for text in column.texts} for column in self.columns}
        found = []
        for place in np.argsort(-size, kind="stable")[:4]:
            column, value = self.columns[place], values[place]
            text = names[column.name].get(float(value), "?") if column.kind == "category" else f"{value:.4g}"
            found.append(f"{column.name} {'missing' if np.isnan(value) else text}")
        return ", ".join(found)

    def seen(self, items: Sequence[Any], views: Sequence[Any], rng: np.random.Generator) -> Seen:
        """Return rows and views as cells: blue below the mean, red above, white at it, as a hidden one is."""
        made = self.make_views(list(items), views, rng)
        clean = self.make_views(list(items), [TableView()], rng)[0]
        assert isinstance(clean, torch.Tensor)
        captions = []
        for view in made:
            assert isinstance(view, torch.Tensor)
            share = (view != clean).float().mean(dim=1)
            captions.append([f"{float(part):.0%} of the inputs changed" for part in share])
        pictures = [[self.picture(view, row) for row in range(len(items))] for view in made]
        return Seen([self.thumbnail(item) for item in items], pictures, captions, (0.0, 255.0))

    def preprocessing(self) -> dict[str, Any]:
        """Return the columns with their scaling."""
        return {"columns": [to_mapping(column) for column in self.columns], "cut_off": FAR, "view": self.view_words}

    def example(self, count: int) -> Views:
        """Return rows of normal noise."""
        generator = torch.Generator().manual_seed(count)
        return torch.randn(count, sum(column.size for column in self.columns), generator=generator)

    @property
    def _places(self) -> NDArray[np.int64]:
        """Where ``columns`` stand among what is read."""
        return _derived(self)["places"]  # type: ignore[no-any-return]

    @property
    def _layout(self) -> dict[str, Any]:
        return _derived(self)["layout"]  # type: ignore[no-any-return]

    @property
    def _facts(self) -> dict[str, NDArray[np.float64]]:
        return _derived(self)["facts"]  # type: ignore[no-any-return]

    @property
    def _deviations(self) -> NDArray[np.float64]:
        return _derived(self)["deviations"]  # type: ignore[no-any-return]


def _derived(inputs: TableInputs) -> dict[str, Any]:
    """Return the arrays that follow from the columns, computed once and kept on the frozen record."""
    known: dict[str, Any] | None = inputs.__dict__.get("_kept")
    if known is not None:
        return known
    columns = inputs.columns
    place = {name: number for number, name in enumerate(inputs.order)}
    starts = np.cumsum([0, *(column.size for column in columns)])[:-1]
    numbers = np.array([n for n, column in enumerate(columns) if column.kind == "number"], dtype=np.int64)
    gaps = np.array([n for n, column in enumerate(columns) if column.gaps], dtype=np.int64)
    categories = [
        (n, int(starts[n]), np.array([code(text) for text in column.texts]))
        for n, column in enumerate(columns) if column.kind == "category"
    ]  # fmt: skip
    known = {
        "places": np.array([place[column.name] for column in columns], dtype=np.int64),
        "layout": {
            "numbers": numbers,
            "to": starts[numbers],
            "categories": categories,
            "gaps": gaps,
            "marks": np.array([starts[n] + columns[n].size - 1 for n in gaps], dtype=np.int64),
        },
        "facts": {
            key: np.array([getattr(columns[n], key) for n in numbers], dtype=np.float64)
            for key in ("centre", "spread", "fill")
        },
        "deviations": np.array([column.spread if column.kind == "number" else 0.0 for column in columns]),
    }
    object.__setattr__(inputs, "_kept", known)
    return known


def _note(column: TableColumn) -> str:
    gaps = f", {column.missing:.0%} missing" if column.gaps else ""
    if column.kind == "category":
        return f"{few(column.texts)}{gaps}"
    return f"centre {column.centre:.4g}, spread {column.spread:.4g}{gaps}"


def few(names: Sequence[str]) -> str:
    """Return the first five names, and how many more there are."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
