"""Views of sounds as the papers publish them, and our own: each function returns the list of views of one recipe.

All take the samples per second, the seconds of the longest crop, and the bands of the spectrogram.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from nearfar.registry import Registry
from nearfar.views.sound import SoundView

__all__ = ["SOUND_VIEWS", "byol_a", "clmr", "cola", "spec_augment", "speech"]


def cola(rate: int = 16_000, seconds: float = 1.0, mels: int = 64) -> list[SoundView]:
    """COLA's two crops of one recording, https://arxiv.org/abs/2010.10915: the second with faint noise.

    Both are brought to one loudness. What two crops share is who or what sounds, not what is said: good for speakers,
    instruments and scenes, poor for words. A sound that is no longer than the crop gives two crops of half to nine
    tenths of it.
    """
    first = SoundView(rate=rate, seconds=seconds, mels=mels, share=(0.5, 0.9))
    return [first, replace(first, noise=1.0, snr=(40.0, 40.0), color=(0.0, 0.0))]


def byol_a(rate: int = 16_000, seconds: float = 0.95, mels: int = 64) -> list[SoundView]:
    """BYOL-A v2's two equal views, https://arxiv.org/abs/2204.07402: mixup 0.4, resized crop of 60 to 150 %, fader.

    The window is 64 ms long, as in its code; the fader's one standard deviation is 20 dB here.
    """
    return [
        SoundView(
            rate=rate, seconds=seconds, mels=mels, window=0.064, mixup=0.4, stretch_mels=(0.6, 1.5),
            stretch_time=(0.6, 1.5), fade=20.0,
        )
    ] * 2  # fmt: skip


def clmr(rate: int = 16_000, seconds: float = 2.7, mels: int = 64) -> list[SoundView]:
    """Views on the wave after CLMR, https://arxiv.org/abs/2103.09410: crop, polarity 0.8, noise, gain, reverberation.

    Its pitch shift is a change of speed here, and its filters and delay are left out.
    """
    return [
        SoundView(
            rate=rate, seconds=seconds, mels=mels, polarity=0.8, noise=0.5, snr=(10.0, 40.0), gain=6.0,
            speed=(0.8, 1.25), reverb=0.6,
        )
    ] * 2  # fmt: skip


def spec_augment(rate: int = 16_000, seconds: float = 1.0, mels: int = 64) -> list[SoundView]:
    """Two crops under SpecAugment's masks, https://arxiv.org/abs/1904.08779: two stripes of bands and two of frames."""
    return [
        SoundView(rate=rate, seconds=seconds, mels=mels, mel_masks=2, mel_mask=0.2, time_masks=2, time_mask=0.2)
    ] * 2


def speech(rate: int = 16_000, seconds: float = 1.0, mels: int = 64) -> list[SoundView]:
    """Two views of a short utterance that keep what is said: the whole of it at other speeds and levels, under noise.

    Our own choice, made on speakers that no benchmark tests on (docs/log.md).
    """
    view = SoundView(rate=rate, seconds=seconds, mels=mels, speed=(0.8, 1.25), gain=6.0, noise=0.5, snr=(10.0, 30.0))
    return [view] * 2


SOUND_VIEWS: Registry[Callable[..., list[SoundView]]] = Registry(
    "views",
    group="nearfar.sound_views",
    builtin={
        name.replace("_", "-"): f"{__name__}:{name}" for name in ("speech", "byol_a", "cola", "clmr", "spec_augment")
    },
)
"""Name to a function of ``rate``, ``seconds`` and ``mels`` that returns a list of views."""
