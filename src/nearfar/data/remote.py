"""Reading files that are local or anywhere fsspec reaches."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import IO, Any, cast

__all__ = ["list_files", "open_file", "read_range", "stamp"]


def open_file(path: str) -> IO[bytes]:
    """Open a path or URL for reading, with seeks.

    Raises:
        OSError: when there is no such file, or nothing that opens the URL.
    """
    if "://" not in path:
        return Path(path).open("rb")
    system, name = _system(path)
    return cast(IO[bytes], system.open(name, "rb"))


def read_range(path: str, offset: int, length: int) -> bytes:
    """Return ``length`` bytes from ``offset``.

    Raises:
        OSError: when there are fewer.
    """
    if "://" in path:
        system, name = _system(path)
        content = bytes(system.cat_file(name, start=offset, end=offset + length))
    else:
        with Path(path).open("rb") as file:
            file.seek(offset)
            content = file.read(length)
    if len(content) < length:
        raise OSError(f"{path} ends {length - len(content)} bytes early")
    return content


def stamp(path: str) -> str:
    """Return size and time of change, or what a remote system tells instead; ``missing`` when there is no file."""
    try:
        if "://" not in path:
            status = Path(path).stat()
            return f"{status.st_size} {status.st_mtime_ns}"
        system, name = _system(path)
        return str(system.ukey(name))
    except OSError:
        return "missing"


def list_files(folder: str, *, folders: str = "") -> list[str]:
    """Return the paths or URLs of the files directly in a folder; hidden ones are left out.

    Args:
        folder: its path or URL.
        folders: folders with this ending count as files.

    Raises:
        OSError: when it cannot be listed.
    """
    if "://" not in folder:
        names = [str(path) for path in Path(folder).iterdir() if path.is_file() or _counts(path.name, folders)]
    else:
        system, name = _system(folder)
        entries = system.ls(name, detail=True)
        found = [entry for entry in entries if entry["type"] == "file" or _counts(entry["name"], folders)]
        names = [str(system.unstrip_protocol(entry["name"])) for entry in found]
    return [name for name in names if not name.rpartition("/")[2].startswith(".")]


def _counts(name: str, ending: str) -> bool:
    return bool(ending) and name.rstrip("/").lower().endswith(ending)


def _system(path: str) -> tuple[Any, str]:
    """Return fsspec's file system for a URL and the name in it; torch brings fsspec along."""
    fsspec = importlib.import_module("fsspec.core")
    try:
        system, name = fsspec.url_to_fs(path)
    except (ImportError, ValueError) as error:  # the URL's scheme needs a package that is not installed
        raise OSError(str(error)) from None
    return system, str(name)
