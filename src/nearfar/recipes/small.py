"""Settings for small images (up to 64 pixels) on two CPU cores."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from nearfar.pipeline.settings import PretrainConfig

__all__ = ["metric", "siamese", "simclr", "simclr_gray", "supcon", "supcon_gray", "triplet", "two_cores"]

GRAY = {"rotate": 0.0, "scale": (0.2, 1.0)}


def two_cores(method: str, options: Mapping[str, Any] | None = None) -> PretrainConfig:
    """Return what the settings METHOD/small share: the small encoder, 20 epochs of batches of 256, AdamW at 2e-3."""
    return PretrainConfig(
        method=method,
        method_options=dict(options or {}),
        encoder="small",
        epochs=20,
        batch_size=256,
        optimizer="adamw",
        lr=2e-3,
    )


def simclr() -> PretrainConfig:
    """SimCLR with the small encoder, 20 epochs.

    Command: ``nearfar pretrain DATA --out RUN --recipe simclr/small``. Expected: the table of all methods on
    Fashion-MNIST in benchmarks/RESULTS.md.
    """
    return two_cores("simclr", {"temperature": 0.2})


def simclr_gray() -> PretrainConfig:
    """SimCLR with the small encoder on grey pictures of things (clothes, symbols, parts), 20 epochs.

    Views: crops of 20 to 100 %, mirrored, brightness and contrast, a little blur; never turned.

    Command: ``nearfar pretrain DATA --out RUN --recipe simclr/gray``. Cost: under two minutes for 10,000 images of 28
    pixels on two cores. Expected on Fashion-MNIST (mean over 3 seeds, benchmarks/RESULTS.md): linear 86.8 %, kNN
    75.8 %; raw pixels reach 83.3 % and 73.3 %.
    """
    return dataclasses.replace(simclr(), views="gray", view_options=GRAY)


def supcon_gray() -> PretrainConfig:
    """SupCon with the small encoder on grey pictures of things, 20 epochs: the settings of SimCLR's, and labels.

    Command: ``nearfar pretrain DATA --out RUN --recipe supcon/gray``. Cost: as ``simclr/gray``. Expected on
    Fashion-MNIST (mean over 3 seeds, benchmarks/RESULTS.md): linear 87.7 %, kNN 82.2 %.
    """
    return dataclasses.replace(supcon(), views="gray", view_options=GRAY)


def supcon() -> PretrainConfig:
    """SupCon with the small encoder: SimCLR's settings, and labels.

    Command: ``nearfar pretrain DATA --out RUN --recipe supcon/small``. Expected: the table of all methods on
    Fashion-MNIST in benchmarks/RESULTS.md.
    """
    return two_cores("supcon", {"temperature": 0.1})


def siamese() -> PretrainConfig:
    """Siamese network with the small encoder, pairs drawn from labels.

    Command: ``nearfar pretrain DATA --out RUN --recipe siamese/small``. Expected: the table of all methods on
    Fashion-MNIST in benchmarks/RESULTS.md.
    """
    return two_cores("siamese")


def triplet() -> PretrainConfig:
    """Triplet loss with semi-hard negatives and the small encoder.

    Command: ``nearfar pretrain DATA --out RUN --recipe triplet/small``. Expected: the table of all methods on
    Fashion-MNIST in benchmarks/RESULTS.md.
    """
    return two_cores("triplet")


def metric() -> PretrainConfig:
    """Multi-similarity on representations themselves with the small encoder; one view, M items of each of P classes.

    Command: ``nearfar pretrain DATA --out RUN --recipe metric/small``. Measured with other budgets:
    RESULTS.md, "Similarity".
    """
    return PretrainConfig(
        method="metric",
        encoder="small",
        views="metric",
        epochs=20,
        batch_size=128,
        sampler="balanced",
        optimizer="adamw",
        lr=2e-3,
    )
