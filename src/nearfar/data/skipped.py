"""Broken items: named, counted, written down, and too many of them an error."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nearfar.data.source import ItemError
from nearfar.errors import DataError
from nearfar.files import write_atomic

__all__ = ["MOST_BROKEN", "Skipped", "check_skipped", "write_skipped"]

MOST_BROKEN = 0.01
"""The largest share of broken items that a data set may have."""


class Skipped(NamedTuple):
    """One item that could not be read, and why."""

    id: str
    reason: str

    @classmethod
    def of(cls, name: str, error: DataError) -> Skipped:
        """Return the record of an item's error."""
        return cls(name, error.reason if isinstance(error, ItemError) else str(error))


def check_skipped(skipped: Sequence[Skipped], total: int, *, most: float = MOST_BROKEN, who: str = "DATA") -> None:
    """Raise when too many of ``total`` items are broken.

    Args:
        skipped: the broken ones.
        total: how many items there are, broken or not.
        most: the largest share allowed, in [0, 1].
        who: what stands first in the error.

    Raises:
        DataError: when none is readable or more than ``most`` are broken; the first three are named.
    """
    if not skipped or (len(skipped) < total and len(skipped) <= most * total):
        return
    first = "; ".join(f"{item.id} ({item.reason})" for item in skipped[:3])
    more = "" if len(skipped) <= 3 else f"; and {len(skipped) - 3:,} more"
    what = "none" if len(skipped) == total else f"{len(skipped):,} broken"
    must = "readable" if len(skipped) == total else f"readable but for {most:.0%}"
    raise DataError(f"{who}: the {total:,} items must be {must}, got {what}: {first}{more}; mend or remove them")


def write_skipped(path: Path, skipped: Sequence[Skipped]) -> None:
    """Write the broken items as CSV with the columns ``id`` and ``reason``; with none, the header alone.

    Raises:
        RunError: when the file system refuses; an old file is then untouched.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Skipped._fields)
    writer.writerows(skipped)
    write_atomic(path, text.getvalue())
