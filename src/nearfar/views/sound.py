"""What a view of a sound is: which random steps may happen to its wave and to its spectrogram, and how strong they are.

The steps act in one fixed order:

    wave            crop, speed, loudness, gain, polarity, reverberation, noise
    spectrogram     log-mel, mixup, resized crop, fader, masks, normalise
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from nearfar.errors import require

__all__ = ["RANGE", "SoundView"]

RANGE = 80.0
"""Decibels of a spectrogram: 0 is the power of a full-scale sine at -80 dB or less, 1 that of one at full scale."""

_PAIRS = {
    "share": (0.01, 1.0), "speed": (0.25, 4.0), "decay": (0.01, 10.0), "snr": (-30.0, 100.0), "color": (-2.0, 2.0),
    "stretch_mels": (0.1, 4.0), "stretch_time": (0.1, 4.0),
}  # fmt: skip
_NUMBERS = {
    "seconds": (0.02, 3600.0), "longest": (0.02, 36000.0), "gain": (0.0, 60.0), "polarity": (0.0, 1.0),
    "reverb": (0.0, 1.0), "noise": (0.0, 1.0), "window": (0.001, 1.0), "hop": (0.0005, 1.0), "mixup": (0.0, 1.0),
    "canvas": (1.0, 4.0), "fade": (0.0, RANGE), "tilt": (0.0, RANGE), "mel_mask": (0.0, 1.0), "time_mask": (0.0, 1.0),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SoundView:
    """One view of a sound, declared: nothing is drawn and no sample is read here.

    With its defaults a view is a random crop and its log-mel spectrogram; every other step is off until asked for.
    A spectrogram's values are decibels over a range of 80, in [0, 1] before normalisation, so that one mean and
    deviation serve all data sets. A sound shorter than the view keeps its own length; the encoder is told how many
    frames are the sound's.

    Attributes:
        rate: samples per second of the sounds.
        crop: ``"random"`` (training), ``"center"``, or ``"whole"`` (evaluation): all of it, up to ``longest`` about
            its middle.
        seconds: the longest crop.
        share: smallest and largest share of a sound that a random crop takes, where that is shorter than ``seconds``.
        longest: seconds that ``"whole"`` takes at most.
        speed: smallest and largest speed of play, which moves pitch and tempo together (Ko et al. 2015), by soxr.
        loudness: the level every crop is brought to first, in dB (the root of the mean square; full scale is 0), as
            COLA and BYOL-A do in their ways; ``None`` leaves levels as they are.
        gain: largest change of the level afterwards, U(-gain, gain) dB.
        polarity: probability of turning the wave upside down.
        reverb: probability of reverberation, by an impulse response of decaying noise behind the direct sound.
        decay: smallest and largest time in which that decays by 60 dB, in seconds.
        noise: probability of added noise.
        snr: smallest and largest ratio of the sound's power to the noise's, in dB.
        color: smallest and largest a of a noise whose power falls as 1/f^a: 0 is white, 1 pink, 2 brown.
        output: ``"mel"`` is the log-mel spectrogram, ``"wave"`` the wave itself, for encoders that take it.
        mels: bands of the spectrogram.
        window: length of the Hann window in seconds; 0.025 is COLA's, 0.064 BYOL-A's.
        hop: seconds from one frame to the next.
        low: the lowest frequency in Hz.
        high: the highest; ``None`` is 0.4875 of the rate: 7,800 Hz at 16 kHz, as COLA and BYOL-A have it.
        mixup: alpha of BYOL-A's log-mixup-exp: another sound of the batch is laid under this one with a share of the
            power drawn from U(0, alpha).
        stretch_mels: smallest and largest share of the bands that the resized crop takes; above 1 is cut to 1.
        stretch_time: likewise of the frames, on a canvas with room before and after the sound; above 1 reaches into it.
        canvas: how many times the sound's length that canvas is.
        fade: largest level at either end of BYOL-A v2's random linear fader, U(-fade, fade) dB.
        tilt: likewise over the bands, from the lowest to the highest: another microphone, another voice.
        mel_masks: how many stripes of bands are blanked (SpecAugment).
        mel_mask: the widest of them, as a share of the bands.
        time_masks: how many stripes of frames are blanked.
        time_mask: the widest of them, as a share of the sound.
        mean: subtracted at the end; ``None`` leaves values in [0, 1].
        std: divided by at the end; given exactly when ``mean`` is.

    Raises:
        InputError: when a value is outside its range.
    """

    rate: int = 16_000
    crop: Literal["random", "center", "whole"] = "random"
    seconds: float = 1.0
    share: tuple[float, float] = (1.0, 1.0)
    longest: float = 30.0
    speed: tuple[float, float] = (1.0, 1.0)
    loudness: float | None = -20.0
    gain: float = 0.0
    polarity: float = 0.0
    reverb: float = 0.0
    decay: tuple[float, float] = (0.1, 0.6)
    noise: float = 0.0
    snr: tuple[float, float] = (5.0, 30.0)
    color: tuple[float, float] = (0.0, 2.0)
    output: Literal["mel", "wave"] = "mel"
    mels: int = 64
    window: float = 0.025
    hop: float = 0.01
    low: float = 60.0
    high: float | None = None
    mixup: float = 0.0
    stretch_mels: tuple[float, float] = (1.0, 1.0)
    stretch_time: tuple[float, float] = (1.0, 1.0)
    canvas: float = 1.5
    fade: float = 0.0
    tilt: float = 0.0
    mel_masks: int = 0
    mel_mask: float = 0.2
    time_masks: int = 0
    time_mask: float = 0.2
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, list):  # a list from YAML or JSON
                object.__setattr__(self, field.name, tuple(value))
        self._require(self.crop in ("random", "center", "whole"), "crop", "'random', 'center' or 'whole'")
        self._require(self.output in ("mel", "wave"), "output", "'mel' or 'wave'")
        for name, (low, high) in _NUMBERS.items():
            self._require(_within(getattr(self, name), low, high), name, f"from {low:g} to {high:g}")
        for name, (low, high) in _PAIRS.items():
            value = getattr(self, name)
            fits = isinstance(value, tuple) and len(value) == 2 and all(_within(x, low, high) for x in value)
            self._require(fits and value[0] <= value[1], name, f"two rising numbers from {low:g} to {high:g}")
        for name, (least, most) in {"rate": (1000, 192_000), "mels": (1, 512)}.items():
            self._require(_whole(getattr(self, name), least, most), name, f"a whole number from {least} to {most}")
        for name in ("mel_masks", "time_masks"):
            self._require(_whole(getattr(self, name), 0, 10), name, "a whole number from 0 to 10")
        self._check_spectrogram()

    @property
    def top(self) -> float:
        """The highest frequency of the spectrogram in Hz."""
        return 0.4875 * self.rate if self.high is None else self.high

    @property
    def samples(self) -> int:
        """The most samples of the view."""
        return max(1, round((self.longest if self.crop == "whole" else self.seconds) * self.rate))

    @property
    def window_samples(self) -> int:
        """Samples of the Hann window."""
        return max(2, round(self.window * self.rate))

    @property
    def hop_samples(self) -> int:
        """Samples from one frame to the next."""
        return max(1, round(self.hop * self.rate))

    @property
    def size(self) -> tuple[int, int]:
        """Bands and frames of a spectrogram of ``seconds``; for a wave, 1 and its samples."""
        return (self.mels, self.frames(self.samples)) if self.output == "mel" else (1, self.samples)

    def frames(self, samples: int) -> int:
        """Return the frames of a wave: one every hop, the first at sample 0."""
        return 1 + samples // self.hop_samples

    def _require(self, ok: bool, what: str, must: str, fix: str = "") -> None:
        require(ok, "SoundView", what, must, repr(getattr(self, what)), fix)

    def _check_spectrogram(self) -> None:
        half = self.rate / 2
        self._require(self.loudness is None or _within(self.loudness, -80, 0), "loudness", "from -80 to 0 dB, or None")
        self._require(_within(self.low, 0, half), "low", f"from 0 to {half:g} Hz, half the rate")
        fix = "lower it, or read the sounds at a higher rate"
        self._require(self.low < self.top <= half, "high", f"above low, {self.low:g}, and at most {half:g} Hz", fix)
        given = (self.mean is None) == (self.std is None)
        self._require(given, "std", "given exactly when mean is")
        for name in ("mean", "std"):
            value = getattr(self, name)
            fits = value is None or (len(value) == 1 and _within(value[0], -100, 100))
            self._require(fits, name, "one number, in the units of [0, 1]")
        self._require(self.std is None or self.std[0] > 0, "std", "> 0")


def _within(value: Any, low: float, high: float) -> bool:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return math.isfinite(value) and low <= value <= high


def _whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
