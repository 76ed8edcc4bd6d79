"""What was found in a data set, as rows that can be printed, stored and read by other programs."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

__all__ = ["Listing"]


@dataclass(frozen=True)
class Listing:
    """Rows under named columns, in the order that matters.

    Attributes:
        summary: what was found, in a sentence.
        columns: names.
        rows: as many values each.
        settings: how it was found.
    """

    summary: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    settings: dict[str, Any]

    def column(self, name: str) -> list[Any]:
        """Return one column's values.

        Raises:
            ValueError: when there is none of that name.
        """
        at = self.columns.index(name)
        return [row[at] for row in self.rows]

    def to_csv(self) -> str:
        """Return the rows as CSV text with a header; None is empty."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([["" if value is None else value for value in row] for row in self.rows])
        return buffer.getvalue()

    def to_json(self) -> str:
        """Return the record as JSON text."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        content = {"summary": self.summary, "settings": self.settings, "rows": rows}
        return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)

    def table(self, most: int = 50) -> Table:
        """Return the first rows as a table for the terminal."""
        more = f" (the first {most} of {len(self.rows):,})" if len(self.rows) > most else ""
        table = Table(*self.columns, title=Text(self.summary + more), title_justify="left")
        for row in self.rows[:most]:
            table.add_row(*(Text(_shown(value)) for value in row))
        return table


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
