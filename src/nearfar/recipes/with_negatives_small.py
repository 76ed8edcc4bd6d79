"""Methods with negatives on small images (up to 64 pixels) and two CPU cores: the small encoder, 20 epochs.

Widths, queues and momenta are our own choice, for an encoder of 256 features and some ten thousand images, and were not
tuned; there are no published numbers for this encoder.
"""

from __future__ import annotations

import dataclasses

from nearfar.pipeline.settings import PretrainConfig
from nearfar.recipes.small import two_cores

__all__ = [
    "cpc_small",
    "dcl_small",
    "dclw_small",
    "densecl_small",
    "moco_v2_small",
    "moco_v3_small",
    "nnclr_small",
    "ressl_small",
    "simclr_v2_gray",
    "simclr_v2_small",
]


def simclr_v2_small() -> PretrainConfig:
    """SimCLRv2 with the temperature of ``simclr/small`` and without a memory.

    Command: ``nearfar pretrain DATA --out RUN --recipe simclr-v2/small``. Expected: the table of all methods on
    Fashion-MNIST in benchmarks/RESULTS.md.
    """
    return two_cores("simclr-v2", {"temperature": 0.2})


def simclr_v2_gray() -> PretrainConfig:
    """SimCLRv2 on grey pictures of things, 20 epochs: the first phase of ``nearfar semi`` on clothes, symbols, parts.

    Command: ``nearfar semi DATA --out OUT --recipe simclr-v2/gray --per-class 10``. Views: as ``simclr/gray``.
    Expected on Fashion-MNIST: see "few labels" in benchmarks/RESULTS.md.
    """
    return dataclasses.replace(simclr_v2_small(), views="gray", view_options={"rotate": 0.0, "scale": (0.2, 1.0)})


def dcl_small() -> PretrainConfig:
    """DCL with the temperature of ``simclr/small``.

    Command: ``nearfar pretrain DATA --out RUN --recipe dcl/small``. Expected: the table of all methods on
    Fashion-MNIST in benchmarks/RESULTS.md.
    """
    return two_cores("dcl", {"temperature": 0.2})


def dclw_small() -> PretrainConfig:
    """DCLW with the settings of ``dcl/small``.

    Command: ``nearfar pretrain DATA --out RUN --recipe dclw/small``.
    """
    return two_cores("dcl", {"temperature": 0.2, "weighted": True})


def nnclr_small() -> PretrainConfig:
    """NNCLR with narrow heads and 4,096 embeddings.

    Command: ``nearfar pretrain DATA --out RUN --recipe nnclr/small``. Expected: the table of all methods on
    Fashion-MNIST in benchmarks/RESULTS.md.
    """
    options = {"hidden_dim": 512, "predictor_dim": 512, "output_dim": 128, "head_layers": 2, "queue_size": 4096}
    return two_cores("nnclr", {**options, "temperature": 0.2})


def moco_v2_small() -> PretrainConfig:
    """MoCo v2 with 4,096 keys and a faster teacher, because the run is short.

    Command: ``nearfar pretrain DATA --out RUN --recipe moco-v2/small``. Expected: the table of all methods on
    Fashion-MNIST in benchmarks/RESULTS.md.
    """
    return two_cores("moco-v2", {"queue_size": 4096, "momentum": 0.99})


def moco_v3_small() -> PretrainConfig:
    """MoCo v3 with narrow heads.

    Command: ``nearfar pretrain DATA --out RUN --recipe moco-v3/small``. Expected: the table of all methods on
    Fashion-MNIST in benchmarks/RESULTS.md.
    """
    return two_cores("moco-v3", {"hidden_dim": 512, "output_dim": 128, "temperature": 0.2})


def densecl_small() -> PretrainConfig:
    """DenseCL with the settings of ``moco-v2/small``.

    Command: ``nearfar pretrain DATA --out RUN --recipe densecl/small``. Expected: the table of all methods on
    Fashion-MNIST in benchmarks/RESULTS.md.
    """
    return two_cores("densecl", {"queue_size": 4096, "momentum": 0.99})


def ressl_small() -> PretrainConfig:
    """ReSSL with a narrow head, 4,096 embeddings and a faster teacher, on a weak and a strong view.

    Command: ``nearfar pretrain DATA --out RUN --recipe ressl/small``. Expected: the table of all methods on
    Fashion-MNIST in benchmarks/RESULTS.md.
    """
    options = {"hidden_dim": 512, "output_dim": 128, "queue_size": 4096, "momentum": 0.99}
    return dataclasses.replace(two_cores("ressl", options), views="weak-strong")


def cpc_small() -> PretrainConfig:
    """CPC v2 on 3 x 3 patches of half the side, downwards and to the left, with a small context network.

    Command: ``nearfar pretrain DATA --out RUN --recipe cpc/small``. Expected: the table of all methods on
    Fashion-MNIST in benchmarks/RESULTS.md. The small encoder has BatchNorm, which the paper leaves out. Chosen on
    training images alone (RESULTS.md, "Choosing the patches of CPC"): with 5 x 5 patches, of 9 pixels at 28, the
    encoder stays below an untrained one.
    """
    options = {"grid": 3, "context_dim": 64, "layers": 2, "least_distance": 2, "most_distance": 2, "directions": 2}
    return two_cores("cpc", options)
