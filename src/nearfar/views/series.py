"""Views of time series: crops, noise, scaling, segments in another order, hidden moments; whole batches with numpy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import require
from nearfar.registry import Registry

__all__ = ["SERIES_VIEWS", "Drawn", "SeriesView", "change", "clean", "crops", "strong", "ts2vec", "weak"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeriesView:
    """One view of a series; with its defaults the whole series as it is. Steps act in this order.

    Attributes:
        crop: the share of the moments that stay, neighbours from a place drawn for each series.
        pair: ``first`` and ``second`` are two crops of which the end of the first is the beginning of the second, by as
            many moments in the whole batch; ``none`` is a crop by itself.
        permute: the most segments that the series is cut into and put together in another order; 1 for none.
        scale: standard deviation of the factor, about 1, that each channel is multiplied by.
        jitter: standard deviation of noise, in standard deviations of each channel's training values.
        hide: the share of moments that are hidden in all channels, which looks like missing.

    Raises:
        InputError: when a value is out of its range.
    """

    crop: float = 1.0
    pair: Literal["none", "first", "second"] = "none"
    permute: int = 1
    scale: float = 0.0
    jitter: float = 0.0
    hide: float = 0.0

    def __post_init__(self) -> None:
        require(0 < self.crop <= 1, "SeriesView", "crop", "in (0, 1]", self.crop)
        require(self.permute >= 1, "SeriesView", "permute", ">= 1", self.permute)
        require(0 <= self.hide < 1, "SeriesView", "hide", "in [0, 1)", self.hide)
        for name in ("scale", "jitter"):
            require(getattr(self, name) >= 0, "SeriesView", name, ">= 0", getattr(self, name))


@dataclasses.dataclass(frozen=True)
class Drawn:
    """What both crops of a pair have in common: how far the second is behind, and where each series' first begins."""

    shift: int
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, lengths: NDArray[np.int64], whole: int, size: int, rng: np.random.Generator) -> Drawn:
        """Draw both; at least one moment, and half of them at least, is shared."""
        shift = int(rng.integers(0, max(0, min(whole - size, size // 2)) + 1))
        room = np.maximum(0, np.minimum(lengths, whole) - size - shift)
        return cls(shift, np.minimum(rng.integers(0, room + 1), whole - size - shift))


def change(
    rows: NDArray[np.float64],
    view: SeriesView,
    lengths: NDArray[np.int64],
    rng: np.random.Generator,
    drawn: Drawn | None = None,
) -> NDArray[np.float64]:
    """Return one view of every series.

    Args:
        rows: (n, T, C), each channel with deviation 1 over the training rows; NaN where missing.
        view: what happens to them.
        lengths: (n,) moments before the padding of each series.
        rng: all that is random is drawn from it.
        drawn: of a pair of crops.

    Returns:
        (n, T', C), T' = crop * T.
    """
    n, whole, channels = rows.shape
    if view.crop < 1:
        size = max(1, round(view.crop * whole))
        if view.pair != "none" and drawn is not None:
            starts = drawn.starts + (drawn.shift if view.pair == "second" else 0)
        else:
            starts = rng.integers(0, np.maximum(0, lengths - size) + 1)
        rows = np.take_along_axis(rows, (starts[:, None] + np.arange(size))[..., None], axis=1)
        whole = size
    if view.permute > 1:
        rows = np.take_along_axis(rows, _orders(n, whole, view.permute, rng)[..., None], axis=1)
    if view.scale > 0:
        rows = rows * (1 + view.scale * rng.standard_normal((n, 1, channels)))
    if view.jitter > 0:
        rows = rows + view.jitter * rng.standard_normal(rows.shape)
    if view.hide > 0:
        rows = np.where(rng.random((n, whole, 1)) < view.hide, np.nan, rows)
    return rows


def _orders(n: int, whole: int, most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return (n, T) moments, each series cut at random places into 1 to ``most`` segments in random order."""
    orders = np.empty((n, whole), dtype=np.int64)
    for row in range(n):
        cuts = np.sort(rng.permutation(np.arange(1, whole))[: rng.integers(1, most + 1) - 1])
        parts = np.split(np.arange(whole), cuts)
        orders[row] = np.concatenate([parts[place] for place in rng.permutation(len(parts))])
    return orders


def crops() -> list[SeriesView]:
    """Two crops of three quarters, with a little scaling and noise: what fits most series."""
    return [SeriesView(crop=0.75, scale=0.1, jitter=0.1)] * 2


def weak() -> list[SeriesView]:
    """Scaling (0.1) and noise (0.1) on the whole series: TS-TCC's weak view, twice.

    Eldele et al., IJCAI 2021, section 3.1, https://arxiv.org/abs/2106.14112
    """
    return [SeriesView(scale=0.1, jitter=0.1)] * 2


def strong() -> list[SeriesView]:
    """TS-TCC's weak view, and its strong one: segments in another order, with noise."""
    return [SeriesView(scale=0.1, jitter=0.1), SeriesView(permute=5, jitter=0.1)]


def ts2vec() -> list[SeriesView]:
    """TS2Vec's two overlapping crops, for the method ``ts2vec``; its mask of moments is the encoder's."""
    return [SeriesView(crop=0.75, pair="first"), SeriesView(crop=0.75, pair="second")]


def clean() -> list[SeriesView]:
    """The whole series, twice."""
    return [SeriesView()] * 2


SERIES_VIEWS: Registry[Callable[[], list[SeriesView]]] = Registry(
    "views of a series",
    group="nearfar.views.series",
    builtin={
        "crops": "nearfar.views.series:crops",
        "weak": "nearfar.views.series:weak",
        "strong": "nearfar.views.series:strong",
        "ts2vec": "nearfar.views.series:ts2vec",
        "clean": "nearfar.views.series:clean",
    },
)
"""Views of time series by name."""
