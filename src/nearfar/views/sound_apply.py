"""From a batch of sounds to its views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from nearfar.errors import require
from nearfar.views.mel import log_mel
from nearfar.views.sound import SoundView
from nearfar.views.sound_plan import SoundPlan, draw_sounds
from nearfar.views.sound_spectrogram import alter
from nearfar.views.sound_wave import make_waves

__all__ = ["apply_sounds", "make_sound_views"]

_STEP = 8
"""Frames are filled up to a multiple of this, so that batches have few different widths."""


def apply_sounds(plan: SoundPlan, sounds: Sequence[NDArray[Any]]) -> dict[str, Tensor]:
    """Make one view of every sound.

    Args:
        plan: drawn for these sounds by `draw_sounds`.
        sounds: N arrays (T_i,) float32 at the view's rate.

    Returns:
        ``{"mel": (N, 1, mels, F), "frames": (N,)}``, frames behind a sound being those of silence, or
        ``{"wave": (N, T), "samples": (N,)}``, float32 and int64.
    """
    require(len(sounds) == len(plan), "apply_sounds", "sounds", f"the {len(plan)} of the plan", len(sounds))
    view = plan.view
    mean, std = (view.mean or (0.0,))[0], (view.std or (1.0,))[0]
    waves = make_waves(plan, sounds)
    samples = torch.from_numpy(plan.length)
    if view.output == "wave":
        return {"wave": waves, "samples": samples}
    frames = 1 + samples // view.hop_samples
    mels = alter(plan, log_mel(waves, view), frames)
    width = -(-mels.shape[2] // _STEP) * _STEP
    mels = pad((mels - mean) / std, (0, width - mels.shape[2]), value=-mean / std)
    return {"mel": mels[:, None], "frames": frames}


def make_sound_views(
    sounds: Sequence[NDArray[Any]], views: Sequence[SoundView], rng: np.random.Generator
) -> list[dict[str, Tensor]]:
    """Make all views of a batch, as long as the longest of them, so that one pass takes them all.

    Args:
        sounds: N arrays (T_i,) float32 at the views' rate, or (N, T).
        views: what each view is.
        rng: the one source of chance; the plans are drawn view after view.

    Returns:
        One mapping a view, as `apply_sounds` makes them.
    """
    lengths = [len(sound) for sound in sounds]
    made = [apply_sounds(draw_sounds(view, lengths, rng), sounds) for view in views]
    for name in ("mel", "wave"):
        width = max((view[name].shape[-1] for view in made if name in view), default=0)
        for number, view in enumerate(made):
            if name in view and view[name].shape[-1] < width:
                floor = -(views[number].mean or (0.0,))[0] / (views[number].std or (1.0,))[0]
                fill = floor if name == "mel" else 0.0
                view[name] = pad(view[name], (0, width - view[name].shape[-1]), value=fill)
    return made
