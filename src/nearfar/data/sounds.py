"""Sounds as a source: files that are decoded once and kept, or arrays that are there already."""

from __future__ import annotations

import collections
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nearfar.data.labels import class_order, encode_labels
from nearfar.data.manifest import MANIFESTS
from nearfar.data.sound import LONGEST, SOUNDS, head, judge, read_sound
from nearfar.data.sound_rows import SoundRow, list_sounds, read_sound_manifest
from nearfar.data.source import ItemError, Source, check_source, digest, file_stamp
from nearfar.errors import DataError, require

__all__ = ["HIGHEST_RATE", "SoundArrays", "SoundFiles", "open_sound_splits"]

HIGHEST_RATE = 16_000
"""Samples per second that files of a higher rate are read at, unless another rate is asked for: COLA's and BYOL-A's."""

_HEADS_LOOKED_AT = 256


class SoundFiles:
    """Sound files, or parts of them, decoded when read.

    Attributes:
        rate: samples per second that every sound is brought to.
        rows: what is read.
        groups: one text a row, such as the speaker; ``None`` when none is known.
        notes: what was noticed about the rows read so far, by row number (see `nearfar.data.sound.Sound`).
    """

    def __init__(
        self,
        rows: Sequence[SoundRow],
        labels: NDArray[np.int64] | None,
        class_names: tuple[str, ...] | None,
        *,
        rate: int,
        longest: float = LONGEST,
        who: str = "SoundFiles",
    ) -> None:
        self.rows, self.labels, self.class_names = list(rows), labels, class_names
        self.ids: Sequence[str] = [row.id for row in rows]
        known = any(row.group is not None for row in rows)
        self.groups: Sequence[str] | None = [row.group or "" for row in rows] if known else None
        self.rate, self.longest = rate, longest
        self.notes: dict[int, frozenset[str]] = {}
        self._lock = threading.Lock()
        check_source(who, self.ids, labels)

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: int) -> NDArray[np.float32]:
        """Decode one sound to (T,) float32 at ``rate``."""
        row = self.rows[index]
        sound = read_sound(
            row.path, rate=self.rate, start=row.start, end=row.end, longest=self.longest, name=row.id
        )  # fmt: skip
        if sound.notes:
            with self._lock:
                self.notes[index] = sound.notes
        return sound.samples

    def counts(self) -> dict[str, int]:
        """Return how many of the sounds read so far were mixed to mono, resampled, cut, silent or clipped."""
        with self._lock:
            return dict(sorted(collections.Counter(note for notes in self.notes.values() for note in notes).items()))

    def part(self, rows: NDArray[np.int64]) -> SoundFiles:
        """Return some of the sounds as a source of their own."""
        labels = None if self.labels is None else self.labels[rows]
        known = None if labels is None or bool((labels < 0).all()) else labels
        names = self.class_names if known is not None else None
        chosen = [self.rows[int(row)] for row in rows]
        return SoundFiles(chosen, known, names, rate=self.rate, longest=self.longest)

    def fingerprint(self) -> str:
        """Digest of ids, labels, groups, rate, and sizes and times of change of the files; nothing is opened."""
        labels = b"" if self.labels is None else self.labels.astype("<i8").tobytes()
        stamps = (file_stamp(row.path) for row in self.rows)
        return digest("sounds", f"{self.rate} {self.longest}", self.ids, labels, self.groups or (), stamps)


class SoundArrays:
    """Sounds that are in memory already.

    Args:
        sounds: (N, T), or N arrays (T_i,), of float (full scale at -1 and 1) or int16 (divided by 32,768).
        rate: their samples per second.
        labels: (N,) class numbers, -1 unknown.
        class_names: of class 0, 1, ...
        groups: (N,) such as the speakers' names.
        ids: (N,) unique texts; the row numbers when absent.

    Raises:
        DataError: when there are none, or labels and groups do not fit.
    """

    def __init__(
        self,
        sounds: Sequence[NDArray[Any]] | NDArray[Any],
        rate: int,
        *,
        labels: ArrayLike | None = None,
        class_names: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
        ids: Sequence[str] | None = None,
    ) -> None:
        require(rate >= 1, "SoundArrays", "rate", ">= 1 samples per second", rate, error=DataError)
        self.sounds, self.rate = sounds, rate
        self.ids: Sequence[str] = [str(number) for number in range(len(sounds))] if ids is None else list(ids)
        self.labels = None if labels is None else np.asarray(labels).astype(np.int64)
        self.class_names = None if class_names is None else tuple(class_names)
        self.groups: Sequence[str] | None = None if groups is None else [str(group) for group in groups]
        got = len(self.ids if self.groups is None else self.groups)
        require(got == len(sounds), "SoundArrays", "ids and groups", f"{len(sounds)}", got, error=DataError)
        check_source("SoundArrays", self.ids, self.labels)

    def __len__(self) -> int:
        return len(self.sounds)

    def read(self, index: int) -> NDArray[np.float32]:
        """Return one sound as (T,) float32."""
        sound = np.asarray(self.sounds[index])
        if sound.ndim != 1 or len(sound) == 0 or sound.dtype.kind not in "fi":
            raise ItemError(self.ids[index], f"must be samples in one line, got {sound.dtype} {sound.shape}")
        made = sound.astype(np.float32) / np.float32(32768 if sound.dtype == np.int16 else 1)
        if not np.isfinite(made).all():
            raise ItemError(self.ids[index], "has samples that are not finite")
        return made

    def counts(self) -> dict[str, int]:
        """Return how many of the sounds are silent or clipped."""
        notes = [note for index in range(len(self)) for note in judge(self.read(index))]
        return dict(sorted(collections.Counter(notes).items()))

    def fingerprint(self) -> str:
        """Digest of ids, labels, groups and all samples."""
        labels = b"" if self.labels is None else self.labels.astype("<i8").tobytes()
        parts = [np.ascontiguousarray(sound).tobytes() for sound in self.sounds]
        return digest("sound arrays", f"{self.rate}", self.ids, labels, self.groups or (), *parts)


