"""Time series: even steps with gaps; seen through crops, noise and hidden moments; encoded by dilated convolutions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from nearfar.config import to_mapping
from nearfar.data import Glance, Source, Views
from nearfar.data.series import SeriesSource, open_series
from nearfar.data.source import origin, read_many
from nearfar.errors import DataError, require
from nearfar.modalities.base import Inputs, Modality
from nearfar.modalities.pictures import heat_map
from nearfar.views.series import SERIES_VIEWS, Drawn, SeriesView, change

__all__ = ["SERIES", "SeriesInputs", "SeriesOptions"]

FAR = 10.0
"""Scaled numbers are cut off this far from 0."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeriesOptions:
    """How time series are read; the first seven are names of columns of a long table.

    Attributes:
        series: which series a row is of; ``series`` when absent.
        time: when; ``time`` when absent.
        variable: which channel a row is of, where there is a row a measurement; ``variable`` when absent.
        value: its value; ``value`` when absent.
        label: the same in all rows of a series; ``label`` when absent.
        group: series that stay together, such as a patient's; ``group`` when absent.
        split: ``split`` when absent.
        step: the time of a step; the median distance of moments when absent.
        steps: how many steps; those of the longest series when absent.
        channels: names of the channels; all there are when absent.
    """

    series: str | None = None
    time: str | None = None
    variable: str | None = None
    value: str | None = None
    label: str | None = None
    group: str | None = None
    split: str | None = None
    step: float | None = None
    steps: int | None = None
    channels: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeriesInputs(Inputs):
    """What is known of time series.

    Attributes:
        channels: their names.
        mean: of each channel over the measured moments of the training rows.
        sd: likewise; 1 for a channel that does not vary.
        gaps: channels that miss moments: the encoder gets a further number for each, 1 where it is missing.
        steps: moments of a training series.
        rows: how many training series there were.
        columns: how the data were read.
    """

    modality: ClassVar[str] = "series"
    raw_name: ClassVar[str] = "raw summaries"
    default_views = "crops"
    default_encoder = "series-conv"

    channels: tuple[str, ...]
    mean: tuple[float, ...]
    sd: tuple[float, ...]
    gaps: tuple[int, ...] = ()
    steps: int = 0
    rows: int = 0
    columns: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def options(self) -> dict[str, Any]:
        """How the data were read."""
        return dict(self.columns)

    def reading(self, who: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the same, with the training series' channels and number of steps."""
        return {**self.columns, **given, "channels": self.channels, "steps": given.get("steps", self.steps)}

    def views(self, name: str) -> tuple[SeriesView, ...]:
        """Return the views of a name."""
        return tuple(SERIES_VIEWS.get(self.default_views if name == "auto" else name)())

    def evaluation_view(self) -> SeriesView:
        """Return the whole series."""
        return SeriesView()

    @property
    def view_words(self) -> str:
        """How many channels and steps there are."""
        gaps = f", {len(self.gaps)} of them with gaps" if self.gaps else ""
        what = f"{len(self.channels)} channels{gaps}, {self.steps} steps"
        return f"whole series, {what}, scaled as in {self.rows} training rows"

    def make_views(self, items: Any, views: Sequence[Any], rng: np.random.Generator) -> Sequence[Views]:
        """Return one (n, C', T') float32 tensor a view; crops in pairs also say how many moments they share."""
        rows = self._scaled(items)
        measured = np.asarray(np.isfinite(rows).sum(axis=2) > 0)
        lengths = np.where(measured.any(axis=1), rows.shape[1] - np.argmax(measured[:, ::-1], axis=1), 1)
        drawn: dict[int, Drawn] = {}
        made: list[Views] = []
        for view in views:
            size = max(1, round(view.crop * rows.shape[1]))
            if view.pair != "none" and size not in drawn:
                drawn[size] = Drawn.of(lengths, rows.shape[1], size, rng)
            x = torch.from_numpy(self.encode(change(rows, view, lengths, rng, drawn.get(size))))
            if view.pair == "none":
                made.append(x)
            else:
                made.append({"x": x, "shared": torch.full((len(x),), size - drawn[size].shift)})
        return made

    def _scaled(self, items: Any) -> NDArray[np.float64]:
        rows: NDArray[np.float64] = np.asarray(items, dtype=np.float64)
        scaled: NDArray[np.float64] = (rows - np.array(self.mean)) / np.array(self.sd)
        return scaled

    def encode(self, rows: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return (n, C', T): scaled channels, 0 where missing, then a mark for each channel with gaps."""
        missing = np.isnan(rows)
        filled = np.clip(np.where(missing, 0, rows), -FAR, FAR)
        whole = np.concatenate([filled, missing[..., list(self.gaps)]], axis=2)
        return np.ascontiguousarray(whole.transpose(0, 2, 1), dtype=np.float32)

    def encoder_arguments(self) -> dict[str, Any]:
        """Return the number of channels and marks."""
        return {"channels": len(self.channels) + len(self.gaps)}

    def raw(self, items: Any) -> NDArray[np.float32]:
        """Return mean, deviation, least, largest, first and last value of each channel, and the share measured."""
        rows = self._scaled(items)
        known = np.isfinite(rows)
        count = known.sum(axis=1)
        some = count > 0
        divisor = np.maximum(count, 1)
        filled = np.where(known, rows, 0)
        mean = filled.sum(axis=1) / divisor
        square = np.where(known, (rows - mean[:, None]) ** 2, 0).sum(axis=1) / divisor
        least = np.where(some, np.where(known, rows, np.inf).min(axis=1), 0)
        largest = np.where(some, np.where(known, rows, -np.inf).max(axis=1), 0)
        first = np.take_along_axis(filled, known.argmax(axis=1)[:, None], axis=1)[:, 0]
        last = np.take_along_axis(filled, (rows.shape[1] - 1 - known[:, ::-1].argmax(axis=1))[:, None], axis=1)[:, 0]
        parts = [mean, np.sqrt(square), least, largest, first, last, count / rows.shape[1]]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def thumbnail(self, item: Any) -> NDArray[Any]:
        """Return the scaled series as cells, a row a channel, time to the right, grey where nothing was measured."""
        return heat_map(self._scaled(item).T.astype(np.float32), limit=3.0)

    def picture(self, view: Views, row: int) -> NDArray[Any]:
        """Return one view's channels as cells."""
        x = view if isinstance(view, torch.Tensor) else view["x"]
        return heat_map(x[row, : len(self.channels)].numpy(), limit=3.0)

    def preprocessing(self) -> dict[str, Any]:
        """Return the channels with their scaling."""
        return {**to_mapping(self), "cut_off": FAR, "missing": "0, and 1 in the channel's mark"}

    def example(self, count: int) -> Views:
        """Return series of normal noise."""
        generator = torch.Generator().manual_seed(count)
        return torch.randn(count, len(self.channels) + len(self.gaps), self.steps, generator=generator)


class SeriesModality(Modality):
    """Time series."""

    name = "series"
    items = "series"
    labels_fix = "name the column with --input-options.label COLUMN, or use simclr"
    query = "a file of series"
    options = SeriesOptions
    inputs = SeriesInputs
    given = ("channels",)

    def recognises(self, seen: Glance) -> bool:
        """Whether there are arrays of three axes that are no images, or a long table with ``series`` and ``time``."""
        if seen.kind == "object" and _is_series(seen.data):
            return True
        if {"series", "time"} <= set(seen.columns):
            return True
        return any(len(fact.shape) == 3 and fact.dtype.kind == "f" for fact in seen.arrays.values())

    def open_splits(self, data: Any, options: Mapping[str, Any]) -> dict[str, Source]:
        """Open time series and their splits."""
        return {"": data} if _is_series(data) else open_series(data, options)

    def fit(self, source: Source, options: Mapping[str, Any]) -> SeriesInputs:
        """Take each channel's mean, deviation and gaps from the training series."""
        base = origin(source, 0)[0]
        require(isinstance(base, SeriesSource), "series", "data", "opened as series", type(base).__name__,
                error=DataError)  # fmt: skip
        assert isinstance(base, SeriesSource)
        rows = np.asarray(read_many(source, np.arange(len(source))), dtype=np.float64)
        known = np.isfinite(rows)
        count = known.sum(axis=(0, 1))
        empty = [name for name, number in zip(base.channels, count, strict=True) if not number]
        fix = "leave it out with --input-options.channels"
        require(not empty, "series", "channels", "measured somewhere in the training rows", f"none in {empty[:3]}", fix,
                error=DataError)  # fmt: skip
        mean = np.where(known, rows, 0).sum(axis=(0, 1)) / count
        square = np.where(known, (rows - mean) ** 2, 0).sum(axis=(0, 1)) / count
        sd = np.sqrt(square)
        return SeriesInputs(
            channels=base.channels,
            mean=tuple(mean.tolist()),
            sd=tuple(np.where(sd > 1e-12 * np.maximum(1, np.abs(mean)), sd, 1.0).tolist()),
            gaps=tuple(np.flatnonzero(count < rows.shape[0] * rows.shape[1]).tolist()),
            steps=rows.shape[1],
            rows=len(rows),
            columns={key: value for key, value in options.items() if key != "channels"},
        )

    def views(self, name: str) -> tuple[SeriesView, ...]:
        """Return the views of a name."""
        return tuple(SERIES_VIEWS.get(name)())

    def view_names(self) -> list[str]:
        """Return the names of the registry."""
        return SERIES_VIEWS.names()


def _is_series(data: Any) -> bool:
    """Whether data are series that were opened already."""
    return callable(getattr(data, "fingerprint", None)) and isinstance(origin(data, 0)[0], SeriesSource)


SERIES = SeriesModality()
