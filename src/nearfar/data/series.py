"""Time series as a source: every item a (T, C) array of moments and channels, NaN where nothing was measured.

Irregular series are brought to even steps here: a step has the mean of what was measured in it. Shorter series are
filled up with NaN at the end.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data.folder import split_name
from nearfar.data.labels import encode_labels
from nearfar.data.memory import available_bytes, size_text
from nearfar.data.source import Source, check_source, digest, take
from nearfar.data.table_files import Columns, read_columns
from nearfar.errors import DataError, nearest, require
from nearfar.progress import say

__all__ = ["SeriesSource", "open_series"]

MOST_STEPS = 4096

_SERIES = ("x", "X", "data", "series", "values")
_LABELS = ("y", "Y", "label", "labels", "target", "targets")


class SeriesSource:
    """N series of one length.

    Attributes:
        values: (N, T, C) float64, NaN where missing.
        channels: C names.
    """

    def __init__(
        self,
        values: NDArray[np.float64],
        channels: Sequence[str],
        *,
        labels: NDArray[np.int64] | None = None,
        class_names: tuple[str, ...] | None = None,
        ids: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
        who: str = "series",
    ) -> None:
        self.values, self.channels = values, tuple(channels)
        self.ids: Sequence[str] = [str(row) for row in range(len(values))] if ids is None else ids
        self.labels, self.class_names, self.groups = labels, class_names, groups
        check_source(who, self.ids, labels)

    def __len__(self) -> int:
        return len(self.values)

    def read(self, index: int) -> NDArray[np.float64]:
        """Return one series, (T, C)."""
        one: NDArray[np.float64] = self.values[index]
        return one

    def read_many(self, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (M, T, C)."""
        return self.values[indices]

    def fingerprint(self) -> str:
        """Digest of all values, channels, ids and labels."""
        labels = b"" if self.labels is None else self.labels.astype("<i8").tobytes()
        shape = f"{self.values.shape}"
        content = self.values.astype("<f8").tobytes()
        return digest("series", shape, content, self.channels, self.ids, labels, self.class_names or ())


def open_series(data: Any, options: Mapping[str, Any] | None = None) -> dict[str, Source]:
    """Open time series and their splits.

    Args:
        data: a (N, T, C) array; a ``.npy`` of one; a ``.npz`` with it under ``x``, ``X``, ``data``, ``series`` or
            ``values``, and, perhaps, ``y`` or ``labels``, ``groups``, ``split`` and ``channels``; or a long table (a
            file or mapping, see `nearfar.data.table_files.read_columns`) with a row a moment: columns ``series`` and
            ``time``, then a column a channel, or ``variable`` and ``value``; ``label``, ``group`` and ``split`` are the
            same in all rows of a series.
        options: ``series``, ``time``, ``variable``, ``value``, ``label``, ``group``, ``split``: other names of these
            columns; ``step``: the time of a step, the median distance of moments when absent; ``steps``: how many, as
            many as the longest series has when absent; ``channels``: names, all there are when absent.

    Returns:
        Everything under ``""``, and each split under its name.

    Raises:
        DataError: when they cannot be used.
    """
    options = {key: value for key, value in (options or {}).items() if value is not None}
    who = str(data) if isinstance(data, str | Path) else "series"
    if isinstance(data, np.ndarray):
        return _parts(_checked(data, {}, who), None, who)
    if isinstance(data, str | os.PathLike) and Path(data).suffix.lower() in (".npy", ".npz"):
        return _arrays(Path(data), who)
    return _long(read_columns(data), options, who)


