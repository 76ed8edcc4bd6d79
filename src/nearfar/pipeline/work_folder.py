"""The folder of a command that does much work and goes on where it was stopped: one process in it, one set of settings.

The settings stand in a YAML file of the folder, beside the version that wrote it, so that a call with others can be
refused; what counts as a difference is the command's own business.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nearfar._version import __version__
from nearfar.config import dump_yaml, load_yaml
from nearfar.errors import ConfigError, RunError
from nearfar.files import write_atomic

__all__ = ["as_read_again", "locked", "settings_before", "write_settings"]

FORMAT = 1
"""The version of the file of settings and of what stands around it; another one is refused."""


@contextlib.contextmanager
def locked(folder: Path, who: str) -> Iterator[None]:
    """Make a folder where it is missing, and keep other processes out of it.

    Args:
        folder: the folder.
        who: what is at work in it, for errors: ``"comparison"``.

    Raises:
        RunError: when the folder cannot be made, or another process is at work in it.
    """
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock").acquire(timeout=0):
            yield
    except Timeout:
        raise RunError(f"{folder}: another {who} is at work in this folder; wait for it") from None
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise RunError(f"{folder}: must be a folder to write to ({error.strerror}); choose another --out") from None


def settings_before(settings: Path, kind: str) -> dict[str, Any] | None:
    """Return the settings that a folder was begun with; ``None`` where it is new.

    Args:
        settings: the file of settings, right in the folder.
        kind: what the folder may be beside new, for errors: ``"a comparison"``.

    Raises:
        RunError: when the folder holds something else, or was written by another version.
    """
    folder = settings.parent
    if not settings.is_file():
        others = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
        if others:
            got = f"one with {', '.join(others[:3])}"
            raise RunError(f"{folder}: must be a new folder or {kind}, got {got}; choose another --out")
        return None
    try:
        values = load_yaml(settings)
    except ConfigError as error:
        raise RunError(f"{error}; choose another --out") from None
    version = values.pop("nearfar", "an unknown version")
    if values.pop("format", None) != FORMAT:
        raise RunError(f"{folder}: was written by nearfar {version}; use that, or choose another --out")
    return values


def write_settings(settings: Path, values: Mapping[str, Any]) -> None:
    """Write the file of settings all at once."""
    write_atomic(settings, dump_yaml({"format": FORMAT, "nearfar": __version__, **values}))


def as_read_again(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as they look after a round through YAML."""
    import yaml

    loaded: dict[str, Any] = yaml.safe_load(dump_yaml(values))
    return loaded
