"""The compiled loops of the CPU back end: one pass per view from the integer picture to the finished floats.

`make` works on a tile of rows at a time, so that a tile passes through all its steps while it lies in a near cache:

    1  resize (or, when the picture moves, resize all and then look the tile up), the jitter's steps before the
       contrast, and the sum that the contrast needs
    2  the contrast and the steps after it, grey; without blur: solarise, normalise, write
    3  with blur: along rows, then along columns; solarise, normalise, write

Pixels are float32, planar (C, S · S). Constants are float32 too, because a Python number would widen the arithmetic,
and inner loops run over one-dimensional slices, because only those become vector instructions. All stands in one file,
because numba's cache notices a change in the file of the function that is called, and in no other.
Only numba and numpy may be imported here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numba import carray, njit, types
from numba.extending import intrinsic
from numba.np.unsafe.ndarray import to_fixed_tuple

from nearfar.views.plan import BRIGHTNESS, CONTRAST, HUE, SATURATION

__all__ = ["Color", "Crop", "Finish", "Move", "Pictures", "make"]

ZERO, ONE, TWO, THREE, FOUR, SIX = (np.float32(value) for value in (0, 1, 2, 3, 4, 6))
RED, GREEN, BLUE = np.float32(0.2989), np.float32(0.587), np.float32(0.114)
TINY = np.float32(1e-12)
TILE = 2048  # pixels worked on at once

F = TypeVar("F", bound=Callable[..., Any])


class Pictures(NamedTuple):
    """N pictures (H, W, C) in memory, each contiguous: addresses (N,) int64, bytes of a value, (N, 2) int64, C."""

    address: Any
    item: int
    sizes: Any
    channels: int


class Crop(NamedTuple):
    """The plan's box, window and flips; S; and the room needed for the taps of a pixel and the values of a row."""

    box: Any
    window: Any
    hflip: Any
    vflip: Any
    size: int
    cubic: bool
    taps: int
    row: int


class Move(NamedTuple):
    """Whether pictures are moved; (N, 4) float64 angle in radians, right, down, zoom; and the border."""

    on: bool
    values: Any
    reflect: bool
    fill: Any


class Color(NamedTuple):
    """The plan's jitter and grey; and for one matrix instead the maps that `nearfar.views.matrix` composes."""

    order: Any
    factors: Any
    add: bool
    gray: Any
    as_matrix: bool
    matrix: Any
    offset: Any
    slope: Any
    probe: Any


class Finish(NamedTuple):
    """The plan's blur, solarise and erasing; value · scale + shift per channel (C,); the layout of the result."""

    sigma: Any
    radius: int
    solarize: Any
    threshold: Any
    erase: Any
    scale: Any
    shift: Any
    channels_last: bool


_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": True, "error_model": "numpy"}


def _jit(function: F) -> F:
    return cast(F, njit(**_OPTIONS)(function))


def _jit_and_keep(function: F) -> F:
    """Compile once per installation; once per process where no folder for the result can be written."""
    try:
        return cast(F, njit(**_OPTIONS, cache=True)(function))
    except RuntimeError:
        return _jit(function)


def _pointer(_typing: Any, _address: Any) -> Any:
    """The int64 address as a pointer; the caller keeps what lies there alive."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.int64), generate


_at: Any = intrinsic(_pointer)


@_jit
def _clamp(value: Any) -> Any:
    return min(max(value, ZERO), ONE)


# Resize


@_jit
def _cubic(t: float) -> float:
    """Keys' cubic with a = -1/2."""
    if t < 1:
        return (1.5 * t - 2.5) * t * t + 1
    return ((-0.5 * t + 2.5) * t - 4) * t + 2 if t < 2 else 0.0


@_jit
def _taps(start: float, length: float, pixels: int, cubic: bool, mirrored: bool, first: Any, weights: Any) -> int:
    """Fill first (S,) and weights (S, >= K) with each output's K source pixels in a window of ``pixels``; return K."""
    size = len(first)
    scale = length / size
    stretch = max(scale, 1.0)
    reach = 2 * stretch if cubic else stretch
    most = 1
    for out in range(size):
        center = start + (out + 0.5) * scale
        most = max(most, min(int(center + reach + 0.5), pixels) - max(int(center - reach + 0.5), 0))
    for out in range(size):
        center = start + (out + 0.5) * scale
        begin, end = max(int(center - reach + 0.5), 0), min(int(center + reach + 0.5), pixels)
        place = size - 1 - out if mirrored else out
        shifted = min(begin, pixels - most)  # all outputs read K pixels, those beyond their filter with weight 0
        first[place] = shifted
        total = 0.0
        for k in range(most):
            pixel = shifted + k
            t = abs((pixel + 0.5 - center) / stretch)
            weight = (_cubic(t) if cubic else max(1 - t, 0.0)) if begin <= pixel < end else 0.0
            weights[place, k] = weight
            total += weight
        for k in range(most):
            weights[place, k] /= total
    return most


