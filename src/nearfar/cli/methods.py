"""``nearfar methods``."""

from __future__ import annotations

__all__ = ["methods"]

WIDE = 150
"""Columns of a terminal from which the table also says what each method does and keeps; a pipe gets all of it."""
PIPE = 400
"""Characters of the longest line that a pipe gets, so that every method is one line to search."""


def methods(name: str | None = None, /) -> None:
    """List the methods, or describe one: its story, its settings, and its recipes with their published results.

    Args:
        name: the method to describe.
    """
    if name is None:
        _list()
    else:
        _describe(name)


def _list() -> None:
    from rich.console import Console
    from rich.table import Table

    from nearfar.errors import NearfarError
    from nearfar.methods import METHODS
    from nearfar.methods.story import state_of
    from nearfar.progress import say, stdout

    whole = not stdout.is_terminal or stdout.width >= WIDE
    table = Table(box=None, pad_edge=False)
    for column in ("method", "paper", "labels", "negatives", "teacher", "queue", "views"):
        table.add_column(column, overflow="fold")
    for column in ("state", "what it does") if whole else ():
        table.add_column(column, overflow="fold")
    for key in METHODS.names():
        try:
            method = METHODS.get(key)
        except NearfarError as error:  # of another package
            say(str(error))
            continue
        info = method.info
        flags = (_mark(flag) for flag in (info.labels, info.negatives, info.teacher, info.queue))
        more = (state_of(method), info.summary) if whole else ()
        table.add_row(key, info.paper, *flags, info.views, *more)
    if whole and not stdout.is_terminal:
        Console(width=PIPE, highlight=False, emoji=False).print(table)
        return
    stdout.print(table)
    if not whole:
        stdout.print(f"\nA terminal of {WIDE} columns, or a pipe, shows more; nearfar methods NAME tells one's story.")


def _describe(name: str) -> None:
    from nearfar.config import settings
    from nearfar.methods import METHODS
    from nearfar.methods.story import story_of
    from nearfar.progress import stdout
    from nearfar.recipes.listing import recipes_of

    method = METHODS.get(name)
    stdout.print(story_of(method), markup=False, soft_wrap=True)
    stdout.print("\nSettings (--method-options.NAME VALUE):")
    for key, setting in settings(method).items():
        stdout.print(f"    {key} = {setting.default!r}", markup=False, soft_wrap=True)
    for recipe, text in recipes_of(name).items():
        stdout.print(f"\nRecipe {recipe}: {text}", markup=False, soft_wrap=True)


def _mark(flag: bool) -> str:
    return "yes" if flag else "no"
