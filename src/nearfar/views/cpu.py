"""Applying a plan on the processor: the compiled loops of `kernels`, on threads that share one batch.

The first call ever compiles for 10 to 20 seconds and says so; the result is kept beside the package (or in the user's
cache folder, or in ``NUMBA_CACHE_DIR``) and loads in under a second from then on. Threads are plain ones: the loops
release the interpreter's lock, and each picture is made by one thread alone, so that their number changes nothing.
"""

from __future__ import annotations

import itertools
import math
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.progress import say
from nearfar.views import kernels
from nearfar.views.matrix import compose
from nearfar.views.plan import Plan

__all__ = ["Located", "locate", "run"]


class Located(NamedTuple):
    """Pictures that are contiguous, and where: kept together, because the loops know nothing but the addresses.

    Attributes:
        pictures: what keeps them alive.
        address: (N,) int64.
        item: bytes of a value.
    """

    pictures: Sequence[NDArray[Any]] | NDArray[Any]
    address: NDArray[np.int64]
    item: int


def locate(images: Sequence[NDArray[Any]] | NDArray[Any] | Tensor) -> Located:
    """Make pictures contiguous where they are not, and look up their addresses."""
    if isinstance(images, Tensor):
        images = images.numpy()
    if isinstance(images, np.ndarray):
        images = np.ascontiguousarray(images)
        address = images.ctypes.data + images[:1].nbytes * np.arange(len(images), dtype=np.int64)
        return Located(images, address, images.itemsize)
    pictures = [np.ascontiguousarray(picture) for picture in images]
    places = [picture.__array_interface__["data"][0] for picture in pictures]
    return Located(pictures, np.array(places, dtype=np.int64), pictures[0].itemsize if pictures else 1)


def run(
    plan: Plan,
    images: Sequence[NDArray[Any]] | NDArray[Any] | Tensor | Located,
    *,
    channels_last: bool = True,
    threads: int | None = None,
) -> Tensor:
    """Return the views, (N, C, S, S) float32, of N pictures (H, W, C), uint8 or uint16, checked by the caller.

    Pictures seen in several views are best located once.
    """
    n, size, channels = len(plan), plan.view.size, plan.channels
    shape = (n, size, size, channels) if channels_last else (n, channels, size, size)
    array = np.empty(
        shape, np.float32
    )  # numpy asks for huge pages, torch does not: three times fewer faults to wait for
    views = torch.from_numpy(array).permute(0, 3, 1, 2) if channels_last else torch.from_numpy(array)
    if n == 0:
        return views
    located = images if isinstance(images, Located) else locate(images)
    shared = _arguments(plan, located, channels_last, array.reshape(n, -1))
    _prepare(shared)
    threads = min(threads or _cores(), n)
    if threads == 1:
        _make(0, n, shared, located)
        return views
    edges = np.linspace(0, n, 4 * threads + 1 if n >= 16 * threads else threads + 1).astype(int).tolist()
    parts = itertools.pairwise(edges)  # more parts than threads, as pictures differ in cost
    for done in [_pool(threads).submit(_make, start, stop, shared, located) for start, stop in parts]:
        done.result()
    return views


def _make(start: int, stop: int, shared: tuple[Any, ...], _located: Located) -> None:
    """Run the loops; the pictures stay alive as long as this runs, even when nobody waits for it any more."""
    kernels.make(start, stop, *shared)


def _prepare(shared: tuple[Any, ...]) -> None:
    """Load or compile the loops by making no picture; tell who waits for the compiler."""
    if kernels.make.signatures:
        return
    told = threading.Timer(2.0, say, ["Compiling the loops that make views for this processor, once: 10 to 20 s."])
    told.daemon = True
    told.start()
    try:
        kernels.make(0, 0, *shared)
    finally:
        told.cancel()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="nearfar-views")


if hasattr(os, "register_at_fork"):  # a forked child has the pool, but none of its threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _arguments(plan: Plan, located: Located, channels_last: bool, views: NDArray[np.float32]) -> tuple[Any, ...]:
    """What `kernels.make` shares between threads, in its order."""
    view = plan.view
    mean, std = (np.array(values) for values in view.normalisation(plan.channels))
    cubic = view.interpolation == "bicubic"
    stretch = max(1.0, float(plan.box[:, 2:].max()) / view.size)
    blurs = bool((plan.sigma > 0).any())
    return (
        kernels.Pictures(located.address, located.item, _integers(plan.sizes), plan.channels),
        kernels.Crop(
            _reals(plan.box), _integers(plan.window), _flags(plan.hflip), _flags(plan.vflip), view.size, cubic,
            taps=2 * math.ceil((2 if cubic else 1) * stretch) + 1,
            row=int((plan.window[:, 3] - plan.window[:, 1]).max()) * plan.channels,
        ),
        kernels.Move(
            view.moves, _reals(np.column_stack([np.radians(plan.angle), plan.shift, plan.zoom])),
            view.border == "reflect", np.float32(view.fill),
        ),
        kernels.Color(
            _integers(plan.order), _singles(plan.factors), view.brightness_mode == "add", _flags(plan.gray),
            view.color == "matrix", *(_singles(values) for values in compose(plan)),
        ),
        kernels.Finish(
            _reals(plan.sigma), view.kernel_size // 2 if blurs else 0, _flags(plan.solarize),
            np.float32(view.threshold), _integers(plan.erase), _singles(1 / std), _singles(-mean / std), channels_last,
        ),
        views,
    )  # fmt: skip


# One dtype, layout and writability for each argument, whoever made the plan: another would compile all once more.


def _reals(values: NDArray[Any]) -> NDArray[np.float64]:
    return np.require(values, np.float64, ["C", "W"])


def _singles(values: NDArray[Any]) -> NDArray[np.float32]:
    return np.require(values, np.float32, ["C", "W"])


def _integers(values: NDArray[Any]) -> NDArray[np.int64]:
    return np.require(values, np.int64, ["C", "W"])


def _flags(values: NDArray[Any]) -> NDArray[np.bool_]:
    return np.require(values, np.bool_, ["C", "W"])
