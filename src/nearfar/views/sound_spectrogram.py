"""The steps on the log-mel spectrogram, for a batch at once: mixup, resized crop, fader, masks.

BYOL-A: Niizumi et al., "BYOL for audio: self-supervised learning for general-purpose audio representation", IJCNN 2021,
https://arxiv.org/abs/2103.06695 (mixup and resized crop), and "BYOL for audio: exploring pre-trained general-purpose
audio representations", TASLP 2023, https://arxiv.org/abs/2204.07402 (linear fader). SpecAugment: Park et al.,
Interspeech 2019, https://arxiv.org/abs/1904.08779.

Departures: BYOL-A mixes with one of the last 2,048 sounds, here it is another sound of the batch, so that a view
depends on nothing but its seed. The sound's own frames are the crop's frame of reference, not the padded spectrogram's.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from nearfar.views.sound import RANGE
from nearfar.views.sound_plan import SoundPlan

__all__ = ["alter", "fade", "mask", "mix", "resize_crop"]

MIDDLE = 0.5
"""What stands where a spectrogram has nothing: the mean that all are normalised with."""


def alter(plan: SoundPlan, mels: Tensor, frames: Tensor) -> Tensor:
    """Return the spectrograms (N, mels, frames) after the steps that the plan has; ``frames`` (N,) are the sounds'."""
    if plan.view.mixup > 0:
        mels = mix(plan, mels)
    if (plan.view.stretch_mels, plan.view.stretch_time) != ((1.0, 1.0), (1.0, 1.0)):
        mels = resize_crop(plan, mels, frames)
    if plan.view.fade > 0 or plan.view.tilt > 0:
        mels = fade(plan, mels, frames)
    mels = mask(plan, mels, frames)
    behind = torch.arange(mels.shape[2]) >= frames[:, None]
    return torch.where(behind[:, None, :], mels.new_zeros(()), mels)


def mix(plan: SoundPlan, mels: Tensor) -> Tensor:
    """Lay the partner under each sound in the domain of power: log((1 - a) e^x + a e^y), BYOL-A's eq. 2."""
    scale = math.log(10) * RANGE / 10  # one unit is 80 dB
    share = torch.from_numpy(plan.share).float()[:, None, None]
    own, other = mels * scale + torch.log1p(-share), mels[plan.partner] * scale + share.clamp_min(1e-30).log()
    return torch.clamp(torch.logaddexp(own, other) / scale, min=0)


def resize_crop(plan: SoundPlan, mels: Tensor, frames: Tensor) -> Tensor:
    """Take each box out of its sound, and bring it to the sound's own bands and frames: bicubic, clamped to [0, 1].

    Frames before and after the sound are ``MIDDLE``.
    """
    count, bands, width = mels.shape
    low, tall, first, wide = torch.from_numpy(plan.box).float().T[:, :, None]
    own = frames[:, None].float()
    # where each output position lies in the input, in units of bands and frames
    y = (low + tall * (torch.arange(bands) + 0.5) / bands) * bands
    x = (first + wide * (torch.arange(width) + 0.5) / own) * own
    grid = torch.empty(count, bands, width, 2)
    grid[..., 1] = (2 * y / bands - 1)[:, :, None]
    grid[..., 0] = (2 * x / width - 1)[:, None, :]
    # zero padding only outside in time; bands never leave the picture, but cubic taps do
    away = (mels - MIDDLE)[:, None]
    made = grid_sample(away, grid, mode="bicubic", padding_mode="border", align_corners=False)[:, 0] + MIDDLE
    outside = (x < 0) | (x > own)
    return torch.where(outside[:, None, :], made.new_full((), MIDDLE), made.clamp(0, 1.5))


def fade(plan: SoundPlan, mels: Tensor, frames: Tensor) -> Tensor:
    """Add levels that change linearly over each sound's frames, and over its bands; nothing falls below 0."""
    head, tail = torch.from_numpy(plan.fade / RANGE).float().T[:, :, None]
    low, high = torch.from_numpy(plan.tilt / RANGE).float().T[:, :, None]
    place = torch.arange(mels.shape[2]) / (frames[:, None] - 1).clamp_min(1)
    over_time = head + (tail - head) * place.clamp(0, 1)
    over_bands = low + (high - low) * torch.linspace(0, 1, mels.shape[1])
    return torch.clamp(mels + over_time[:, None, :] + over_bands[:, :, None], min=0)


def mask(plan: SoundPlan, mels: Tensor, frames: Tensor) -> Tensor:
    """Blank stripes of bands and of frames to ``MIDDLE``."""
    places = (torch.arange(mels.shape[1]) + 0.5) / mels.shape[1]
    hidden = _striped(plan.mel_masks, places[None])[:, :, None]
    times = (torch.arange(mels.shape[2]) + 0.5) / frames[:, None]
    hidden = hidden | _striped(plan.time_masks, times)[:, None, :]
    return torch.where(hidden, mels.new_full((), MIDDLE), mels) if bool(hidden.any()) else mels


def _striped(masks: np.ndarray, places: Tensor) -> Tensor:
    """Return whether each place (N or 1, P) lies in one of its row's stripes (N, M, 2)."""
    first, width = torch.from_numpy(masks).float().unbind(-1)
    inside = (places[:, None] >= first[:, :, None]) & (places[:, None] < (first + width)[:, :, None])
    return inside.any(1)
