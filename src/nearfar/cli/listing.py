"""How the verbs that list items show them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nearfar.curation.listing import Listing

__all__ = ["show"]


def show(found: Listing, *, json: bool, out: Path | None) -> None:
    """Print a listing as a table, or as JSON, and say where the CSV went."""
    from nearfar.progress import say, stdout

    if json:
        stdout.print(found.to_json(), markup=False, soft_wrap=True)
    else:
        stdout.print(found.table())
    if out is not None:
        say(f"written to {out}")