@_jit
def _blend(into: Any, one: Any, two: Any, weight_one: Any, weight_two: Any, add: bool) -> None:
    if add:
        for j in range(len(into)):
            into[j] += weight_one * np.float32(one[j]) + weight_two * np.float32(two[j])
    else:
        for j in range(len(into)):
            into[j] = weight_one * np.float32(one[j]) + weight_two * np.float32(two[j])


@_jit
def _mix_rows(picture: Any, start: int, stride: int, weights: Any, taps: int, into: Any) -> None:
    """Weigh ``taps`` stretches of the flat picture, from ``start`` and ``stride`` apart, into one."""
    n = len(into)
    for k in range(0, taps, 2):
        at = start + k * stride
        one = picture[at : at + n]
        if k + 1 < taps:
            _blend(into, one, picture[at + stride : at + stride + n], weights[k], weights[k + 1], k > 0)
        else:
            _blend(into, one, one, weights[k], ZERO, k > 0)


@_jit
def _mix_columns(buffer: Any, first: Any, weights: Any, taps: int, channels: int, x: Any, at: int) -> None:
    """Weigh ``taps`` pixels of the row in the buffer into each of the S pixels of x (C, S · S) from ``at``."""
    size = len(first)
    if channels == 3 and taps in (2, 4):  # the usual crop of a photograph
        red, green, blue = x[0, at : at + size], x[1, at : at + size], x[2, at : at + size]
        for out in range(size):
            j, one, two = 3 * first[out], weights[out, 0], weights[out, 1]
            r = one * buffer[j] + two * buffer[j + 3]
            g = one * buffer[j + 1] + two * buffer[j + 4]
            b = one * buffer[j + 2] + two * buffer[j + 5]
            if taps == 4:
                one, two = weights[out, 2], weights[out, 3]
                r += one * buffer[j + 6] + two * buffer[j + 9]
                g += one * buffer[j + 7] + two * buffer[j + 10]
                b += one * buffer[j + 8] + two * buffer[j + 11]
            red[out], green[out], blue[out] = r, g, b
        return
    for c in range(channels):
        row = x[c, at : at + size]
        for out in range(size):
            j, total = first[out] * channels + c, ZERO
            for k in range(taps):
                total += weights[out, k] * buffer[j + k * channels]
            row[out] = total


@_jit
def _resize_rows(
    picture: Any, corner: int, stride: int, row: int, last: int, channels: int,
    rows_from: Any, row_weights: Any, row_taps: int, columns_from: Any, column_weights: Any, column_taps: int,
    clamp: bool, buffer: Any, x: Any,
) -> None:  # fmt: skip
    """Fill rows ``row`` to ``last`` of x (C, S · S) from the flat picture, whose window begins at ``corner``."""
    size = len(columns_from)
    left = columns_from.min() * channels
    right = (columns_from.max() + column_taps) * channels
    for out in range(row, last):
        start = corner + rows_from[out] * stride + left
        _mix_rows(picture, start, stride, row_weights[out], row_taps, buffer[left:right])
        _mix_columns(buffer, columns_from, column_weights, column_taps, channels, x, out * size)
    if clamp:
        for c in range(channels):
            values = x[c, row * size : last * size]
            for p in range(len(values)):
                values[p] = _clamp(values[p])


# Shift, turn, zoom


@_jit
def _inside(index: int, size: int, reflect: bool) -> int:
    """The index to read, mirrored at the borders when asked; -1 for outside."""
    if 0 <= index < size:
        return index
    if not reflect:
        return -1
    if size == 1:
        return 0
    index %= 2 * (size - 1)
    return min(index, 2 * (size - 1) - index)


