"""What the back ends share that last: a folder whose ``index.json`` says where the items lie; one writer at a time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import ConfigError, RunError, require
from nearfar.files import write_atomic
from nearfar.indexing.base import TARGET_RECALL, Index
from nearfar.indexing.files import CARD, card_of, read_card
from nearfar.indexing.metrics import METRICS
from nearfar.indexing.records import Id

__all__ = ["LOCK", "STRUCTURE", "LastingCard", "digest", "key_of"]

LOCK = "index.lock"
PATIENCE_S = 60
"""So long a writer waits for another."""


class LastingCard(Index):
    """The folder of an index whose items lie in a table of their own."""

    server: str | None
    options: dict[str, Any]

    def _prepare(self, server: str | None, options: dict[str, Any], building: Mapping[str, Any] | None = None) -> None:
        if self.path is None:
            raise ConfigError(f"index: path must be given for the {self.backend} back end, whose writes last, got none")
        self.server = server
        self.options = options
        self._described: dict[str, Any] = {} if building is None else {"building": dict(building)}

    def _claim_card(self) -> None:
        """Make the folder, which must be empty or absent."""
        assert self.path is not None
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            there = [file.name for file in self.path.iterdir() if file.name != LOCK]
        except OSError as error:
            raise RunError(f"{self.path}: cannot be made a folder ({error.strerror}); choose another place") from None
        require(not there, str(self.path), "folder", "empty", f"one with {there[:1]}", error=RunError)

    def _write_card(self) -> None:
        assert self.path is not None
        said = {"server": self.server, "options": self.options} | self._described
        write_atomic(self.path / CARD, json.dumps(card_of(self) | said, indent=2))

    def _describe(self) -> None:
        self._write_card()

    def _read_description(self) -> None:
        """Take over fingerprint and calibration that another process wrote."""
        assert self.path is not None
        card = read_card(self.path)
        self._fingerprint, self._calibration = card.get("fingerprint"), card.get("calibration")

    @classmethod
    def _from_card(cls, path: Path | str, *, unfinished: bool = False) -> tuple[Self, dict[str, Any]]:
        """Return an index that knows what its folder says, and has no connection yet."""
        folder = Path(path)
        card = read_card(folder)
        if "building" in card and not unfinished:
            raise RunError(f"{folder}: is not finished; give the command that builds it once more and it goes on")
        try:
            ours = card["backend"] == cls.backend and card["metric"] in METRICS and isinstance(card["options"], dict)
            index = cls.__new__(cls)
            Index.__init__(
                index,
                int(card["dim"]),
                metric=card["metric"],
                fingerprint=card["fingerprint"],
                path=folder,
                recall=float(card.get("recall", TARGET_RECALL)),
            )
            server = card["server"]
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{folder}: is a damaged index ({error!r} in {CARD}); build it again") from None
        got, fix = repr(card["backend"]), "open it without naming a back end"
        require(ours, str(folder), "back end", repr(cls.backend), got, fix, error=RunError)
        index._prepare(None if server is None else str(server), dict(card["options"]))
        index._calibration = card.get("calibration")
        known = {*card_of(index), "server", "options"}
        index._described = {name: value for name, value in card.items() if name not in known}
        return index, card

    def finish(self) -> None:
        """Say that an index made with ``building`` is complete."""
        with self._lock:
            if self._described.pop("building", None) is not None:
                self._write_card()

    def save(self, path: Path | str | None = None) -> None:
        """Do nothing for the index's own folder, where every write is; copy all into another (see ``Index``)."""
        if path is None or Path(path).absolute() == (self.path or Path()).absolute():
            return
        copy = type(self)(
            self.dim,
            metric=self.metric,
            fingerprint=self.fingerprint,
            path=path,
            recall=self.recall,
            **self._options_of_a_copy(),
        )
        try:
            copy.add_batches(self.iterate(8192, thumbnails=True))
            copy.calibration = self.calibration
        finally:
            copy.close()

    def _options_of_a_copy(self) -> dict[str, Any]:
        return dict(self.options)

    @contextlib.contextmanager
    def _only_writer(self) -> Iterator[None]:
        """Keep other processes of this machine from writing to the folder."""
        import filelock

        assert self.path is not None
        try:
            with filelock.FileLock(self.path / LOCK, timeout=PATIENCE_S, poll_interval=0.005):
                yield
        except filelock.Timeout:
            raise RunError(f"{self.path}: another process has been writing for {PATIENCE_S} s; wait for it") from None


def digest(stamps: NDArray[np.int64]) -> str:
    """Return a hash of numbers of insertions: the same exactly when it is the same items in the same order."""
    return hashlib.blake2b(stamps.astype("<i8").tobytes(), digest_size=16).hexdigest()


def key_of(name: Id) -> bytes:
    """Return a hash of an id, text and whole number apart: 32 bytes, however long the id is."""
    return hashlib.sha256(f"{'i' if isinstance(name, int) else 's'}{name}".encode()).digest()


STRUCTURE = re.compile(r"structure-[0-9a-f]{16}\.faiss")
