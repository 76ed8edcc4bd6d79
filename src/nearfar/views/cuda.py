"""Applying a plan on a GPU: Triton kernels for a batch of pictures of one size that already lie there.

A few kernels, each over all tiles of pixels of all pictures, in this order; a step that a view lacks
is not started:

    resize     the picture to float32 (S, S, C); then the jitter's steps before the contrast, and the tile's grey sum
    move       looks the view up in what resize wrote, and takes those steps instead of it
    color      the contrast, the steps after it, grey
    blur_rows  the blur along rows
    finish     the blur along columns, solarise, normalise, erase, and the layout and dtype asked for

Without blur, finish takes the place of color. A tile is a block (pixels, channels); sums over tiles have a fixed order.
With ``TRITON_INTERPRET=1`` in the environment the same code runs on the CPU, slowly, which is how it is tested.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from nearfar.views.matrix import compose
from nearfar.views.plan import Plan

__all__ = ["run"]

BLOCK = 256  # pixels of a tile

# Columns of the table of reals
_BOX, _MOVE, _FACTORS, _SIGMA, _REALS = (tl.constexpr(column) for column in (0, 4, 8, 12, 13))
# Columns of the table of integers
_WINDOW, _FLIPS, _ORDER, _GRAY, _SOLARIZE, _ERASE, _WIDE, _INTEGERS = (
    tl.constexpr(column) for column in (0, 4, 6, 10, 11, 12, 16, 17)
)


def run(plan: Plan, images: Tensor, *, channels_last: bool = True, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the views, (N, C, S, S), of pictures (N, H, W, C), uint8, on a GPU, checked by the caller."""
    view, device = plan.view, images.device
    n, height, width, channels = images.shape
    size = view.size
    layout = torch.channels_last if channels_last else torch.contiguous_format
    views = torch.empty(n, channels, size, size, device=device, dtype=dtype, memory_format=layout)
    if n == 0:
        return views
    images = images.contiguous()
    reals, integers = _tables(plan, device)
    maps = _maps(plan, device)
    mean, std = (torch.tensor(values, device=device) for values in view.normalisation(channels))
    tiles = triton.cdiv(size * size, BLOCK)
    scratch = torch.empty(n, size, size, channels, device=device)
    spare = torch.empty_like(scratch) if view.moves or (plan.sigma > 0).any() else scratch
    sums = torch.empty(n, tiles, device=device)
    grid = (n * tiles,)
    fixed = {
        "S": size, "C": channels, "CP": triton.next_power_of_2(channels), "BLOCK": BLOCK, "TILES": tiles,
        "ADD": view.brightness_mode == "add", "MATRIX": view.color == "matrix",
    }  # fmt: skip
    table = (reals, integers, *maps)
    with torch.cuda.device(device) if images.is_cuda else contextlib.nullcontext():
        cubic = view.interpolation == "bicubic"
        stretch = max(1.0, float(plan.box[:, 2:].max()) / size)
        taps = 2 * math.ceil((2 if cubic else 1) * stretch) + 1
        first = spare if view.moves else scratch
        _resize[grid](images, first, sums, *table, height, width, taps, CUBIC=cubic, COLOR=not view.moves, **fixed)
        if view.moves:
            _move[grid](spare, scratch, sums, *table, view.fill, REFLECT=view.border == "reflect", **fixed)
        blurs = bool((plan.sigma > 0).any())
        rest = {"TP": triton.next_power_of_2(tiles), **fixed}
        if blurs:
            _color[grid](scratch, sums, *table, **rest)
            _blur_rows[grid](scratch, spare, *table, **fixed)
        _finish[grid](
            scratch, spare, views, sums, *table, mean, std, view.threshold, *views.stride(), BLURS=blurs, **rest
        )
    return views


