"""Decoding every sound once, before training, into memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nearfar.data.decode import DecodedSource
from nearfar.data.decoding import decode_rows, mean_bytes
from nearfar.data.memory import available_bytes, size_text
from nearfar.data.skipped import MOST_BROKEN, Skipped, check_skipped
from nearfar.data.source import Source, digest, groups_of, origin, take
from nearfar.errors import ConfigError, require
from nearfar.progress import say, track

__all__ = ["counts_of", "keep_sounds"]


class _Held:
    """Sounds in memory, with the ids, labels and groups of ``rows``."""

    def __init__(self, sounds: list[NDArray[np.float32]], rows: Source) -> None:
        self.sounds, self.rows = sounds, rows
        self.ids, self.labels, self.class_names = rows.ids, rows.labels, rows.class_names
        self.groups = groups_of(rows)
        self.rate: int | None = getattr(origin(rows, 0)[0], "rate", None)

    def __len__(self) -> int:
        return len(self.sounds)

    def read(self, index: int) -> NDArray[np.float32]:
        return self.sounds[index]

    def read_many(self, indices: NDArray[np.int64]) -> Sequence[NDArray[np.float32]]:
        return [self.sounds[int(index)] for index in indices]

    def fingerprint(self) -> str | None:
        whole = self.rows.fingerprint()
        return None if whole is None else digest("held sounds", whole)


def keep_sounds(
    source: Source,
    *,
    cache: Literal["memory", "disk", "off"] = "memory",
    threads: int | None = None,
    limit_bytes: int | None = None,
    most_broken: float = MOST_BROKEN,
) -> DecodedSource:
    """Decode all sounds once, leaving out the broken ones; the size is announced on standard error first.

    Args:
        source: sounds; see `nearfar.data.sounds.open_sound_splits`.
        cache: ``"memory"`` keeps the samples in memory, four bytes each; ``"off"`` keeps nothing and looks at nothing,
            so that broken sounds are met when they are read. There is no cache of sounds on disk: decoding is hundreds
            of times faster than real time.
        threads: that decode; the number of cores when absent, at most 8.
        limit_bytes: when more than this would be kept, nothing is; a quarter of the memory that is left when absent.
        most_broken: the largest share of broken sounds.

    Raises:
        DataError: when none can be read, or more than ``most_broken`` are broken.
        ConfigError: for a cache on disk.
    """
    must, fix = "memory or off for sounds", "leave it out"
    require(cache in ("memory", "off"), "audio", "cache", must, cache, fix, error=ConfigError)
    if cache == "off":
        return DecodedSource(source, (), "files")
    limit = available_bytes() // 4 if limit_bytes is None else limit_bytes
    expected = mean_bytes(source) * len(source)
    fits = expected <= limit
    over = f"more than the {size_text(limit)} allowed: sounds are decoded again whenever they are read"
    say(f"Decoding {len(source):,} sounds: about {size_text(expected)}{' in memory' if fits else f', {over}'}")
    kept: list[int] = []
    sounds: list[NDArray[np.float32]] = []
    skipped: list[Skipped] = []
    held = 0
    stream = decode_rows(source, range(len(source)), threads)
    for row, outcome in track(stream, "Decoding", total=len(source)):
        if isinstance(outcome, Skipped):
            skipped.append(outcome)
            continue
        kept.append(row)
        held += outcome.nbytes
        fits = fits and held <= limit
        if fits:
            sounds.append(outcome)
        else:
            sounds.clear()
    check_skipped(skipped, len(source), most=most_broken)
    notes = counts_of(source)
    if notes:
        say(f"Of {len(source):,} sounds: {', '.join(f'{count:,} {note}' for note, count in notes.items())}")
    rows = take(source, kept) if skipped else source
    if fits:
        return DecodedSource(_Held(sounds, rows), skipped, "memory", notes=notes)
    return DecodedSource(rows, skipped, "files", notes=notes)


def counts_of(source: Source) -> Mapping[str, int]:
    """Return how many sounds read so far were mixed to mono, resampled, cut, silent or clipped, where that is known."""
    base, _ = origin(source, 0)
    counts: Any = getattr(base, "counts", None)
    return counts() if callable(counts) else {}
