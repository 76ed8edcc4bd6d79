"""One way to show that long work goes on: a rich progress bar on a terminal, silence elsewhere.

Progress goes to standard error, results go to standard output, so both can be piped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["say", "stderr", "stdout", "track"]

T = TypeVar("T")

stderr = Console(stderr=True, highlight=False, emoji=False)
stdout = Console(highlight=False, emoji=False)


def say(text: str) -> None:
    """Print one line for the person who waits, on standard error."""
    stderr.print(text, markup=False, soft_wrap=True)


def track(items: Iterable[T], description: str, *, total: int | None = None, step: int = 1) -> Iterator[T]:
    """Yield from ``items`` under a progress bar.

    Args:
        items: what to go through.
        description: what is being done, in a word or two.
        total: the number of units in all; taken from ``items`` when it has a length.
        step: how many units one item counts for (a batch size, say); the last item tops the bar up.
    """
    if total is None and isinstance(items, Sized):
        total = len(items) * step
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr, disable=not stderr.is_terminal) as progress:
        task = progress.add_task(description, total=total)
        for item in items:
            yield item
            progress.advance(task, step)
        if total is not None:
            progress.update(task, completed=total)