@_jit
def _move_rows(source: Any, move: Any, reflect: bool, fill: Any, row: int, last: int, size: int, x: Any) -> None:
    """Look rows ``row`` to ``last`` of x up in source, bilinearly; move is angle, right, down, zoom."""
    angle, right, down, zoom = move[0], move[1], move[2], move[3]
    cos, sin, middle = math.cos(angle) / zoom, math.sin(angle) / zoom, (size - 1) / 2
    for out in range(row, last):
        for column in range(size):
            dx, dy = column - middle - right, out - middle - down
            from_x, from_y = cos * dx + sin * dy + middle, cos * dy - sin * dx + middle
            x0, y0 = math.floor(from_x), math.floor(from_y)
            for c in range(len(x)):
                x[c, out * size + column] = ZERO
            for corner in range(4):
                look_y, look_x = int(y0) + corner // 2, int(x0) + corner % 2
                weight = np.float32((1 - abs(from_y - look_y)) * (1 - abs(from_x - look_x)))
                look_y, look_x = _inside(look_y, size, reflect), _inside(look_x, size, reflect)
                for c in range(len(x)):
                    value = fill if look_y < 0 or look_x < 0 else source[c, look_y * size + look_x]
                    x[c, out * size + column] += weight * value


# Colour: each on the pixels lo to hi of x (C, S · S)


@_jit
def _scale(values: Any, factor: Any, offset: Any) -> None:
    for p in range(len(values)):
        values[p] = _clamp(values[p] * factor + offset)


@_jit
def _saturate(red: Any, green: Any, blue: Any, factor: Any) -> None:
    for p in range(len(red)):
        r, g, b = red[p], green[p], blue[p]
        rest = (ONE - factor) * (RED * r + GREEN * g + BLUE * b)
        red[p], green[p], blue[p] = _clamp(r * factor + rest), _clamp(g * factor + rest), _clamp(b * factor + rest)


@_jit
def _turn_hue(red: Any, green: Any, blue: Any, sixths: Any) -> None:
    """Turn the HSV hue: with hue h in sixths, red is value - chroma · (1 - clamp(|h - 3| - 1)), and so on."""
    for p in range(len(red)):
        r, g, b = red[p], green[p], blue[p]
        value = max(r, g, b)
        chroma = value - min(r, g, b)
        part = g - b if value == r else (b - r + TWO * chroma if value == g else r - g + FOUR * chroma)
        hue = part / max(chroma, TINY) + sixths
        hue = hue + SIX if hue < ZERO else hue
        hue = hue - SIX if hue >= SIX else hue
        red[p] = value - chroma * (ONE - _clamp(abs(hue - THREE) - ONE))
        green[p] = value - chroma * (ONE - _clamp(TWO - abs(hue - TWO)))
        blue[p] = value - chroma * (ONE - _clamp(TWO - abs(hue - FOUR)))


@_jit
def _gray_away(red: Any, green: Any, blue: Any) -> None:
    for p in range(len(red)):
        gray = RED * red[p] + GREEN * green[p] + BLUE * blue[p]
        red[p] = green[p] = blue[p] = gray


@_jit
def _gray_sum(x: Any, lo: int, hi: int) -> Any:
    """Sum of the grey picture; of the mean over channels for other than three."""
    total = ZERO
    if len(x) == 3:
        red, green, blue = x[0, lo:hi], x[1, lo:hi], x[2, lo:hi]
        for p in range(hi - lo):
            total += RED * red[p] + GREEN * green[p] + BLUE * blue[p]
        return total
    for c in range(len(x)):
        values = x[c, lo:hi]
        for p in range(hi - lo):
            total += values[p]
    return total / np.float32(len(x))


@_jit
def _steps(x: Any, lo: int, hi: int, order: Any, factors: Any, begin: int, end: int, level: Any, add: bool) -> None:
    """The jitter's steps at places begin to end of the order; level is the mean grey for the contrast."""
    for place in range(begin, end):
        step = order[place]
        if step < 0:
            continue
        factor = factors[step]
        if step in (BRIGHTNESS, CONTRAST):
            offset = (ONE - factor) * level if step == CONTRAST else (factor if add else ZERO)
            for c in range(len(x)):
                _scale(x[c, lo:hi], ONE if add and step == BRIGHTNESS else factor, offset)
        elif step == SATURATION:
            _saturate(x[0, lo:hi], x[1, lo:hi], x[2, lo:hi], factor)
        elif step == HUE:
            _turn_hue(x[0, lo:hi], x[1, lo:hi], x[2, lo:hi], SIX * factor)


