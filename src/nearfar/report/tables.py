"""One record of a table, shown the same in a terminal, in Markdown and in HTML."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Literal, TypeAlias

from nearfar.errors import require

if TYPE_CHECKING:
    from rich.table import Table as RichTable

__all__ = ["Cell", "Column", "MeanSd", "Table", "to_html", "to_markdown", "to_rich"]

NOTHING = "–"


@dataclass(frozen=True)
class MeanSd:
    """A mean over draws or seeds with its standard deviation, both in the same unit."""

    mean: float
    sd: float


LONG = 60
"""Characters beyond which a cell is wrapped."""

Cell: TypeAlias = str | int | float | MeanSd | None
"""What may stand in a table; None is shown as a dash: not measured."""


@dataclass(frozen=True)
class Column:
    """What stands in a column and how it is written.

    Attributes:
        name: the heading.
        group: a heading over neighbouring columns of the same group, or "".
        better: which of the column's numbers is best and therefore marked; None marks none.
        digits: decimals of numbers that are not whole; percent counts them after multiplying.
        percent: numbers are fractions, shown times 100 with the unit %.
        unit: the unit of the numbers, shown in the heading.
    """

    name: str
    group: str = ""
    better: Literal["higher", "lower"] | None = None
    digits: int = 3
    percent: bool = False
    unit: str = ""

    @property
    def heading(self) -> str:
        """The name with the unit in brackets."""
        unit = "%" if self.percent else self.unit
        return f"{self.name} [{unit}]" if unit else self.name


@dataclass(frozen=True)
class Table:
    """Columns, rows and the notes that belong to the numbers (protocol, seeds, what the signs mean).

    Raises:
        InputError: when a row has not one cell a column.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    title: str = ""
    notes: Sequence[str] = field(default=())

    def __post_init__(self) -> None:
        require(len(self.columns) > 0, "Table", "columns", "at least one", 0)
        for row in self.rows:
            must = f"{len(self.columns)}, one cell a column"
            require(len(row) == len(self.columns), f"Table {self.title!r}", "length of each row", must, len(row))

    def text(self, row: int, column: int) -> str:
        """Return a cell as it is written: rounded, with ± and the standard deviation where there is one."""
        cell = self.rows[row][column]
        if isinstance(cell, MeanSd):
            return f"{self._number(cell.mean, column)} ± {self._number(cell.sd, column)}"
        if isinstance(cell, int | float) and not isinstance(cell, bool):
            return self._number(cell, column)
        return NOTHING if cell is None else str(cell)

    def _number(self, value: float, column: int) -> str:
        kind = self.columns[column]
        if isinstance(value, int) and not kind.percent:
            return f"{value:,}"
        return f"{value * 100 if kind.percent else value:,.{kind.digits}f}"

    def numeric(self, column: int) -> bool:
        """Whether a column holds numbers, and so is aligned at its right."""
        return any(_mean(row[column]) is not None for row in self.rows)

    def best(self) -> set[tuple[int, int]]:
        """Return (row, column) of every best number; all that look equal when written count, unless all rows do."""
        found: set[tuple[int, int]] = set()
        for c, kind in enumerate(self.columns):
            numbers = {r: mean for r, row in enumerate(self.rows) if (mean := _mean(row[c])) is not None}
            written = {r: self._number(number, c) for r, number in numbers.items()}
            if kind.better is None or len(set(written.values())) < 2:
                continue
            first = (max if kind.better == "higher" else min)(numbers, key=lambda r: numbers[r])
            found |= {(r, c) for r, text in written.items() if text == written[first]}
        return found


def _mean(cell: Cell) -> float | None:
    """Return the number to compare cells by; None for text, nothing and what is not a number."""
    value = cell.mean if isinstance(cell, MeanSd) else cell
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return None
    return value


