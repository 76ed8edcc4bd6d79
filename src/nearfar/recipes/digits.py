"""Settings for small drawings of digits, letters and symbols."""

from __future__ import annotations

from nearfar.pipeline.settings import PretrainConfig

__all__ = ["simclr"]


def simclr() -> PretrainConfig:
    """SimCLR on scikit-learn's 1,797 digits of 8 x 8 pixels, the settings of ``nearfar demo``.

    Views shift, turn and zoom a little, and never mirror; stronger ones were no better on a part of the training digits
    (benchmarks/choose.py). Temperature and batch were chosen there too; 0.5 is also what SimCLR has for CIFAR-10,
    and it forgives that a tenth of the negatives are of the same digit.

    Command: ``nearfar demo``. Cost: about a minute on two cores. Expected result: the table of the README.
    """
    return PretrainConfig(
        method="simclr",
        method_options={"temperature": 0.5},
        encoder="small",
        encoder_options={"width": 24},
        views="digits",
        epochs=60,
        batch_size=64,
        optimizer="adamw",
        lr=2e-3,
        log_every=10,
    )