def _arrays(path: Path, who: str) -> dict[str, Source]:
    try:
        loaded = np.load(path, allow_pickle=False)
        arrays = {"x": loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError, KeyError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise DataError(f"{path}: cannot be read as an array file ({first}); save no objects") from None
    key = next((name for name in _SERIES if name in arrays and arrays[name].ndim == 3), None)
    must, fix = "a (N, T, C) array called x, data, series or values", f"found {', '.join(arrays)}"
    require(key is not None, who, "file", must, "none", fix, error=DataError)
    assert key is not None
    split = arrays.get("split")
    return _parts(_checked(arrays[key], arrays, who), None if split is None else [str(one) for one in split], who)


def _checked(values: NDArray[Any], arrays: Mapping[str, NDArray[Any]], who: str) -> SeriesSource:
    fits = values.ndim == 3 and values.dtype.kind in "fiub" and min(values.shape) > 0
    require(fits, who, "series", "(N, T, C) numbers", f"{values.shape} {values.dtype}", error=DataError)
    numbers = np.asarray(values, dtype=np.float64)
    known = next((arrays[name] for name in _LABELS if name in arrays), None)
    for name, entries in (("labels", known), ("groups", arrays.get("groups")), ("split", arrays.get("split"))):
        must = f"{len(values)}, one a series"
        require(entries is None or len(entries) == len(values), who, name, must, 0 if entries is None else len(entries),
                error=DataError)  # fmt: skip
    labels, names = (None, None) if known is None else encode_labels(known.reshape(-1).tolist())
    channels = arrays.get("channels")
    groups = arrays.get("groups")
    texts = [str(place) for place in range(values.shape[2])] if channels is None else [str(name) for name in channels]
    require(len(texts) == values.shape[2], who, "channels", f"{values.shape[2]} names", len(texts), error=DataError)
    return SeriesSource(
        np.where(np.isfinite(numbers), numbers, np.nan), texts, labels=labels, class_names=names,
        groups=None if groups is None else [str(one) for one in groups], who=who,
    )  # fmt: skip


def _long(columns: Columns, options: Mapping[str, Any], who: str) -> dict[str, Source]:
    names = {
        key: str(options.get(key, key)) for key in ("series", "time", "variable", "value", "label", "group", "split")
    }
    for key in ("series", "time"):
        fix = f"name it with --input-options.{key}; {nearest(names[key], columns)}"
        require(names[key] in columns, who, "columns", f"{key} among them", f"none called {names[key]!r}", fix,
                error=DataError)  # fmt: skip
    ids, place = np.unique(np.array([_name(one) for one in columns[names["series"]]]), return_inverse=True)
    time = columns[names["time"]]
    must = "numbers or dates, in every row"
    numeric = time.dtype != object and bool(np.isfinite(time).all())
    require(numeric, who, f"column {names['time']!r}", must, "texts or gaps", error=DataError)
    step, index = _steps(time, place, options)
    about = set(names.values())
    if names["variable"] in columns and names["value"] in columns:
        variables = np.array([_name(one) for one in columns[names["variable"]]])
        channels = _channels(sorted(set(variables)), options, who)
        channel = _places(variables, channels)
        value = _numbers(columns[names["value"]], names["value"], who)
    else:
        channels = _channels([name for name in columns if name not in about], options, who)
        stacked = np.stack([_numbers(columns[name], name, who) for name in channels], axis=1)
        channel, value = np.tile(np.arange(len(channels)), len(stacked)), stacked.reshape(-1)
        place, index = np.repeat(place, len(channels)), np.repeat(index, len(channels))
    length = int(options.get("steps") or min(MOST_STEPS, int(index.max()) + 1))
    size, room = 8 * len(ids) * length * len(channels), available_bytes() // 3
    must = f"at most {size_text(room)} in memory"
    require(size <= room, who, "series", must, size_text(size), "take fewer --input-options.steps", error=DataError)
    if "step" not in options:
        say(f"{who}: {len(ids)} series of {length} steps of {step:g}, {len(channels)} channels")
    kept = (index < length) & (channel >= 0) & np.isfinite(value)
    values = _means(place[kept], index[kept], channel[kept], value[kept], (len(ids), length, len(channels)))
    texts = {key: _constant(columns, names[key], names["series"], ids, who) for key in ("label", "group", "split")}
    labels, classes = (None, None) if texts["label"] is None else encode_labels(texts["label"])
    source = SeriesSource(
        values,
        channels,
        labels=labels,
        class_names=classes,
        ids=[str(one) for one in ids],
        groups=texts["group"],
        who=who,
    )
    return _parts(source, texts["split"], who)


def _steps(
    time: NDArray[np.float64], place: NDArray[np.int64], options: Mapping[str, Any]
) -> tuple[float, NDArray[np.int64]]:
    """Return the time of a step and each row's step within its series."""
    start = np.full(int(place.max()) + 1, np.inf)
    np.minimum.at(start, place, time)
    since = time - start[place]
    if options.get("step"):
        step = float(options["step"])
    else:
        order = np.lexsort((since, place))
        gaps = np.diff(since[order])[np.diff(place[order]) == 0]
        gaps = gaps[gaps > 0]
        step = float(np.median(gaps)) if len(gaps) else 1.0
    return step, np.floor(since / step + 1e-9).astype(np.int64)


def _means(
    place: NDArray[np.int64],
    index: NDArray[np.int64],
    channel: NDArray[np.int64],
    value: NDArray[np.float64],
    shape: tuple[int, int, int],
) -> NDArray[np.float64]:
    flat = np.ravel_multi_index((place, index, channel), shape)
    count = np.bincount(flat, minlength=int(np.prod(shape)))
    total = np.bincount(flat, weights=value, minlength=int(np.prod(shape)))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).reshape(shape)


def _channels(found: Sequence[str], options: Mapping[str, Any], who: str) -> list[str]:
    wanted = list(options.get("channels") or found)
    lost = next((name for name in wanted if name not in found), None)
    fix = nearest(lost or "", found)
    require(lost is None, who, "channels", "those of the training data", f"none called {lost!r}", fix, error=DataError)
    require(len(wanted) > 0, who, "channels", "one or more", "none", error=DataError)
    return wanted


def _places(names: NDArray[Any], channels: Sequence[str]) -> NDArray[np.int64]:
    place = {name: number for number, name in enumerate(channels)}
    return np.array([place.get(str(name), -1) for name in names], dtype=np.int64)


def _constant(columns: Columns, name: str, series: str, ids: NDArray[Any], who: str) -> list[str] | None:
    """Return the text that a column has in all rows of each series."""
    if name not in columns:
        return None
    found: dict[str, str] = {}
    for key, value in zip(columns[series], columns[name], strict=True):
        text = _name(value)
        other = found.setdefault(_name(key), text)
        require(other == text, who, f"column {name!r}", f"the same in all rows of series {_name(key)!r}",
                f"{other!r} and {text!r}", error=DataError)  # fmt: skip
    return [found[str(one)] for one in ids]


def _numbers(values: NDArray[Any], name: str, who: str) -> NDArray[np.float64]:
    require(values.dtype != object, who, f"channel {name!r}", "numbers", "texts", "leave it out with "
            "--input-options.channels", error=DataError)  # fmt: skip
    return values


def _name(value: Any) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _parts(source: SeriesSource, splits: Sequence[str] | None, who: str) -> dict[str, Source]:
    parts: dict[str, Source] = {"": source}
    if splits is None:
        return parts
    names = np.array([(split_name(text) or text) if text else "" for text in splits])
    if source.groups is not None:
        sides: dict[str, str] = {}
        for group, name in zip(source.groups, names, strict=True):
            other = sides.setdefault(group, str(name))
            require(other == name, who, f"series of group {group!r}", "in one split", f"{other!r} and {str(name)!r}",
                    error=DataError)  # fmt: skip
    for name in np.unique(names[names != ""]):
        parts[str(name)] = take(source, np.flatnonzero(names == name))
    return parts