@_jit
def _through_matrix(x: Any, lo: int, hi: int, matrix: Any, offset: Any, spare: Any) -> None:
    """The colours of pixels lo to hi through a (C, C) matrix, clamped."""
    channels = len(x)
    if channels == 3:
        red, green, blue = x[0, lo:hi], x[1, lo:hi], x[2, lo:hi]
        m, o = matrix, offset
        a, b, c, d = m[0, 0], m[0, 1], m[0, 2], o[0]
        e, f, g, h = m[1, 0], m[1, 1], m[1, 2], o[1]
        i, j, k, l = m[2, 0], m[2, 1], m[2, 2], o[2]  # noqa: E741
        for p in range(hi - lo):
            one, two, three = red[p], green[p], blue[p]
            red[p] = _clamp(a * one + b * two + c * three + d)
            green[p] = _clamp(e * one + f * two + g * three + h)
            blue[p] = _clamp(i * one + j * two + k * three + l)
        return
    for p in range(lo, hi):
        for c in range(channels):
            spare[c] = offset[c]
            for other in range(channels):
                spare[c] += matrix[c, other] * x[other, p]
        for c in range(channels):
            x[c, p] = _clamp(spare[c])


# Blur


def _spread_by(radius: int) -> Any:
    """The sum over 2 · radius + 1 taps as one loop, its taps unrolled, which is three times faster than a loop a tap.

    The indices are unsigned, because numba would look at each signed one whether it counts from the end.
    """
    taps = radius + 1

    def spread(source: Any, at: int, length: int, stride: int, weights: Any, into: Any) -> None:
        weight = to_fixed_tuple(weights, taps)
        start, step = np.uint64(at), np.uint64(stride)
        for j in range(np.uint64(length)):
            total = weight[0] * source[start + j]
            for k in range(1, taps):
                away = np.uint64(k) * step
                total += weight[k] * (source[start + j - away] + source[start + j + away])
            into[j] = total

    return _jit(spread)


_spread_1, _spread_2, _spread_3, _spread_4, _spread_5, _spread_6, _spread_7 = (_spread_by(r) for r in range(1, 8))


@_jit
def _copy(into: Any, source: Any) -> None:
    for j in range(len(into)):
        into[j] = source[j]


@_jit
def _add_pair(into: Any, a: Any, b: Any, weight: Any) -> None:
    for j in range(len(into)):
        into[j] += weight * (a[j] + b[j])


@_jit
def _spread(source: Any, at: int, length: int, stride: int, radius: int, weights: Any, into: Any) -> None:
    """into[j] = sum over k of weights[|k|] · source[at + j + k · stride], for j below length."""
    if radius == 0:
        _copy(into, source[at : at + length])
    elif radius == 1:
        _spread_1(source, at, length, stride, weights, into)
    elif radius == 2:
        _spread_2(source, at, length, stride, weights, into)
    elif radius == 3:
        _spread_3(source, at, length, stride, weights, into)
    elif radius == 4:
        _spread_4(source, at, length, stride, weights, into)
    elif radius == 5:
        _spread_5(source, at, length, stride, weights, into)
    elif radius == 6:
        _spread_6(source, at, length, stride, weights, into)
    else:
        _spread_7(source, at, length, stride, weights, into)
        for k in range(8, radius + 1):
            left, right = at - k * stride, at + k * stride
            _add_pair(into, source[left : left + length], source[right : right + length], weights[k])


@_jit
def _blur(plane: Any, size: int, radius: int, weights: Any, padded: Any) -> None:
    """Blur one channel (S · S) in place; padded has room for (S + 2 · radius) · S values."""
    line = padded[: size + 2 * radius]
    for row in range(size):  # along rows, each mirrored at its ends first
        values = plane[row * size : (row + 1) * size]
        _copy(line[radius : radius + size], values)
        for k in range(1, radius + 1):
            line[radius - k] = line[radius + k]
            line[radius + size - 1 + k] = line[radius + size - 1 - k]
        _spread(line, radius, size, 1, radius, weights, values)
    middle = radius * size
    _copy(padded[middle : middle + size * size], plane)
    for k in range(1, radius + 1):
        above, below = (radius - k) * size, (radius + size - 1 + k) * size
        mirror_above, mirror_below = (radius + k) * size, (radius + size - 1 - k) * size
        _copy(padded[above : above + size], padded[mirror_above : mirror_above + size])
        _copy(padded[below : below + size], padded[mirror_below : mirror_below + size])
    for lo in range(0, size * size, TILE):
        n = min(TILE, size * size - lo)
        _spread(padded, middle + lo, n, size, radius, weights, plane[lo : lo + n])


