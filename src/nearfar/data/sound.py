"""Reading one sound file: any rate, any number of channels, a part of it, as one line of samples at one rate."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfar.data.source import ItemError
from nearfar.errors import extra

__all__ = ["LONGEST", "SOUNDS", "Sound", "head", "judge", "read_sound", "to_rate"]

SOUNDS = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff"})
"""The endings of sound files, in lower case."""

LONGEST = 600.0
"""Seconds of one item that are read; what is longer is cut there, and counted."""

SILENT = 1e-4
"""A sound whose largest sample is below this share of full scale (-80 dB) is silent."""

_FULL, _CLIPPED_RUN = 0.999, 3
_MOST_CHANNELS, _BLOCK = 64, 1 << 18


class Sound(NamedTuple):
    """One sound, and what was noticed about it.

    Attributes:
        samples: (T,) float32, full scale at -1 and 1.
        notes: words for what was done or is odd: ``"mixed to mono"``, ``"resampled"``, ``"cut"``, ``"silent"``,
            ``"clipped"``.
    """

    samples: NDArray[np.float32]
    notes: frozenset[str]


class Head(NamedTuple):
    """What a file says about itself: samples per second, channels, seconds."""

    rate: int
    channels: int
    seconds: float


def head(path: str) -> Head | None:
    """Return what a file's header says; ``None`` for a file that cannot be opened as sound."""
    soundfile = extra("soundfile", "audio", "audio")
    try:
        info = soundfile.info(path)
    except (soundfile.LibsndfileError, OSError, RuntimeError, TypeError):
        return None
    rate = int(info.samplerate)
    return Head(rate, int(info.channels), info.frames / rate if rate > 0 else 0.0)


def read_sound(
    path: str | io.BytesIO,
    *,
    rate: int,
    start: float = 0.0,
    end: float | None = None,
    longest: float = LONGEST,
    name: str = "",
) -> Sound:
    """Read a file, or a part of it, as one channel at ``rate``.

    Channels are averaged. Another rate is brought to ``rate`` by soxr's high quality band-limited interpolation. The
    file is read in blocks, so that a damaged header, or hours of sound, take no more memory than ``longest`` seconds.

    Args:
        path: the file, or its content: WAV, FLAC, OGG (Vorbis, Opus), MP3, AIFF.
        rate: samples per second of the result.
        start: where to begin, in seconds.
        end: where to stop; the end of the file when absent.
        longest: seconds that are read at most.
        name: what errors call the item; the path when empty.

    Raises:
        ItemError: when the file cannot be read, holds no sample between start and end, or values that are no numbers.
    """
    soundfile = extra("soundfile", "audio", "audio")
    name = name or (path if isinstance(path, str) else "sound")
    try:
        with soundfile.SoundFile(path) as file:
            own, channels = int(file.samplerate), int(file.channels)
            if channels > _MOST_CHANNELS:
                raise ItemError(name, f"has {channels} channels, more than {_MOST_CHANNELS}")
            first, wanted, cut = _range(file, start, end, longest)
            if wanted <= 0:
                raise ItemError(name, "holds no sound" if file.frames <= 0 else f"holds no sound after {start:g} s")
            samples = _mixed(file, first, wanted, channels)
    except (soundfile.LibsndfileError, OSError, RuntimeError, TypeError) as error:
        raise ItemError(name, _reason(error, path)) from None
    notes = {"cut"} if cut else set()
    if len(samples) == 0:
        raise ItemError(name, "holds no sound")
    if not np.isfinite(samples).all():
        raise ItemError(name, "has samples that are not finite")
    if channels > 1:
        notes.add("mixed to mono")
    notes |= judge(samples)
    if own != rate:
        samples = to_rate(samples, own, rate)
        notes.add("resampled")
    return Sound(samples, frozenset(notes))


def to_rate(samples: NDArray[Any], own: float, rate: float) -> NDArray[np.float32]:
    """Return a sound of ``own`` samples per second at ``rate``: soxr's high quality, one sample or more."""
    soxr = extra("soxr", "audio", "audio")
    made: NDArray[np.float32] = soxr.resample(samples, own, rate, quality="HQ").astype(np.float32)
    return made if len(made) else samples[:1].astype(np.float32)


def judge(samples: NDArray[Any]) -> set[str]:
    """Return ``"silent"`` for a peak below -80 dB, ``"clipped"`` for three full-scale samples of one sign in a row."""
    peak = float(np.abs(samples).max())
    if peak < SILENT:
        return {"silent"}
    if peak < _FULL:
        return set()
    for full in (samples >= _FULL, samples <= -_FULL):
        if len(full) >= _CLIPPED_RUN and bool((full[:-2] & full[1:-1] & full[2:]).any()):
            return {"clipped"}
    return set()


def _range(file: Any, start: float, end: float | None, longest: float) -> tuple[int, int, bool]:
    """Return the first frame, how many are wanted, and whether the item is longer than that."""
    rate = file.samplerate
    first = round(start * rate)
    stop = file.frames if end is None else min(file.frames, round(end * rate))
    most = int(longest * rate)
    return first, min(stop - first, most), stop - first > most


def _mixed(file: Any, first: int, wanted: int, channels: int) -> NDArray[np.float32]:
    """Read ``wanted`` frames in blocks, each averaged over its channels at once; a file may hold fewer than it says."""
    if first:
        file.seek(first)
    parts: list[NDArray[np.float32]] = []
    while wanted > 0:
        block = file.read(min(_BLOCK, wanted), dtype="float32", always_2d=True)
        if len(block) == 0:
            break
        parts.append(block[:, 0] if channels == 1 else block.mean(axis=1, dtype=np.float32))
        wanted -= len(block)
    return np.ascontiguousarray(np.concatenate(parts)) if parts else np.zeros(0, np.float32)


def _reason(error: Exception, path: str | io.BytesIO) -> str:
    if isinstance(path, str) and not Path(path).is_file():
        return "no such file"
    text = getattr(error, "error_string", "") or str(error)
    return str(text).strip().rstrip(".") or type(error).__name__
