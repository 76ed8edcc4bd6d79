"""Settings for texts and for images with captions, on two CPU cores."""

from __future__ import annotations

from nearfar.pipeline.settings import PretrainConfig

__all__ = ["clip_small", "simcse_pairs", "simcse_small"]


def simcse_small() -> PretrainConfig:
    """SimCSE on single texts with the small transformer: each text twice, words left out.

    With few texts and no pretrained weights, words left out teach more than dropout alone, which is the paper's view
    (``--views dropout --view-options.delete 0``); docs/log.md has what was seen.

    Command: ``nearfar pretrain sentences.txt --out RUN --recipe simcse/small``. Cost: some minutes for 20,000 sentences
    on two cores.
    """
    return PretrainConfig(
        method="simcse",
        method_options={"head": "none", "temperature": 0.1},
        encoder="text-small",
        encoder_options={"depth": 1, "hidden": 512},
        views="deletion",
        view_options={"delete": 0.5},
        input_options={"length": 32},
        epochs=2,
        batch_size=128,
        optimizer="adamw",
        lr=1e-3,
        clip=1.0,
    )


def simcse_pairs() -> PretrainConfig:
    """SimCSE on pairs: translations, captions of one picture, questions and answers; hard negatives in a third column.

    Command: ``nearfar pretrain pairs.csv --out RUN --recipe simcse/pairs``. Cost: some minutes for 20,000 pairs on two
    cores.
    """
    return PretrainConfig(
        method="simcse",
        method_options={"head": "none", "symmetric": True},
        encoder="text-small",
        encoder_options={"depth": 1, "hidden": 512},
        input_options={"length": 32},
        epochs=2,
        batch_size=128,
        optimizer="adamw",
        lr=1e-3,
        clip=1.0,
    )


def clip_small() -> PretrainConfig:
    """CLIP with small encoders: images of 32 pixels, captions of 32 tokens.

    Command: ``nearfar pretrain manifest.csv --out RUN --recipe clip/small``. Cost: some minutes for 8,000 images on two
    cores.
    """
    return PretrainConfig(
        method="clip",
        encoder="image-text",
        encoder_options={"text_options": {"depth": 1, "hidden": 512, "dropout": 0.0}},
        image_size=32,
        epochs=6,
        batch_size=256,
        optimizer="adamw",
        lr=1e-3,
        weight_decay=0.05,
        clip=1.0,
    )
