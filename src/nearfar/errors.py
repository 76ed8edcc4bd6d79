"""Every error that nearfar raises on purpose, and the one grammar of their sentences.

The tree::

    NearfarError
    ├── InputError (ValueError)          an argument, a tensor or a value is wrong
    │   ├── ConfigError                  a setting is unknown or of the wrong type
    │   └── DataError                    a data set, a file or a manifest is wrong
    ├── RunError                         a run folder, an index or a file we wrote cannot be used
    └── MissingExtraError (ImportError)  an optional dependency is not installed

A sentence says who, what, must be, got, and the fix: ``SimCLR: temperature must be > 0, got -1.0``.
Only the standard library may be imported here.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType

__all__ = [
    "ConfigError",
    "DataError",
    "InputError",
    "MissingExtraError",
    "NearfarError",
    "RunError",
    "extra",
    "nearest",
    "require",
    "sentence",
]


class NearfarError(Exception):
    """Base of every error that nearfar raises on purpose; the command line prints only its sentence."""


class InputError(NearfarError, ValueError):
    """An argument, a tensor or a value is wrong."""


class ConfigError(InputError):
    """A setting is unknown, of the wrong type, or contradicts another."""


class DataError(InputError):
    """A data set, a file or a manifest is wrong."""


class RunError(NearfarError):
    """A run folder, an index or another thing on disk cannot be used as asked."""


class MissingExtraError(NearfarError, ImportError):
    """An optional dependency is not installed."""


def sentence(who: str, what: str, must: str, got: object, fix: str = "") -> str:
    """Return ``who: what must be must, got got; fix`` in the one grammar of all errors."""
    text = f"{who}: {what} must be {must}, got {got}"
    return f"{text}; {fix}" if fix else text


def require(
    ok: bool,
    who: str,
    what: str,
    must: str,
    got: object,
    fix: str = "",
    *,
    error: type[NearfarError] = InputError,
) -> None:
    """Raise ``error`` with one sentence unless ``ok``.

    Args:
        ok: the condition that must hold.
        who: the class, function, command or file that complains.
        what: the argument or thing that is wrong.
        must: what it must be, for example ``"> 0"``.
        got: the value found; its text stands in the sentence.
        fix: what to do about it, when that is not obvious.
        error: the class to raise.

    Raises:
        InputError: or the class given, when ``ok`` is false.
    """
    if not ok:
        raise error(sentence(who, what, must, got, fix))


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for the known name closest to ``name``, or the list of known names."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(names)}" if names else "none is known"


def extra(module: str, extra_name: str, who: str) -> ModuleType:
    """Import an optional dependency, or say which command installs it.

    Raises:
        MissingExtraError: when the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{who}: needs the package {module.partition('.')[0]!r}, which is not installed; "
            f"install it with: pip install 'nearfar[{extra_name}]'"
        ) from error