@_jit
def _gauss(sigma: float, most: int, weights: Any) -> int:
    """Fill the one-sided weights and return their radius: 3.5 sigma, beyond which lie 0.05 % of the mass."""
    radius = min(most, math.ceil(3.5 * sigma))
    total = 1.0
    for k in range(1, radius + 1):
        total += 2 * math.exp(-0.5 * (k / sigma) ** 2)
    for k in range(radius + 1):
        weights[k] = math.exp(-0.5 * (k / sigma) ** 2) / total
    return radius


# Solarise, normalise, lay out


@_jit
def _invert(values: Any, threshold: Any) -> None:
    for p in range(len(values)):
        values[p] = ONE - values[p] if values[p] >= threshold else values[p]


@_jit
def _write(x: Any, lo: int, hi: int, scale: Any, offset: Any, channels_last: bool, view: Any) -> None:
    """Normalise the pixels lo to hi of x (C, S · S) into view (C · S · S)."""
    channels, pixels = x.shape
    if channels == 3 and channels_last:
        red, green, blue, into = x[0, lo:hi], x[1, lo:hi], x[2, lo:hi], view[3 * lo : 3 * hi]
        a, b, c, d, e, f = scale[0], offset[0], scale[1], offset[1], scale[2], offset[2]
        for p in range(hi - lo):
            into[3 * p] = red[p] * a + b
            into[3 * p + 1] = green[p] * c + d
            into[3 * p + 2] = blue[p] * e + f
        return
    for c in range(channels):
        values, a, b = x[c, lo:hi], scale[c], offset[c]
        if channels_last:
            for p in range(hi - lo):
                view[(lo + p) * channels + c] = values[p] * a + b
        else:
            into = view[c * pixels + lo : c * pixels + hi]
            for p in range(hi - lo):
                into[p] = values[p] * a + b


@_jit
def _erase(box: Any, size: int, channels: int, channels_last: bool, view: Any) -> None:
    top, left, height, width = box[0], box[1], box[2], box[3]
    for row in range(top, top + height):
        for column in range(left, left + width):
            for c in range(channels):
                pixel = row * size + column
                view[pixel * channels + c if channels_last else c * size * size + pixel] = ZERO


# The whole


@_jit
def _resize_picture(
    i: int, row: int, last: int, pictures: Any, crop: Any,
    rows_from: Any, row_weights: Any, row_taps: int, columns_from: Any, column_weights: Any, column_taps: int,
    buffer: Any, x: Any,
) -> None:  # fmt: skip
    stride = pictures.sizes[i, 1] * pictures.channels
    corner = crop.window[i, 0] * stride + crop.window[i, 1] * pictures.channels
    where, shape = _at(pictures.address[i]), (pictures.sizes[i, 0] * stride,)
    if pictures.item == 1:
        _resize_rows(
            carray(where, shape, np.uint8), corner, stride, row, last, pictures.channels,
            rows_from, row_weights, row_taps, columns_from, column_weights, column_taps, crop.cubic, buffer, x,
        )  # fmt: skip
    else:
        _resize_rows(
            carray(where, shape, np.uint16), corner, stride, row, last, pictures.channels,
            rows_from, row_weights, row_taps, columns_from, column_weights, column_taps, crop.cubic, buffer, x,
        )  # fmt: skip


@_jit
def _level_part(x: Any, lo: int, hi: int, i: int, color: Any, middle: int) -> Any:
    """Take the steps before the contrast and return the tile's part of the sum that gives the grey level."""
    total = ZERO
    if color.as_matrix:
        for c in range(len(x)):
            total += color.probe[i, c] * x[c, lo:hi].sum()
    elif middle < 4:
        _steps(x, lo, hi, color.order[i], color.factors[i], 0, middle, ZERO, color.add)
        total = _gray_sum(x, lo, hi)
    return total


