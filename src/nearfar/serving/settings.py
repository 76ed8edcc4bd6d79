"""How a service listens and what it allows; one frozen record each, every default said once."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from nearfar.errors import ConfigError, require

__all__ = ["KEY_VARIABLE", "Limits", "is_loopback", "read_key"]

KEY_VARIABLE = "NEARFAR_API_KEY"
SHORTEST_KEY = 16


@dataclass(frozen=True)
class Limits:
    """What one request, one client and all together may ask for.

    Attributes:
        body_mib: the largest body of a request, in MiB.
        held_mib: the bodies of all requests at work together, in MiB; more are answered with 503.
        megapixels: the largest picture, in millions of pixels, told by its header before anything is decoded.
        seconds: for the body to arrive, for the answer to be made, and for each piece of it to be taken.
        rate: requests a second and client, on the average of some ten seconds; 0 = any number.
        connections: open at one time; more are answered with 503.
        rows: vectors, ids or items in one request.
        k: neighbours of one query.
        hits: neighbours in one answer, over all its queries.
        id_length: characters of an id.
    """

    body_mib: float = 16
    held_mib: float = 256
    megapixels: float = 50
    seconds: float = 30
    rate: float = 100
    connections: int = 256
    rows: int = 1_000
    k: int = 1_000
    hits: int = 100_000
    id_length: int = 10_000

    def __post_init__(self) -> None:
        for name in ("body_mib", "held_mib", "megapixels", "seconds", "connections", "rows", "k", "hits", "id_length"):
            require(getattr(self, name) > 0, "serve", name, "> 0", getattr(self, name), error=ConfigError)
        require(self.rate >= 0, "serve", "rate", ">= 0", self.rate, error=ConfigError)

    @property
    def body_bytes(self) -> int:
        """The largest body in bytes."""
        return int(self.body_mib * 2**20)

    @property
    def held_bytes(self) -> int:
        """All bodies together in bytes; one of the largest always has room."""
        return max(int(self.held_mib * 2**20), self.body_bytes)

    @property
    def pixels(self) -> int:
        """The largest picture in pixels."""
        return int(self.megapixels * 1e6)


def is_loopback(host: str) -> bool:
    """Return whether a name or address is this machine's own, seen by nobody else."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def read_key(host: str, key_file: Path | None) -> str | None:
    """Return the API key: of a file, or of the variable ``NEARFAR_API_KEY``; none is fine on loopback only.

    A key on the command line would stand in the list of processes, so there is no flag for it.

    Raises:
        ConfigError: when the file cannot be read, the key is short, or there is none for an address others see.
    """
    if key_file is not None:
        try:
            key = key_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeError) as error:
            raise ConfigError(f"{key_file}: must be a file with the API key, got {error}") from None
    else:
        key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key and key_file is None:
        fix = f"set {KEY_VARIABLE}, give --key-file, or listen on 127.0.0.1"
        ok, must = is_loopback(host), "given for an address that others can reach"
        require(ok, "serve", "API key", must, f"none for {host}", fix, error=ConfigError)
        return None
    fine = len(key) >= SHORTEST_KEY and key.isascii() and key.isprintable()
    must = f"of {SHORTEST_KEY} printable ASCII characters or more"
    fix = "make one with: python -c 'import secrets; print(secrets.token_urlsafe())'"
    require(fine, "serve", "API key", must, f"one of {len(key)} characters", fix, error=ConfigError)
    return key
