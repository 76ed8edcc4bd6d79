"""What is drawn for a batch of sounds: every number that a view needs, before a sample is touched."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.views.sound import SoundView

__all__ = ["SoundPlan", "draw_sounds"]

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class SoundPlan:
    """The draws for N sounds of one batch.

    Attributes:
        view: what they are drawn for.
        start: (N,) first sample taken.
        taken: (N,) samples taken.
        length: (N,) samples of the crop, after the change of speed.
        gain: (N,) dB.
        flipped: (N,) whether the wave is turned upside down.
        decay: (N,) seconds; 0 is no reverberation.
        snr: (N,) dB; infinite is no noise.
        color: (N,) a of 1/f^a.
        seeds: (N,) of the noises themselves.
        partner: (N,) the sound of the batch that is mixed in.
        share: (N,) of the power that is the partner's; 0 is none.
        box: (N, 4) the resized crop: first band, bands, first frame, frames, as shares of the sound's own; the first
            frame may be negative and the last beyond 1.
        fade: (N, 2) dB at the first and the last frame.
        tilt: (N, 2) dB at the lowest and the highest band.
        mel_masks: (N, M, 2) first band and bands, as shares.
        time_masks: (N, M, 2) first frame and frames, as shares of the sound.
    """

    view: SoundView
    start: Integers
    taken: Integers
    length: Integers
    gain: Reals
    flipped: Flags
    decay: Reals
    snr: Reals
    color: Reals
    seeds: Integers
    partner: Integers
    share: Reals
    box: Reals
    fade: Reals
    tilt: Reals
    mel_masks: Reals
    time_masks: Reals

    def __len__(self) -> int:
        return len(self.start)

    def describe(self, index: int) -> dict[str, str]:
        """Return what was drawn for one sound, in words, in the order of the steps; what is off is left out."""
        view, rate = self.view, self.view.rate
        begin, end = self.start[index] / rate, (self.start[index] + self.taken[index]) / rate
        words = {"crop": f"{begin:.2f}-{end:.2f} s"}
        if view.speed != (1.0, 1.0):
            words["speed"] = f"{self.taken[index] / self.length[index]:.2f}"
        if view.gain > 0:
            words["gain"] = f"{self.gain[index]:+.1f} dB"
        if self.flipped[index]:
            words["polarity"] = "turned"
        if self.decay[index] > 0:
            words["reverb"] = f"{self.decay[index]:.2f} s"
        if np.isfinite(self.snr[index]):
            words["noise"] = f"{self.snr[index]:.0f} dB, 1/f^{self.color[index]:.1f}"
        if self.share[index] > 0:
            words["mixup"] = f"{self.share[index]:.2f} of {self.partner[index]}"
        if (view.stretch_mels, view.stretch_time) != ((1.0, 1.0), (1.0, 1.0)):
            low, bands, first, frames = self.box[index]
            words["resized"] = f"mels {low:.2f}+{bands:.2f}, time {first:.2f}+{frames:.2f}"
        if view.fade > 0:
            words["fade"] = f"{self.fade[index, 0]:+.0f} to {self.fade[index, 1]:+.0f} dB"
        if view.tilt > 0:
            words["tilt"] = f"{self.tilt[index, 0]:+.0f} to {self.tilt[index, 1]:+.0f} dB"
        for name, masks in (("mel masks", self.mel_masks), ("time masks", self.time_masks)):
            if masks.shape[1]:
                words[name] = " ".join(f"{first:.2f}+{width:.2f}" for first, width in masks[index])
        return words


def draw_sounds(view: SoundView, lengths: Any, rng: np.random.Generator) -> SoundPlan:
    """Draw a plan.

    Args:
        view: what may happen.
        lengths: (N,) samples of the sounds, >= 1.
        rng: the one source of chance.
    """
    samples = np.asarray(lengths, np.int64)
    n = len(samples)
    rate = view.samples
    speed = np.exp(rng.uniform(math.log(view.speed[0]), math.log(view.speed[1]), n))
    portion = rng.uniform(*view.share, n) if view.crop == "random" else np.ones(n)
    length = np.clip(np.floor(samples * portion / speed), 1, rate).astype(np.int64)
    taken = np.clip(np.round(length * speed).astype(np.int64), 1, samples)
    room = samples - taken
    where = rng.random(n) if view.crop == "random" else np.full(n, 0.5)
    return SoundPlan(
        view=view,
        start=np.minimum((where * (room + 1)).astype(np.int64), room),
        taken=taken,
        length=np.where(speed == 1.0, taken, length),
        gain=rng.uniform(-view.gain, view.gain, n),
        flipped=rng.random(n) < view.polarity,
        decay=np.where(rng.random(n) < view.reverb, rng.uniform(*view.decay, n), 0.0),
        snr=np.where(rng.random(n) < view.noise, rng.uniform(*view.snr, n), np.inf),
        color=rng.uniform(*view.color, n),
        seeds=rng.integers(2**62, size=n),
        partner=rng.permutation(n),
        share=rng.uniform(0, view.mixup, n),
        box=_boxes(view, n, rng),
        fade=rng.uniform(-view.fade, view.fade, (n, 2)),
        tilt=rng.uniform(-view.tilt, view.tilt, (n, 2)),
        mel_masks=_masks(view.mel_masks, view.mel_mask, n, rng),
        time_masks=_masks(view.time_masks, view.time_mask, n, rng),
    )


def _boxes(view: SoundView, n: int, rng: np.random.Generator) -> Reals:
    """Draw BYOL-A's resized crops: bands within the sound's own, frames on a canvas that is longer than the sound."""
    bands = np.minimum(rng.uniform(*view.stretch_mels, n), 1.0)
    frames = np.minimum(rng.uniform(*view.stretch_time, n), view.canvas)
    low, first = rng.random(n) * (1 - bands), rng.random(n) * (view.canvas - frames)
    if view.stretch_time == (1.0, 1.0):  # no crop in time, so no shift either
        first = np.full(n, (view.canvas - 1) / 2)
    return np.stack([low, bands, first - (view.canvas - 1) / 2, frames], axis=1)


def _masks(count: int, widest: float, n: int, rng: np.random.Generator) -> Reals:
    """Draw SpecAugment's stripes: a width from U(0, widest), then a place where it fits."""
    width = rng.uniform(0, widest, (n, count))
    return np.stack([rng.random((n, count)) * (1 - width), width], axis=2)
