"""``nearfar methods``."""

from __future__ import annotations

__all__ = ["methods"]


def methods(name: str | None = None, /) -> None:
    """List the methods, or describe one: its story and its settings.

    Args:
        name: the method to describe.
    """
    import inspect

    from rich.table import Table

    from nearfar.config import settings
    from nearfar.methods import METHODS
    from nearfar.progress import stdout

    if name is not None:
        method = METHODS.get(name)
        module = inspect.getmodule(method)
        stdout.print(inspect.cleandoc((module.__doc__ if module else None) or ""), markup=False, soft_wrap=True)
        stdout.print("\nSettings (--method-options.NAME VALUE):")
        for key, setting in settings(method).items():
            stdout.print(f"    {key} = {setting.default!r}", markup=False, soft_wrap=True)
        return
    table = Table(box=None, pad_edge=False)
    for column in ("method", "labels", "negatives", "views", "what it does", "paper"):
        table.add_column(column, overflow="fold")
    for key in METHODS.names():
        info = METHODS.get(key).info
        table.add_row(key, _mark(info.labels), _mark(info.negatives), info.views, info.summary, info.paper)
    stdout.print(table)


def _mark(flag: bool) -> str:
    return "yes" if flag else "no"
