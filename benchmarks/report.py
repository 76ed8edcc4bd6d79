"""Write benchmarks/RESULTS.md from benchmarks/results/*.json: ``uv run python -m benchmarks.report``.

The same files give the same text, byte for byte; ``--check`` only says whether RESULTS.md is up to date.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nearfar.errors import DataError, require
from nearfar.files import write_atomic
from nearfar.report import Column, Table, to_markdown

HERE = Path(__file__).parent
HEAD = """# Results

<!-- Edit nothing here: written by `uv run python -m benchmarks.report` from benchmarks/results/*.json. -->

Every table stands with the machine, the command and the commit that gave it. Time and memory of different machines or
commits are not comparable.
"""
KEYS = {"name", "title", "command", "environment", "tables", "notes"}


def render(results: Path) -> str:
    """Return RESULTS.md for a folder of results, in the order of their file names.

    Raises:
        DataError: when a file is not JSON, or lacks something; the sentence names it.
    """
    records = [_read(path) for path in sorted(results.glob("*.json"))]
    if not records:
        return HEAD + "\nNothing was measured yet.\n"
    links = [f"- [{_line(record['title'])}](#{record['name']})" for record in records]
    return "\n".join([HEAD, *links, "", *("\n".join(_chapter(record)) for record in records)])


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path.name}: must be JSON, got {error}; run its benchmark again") from None
    ok = isinstance(record, dict) and record.keys() >= KEYS
    got = sorted(record) if isinstance(record, dict) else type(record).__name__
    require(ok, path.name, "content", f"an object with {', '.join(sorted(KEYS))}", got, error=DataError)
    return record


def _chapter(record: Mapping[str, Any]) -> list[str]:
    lines = [f'## <a id="{record["name"]}"></a>{_line(record["title"])}', ""]
    lines += ["```sh", _line(record["command"]), "```", ""]
    lines += ["; ".join(f"{_line(key)}: {_line(value)}" for key, value in record["environment"].items()) + ".", ""]
    for one in record["tables"]:
        rows = [[_cell(value) for value in row] for row in one["rows"]]
        columns = [Column(str(name)) for name in one["columns"]]
        lines += [to_markdown(Table(columns, rows, one["title"]), aligned=_numeric(one["rows"], len(columns)))]
    lines += [f"- {_line(note)}" for note in record["notes"]]
    return [*lines, ""] if record["notes"] else lines


def _numeric(rows: list[list[Any]], width: int) -> list[bool]:
    """Say which columns hold numbers, or numbers written with ±."""

    def number(value: Any) -> bool:
        return isinstance(value, int | float) or (isinstance(value, str) and "±" in value)

    return [any(number(row[c]) for row in rows) for c in range(width)]


def _cell(value: Any) -> str | None:
    """Write a number with four significant digits, large ones whole; text stays as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None if value is None else str(value)
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def _line(value: object) -> str:
    return " ".join(str(value).split())


def main() -> int:
    """Write the file, or check it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 when RESULTS.md is out of date"
    )
    check = parser.parse_args().check
    path = HERE / "RESULTS.md"
    text = render(HERE / "results")
    if check:
        current = path.is_file() and path.read_text(encoding="utf-8") == text
        print(f"{path.name} is {'up to date' if current else 'out of date: run uv run python -m benchmarks.report'}")
        return 0 if current else 1
    write_atomic(path, text)
    print(f"wrote {path.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
