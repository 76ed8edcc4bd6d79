"""Names for things that are imported only when asked for: methods, encoders, recipes, modalities.

A registry maps a name to ``"package.module:attribute"``. Third parties add names through an entry point
group of the same kind, for example ``[project.entry-points."nearfar.methods"]``.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import entry_points
from typing import Generic, TypeVar, cast

from nearfar.errors import ConfigError, RunError, nearest

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Generic[T]):
    """A lazy mapping from names to objects.

    Args:
        kind: what the names stand for, in the singular; used in errors (``"method"``).
        group: the entry point group in which other packages add theirs (``"nearfar.methods"``).
        builtin: name to ``"module:attribute"``.
    """

    def __init__(self, kind: str, *, group: str, builtin: Mapping[str, str]) -> None:
        self.kind = kind
        self.group = group
        self.builtin = dict(builtin)

    @cached_property
    def _external(self) -> dict[str, str]:
        return {point.name: point.value for point in entry_points(group=self.group)}

    def names(self) -> list[str]:
        """Return all names, ours first, each group in its own order, without importing anything."""
        return [*self.builtin, *(name for name in sorted(self._external) if name not in self.builtin)]

    def __contains__(self, name: object) -> bool:
        return name in self.builtin or name in self._external

    def get(self, name: str) -> T:
        """Import and return the object called ``name``.

        Raises:
            ConfigError: when the name is unknown; the nearest known one is offered.
            RunError: when another package's object cannot be imported.
        """
        target = self.builtin.get(name) or self._external.get(name)
        if target is None:
            raise ConfigError(
                f"{self.kind}: name must be a known {self.kind}, got {name!r}; {nearest(name, self.names())}"
            )
        module, _, attribute = target.partition(":")
        try:
            return cast(T, getattr(importlib.import_module(module), attribute))
        except (ImportError, AttributeError) as error:
            if name in self.builtin:
                raise
            raise RunError(
                f"{self.kind} {name}: must be importable from {target!r}, got {error}; mend or remove that package"
            ) from error
