"""Which recipes a method has, and what their docstrings say, for the command line and the generated pages."""

from __future__ import annotations

import inspect

from nearfar.errors import NearfarError
from nearfar.recipes import RECIPES

__all__ = ["recipes_of"]


def recipes_of(method: str) -> dict[str, str]:
    """Return names and docstrings of a method's recipes; those of other packages that do not load are left out.

    Args:
        method: its name.
    """
    found = {}
    for name in RECIPES.names():
        try:
            recipe = RECIPES.get(name)
            if recipe().method == method:
                found[name] = inspect.cleandoc(recipe.__doc__ or "").replace("``", "`")
        except NearfarError:
            continue
    return found
