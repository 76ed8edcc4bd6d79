"""Applying a plan on the processor: the compiled loops of `kernels`, on threads that share one batch.

The first call compiles for about ten seconds and keeps the result beside the package (or in the user's cache folder,
or in ``NUMBA_CACHE_DIR``), so it happens once per installation. Threads are plain ones: the loops release the
interpreter's lock, and each picture is made by one thread alone, so that their number changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.views import kernels
from nearfar.views.matrix import compose
from nearfar.views.plan import Plan

__all__ = ["run"]


def run(
    plan: Plan,
    images: Sequence[NDArray[Any]] | NDArray[Any] | Tensor,
    *,
    channels_last: bool = True,
    threads: int | None = None,
) -> Tensor:
    """Return the views, (N, C, S, S) float32, of N pictures (H, W, C), uint8 or uint16, checked by the caller."""
    n, size, channels = len(plan), plan.view.size, plan.channels
    layout = torch.channels_last if channels_last else torch.contiguous_format
    views = torch.empty(n, channels, size, size, memory_format=layout)
    if n == 0:
        return views
    pictures = _contiguous(images)
    flat = (views.permute(0, 2, 3, 1) if channels_last else views).reshape(n, -1).numpy()
    shared = _arguments(plan, pictures, channels_last, flat)
    threads = min(threads or _cores(), n)
    if threads == 1:
        kernels.make(0, n, *shared)
        return views
    edges = np.linspace(0, n, 4 * threads + 1 if n >= 16 * threads else threads + 1).astype(int).tolist()
    parts = zip(edges[:-1], edges[1:], strict=True)  # more parts than threads, as pictures differ in cost
    for done in [_pool(threads).submit(kernels.make, start, stop, *shared) for start, stop in parts]:
        done.result()
    return views


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="nearfar-views")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _contiguous(images: Sequence[NDArray[Any]] | NDArray[Any] | Tensor) -> Sequence[NDArray[Any]]:
    if isinstance(images, Tensor):
        images = images.numpy()
    if isinstance(images, np.ndarray):
        images = np.ascontiguousarray(images)
    return [np.ascontiguousarray(picture) for picture in images]


def _arguments(
    plan: Plan, pictures: Sequence[NDArray[Any]], channels_last: bool, views: NDArray[np.float32]
) -> tuple[Any, ...]:
    """What `kernels.make` shares between threads, in its order."""
    view = plan.view
    single = np.float32
    mean, std = (np.array(values) for values in view.normalisation(plan.channels))
    stretch = max(1.0, float(plan.box[:, 2:].max()) / view.size)
    taps = 2 * int(np.ceil((2 if view.interpolation == "bicubic" else 1) * stretch)) + 1
    row = int((plan.window[:, 3] - plan.window[:, 1]).max()) * plan.channels
    move = np.column_stack([np.radians(plan.angle), plan.shift, plan.zoom])
    blurs = bool((plan.sigma > 0).any())
    address = np.array([picture.ctypes.data for picture in pictures], dtype=np.int64)
    return (
        address, pictures[0].itemsize, plan.sizes, plan.channels, view.size,
        plan.box, plan.window, view.interpolation == "bicubic", plan.hflip, plan.vflip, np.array([taps, row]),
        view.moves, move, view.border == "reflect", single(view.fill),
        plan.order, plan.factors.astype(single), view.brightness_mode == "add",
        view.color == "matrix", *(values.astype(single) for values in compose(plan)),
        plan.gray, plan.sigma, view.kernel_size // 2 if blurs else 0, plan.solarize, single(view.threshold), plan.erase,
        (1 / std).astype(single), (-mean / std).astype(single), channels_last, views,
    )  # fmt: skip
