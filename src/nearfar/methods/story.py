"""What the docstring of a method's file says, for the command line and the generated pages."""

from __future__ import annotations

import inspect
import re

from nearfar.methods.base import Method

__all__ = ["state_of", "story_of"]


def story_of(method: type[Method]) -> str:
    """Return the docstring of a method's file, without its indentation; empty where there is none."""
    module = inspect.getmodule(method)
    return inspect.cleandoc((module.__doc__ if module else None) or "")


def state_of(method: type[Method]) -> str:
    """Return what a method keeps beside its networks, from the row ``state`` of its story; ``"-"`` where none is told.

    Cells of the row and of its further lines are joined by commas.
    """
    found = re.search(r"^ +state +(\S.*(?:\n {5,}\S.*)*)", story_of(method), re.MULTILINE)
    return re.sub(r"[,;]?(?:\n *| {2,})", ", ", found[1]).replace("``", "") if found else "-"
