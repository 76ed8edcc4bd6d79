"""Making views of a batch: check it once, choose a back end, lay the result out."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.errors import require
from nearfar.views.image import ImageView
from nearfar.views.plan import Plan, draw

__all__ = ["Backend", "Images", "apply", "make_views"]

Images: TypeAlias = Sequence[NDArray[Any]] | NDArray[Any] | Tensor
"""N pictures (H, W, C) of varying size, or one (N, H, W, C) array or tensor; uint8 or uint16, all with C channels."""

Backend: TypeAlias = Literal["auto", "reference", "cpu", "cuda"]


def apply(
    plan: Plan,
    images: Images,
    *,
    backend: Backend = "auto",
    channels_last: bool = True,
    dtype: torch.dtype = torch.float32,
    threads: int | None = None,
) -> Tensor:
    """Make the views that a plan describes.

    Args:
        plan: from `draw`, for pictures of these sizes.
        images: the pictures, in the plan's order.
        backend: ``"reference"`` (plain torch, any device), ``"cpu"`` (compiled with numba), ``"cuda"`` (Triton, for one
            (N, H, W, C) uint8 tensor on a GPU), or ``"auto"``: the fastest one that can take these pictures.
        channels_last: memory layout of the result; its shape is the same either way.
        dtype: of the result, float32, bfloat16 or float16.
        threads: how many threads may work on the batch, ``None`` for all cores; the result does not depend on it.

    Returns:
        (N, C, S, S), in [0, 1] or normalised, on the device of ``images`` (CPU for arrays).

    Raises:
        InputError: when the pictures do not fit the plan, or differ in dtype or number of channels.
    """
    sizes, channels = measure(images)
    require(len(sizes) == len(plan), "apply", "images", f"{len(plan)} as in the plan", len(sizes))
    require(bool((sizes == plan.sizes).all()), "apply", "sizes of the images", "those of the plan", "others")
    require(len(plan) == 0 or channels == plan.channels, "apply", "channels", f"the plan's {plan.channels}", channels)
    return _run([plan], images, choose(images, backend), channels_last, dtype, threads)[0]


def _run(
    plans: Sequence[Plan],
    images: Images,
    backend: Backend,
    channels_last: bool,
    dtype: torch.dtype,
    threads: int | None,
) -> list[Tensor]:
    """Make the views of several plans for the same pictures, which are checked."""
    require(threads is None or threads >= 1, "views", "threads", ">= 1", threads)
    if backend == "cuda" and isinstance(images, Tensor):
        from nearfar.views import cuda

        return [cuda.run(plan, images, channels_last=channels_last, dtype=dtype) for plan in plans]
    if backend == "cpu":
        from nearfar.views import cpu

        located = cpu.locate(images)
        made = [cpu.run(plan, located, channels_last=channels_last, threads=threads) for plan in plans]
    else:
        from nearfar.views import reference

        made = [reference.run(plan, images) for plan in plans]
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return [views.to(dtype=dtype, memory_format=layout) for views in made]


def choose(images: Images, backend: Backend) -> Backend:
    """Return the back end that makes views of these images: the one asked for, or the fastest that can.

    Raises:
        InputError: when the one asked for cannot take these images.
    """
    require(backend in get_args(Backend), "views", "backend", f"one of {get_args(Backend)}", repr(backend))
    device = images.device.type if isinstance(images, Tensor) else "cpu"
    small = isinstance(images, Tensor) and images.dtype == torch.uint8
    fix = "move them, or leave the back end to 'auto'"
    if backend == "cpu":
        require(device == "cpu", "apply", "images for the back end 'cpu'", "on the CPU", f"them on {device!r}", fix)
    elif backend == "cuda":
        got = f"{'uint8' if small else 'others'} on {device!r}"
        require(small and device == "cuda", "apply", "images for 'cuda'", "one uint8 tensor on a GPU", got, fix)
    elif backend == "auto" and device == "cpu":
        return "cpu" if _works("numba", "nearfar.views.cpu") else "reference"
    elif backend == "auto" and device == "cuda" and small:
        return "cuda" if _works("triton", "nearfar.views.cuda") else "reference"
    return "reference" if backend == "auto" else backend


@cache
def _works(package: str, module: str) -> bool:
    """Whether a back end can be imported; it is tried once, and its absence told once."""
    try:
        importlib.import_module(module)
    except ImportError as error:
        text = f"views: {package} cannot be used ({error}), so views are made many times slower; install {package}"
        warnings.warn(text, RuntimeWarning, stacklevel=2)
        return False
    return True


def make_views(
    images: Images,
    views: Sequence[ImageView],
    rng: np.random.Generator,
    *,
    backend: Backend = "auto",
    channels_last: bool = True,
    dtype: torch.dtype = torch.float32,
    threads: int | None = None,
) -> list[Tensor]:
    """Draw and make every view of every picture.

    Args:
        images: N pictures (H, W, C) of varying size, or one (N, H, W, C) array or tensor; uint8 or uint16.
        views: V descriptions, for example from `nearfar.views.VIEWS`.
        rng: the only source of randomness.
        backend: as for `apply`.
        channels_last: as for `apply`.
        dtype: as for `apply`.
        threads: as for `apply`.

    Returns:
        V tensors (N, C, S, S), one per description.

    Raises:
        InputError: when the pictures differ in dtype or number of channels, or are no (H, W, C) integers.
    """
    sizes, channels = measure(images)
    plans = [draw(view, sizes, rng, channels=channels) for view in views]
    return _run(plans, images, choose(images, backend), channels_last, dtype, threads)


def measure(images: Images) -> tuple[NDArray[np.int64], int]:
    """Check the pictures and return their (N, 2) sizes and their number of channels (3 for an empty list).

    Raises:
        InputError: as `make_views`.
    """
    if isinstance(images, (np.ndarray, Tensor)):
        require(images.ndim == 4, "views", "images", "(N, H, W, C)", tuple(images.shape), "give a list for one picture")
        n, height, width, c = images.shape
        sizes, channels = np.tile(np.array([height, width], dtype=np.int64), (n, 1)), {int(c)}
        kinds = {str(images.dtype).removeprefix("torch.")}
    else:
        for i in (i for i, picture in enumerate(images) if picture.ndim != 3):
            require(False, "views", f"image {i}", "(H, W, C)", tuple(images[i].shape), "add the channel axis")
        sizes = np.array([picture.shape[:2] for picture in images], dtype=np.int64).reshape(-1, 2)
        channels = {picture.shape[2] for picture in images} or {3}
        kinds = {str(kind) for kind in {picture.dtype for picture in images}}
    require(len(kinds) <= 1, "views", "images", "of one dtype", ", ".join(sorted(kinds)))
    require(kinds <= {"uint8", "uint16"}, "views", "images", "uint8 or uint16", *kinds or ("none",))
    fix = "open the data with a fixed number of channels"
    require(len(channels) == 1, "views", "number of channels", "the same in all images", sorted(channels), fix)
    return sizes, channels.pop()
