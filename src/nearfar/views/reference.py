"""Applying a plan in plain torch: slow, obvious, on any device. Every other back end is measured against it.

One picture at a time, one step after another, float32, each step as its paper or torchvision's documentation states it
(https://docs.pytorch.org/vision/stable/transforms.html); torchvision itself is not imported.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from nearfar.views.image import ImageView
from nearfar.views.plan import BRIGHTNESS, CONTRAST, HUE, SATURATION, Plan

__all__ = ["run"]

GRAY = (0.2989, 0.587, 0.114)  # ITU-R BT.601, as torchvision and Pillow round it
_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))  # NTSC


def run(plan: Plan, images: Sequence[NDArray[np.generic]] | NDArray[np.generic] | Tensor) -> Tensor:
    """Return the views, (N, C, S, S) float32, of N pictures (H, W, C), uint8 or uint16, checked by the caller."""
    size = plan.view.size
    if len(plan) == 0:
        device = images.device if isinstance(images, Tensor) else "cpu"
        return torch.empty(0, plan.channels, size, size, device=device)
    return torch.stack([_one(plan, i, _to_unit(images[i])) for i in range(len(plan))])


def _to_unit(picture: NDArray[np.generic] | Tensor) -> Tensor:
    """(H, W, C) integers to (C, H, W) float32 in [0, 1]."""
    if isinstance(picture, np.ndarray):
        picture = torch.from_numpy(np.ascontiguousarray(picture))
    most = 255 if picture.dtype == torch.uint8 else 65535
    return picture.to(torch.float32).permute(2, 0, 1) / most


def _one(plan: Plan, i: int, x: Tensor) -> Tensor:
    view = plan.view
    x = _resize(plan, i, x)  # (C, S, S) from here on
    x = x.flip(2) if plan.hflip[i] else x
    x = x.flip(1) if plan.vflip[i] else x
    x = _move(plan, i, x) if view.moves else x
    x = _color_matrix(plan, i, x) if view.color == "matrix" else _jitter(plan, i, x)
    x = _gray(x).expand_as(x) if plan.gray[i] else x
    x = _blur(x, view.kernel_size, float(plan.sigma[i])) if plan.sigma[i] > 0 else x
    x = torch.where(x >= view.threshold, 1 - x, x) if plan.solarize[i] else x
    mean, std = view.normalisation(len(x))
    x = (x - x.new_tensor(mean)[:, None, None]) / x.new_tensor(std)[:, None, None]
    top, left, height, width = plan.erase[i]
    x[:, top : top + height, left : left + width] = 0
    return x


def _resize(plan: Plan, i: int, x: Tensor) -> Tensor:
    view = plan.view
    top, left, height, width = plan.box[i]
    y0, x0, y1, x1 = plan.window[i]
    down = _resize_matrix(view, top - y0, height, y1 - y0).to(x.device)
    right = _resize_matrix(view, left - x0, width, x1 - x0).to(x.device)
    return (down @ x[:, y0:y1, x0:x1] @ right.T).clamp(0, 1)  # bicubic overshoots


def _resize_matrix(view: ImageView, start: float, length: float, pixels: int) -> Tensor:
    """(S, pixels) weights of an antialiased resize of [start, start + length) to S, as torch's ``antialias=True``."""
    scale = length / view.size
    stretch = max(scale, 1.0)  # the filter widens when the picture shrinks
    reach = (1.0 if view.interpolation == "bilinear" else 2.0) * stretch
    center = start + (torch.arange(view.size, dtype=torch.float64) + 0.5) * scale
    first, last = (center - reach + 0.5).trunc(), (center + reach + 0.5).trunc()
    pixel = torch.arange(pixels, dtype=torch.float64)
    weight = _filter(view, (pixel + 0.5 - center[:, None]) / stretch)
    weight = weight * ((pixel >= first[:, None]) & (pixel < last[:, None]))
    return (weight / weight.sum(1, keepdim=True)).to(torch.float32)


def _filter(view: ImageView, t: Tensor) -> Tensor:
    t = t.abs()
    if view.interpolation == "bilinear":
        return (1 - t).clamp(min=0)
    a = -0.5  # Keys' cubic, as Pillow and torch's antialiased bicubic
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = a * (((t - 5) * t + 8) * t - 4)
    return torch.where(t < 1, near, torch.where(t < 2, far, 0.0))


def _move(plan: Plan, i: int, x: Tensor) -> Tensor:
    """Rotate, zoom and shift about the centre: each pixel of the result looks up where it came from, bilinearly."""
    view, size = plan.view, plan.view.size
    angle, zoom = math.radians(plan.angle[i]), float(plan.zoom[i])
    right, down = (float(value) for value in plan.shift[i])
    middle = (size - 1) / 2
    rows, columns = torch.meshgrid(
        torch.arange(size) - middle - down, torch.arange(size) - middle - right, indexing="ij"
    )
    source_x = (math.cos(angle) * columns + math.sin(angle) * rows) / zoom + middle
    source_y = (math.cos(angle) * rows - math.sin(angle) * columns) / zoom + middle
    x0, y0 = source_x.floor(), source_y.floor()
    result = torch.zeros_like(x)
    for dy in (0, 1):
        for dx in (0, 1):
            weight = (1 - (source_y - y0 - dy).abs()) * (1 - (source_x - x0 - dx).abs())
            result += weight.to(x) * _look_up(x, (y0 + dy).long(), (x0 + dx).long(), view)
    return result


