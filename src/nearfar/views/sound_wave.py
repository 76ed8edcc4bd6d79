"""The steps on the wave, for a batch at once: crop, speed, loudness, gain, polarity, reverberation, noise.

Reverberation is a convolution with a synthetic impulse response: the direct sound, and behind it white noise under an
exponential decay, which carries as much energy as the direct sound (Allen and Berkley's image method is not modelled).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.errors import extra
from nearfar.views.sound_plan import SoundPlan

__all__ = ["colored_noise", "crop_waves", "impulse_response", "make_waves"]


def make_waves(plan: SoundPlan, sounds: Sequence[NDArray[Any]]) -> Tensor:
    """Return the waves of a plan, (N, T) float32 with zeros behind the shorter ones; T is the longest's length."""
    waves = crop_waves(plan, sounds)
    length = torch.from_numpy(plan.length)
    if plan.view.loudness is not None:
        level = waves.square().sum(1) / length
        wanted = 10 ** (plan.view.loudness / 10)
        factor = torch.where(level > 1e-12, (wanted / level.clamp_min(1e-12)).sqrt(), torch.ones(()))
        waves *= factor[:, None]
    if plan.view.gain > 0 or plan.view.polarity > 0:
        gain = torch.from_numpy(10 ** (plan.gain / 20) * np.where(plan.flipped, -1.0, 1.0)).float()
        waves *= gain[:, None]
    _reverberate(plan, waves)
    _add_noise(plan, waves)
    return waves


def crop_waves(plan: SoundPlan, sounds: Sequence[NDArray[Any]]) -> Tensor:
    """Return the crops, at the speed drawn, with zeros behind the shorter ones."""
    made = np.zeros((len(plan), int(plan.length.max(initial=1))), np.float32)
    for row, sound in enumerate(sounds):
        start, taken, length = int(plan.start[row]), int(plan.taken[row]), int(plan.length[row])
        part = sound[start : start + taken]
        if taken != length:
            soxr = extra("soxr", "audio", "views of sounds")
            part = soxr.resample(np.asarray(part, np.float32), taken, length, quality="LQ")[:length]
        made[row, : len(part)] = part
    return torch.from_numpy(made)


def impulse_response(decay: float, rate: int, length: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return an impulse response of at most ``length`` samples: 1, then noise that falls by 60 dB in ``decay`` seconds.

    The noise has the energy of the direct sound, as at the distance from which a room is as loud as the source.
    """
    count = min(length, max(1, round(decay * rate)))
    tail = rng.standard_normal(count, np.float32) * np.exp(np.arange(count) * (-np.log(1000) / (decay * rate)))
    tail[0] = 0
    energy = float(np.sum(tail**2))
    tail *= 1 / np.sqrt(energy) if energy > 0 else 0
    tail[0] = 1
    response: NDArray[np.float32] = tail.astype(np.float32)
    return response


def _reverberate(plan: SoundPlan, waves: Tensor) -> None:
    rows = np.flatnonzero(plan.decay > 0)
    if len(rows) == 0:
        return
    width = waves.shape[1]
    responses = np.zeros((len(rows), width), np.float32)
    for place, row in enumerate(rows):
        response = impulse_response(
            float(plan.decay[row]), plan.view.rate, width, np.random.default_rng([int(plan.seeds[row]), 1])
        )
        responses[place, : len(response)] = response
    dry = waves[rows]
    size = 2 * width
    wet = torch.fft.irfft(torch.fft.rfft(dry, n=size) * torch.fft.rfft(torch.from_numpy(responses), n=size), n=size)
    wet = wet[:, :width] * _inside(plan, rows, width)
    before, after = dry.square().sum(1), wet.square().sum(1)
    waves[rows] = wet * (before / after.clamp_min(1e-20)).sqrt()[:, None]  # as loud as it was


def colored_noise(
    count: int, width: int, exponents: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return noises (count, width) of power 1 whose power spectrum falls as 1/f^a, one a for each."""
    white = rng.standard_normal((count, width), np.float32)
    spectrum = np.fft.rfft(white, axis=1)
    lines = np.maximum(np.arange(spectrum.shape[1]), 1.0)
    shaped = np.fft.irfft(spectrum * lines ** (-exponents[:, None] / 2), n=width, axis=1)
    power = np.sqrt(np.mean(shaped**2, axis=1, keepdims=True))
    noises: NDArray[np.float32] = (shaped / np.maximum(power, 1e-12)).astype(np.float32)
    return noises


def _add_noise(plan: SoundPlan, waves: Tensor) -> None:
    rows = np.flatnonzero(np.isfinite(plan.snr))
    if len(rows) == 0:
        return
    rng = np.random.default_rng(plan.seeds[rows].tolist())
    noise = torch.from_numpy(colored_noise(len(rows), waves.shape[1], plan.color[rows], rng))
    power = waves[rows].square().sum(1) / torch.from_numpy(plan.length[rows])
    share = torch.from_numpy(10 ** (-plan.snr[rows] / 10))
    level = (power * share).sqrt().float()
    waves[rows] += noise * level[:, None] * _inside(plan, rows, waves.shape[1])


def _inside(plan: SoundPlan, rows: NDArray[np.int64], width: int) -> Tensor:
    """Return 1 where the sound is and 0 behind it, (rows, width)."""
    return (torch.arange(width) < torch.from_numpy(plan.length[rows])[:, None]).float()
