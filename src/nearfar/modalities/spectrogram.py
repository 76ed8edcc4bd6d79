"""A spectrogram as a small picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["spectrogram_picture"]

_COLORS = np.array([(10, 8, 30), (60, 15, 110), (150, 40, 120), (230, 90, 70), (252, 190, 90), (252, 253, 200)], float)
"""From silence to the loudest: dark violet, red, pale yellow; lightness rises all the way."""

_WIDEST, _LEAST_HEIGHT = 256, 64


def spectrogram_picture(mel: NDArray[np.floating], *, span: float = 0.75) -> NDArray[np.uint8]:
    """Draw a log-mel spectrogram, low bands below, time from left to right.

    Args:
        mel: (bands, frames) in units of 80 dB; more than 256 frames are averaged, few bands are drawn two or more
            pixels high.
        span: the part of the range below the loudest value that has colours, in the same units: 60 dB.

    Returns:
        (H, W, 3) uint8.
    """
    values = np.asarray(mel, np.float64)
    step = -(-values.shape[1] // _WIDEST)
    if step > 1:
        edges = np.arange(0, values.shape[1], step)
        counts = np.diff(np.append(edges, values.shape[1]))
        values = np.add.reduceat(values, edges, axis=1) / counts
    top = float(values.max(initial=0.0))
    place = np.clip((values - (top - span)) / span, 0, 1) if top > 0 else np.zeros_like(values)
    place = place[::-1] * (len(_COLORS) - 1)
    low = np.minimum(place.astype(int), len(_COLORS) - 2)
    share = (place - low)[..., None]
    picture = (_COLORS[low] * (1 - share) + _COLORS[low + 1] * share).round().astype(np.uint8)
    tall = max(1, -(-_LEAST_HEIGHT // len(picture)))
    wide = max(1, _LEAST_HEIGHT // picture.shape[1])
    drawn: NDArray[np.uint8] = picture.repeat(tall, 0).repeat(wide, 1)
    return drawn
