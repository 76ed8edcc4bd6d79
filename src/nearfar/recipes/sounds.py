"""Settings for sounds on two CPU cores: short utterances, and sounds of any kind."""

from __future__ import annotations

import dataclasses

from nearfar.pipeline.settings import PretrainConfig

__all__ = ["byol", "byol_words", "cola", "simclr"]


def simclr() -> PretrainConfig:
    """SimCLR on short utterances with the small encoder of spectrograms, 15 epochs.

    Views: the whole utterance at another speed and level, under noise: what is said stays, who says it and
    where does not (``speech``). They were chosen on training speakers of the spoken digits (docs/log.md).

    Command: ``nearfar pretrain SOUNDS --out RUN --recipe simclr/audio``. Cost: a minute and a half for 2,000 words on
    one core. Expected on spoken digits: within one speaker, digits fall into clusters; across speakers a linear probe
    with 5 or 10 labels per digit was no better than on the untrained encoder (one held-out training speaker, one seed,
    docs/log.md).
    """
    return PretrainConfig(
        modality="audio",
        method="simclr",
        method_options={"temperature": 0.2},
        encoder="sound",
        encoder_options={"width": 16},
        views="speech",
        input_options={"mels": 40},
        epochs=15,
        batch_size=128,
        optimizer="adamw",
        lr=2e-3,
        log_every=5,
    )


def byol_words() -> PretrainConfig:
    """BYOL with the views and settings of ``simclr/audio``: no negatives, among which are the same words again.

    Command: ``nearfar pretrain SOUNDS --out RUN --recipe byol/words``. Cost: half as much again as ``simclr/audio``.
    Expected result: not measured at this length. Momentum 0.95, as a hundred steps are few for a slower teacher.
    """
    return dataclasses.replace(simclr(), method="byol", method_options={"momentum": 0.95})


def cola() -> PretrainConfig:
    """COLA, https://arxiv.org/abs/2010.10915: SimCLR with the bilinear similarity on two crops of a sound, 20 epochs.

    What two crops share is the voice, the instrument or the place, not the words: for speakers and scenes.

    Command: ``nearfar pretrain SOUNDS --out RUN --recipe cola/audio``. Cost: less than ``simclr/audio``. Expected:
    not measured at this length. The paper's encoder is EfficientNet-B0: ``--encoder efficientnet_b0``.
    """
    return PretrainConfig(
        modality="audio",
        method="simclr",
        method_options={"similarity": "bilinear", "output_dim": 512},
        encoder="sound",
        encoder_options={"width": 16},
        views="cola",
        input_options={"mels": 40},
        epochs=20,
        batch_size=256,
        optimizer="adamw",
        lr=2e-3,
        log_every=5,
    )


def byol() -> PretrainConfig:
    """BYOL-A v2, https://arxiv.org/abs/2204.07402, with the small encoder: mixup, resized crop and fader, 100 epochs.

    The paper's: windows of 64 ms, 64 bands, Adam at 1e-4, batch 256, 100 epochs, momentum 0.99. Departures: the
    encoder, and AdamW at 1e-3 without warm-up of more than 10 epochs.

    Command: ``nearfar pretrain SOUNDS --out RUN --recipe byol/audio``. Cost: about eight minutes for 2,000 words on one
    core. Expected result: not measured at this length.
    """
    return PretrainConfig(
        modality="audio",
        method="byol",
        method_options={"momentum": 0.99},
        encoder="sound",
        encoder_options={"width": 32},
        views="byol-a",
        input_options={"mels": 64, "window": 0.064},
        epochs=100,
        batch_size=256,
        optimizer="adamw",
        lr=1e-3,
    )
