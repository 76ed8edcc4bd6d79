r"""Which patches are hidden: drawn for the batch of all ranks, so that any number of ranks draws the same.

He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022, https://arxiv.org/abs/2111.06377, section 3;
Bao, Dong, Piao, Wei, "BEiT: BERT Pre-Training of Image Transformers", ICLR 2022, https://arxiv.org/abs/2106.08254,
algorithm 1 (blocks).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nearfar.distributed import gather_sizes, rank
from nearfar.errors import require

__all__ = ["draw_blocks", "draw_orders"]

_TRIES = 24
"""Rectangles proposed per picture; the reference code tries ten times for each rectangle that it places."""


def draw_orders(rows: int, patches: int, *, device: torch.device) -> Tensor:
    """Draw a random order of the patches of every picture, evenly over all orders.

    Args:
        rows: N, this rank's pictures.
        patches: L.
        device: of the result; numbers are drawn on the CPU, from torch's global generator.

    Returns:
        (N, L) int64, each row a permutation of 0..L-1.
    """
    total, own = _rows(rows, device)
    return torch.rand(total, patches)[own].argsort(1).to(device)


def draw_blocks(
    rows: int,
    grid: tuple[int, int],
    *,
    share: float = 0.5,
    ratio: tuple[float, float] = (0.1, 0.5),
    aspect: float = 0.3,
    least: int = 4,
    device: torch.device,
) -> Tensor:
    """Hide rectangles of patches in some of the pictures.

    For a picture that is chosen, a ratio is drawn evenly. Rectangles of random size, shape and place are then added as
    long as they hide something new and no more than the ratio in all, so slightly fewer patches may be hidden.

    Args:
        rows: N, this rank's pictures.
        grid: patches along height and width.
        share: of the pictures that are chosen, in [0, 1]; 0.5 in iBOT.
        ratio: smallest and largest share of patches hidden in a chosen picture; iBOT's is 0.3 +- 0.2.
        aspect: smallest height : width of a rectangle, and one over the largest; 0.3 in BEiT.
        least: patches that a rectangle is at least meant to have; 4 in iBOT's code, less where the picture has fewer.
        device: of the result; numbers are drawn on the CPU, from torch's global generator.

    Returns:
        (N, height * width) bool, true where hidden.

    Raises:
        InputError: a setting is out of its range.
    """
    require(0 <= share <= 1, "draw_blocks", "share", "in [0, 1]", share)
    require(0 < ratio[0] <= ratio[1] < 1, "draw_blocks", "ratio", "two rising numbers in (0, 1)", ratio)
    require(0 < aspect <= 1, "draw_blocks", "aspect", "in (0, 1]", aspect)
    height, width = grid
    total, own = _rows(rows, device)
    chosen = torch.rand(total) < share
    wanted = ratio[0] + (ratio[1] - ratio[0]) * torch.rand(total)
    limit = (chosen * wanted * height * width).floor()
    mask = torch.zeros(total, height, width, dtype=torch.bool)
    for _ in range(_TRIES):
        left = limit - mask.sum((1, 2))
        new = _rectangles(torch.rand(4, total), left, grid, aspect, least) & ~mask
        count = new.sum((1, 2))
        mask |= new & ((count > 0) & (count <= left))[:, None, None]
    return mask.flatten(1)[own].to(device)


def _rectangles(drawn: Tensor, left: Tensor, grid: tuple[int, int], aspect: float, least: int) -> Tensor:
    """Return (N, height, width) bool, a rectangle each of about ``least`` to ``left`` patches."""
    height, width = grid
    area = torch.minimum(left, torch.tensor(float(least))) * (1 - drawn[0]) + left * drawn[0]
    shape = torch.exp((2 * drawn[1] - 1) * -math.log(aspect))
    high = (area * shape).sqrt().round().clamp(1, height)
    wide = (area / shape).sqrt().round().clamp(1, width)
    top, start = (drawn[2] * (height - high + 1)).floor(), (drawn[3] * (width - wide + 1)).floor()
    y, x = torch.arange(height), torch.arange(width)
    inside_y = (y >= top[:, None]) & (y < (top + high)[:, None])
    inside_x = (x >= start[:, None]) & (x < (start + wide)[:, None])
    return inside_y[:, :, None] & inside_x[:, None, :]


def _rows(rows: int, device: torch.device) -> tuple[int, slice]:
    sizes = gather_sizes(rows, device)
    start = sum(sizes[: rank()])
    return sum(sizes), slice(start, start + rows)