def _tables(plan: Plan, device: torch.device) -> tuple[Tensor, Tensor]:
    """The plan as one table of float32 and one of int32, so that it crosses to the GPU in two copies."""
    angle, zoom = np.radians(plan.angle), plan.zoom
    corner = plan.box - np.pad(plan.window[:, :2], ((0, 0), (0, 2)))  # the box seen from its window
    move = np.column_stack([np.cos(angle) / zoom, np.sin(angle) / zoom, plan.shift])
    reals = np.column_stack([corner, move, plan.factors, plan.sigma])
    wide = np.minimum(plan.view.kernel_size // 2, np.ceil(3.5 * plan.sigma))
    integers = np.column_stack(
        [plan.window, plan.hflip, plan.vflip, plan.order, plan.gray, plan.solarize, plan.erase, wide]
    )
    return _send(torch.from_numpy(reals).float(), device), _send(torch.from_numpy(integers).int(), device)


def _maps(plan: Plan, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The colour maps of a matrix view; of an exact one, something that is never read."""
    matrix, offset, slope, probe = (_send(torch.from_numpy(part).float(), device) for part in compose(plan))
    if plan.view.color == "exact":
        matrix = offset = slope = probe = torch.zeros(1, device=device)
    return matrix, offset, slope, probe


def _send(tensor: Tensor, device: torch.device) -> Tensor:
    """To the GPU without waiting for it."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def _jit(function: Callable[..., None]) -> Any:
    return triton.jit(function)


# Helpers. x is a block (BLOCK, CP) of pixels and channels; channels from C on are padding.


@_jit
def _clamp(x: tl.tensor) -> tl.tensor:
    return tl.minimum(tl.maximum(x, 0.0), 1.0)


@_jit
def _column(x: tl.tensor, channel: tl.tensor, k: tl.constexpr) -> tl.tensor:
    """Channel k of the block: (BLOCK,)."""
    return tl.sum(tl.where(channel[None, :] == k, x, 0.0), axis=1)


@_jit
def _gray_weights(channel: tl.tensor, C: tl.constexpr) -> tl.tensor:
    if C == 3:
        return tl.where(channel == 0, 0.2989, tl.where(channel == 1, 0.587, tl.where(channel == 2, 0.114, 0.0)))
    return tl.where(channel < C, 1.0 / C, 0.0)


@_jit
def _gray(x: tl.tensor, channel: tl.tensor, C: tl.constexpr) -> tl.tensor:
    """(BLOCK,): the grey pixels; the mean of the channels for other than three."""
    return tl.sum(x * _gray_weights(channel, C)[None, :], axis=1)


@_jit
def _turn_hue(x: tl.tensor, channel: tl.tensor, turns: tl.tensor) -> tl.tensor:
    red, green, blue = _column(x, channel, 0), _column(x, channel, 1), _column(x, channel, 2)
    value = tl.maximum(red, tl.maximum(green, blue))
    chroma = value - tl.minimum(red, tl.minimum(green, blue))
    part = tl.where(
        value == red,
        green - blue,
        tl.where(value == green, blue - red + 2 * chroma, red - green + 4 * chroma),
    )
    hue = part / tl.maximum(chroma, 1e-12) + 6 * turns
    hue = tl.where(hue < 0, hue + 6, hue)
    hue = tl.where(hue >= 6, hue - 6, hue)
    red = value - chroma * (1 - _clamp(tl.abs(hue - 3) - 1))
    green = value - chroma * (1 - _clamp(2 - tl.abs(hue - 2)))
    blue = value - chroma * (1 - _clamp(2 - tl.abs(hue - 4)))
    which = channel[None, :]
    return tl.where(which == 0, red[:, None], tl.where(which == 1, green[:, None], blue[:, None]))


@_jit
def _steps(
    x: tl.tensor, channel: tl.tensor, reals: tl.tensor, integers: tl.tensor, level: tl.tensor, after: tl.constexpr,
    C: tl.constexpr, ADD: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """The jitter's steps before the contrast or, ``after``, from it on; without contrast all of them are after."""
    contrast = 4
    for place in tl.static_range(4):
        contrast = tl.where(tl.load(integers + _ORDER + place) == 1, place, contrast)
    begin = tl.where(contrast < 4, contrast, 0)
    for place in tl.static_range(4):
        step = tl.load(integers + _ORDER + place)
        mine = place >= begin if after else place < begin
        if mine & (step >= 0):
            factor = tl.load(reals + _FACTORS + step)
            if step == 0:
                x = _clamp(x + factor) if ADD else _clamp(x * factor)
            elif step == 1:
                x = _clamp(x * factor + level * (1 - factor))
            elif C == 3:
                if step == 2:
                    x = _clamp(x * factor + _gray(x, channel, C)[:, None] * (1 - factor))
                else:
                    x = _turn_hue(x, channel, factor)
    return x


@_jit
def _before(
    x: tl.tensor, inside: tl.tensor, channel: tl.tensor, sums: tl.tensor, reals: tl.tensor, integers: tl.tensor,
    probe: tl.tensor,
    C: tl.constexpr, ADD: tl.constexpr, MATRIX: tl.constexpr, TILES: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Take the steps before the contrast and store the tile's part of the sum that gives the grey level."""
    program = tl.program_id(0)
    if MATRIX:
        weights = tl.load(probe + program // TILES * (C + 1) + channel, mask=channel < C, other=0.0)
        grey = tl.sum(x * weights[None, :], axis=1)
    else:
        x = _steps(x, channel, reals, integers, 0.0, False, C, ADD)
        grey = _gray(x, channel, C)
    tl.store(sums + program, tl.sum(tl.where(inside, grey, 0.0), axis=0))
    return x


@_jit
def _after(
    x: tl.tensor, channel: tl.tensor, sums: tl.tensor, reals: tl.tensor, integers: tl.tensor, matrix: tl.tensor,
    offset: tl.tensor, slope: tl.tensor, probe: tl.tensor,
    S: tl.constexpr, C: tl.constexpr, ADD: tl.constexpr, MATRIX: tl.constexpr, TILES: tl.constexpr, TP: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Take the contrast and the steps after it, then grey."""
    picture = tl.program_id(0) // TILES
    tile = tl.arange(0, TP)
    level = tl.sum(tl.load(sums + picture * TILES + tile, mask=tile < TILES, other=0.0), axis=0) / (S * S)
    if MATRIX:
        level += tl.load(probe + picture * (C + 1) + C)
        real = channel < C
        bias = tl.load(offset + picture * C + channel, mask=real, other=0.0)
        bias += level * tl.load(slope + picture * C + channel, mask=real, other=0.0)
        mixed = tl.broadcast_to(bias[None, :], x.shape)
        for k in tl.static_range(C):
            weights = tl.load(matrix + picture * C * C + channel * C + k, mask=real, other=0.0)
            mixed += weights[None, :] * _column(x, channel, k)[:, None]
        x = _clamp(mixed)
    else:
        x = _steps(x, channel, reals, integers, level, True, C, ADD)
    if tl.load(integers + _GRAY) > 0:  # planned for three channels only
        x = tl.broadcast_to(_gray(x, channel, C)[:, None], x.shape)
    return x


@_jit
def _mirror(index: tl.tensor, size: tl.constexpr) -> tl.tensor:
    """Mirror an index about the first and the last pixel as often as it takes."""
    if size == 1:
        return index * 0
    period: tl.constexpr = 2 * (size - 1)
    index = index % period
    index = tl.where(index < 0, index + period, index)
    return tl.minimum(index, period - index)


@_jit
def _filter(t: tl.tensor, CUBIC: tl.constexpr) -> tl.tensor:
    t = tl.abs(t)
    if CUBIC:
        near = (1.5 * t - 2.5) * t * t + 1
        far = ((-0.5 * t + 2.5) * t - 4) * t + 2
        return tl.where(t < 1, near, tl.where(t < 2, far, 0.0))
    return tl.maximum(1 - t, 0.0)


# Kernels


@_jit
def _resize(
    images: tl.tensor, into: tl.tensor, sums: tl.tensor, reals: tl.tensor, integers: tl.tensor, matrix: tl.tensor,
    offset: tl.tensor, slope: tl.tensor, probe: tl.tensor,
    height: tl.tensor, width: tl.tensor, taps: tl.tensor,
    CUBIC: tl.constexpr, COLOR: tl.constexpr, S: tl.constexpr, C: tl.constexpr, CP: tl.constexpr,
    BLOCK: tl.constexpr, ADD: tl.constexpr, MATRIX: tl.constexpr, TILES: tl.constexpr,
) -> None:  # fmt: skip
    picture = tl.program_id(0) // TILES
    reals, integers = reals + picture * _REALS, integers + picture * _INTEGERS
    pixel = tl.program_id(0) % TILES * BLOCK + tl.arange(0, BLOCK)
    channel = tl.arange(0, CP)
    inside = pixel < S * S
    row, column = pixel // S, pixel % S
    column = tl.where(tl.load(integers + _FLIPS) > 0, S - 1 - column, column)
    row = tl.where(tl.load(integers + _FLIPS + 1) > 0, S - 1 - row, row)
    y0, x0 = tl.load(integers + _WINDOW), tl.load(integers + _WINDOW + 1)
    rows, columns = tl.load(integers + _WINDOW + 2) - y0, tl.load(integers + _WINDOW + 3) - x0
    scale_y, scale_x = tl.load(reals + _BOX + 2) / S, tl.load(reals + _BOX + 3) / S
    stretch_y, stretch_x = tl.maximum(scale_y, 1.0), tl.maximum(scale_x, 1.0)
    reach: tl.constexpr = 2 if CUBIC else 1
    center_y = tl.load(reals + _BOX) + (row + 0.5) * scale_y
    center_x = tl.load(reals + _BOX + 1) + (column + 0.5) * scale_x
    first_y = tl.maximum((center_y - reach * stretch_y + 0.5).to(tl.int32), 0)
    first_x = tl.maximum((center_x - reach * stretch_x + 0.5).to(tl.int32), 0)
    last_y = tl.minimum((center_y + reach * stretch_y + 0.5).to(tl.int32), rows)
    last_x = tl.minimum((center_x + reach * stretch_x + 0.5).to(tl.int32), columns)
    x = tl.zeros([BLOCK, CP], dtype=tl.float32)
    total = tl.zeros([BLOCK], dtype=tl.float32)
    source = images + picture.to(tl.int64) * height * width * C
    for ky in range(taps):
        y = first_y + ky
        weight_y = tl.where(y < last_y, _filter((y + 0.5 - center_y) / stretch_y, CUBIC), 0.0)
        for kx in range(taps):
            at = first_x + kx
            weight = weight_y * tl.where(at < last_x, _filter((at + 0.5 - center_x) / stretch_x, CUBIC), 0.0)
            where = ((y0 + y) * width + x0 + at) * C
            read = (inside & (y < last_y) & (at < last_x))[:, None] & (channel < C)[None, :]
            value = tl.load(source + where[:, None] + channel[None, :], mask=read, other=0)
            x += weight[:, None] * value.to(tl.float32)
            total += weight
    x = _clamp(x / (255.0 * tl.where(inside, total, 1.0))[:, None])
    if COLOR:
        x = _before(x, inside, channel, sums, reals, integers, probe, C, ADD, MATRIX, TILES)
    to = into + picture.to(tl.int64) * S * S * C + pixel[:, None] * C + channel[None, :]
    tl.store(to, x, mask=inside[:, None] & (channel < C)[None, :])


@_jit
def _move(
    source: tl.tensor, into: tl.tensor, sums: tl.tensor, reals: tl.tensor, integers: tl.tensor, matrix: tl.tensor,
    offset: tl.tensor, slope: tl.tensor, probe: tl.tensor,
    fill: tl.tensor,
    REFLECT: tl.constexpr, TILES: tl.constexpr, S: tl.constexpr, C: tl.constexpr, CP: tl.constexpr, BLOCK: tl.constexpr,
    ADD: tl.constexpr, MATRIX: tl.constexpr,
) -> None:  # fmt: skip
    picture = tl.program_id(0) // TILES
    reals, integers = reals + picture * _REALS, integers + picture * _INTEGERS
    pixel = tl.program_id(0) % TILES * BLOCK + tl.arange(0, BLOCK)
    channel = tl.arange(0, CP)
    inside = pixel < S * S
    cos, sin = tl.load(reals + _MOVE), tl.load(reals + _MOVE + 1)
    right, down = tl.load(reals + _MOVE + 2), tl.load(reals + _MOVE + 3)
    middle: tl.constexpr = (S - 1) / 2
    dx, dy = pixel % S - middle - right, pixel // S - middle - down
    from_x, from_y = cos * dx + sin * dy + middle, cos * dy - sin * dx + middle
    base = picture.to(tl.int64) * S * S * C
    x = tl.zeros([BLOCK, CP], dtype=tl.float32)
    for corner in tl.static_range(4):
        look_x, look_y = tl.floor(from_x).to(tl.int32) + corner % 2, tl.floor(from_y).to(tl.int32) + corner // 2
        weight = (1 - tl.abs(from_x - look_x)) * (1 - tl.abs(from_y - look_y))
        if REFLECT:
            look_x, look_y = _mirror(look_x, S), _mirror(look_y, S)
        there = (look_x >= 0) & (look_x < S) & (look_y >= 0) & (look_y < S)
        read = (inside & there)[:, None] & (channel < C)[None, :]
        where = base + (look_y * S + look_x)[:, None] * C + channel[None, :]
        x += weight[:, None] * tl.load(source + where, mask=read, other=fill)
    x = _before(x, inside, channel, sums, reals, integers, probe, C, ADD, MATRIX, TILES)
    to = into + base + pixel[:, None] * C + channel[None, :]
    tl.store(to, x, mask=inside[:, None] & (channel < C)[None, :])


@_jit
def _color(
    scratch: tl.tensor, sums: tl.tensor, reals: tl.tensor, integers: tl.tensor, matrix: tl.tensor, offset: tl.tensor,
    slope: tl.tensor, probe: tl.tensor,
    TILES: tl.constexpr, TP: tl.constexpr, S: tl.constexpr, C: tl.constexpr, CP: tl.constexpr, BLOCK: tl.constexpr,
    ADD: tl.constexpr, MATRIX: tl.constexpr,
) -> None:  # fmt: skip
    picture = tl.program_id(0) // TILES
    reals, integers = reals + picture * _REALS, integers + picture * _INTEGERS
    pixel = tl.program_id(0) % TILES * BLOCK + tl.arange(0, BLOCK)
    channel = tl.arange(0, CP)
    mask = (pixel < S * S)[:, None] & (channel < C)[None, :]
    at = scratch + picture.to(tl.int64) * S * S * C + pixel[:, None] * C + channel[None, :]
    x = tl.load(at, mask=mask, other=0.0)
    x = _after(x, channel, sums, reals, integers, matrix, offset, slope, probe, S, C, ADD, MATRIX, TILES, TP)
    tl.store(at, x, mask=mask)


@_jit
def _blur_line(
    source: tl.tensor, position: tl.tensor, fixed: tl.tensor, stride: tl.constexpr, sigma: tl.tensor, wide: tl.tensor,
    mask: tl.tensor, channel: tl.tensor,
    S: tl.constexpr, C: tl.constexpr, CP: tl.constexpr, BLOCK: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """The Gaussian along one axis: ``position`` runs along it in ``stride`` pixels from ``fixed``."""
    x = tl.zeros([BLOCK, CP], dtype=tl.float32)
    total = 0.0
    for k in range(-wide, wide + 1):
        weight = tl.exp(-0.5 * (k / sigma) * (k / sigma))
        where = fixed + _mirror(position + k, S) * stride
        x += weight * tl.load(source + where[:, None] * C + channel[None, :], mask=mask, other=0.0)
        total += weight
    return x / total


@_jit
def _blur_rows(
    scratch: tl.tensor, into: tl.tensor, reals: tl.tensor, integers: tl.tensor, matrix: tl.tensor, offset: tl.tensor,
    slope: tl.tensor, probe: tl.tensor,
    TILES: tl.constexpr,
    S: tl.constexpr, C: tl.constexpr, CP: tl.constexpr, BLOCK: tl.constexpr, ADD: tl.constexpr, MATRIX: tl.constexpr,
) -> None:  # fmt: skip
    picture = tl.program_id(0) // TILES
    reals, integers = reals + picture * _REALS, integers + picture * _INTEGERS
    sigma, wide = tl.load(reals + _SIGMA), tl.load(integers + _WIDE)
    if sigma > 0:
        pixel = tl.program_id(0) % TILES * BLOCK + tl.arange(0, BLOCK)
        channel = tl.arange(0, CP)
        mask = (pixel < S * S)[:, None] & (channel < C)[None, :]
        base = picture.to(tl.int64) * S * S * C
        x = _blur_line(scratch + base, pixel % S, pixel // S * S, 1, sigma, wide, mask, channel, S, C, CP, BLOCK)
        tl.store(into + base + pixel[:, None] * C + channel[None, :], x, mask=mask)


@_jit
def _finish(
    scratch: tl.tensor, rows_blurred: tl.tensor, views: tl.tensor, sums: tl.tensor, reals: tl.tensor,
    integers: tl.tensor,
    matrix: tl.tensor, offset: tl.tensor, slope: tl.tensor, probe: tl.tensor, mean: tl.tensor, std: tl.tensor,
    threshold: tl.tensor,
    stride_n: tl.tensor, stride_c: tl.tensor, stride_y: tl.tensor, stride_x: tl.tensor,
    BLURS: tl.constexpr, TILES: tl.constexpr, TP: tl.constexpr, S: tl.constexpr, C: tl.constexpr, CP: tl.constexpr,
    BLOCK: tl.constexpr, ADD: tl.constexpr, MATRIX: tl.constexpr,
) -> None:  # fmt: skip
    picture = tl.program_id(0) // TILES
    reals, integers = reals + picture * _REALS, integers + picture * _INTEGERS
    pixel = tl.program_id(0) % TILES * BLOCK + tl.arange(0, BLOCK)
    channel = tl.arange(0, CP)
    real = channel < C
    mask = (pixel < S * S)[:, None] & real[None, :]
    row, column = pixel // S, pixel % S
    base = picture.to(tl.int64) * S * S * C
    x = tl.load(scratch + base + pixel[:, None] * C + channel[None, :], mask=mask, other=0.0)
    if BLURS:
        sigma, wide = tl.load(reals + _SIGMA), tl.load(integers + _WIDE)
        if sigma > 0:
            x = _blur_line(rows_blurred + base, row, column, S, sigma, wide, mask, channel, S, C, CP, BLOCK)
    else:
        x = _after(x, channel, sums, reals, integers, matrix, offset, slope, probe, S, C, ADD, MATRIX, TILES, TP)
    if tl.load(integers + _SOLARIZE) > 0:
        x = tl.where(x >= threshold, 1 - x, x)
    shift = tl.load(mean + channel, mask=real, other=0.0)
    x = (x - shift[None, :]) / tl.load(std + channel, mask=real, other=1.0)[None, :]
    top, left = tl.load(integers + _ERASE), tl.load(integers + _ERASE + 1)
    bottom, right = top + tl.load(integers + _ERASE + 2), left + tl.load(integers + _ERASE + 3)
    erased = (row >= top) & (row < bottom) & (column >= left) & (column < right)
    x = tl.where(erased[:, None], 0.0, x)
    to = views + picture.to(tl.int64) * stride_n + (row * stride_y + column * stride_x)[:, None]
    tl.store(to + channel[None, :] * stride_c, x.to(views.dtype.element_ty), mask=mask)