def to_markdown(table: Table, *, aligned: Sequence[bool] | None = None) -> str:
    """Return the table in GitHub's Markdown: title, rows with the best in bold, and the notes as a list.

    Args:
        table: the table.
        aligned: for each column whether it stands at the right; by default those that hold numbers.
    """

    def safe(text: str) -> str:
        text = " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
        return text.replace("<", "&lt;").replace("*", "\\*")

    best = table.best()
    heads = [safe(f"{column.group}: {column.heading}" if column.group else column.heading) for column in table.columns]
    right = [table.numeric(c) for c in range(len(heads))] if aligned is None else aligned
    lines = [_bar(heads), _bar(["---:" if at_right else "---" for at_right in right])]
    for r in range(len(table.rows)):
        texts = [safe(table.text(r, c)) for c in range(len(heads))]
        lines.append(_bar([f"**{text}**" if (r, c) in best else text for c, text in enumerate(texts)]))
    title = [f"**{safe(table.title)}**", ""] if table.title else []
    notes = ["", *(f"- {safe(note)}" for note in table.notes)] if table.notes else []
    return "\n".join([*title, *lines, *notes]) + "\n"


def _bar(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


def to_rich(table: Table) -> RichTable:
    """Return the table for ``rich.console.Console.print``; the best are bold and carry a star."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    best = table.best()
    notes = Text("\n".join(table.notes), style="dim") if table.notes else None
    title = Text(table.title, style="bold") if table.title else None
    shown = RichTable(title=title, caption=notes, box=SIMPLE_HEAD, title_justify="left", caption_justify="left")
    for c, column in enumerate(table.columns):
        heading = f"{column.group}\n{column.heading}" if column.group else column.heading
        shown.add_column(Text(heading), justify="right" if table.numeric(c) else "left")
    for r in range(len(table.rows)):
        texts = [(table.text(r, c), (r, c) in best) for c in range(len(table.columns))]
        shown.add_row(*(Text(f"*{text}", style="bold") if is_best else Text(text) for text, is_best in texts))
    if best:
        shown.caption = Text("* best of its column") if notes is None else Text("* best of its column\n") + notes
    return shown


def to_html(table: Table) -> str:
    """Return the table as an HTML fragment: everything escaped, headings with scope, the best marked also in words."""
    parts = ["<table>"]
    if table.title:
        parts.append(f"<caption>{html.escape(table.title)}</caption>")
    parts += ["<thead>", *_html_head(table), "</thead><tbody>"]
    best = table.best()
    for r in range(len(table.rows)):
        parts.append(
            "<tr>" + "".join(_html_cell(table, r, c, (r, c) in best) for c in range(len(table.columns))) + "</tr>"
        )
    parts.append("</tbody></table>")
    return "".join(parts)


def _html_head(table: Table) -> list[str]:
    kinds = [' class="number"' if table.numeric(c) else "" for c in range(len(table.columns))]
    names = "".join(
        f'<th scope="col"{kind}>{html.escape(column.heading)}</th>'
        for kind, column in zip(kinds, table.columns, strict=True)
    )
    if not any(column.group for column in table.columns):
        return [f"<tr>{names}</tr>"]
    groups = [(name, len(list(run))) for name, run in groupby(column.group for column in table.columns)]
    over = "".join(
        f'<th scope="colgroup" colspan="{width}">{html.escape(name)}</th>' if name else f'<td colspan="{width}"></td>'
        for name, width in groups
    )
    return [f'<tr class="groups">{over}</tr>', f"<tr>{names}</tr>"]


def _html_cell(table: Table, row: int, column: int, is_best: bool) -> str:
    text = html.escape(table.text(row, column))
    if column == 0:
        return f'<th scope="row">{text}</th>'
    mean, sign, sd = text.partition(" ± ")
    if sign and isinstance(table.rows[row][column], MeanSd):
        text = f'{mean}<span class="sd"> ± {sd}</span>'
    if is_best:
        text = f'<strong>{text}</strong><span class="unseen"> (best)</span>'
    long = len(table.text(row, column)) > LONG
    classes = " ".join(["number"] * table.numeric(column) + ["best"] * is_best + ["long"] * long)
    return f'<td class="{classes}">{text}</td>' if classes else f"<td>{text}</td>"
