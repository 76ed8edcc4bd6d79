"""How many views a method gets, and of which sizes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from nearfar.errors import ConfigError, require
from nearfar.methods import METHODS, Info

__all__ = ["check_count", "check_views", "fit_views"]


def check_views(method: str, name: str, views: Sequence[Any]) -> None:
    """Refuse views of several sizes for a method that cannot take them, or more kinds of views than it takes.

    Raises:
        ConfigError: the method wants other views.
    """
    info = METHODS.get(method).info
    sizes = sorted({getattr(view, "size", 0) for view in views})
    fix = "take views of one size, such as --views simclr, or a method of several sizes such as swav, clip for captions"
    fits = len(sizes) == 1 or info.mixed_sizes
    require(fits, f"method {method}", f"views {name}", "of one size", f"sizes {sizes}", fix, error=ConfigError)
    most = info.most_views
    kinds = len(set(views))
    fits = most is None or kinds <= max(most, 1) or len(views) <= most
    must, fix = f"{info.views} an item", f"take another of the views than {name}"
    require(fits, f"method {method}", "number of views", must, len(views), fix, error=ConfigError)


def check_count(method: str, count: int | None) -> None:
    """Refuse a number of views that the method does not take.

    Raises:
        ConfigError: the method takes others.
    """
    info = METHODS.get(method).info
    fits = count is None or (count >= info.least_views and count <= (info.most_views or count))
    require(fits, f"method {method}", "view_count", info.views, count, "leave it out", error=ConfigError)


def fit_views(info: Info, views: Sequence[Any], count: int | None = None) -> tuple[Any, ...]:
    """Return as many views as are asked for, or as the method wants: repeated from the first on, or cut."""
    count = count or max(len(views), info.least_views)
    if info.most_views is not None:
        count = min(count, info.most_views)
    return tuple(itertools.islice(itertools.cycle(views), count))