@_jit
def _color_rest(x: Any, lo: int, hi: int, i: int, color: Any, middle: int, level: Any, bias: Any, spare: Any) -> None:
    """Take the contrast and the steps after it, or all steps when there is no contrast; then grey."""
    if color.as_matrix:
        channels = len(x)
        for c in range(channels):
            bias[c] = color.offset[i, c] + color.slope[i, c] * (level + color.probe[i, channels])
        _through_matrix(x, lo, hi, color.matrix[i], bias, spare)
    else:
        begin = middle if middle < 4 else 0
        _steps(x, lo, hi, color.order[i], color.factors[i], begin, 4, level, color.add)
    if color.gray[i]:
        _gray_away(x[0, lo:hi], x[1, lo:hi], x[2, lo:hi])


@_jit
def _finish(x: Any, lo: int, hi: int, i: int, finish: Any, view: Any) -> None:
    if finish.solarize[i]:
        for c in range(len(x)):
            _invert(x[c, lo:hi], finish.threshold)
    _write(x, lo, hi, finish.scale, finish.shift, finish.channels_last, view)


def _make(
    start: int, stop: int, pictures: Pictures, crop: Crop, move: Move, color: Color, finish: Finish, views: Any
) -> None:
    """Make the views ``start`` to ``stop`` (exclusive) of a batch; all threads share the other arguments.

    Args:
        start: first picture.
        stop: one beyond the last picture.
        pictures: where they lie.
        crop: what to resize.
        move: how to shift and turn.
        color: how to jitter.
        finish: how to blur, solarise, normalise, erase and lay out.
        views: (N, C · S · S) float32, written.
    """
    channels, size = pictures.channels, crop.size
    pixels, rows = size * size, max(1, TILE // size)
    x = np.empty((channels, pixels), np.float32)
    source = np.empty((channels, pixels if move.on else 0), np.float32)
    into = source if move.on else x
    buffer = np.empty(crop.row, np.float32)
    rows_from, columns_from = np.empty(size, np.int64), np.empty(size, np.int64)
    row_weights, column_weights = np.empty((size, crop.taps), np.float32), np.empty((size, crop.taps), np.float32)
    padded = np.empty((size + 2 * finish.radius) * size, np.float32)
    weights = np.empty(finish.radius + 1, np.float32)
    bias, spare = np.empty(channels, np.float32), np.empty(channels, np.float32)
    unit = np.float32(1 / 255 if pictures.item == 1 else 1 / 65535)
    for i in range(start, stop):
        y0, x0, y1, x1 = crop.window[i, 0], crop.window[i, 1], crop.window[i, 2], crop.window[i, 3]
        top, left, height, width = crop.box[i, 0], crop.box[i, 1], crop.box[i, 2], crop.box[i, 3]
        row_taps = _taps(top - y0, height, y1 - y0, crop.cubic, crop.vflip[i], rows_from, row_weights)
        column_taps = _taps(left - x0, width, x1 - x0, crop.cubic, crop.hflip[i], columns_from, column_weights)
        row_weights[:, :row_taps] *= unit
        middle = 0  # the place of the contrast in the order
        while middle < 4 and color.order[i, middle] != CONTRAST:
            middle += 1
        level = ZERO
        for row in range(0, size, rows):
            last = min(row + rows, size)
            _resize_picture(
                i, row, last, pictures, crop,
                rows_from, row_weights, row_taps, columns_from, column_weights, column_taps, buffer, into,
            )  # fmt: skip
            if not move.on:
                level += _level_part(x, row * size, last * size, i, color, middle)
        if move.on:
            for row in range(0, size, rows):
                last = min(row + rows, size)
                _move_rows(source, move.values[i], move.reflect, move.fill, row, last, size, x)
                level += _level_part(x, row * size, last * size, i, color, middle)
        level /= np.float32(pixels)
        blurred = finish.sigma[i] > 0
        for row in range(0, size, rows):
            lo, hi = row * size, min(row + rows, size) * size
            _color_rest(x, lo, hi, i, color, middle, level, bias, spare)
            if not blurred:
                _finish(x, lo, hi, i, finish, views[i])
        if blurred:
            radius = _gauss(finish.sigma[i], finish.radius, weights)
            for c in range(channels):
                _blur(x[c], size, radius, weights, padded)
            _finish(x, 0, pixels, i, finish, views[i])
        if finish.erase[i, 2] > 0:
            _erase(finish.erase[i], size, channels, finish.channels_last, views[i])


make: Any = _jit_and_keep(_make)