def open_sound_splits(
    data: Any,
    *,
    rate: int | None = None,
    pattern: str | None = None,
    longest: float = LONGEST,
    classes: Literal["label", "group"] = "label",
) -> dict[str, Source]:
    """Open sounds and their splits, all at one rate and with one numbering of the classes.

    Args:
        data: a folder (nested folders are classes, top folders ``train``, ``val`` and ``test`` are splits), one sound
            file, a manifest (``.csv``, ``.tsv``, ``.parquet``; see `read_sound_manifest`), or a source, which is
            returned as it is.
        rate: samples per second to bring every sound to. When absent, the most common rate among 256 files spread
            evenly over all, but at most 16,000.
        pattern: how the names of a folder's files are made up (see `list_sounds`).
        longest: seconds of an item that are read at most.
        classes: ``"group"`` takes the groups, such as speakers, as the classes, in place of the labels.

    Returns:
        Under ``""`` everything, and each split under its name.

    Raises:
        DataError: when there is nothing to read, or the path is wrong.
    """
    require(rate is None or 1000 <= rate <= 192_000, "audio", "rate", "from 1,000 to 192,000 samples per second", rate,
            error=DataError)  # fmt: skip
    if not isinstance(data, str | os.PathLike):
        return {"": _object(data, rate, classes)}
    path = Path(data)
    rows = _rows(path, pattern)
    if classes == "group":
        rows = _by_group(path, rows)
    whole = _from_rows(path, rows, rate, longest)
    parts: dict[str, Source] = {"": whole}
    splits = np.array([row.split or "" for row in whole.rows])
    for name in np.unique(splits[splits != ""]):
        parts[str(name)] = whole.part(np.flatnonzero(splits == name))
    return parts


def _object(data: Any, rate: int | None, classes: str) -> Source:
    must = "a folder, a manifest, a sound file, or a source such as SoundArrays(arrays, rate)"
    source = callable(getattr(data, "read", None)) and callable(getattr(data, "fingerprint", None))
    require(source, "audio", "data", must, type(data).__name__, error=DataError)
    own = getattr(data, "rate", None)
    fits = rate is None or own is None or own == rate
    require(fits, "audio", "rate", f"{own}, the source's", rate, "resample the arrays", error=DataError)
    must, fix = "label for a source of your own", "give the groups as its labels"
    require(classes == "label", "audio", "classes", must, classes, fix, error=DataError)
    found: Source = data
    return found


def _by_group(path: Path, rows: list[SoundRow]) -> list[SoundRow]:
    """Take the groups as labels; nothing keeps a group on one side of a split then."""
    known = any(row.group is not None for row in rows)
    fix = "add a column group or speaker to a manifest, or give a pattern with {group}"
    require(known, str(path), "groups", "given to be classes", "none", fix, error=DataError)
    return [row._replace(label=row.group, group=None) for row in rows]


def _rows(path: Path, pattern: str | None) -> list[SoundRow]:
    fix = "check the spelling and the working folder"
    require(path.exists(), str(path), "DATA", "an existing folder or file", "neither", fix, error=DataError)
    if path.is_dir():
        return list_sounds(path, pattern)
    suffix = path.suffix.lower()
    if suffix in MANIFESTS:
        return read_sound_manifest(path)
    known = ", ".join(sorted(SOUNDS | MANIFESTS))
    require(suffix in SOUNDS, str(path), "a file's ending", f"one of {known}", repr(suffix), error=DataError)
    return [SoundRow(path.name, str(path))]


def _from_rows(path: Path, rows: list[SoundRow], rate: int | None, longest: float) -> SoundFiles:
    labels, names = encode_labels([row.label for row in rows])
    if path.is_dir() and labels is not None:  # folder names are names, also when they look like numbers
        names = tuple(class_order({row.label for row in rows if row.label is not None}))
        place = {name: number for number, name in enumerate(names)}
        labels = np.array([-1 if row.label is None else place[row.label] for row in rows], dtype=np.int64)
    chosen = common_rate([row.path for row in rows]) if rate is None else rate
    return SoundFiles(rows, labels, names, rate=chosen, longest=longest, who=str(path))


def common_rate(paths: Sequence[str]) -> int:
    """Return the most common rate among files spread evenly over all, the higher on a tie, at most `HIGHEST_RATE`."""
    rows = np.unique(np.linspace(0, len(paths) - 1, _HEADS_LOOKED_AT).round().astype(int))
    heads = [found for row in rows if (found := head(paths[row])) is not None and found.rate > 0]
    tally = collections.Counter(found.rate for found in heads)
    best = max(tally.items(), key=lambda item: (item[1], item[0]), default=(HIGHEST_RATE, 0))[0]
    return min(best, HIGHEST_RATE)
