r"""Log-mel spectrograms, computed for a batch at once.

The wave is cut into frames of ``window`` every ``hop``, frame t about sample t·hop (zeros stand before and after the
wave); each is multiplied by a periodic Hann window and transformed. The power is divided by that of a full-scale sine,
summed over triangles that are equally wide on the mel scale,

.. math:: m = 2595 \log_{10}(1 + f / 700),

each with a peak of 1 (HTK's form, the default of torchaudio's and, with ``htk=True, norm=None``, of librosa's), and
taken in decibels over a range of 80: :math:`\max(0, 1 + \frac{10 \log_{10} p}{80})`.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.views.sound import RANGE, SoundView

__all__ = ["filters", "log_mel", "mel", "transform_length"]

_MOST_VALUES = 1 << 24
"""Values of frames that stand in memory at once: 64 MiB."""


def mel(hertz: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Return frequencies in mel."""
    return np.asarray(2595 * np.log10(1 + np.asarray(hertz, np.float64) / 700))


def transform_length(view: SoundView) -> int:
    """Return the length of the transform: the smallest power of two that holds the window, twice that for few lines.

    A triangle narrower than the distance of two lines of the spectrum could fall between them and stay empty, so the
    transform grows until the narrowest holds one, up to eight times the window.
    """
    length = 1 << (view.window_samples - 1).bit_length()
    edges = _edges(view)
    narrowest = float(np.min(edges[2:] - edges[:-2]))
    while view.rate / length > narrowest / 2 and length < 8 * view.window_samples:
        length *= 2
    return length


def _edges(view: SoundView) -> NDArray[np.float64]:
    points = np.linspace(float(mel(view.low)), float(mel(view.top)), view.mels + 2)
    edges: NDArray[np.float64] = 700 * (10 ** (points / 2595) - 1)
    return edges


@lru_cache(maxsize=32)
def filters(view: SoundView) -> Tensor:
    """Return the triangles, (lines of the spectrum, mels) float32."""
    lines = np.arange(transform_length(view) // 2 + 1) * view.rate / transform_length(view)
    edges = _edges(view)
    rising = (lines[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - lines[:, None]) / (edges[2:] - edges[1:-1])
    return torch.from_numpy(np.maximum(0, np.minimum(rising, falling)).astype(np.float32))


def log_mel(waves: Tensor, view: SoundView) -> Tensor:
    """Return the log-mel spectrograms (N, mels, frames) in [0, 1] of waves (N, T) float32, full scale at -1 and 1.

    Values above 1 occur for tones louder than a full-scale sine.
    """
    width, hop = view.window_samples, view.hop_samples
    padded = torch.nn.functional.pad(waves, (width // 2, width))
    frames = view.frames(waves.shape[1])
    a_time = max(1, _MOST_VALUES // (frames * transform_length(view)))
    parts = [_log_mel(part, frames, hop, view) for part in torch.split(padded, a_time)]
    return torch.cat(parts) if parts else waves.new_zeros((0, view.mels, frames))


def _log_mel(padded: Tensor, frames: int, hop: int, view: SoundView) -> Tensor:
    width = view.window_samples
    window = torch.hann_window(width, periodic=True, dtype=padded.dtype)
    cut = padded.unfold(1, width, hop)[:, :frames] * window
    spectrum = torch.view_as_real(torch.fft.rfft(cut, n=transform_length(view)))
    power = spectrum.square().sum(-1) * (2 / window.sum()) ** 2
    banded = power @ filters(view).to(padded.dtype)
    level = 1 + (10 / RANGE) * torch.log10(banded.clamp_min(1e-20))
    return level.clamp_min(0).transpose(1, 2)