def _look_up(x: Tensor, row: Tensor, column: Tensor, view: ImageView) -> Tensor:
    size = view.size
    if view.border == "reflect":
        return x[:, _reflect(row, size), _reflect(column, size)]
    inside = (row >= 0) & (row < size) & (column >= 0) & (column < size)
    values = x[:, row.clamp(0, size - 1), column.clamp(0, size - 1)]
    return torch.where(inside.to(x.device), values, view.fill)


def _reflect(index: Tensor, size: int) -> Tensor:
    """Mirror an index about the first and the last pixel, which are not repeated."""
    if size == 1:
        return torch.zeros_like(index)
    index = index.remainder(2 * (size - 1))
    return torch.minimum(index, 2 * (size - 1) - index)


def _gray(x: Tensor) -> Tensor:
    """(1, S, S): the grey picture, or for other than three channels their mean."""
    if len(x) != 3:
        return x.mean(0, keepdim=True)
    return (x * x.new_tensor(GRAY)[:, None, None]).sum(0, keepdim=True)


def _jitter(plan: Plan, i: int, x: Tensor) -> Tensor:
    for step in plan.order[i]:
        factor = float(plan.factors[i, step])
        if step == BRIGHTNESS:
            x = (x + factor if plan.view.brightness_mode == "add" else x * factor).clamp(0, 1)
        elif step == CONTRAST:
            x = (x * factor + _gray(x).mean() * (1 - factor)).clamp(0, 1)
        elif step == SATURATION:
            x = (x * factor + _gray(x) * (1 - factor)).clamp(0, 1)
        elif step == HUE:
            x = _turn_hue(x, factor)
    return x


def _turn_hue(x: Tensor, turns: float) -> Tensor:
    """To HSV, add to the hue, and back (Smith, "Color gamut transform pairs", SIGGRAPH 1978).

    With hue in sixths of a turn, each channel is value - chroma · clamp(min(k, 4 - k), 0, 1), where
    k = (n + hue) mod 6 and n is 5, 3, 1 for red, green, blue.
    """
    red, green, blue = x
    value, chroma = x.amax(0), x.amax(0) - x.amin(0)
    divisor = torch.where(chroma > 0, chroma, 1.0)
    if_red, if_green, if_blue = (green - blue) / divisor, 2 + (blue - red) / divisor, 4 + (red - green) / divisor
    hue = torch.where(value == red, if_red, torch.where(value == green, if_green, if_blue)) + 6 * turns
    channels = []
    for n in (5, 3, 1):
        k = (n + hue).remainder(6)
        channels.append(value - chroma * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.stack(channels)


def _color_matrix(plan: Plan, i: int, x: Tensor) -> Tensor:
    """The jitter without its inner clamps, hue as a rotation in YIQ: an affine map of the colours, clamped once."""
    for step in plan.order[i]:
        factor = float(plan.factors[i, step])
        if step == BRIGHTNESS:
            x = x + factor if plan.view.brightness_mode == "add" else x * factor
        elif step == CONTRAST:
            x = x * factor + _gray(x).mean() * (1 - factor)
        elif step == SATURATION:
            x = x * factor + _gray(x) * (1 - factor)
        elif step == HUE:
            x = torch.einsum("ij,jhw->ihw", _hue_matrix(factor).to(x), x)
    return x.clamp(0, 1)


def _hue_matrix(turns: float) -> Tensor:
    """(3, 3): a rotation of the colour plane of YIQ, from red by yellow to green as in HSV."""
    cos, sin = math.cos(2 * math.pi * turns), math.sin(2 * math.pi * turns)
    turn = torch.tensor([[1, 0, 0], [0, cos, sin], [0, -sin, cos]], dtype=torch.float64)
    yiq = torch.tensor(_YIQ, dtype=torch.float64)
    return yiq.inverse() @ turn @ yiq


def _blur(x: Tensor, kernel: int, sigma: float) -> Tensor:
    """Gaussian of ``kernel`` taps that sum to one, the picture mirrored at its edges."""
    radius = kernel // 2
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float64) / sigma) ** 2)
    taps = (taps / taps.sum()).to(x)
    padded = F.pad(x[:, None], (radius, radius, radius, radius), mode="reflect")
    return F.conv2d(F.conv2d(padded, taps.view(1, 1, -1, 1)), taps.view(1, 1, 1, -1))[:, 0]
