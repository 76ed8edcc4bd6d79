"""Methods without negatives on small images (up to 64 pixels) and two CPU cores: the small encoder, 20 epochs.

Widths are our own choice, for an encoder of 256 features and a batch of 256, and were not tuned. Expected results stand
in benchmarks/RESULTS.md where a record exists; there are no published numbers for this encoder.
"""

from __future__ import annotations

from nearfar.pipeline.settings import PretrainConfig
from nearfar.recipes.small import two_cores

__all__ = [
    "all4one_small",
    "barlow_twins_small",
    "byol_small",
    "emp_ssl_small",
    "fastsiam_small",
    "lejepa_small",
    "nnbyol_small",
    "nnsiam_small",
    "simsiam_small",
    "tico_small",
    "vibcreg_small",
    "vicreg_small",
    "w_mse_small",
]


def byol_small() -> PretrainConfig:
    """BYOL with narrow heads and a faster teacher, because the run is short.

    Command: ``nearfar pretrain DATA --out RUN --recipe byol/small``. Expected: the table of all methods on
    Fashion-MNIST in benchmarks/RESULTS.md.
    """
    return two_cores("byol", {"hidden_dim": 512, "output_dim": 128, "predictor_dim": 512, "momentum": 0.99})


def simsiam_small() -> PretrainConfig:
    """SimSiam with narrow heads; the predictor's hidden layer has a quarter of the output's width, as in the paper.

    Command: ``nearfar pretrain DATA --out RUN --recipe simsiam/small``. Expected: the table of all methods on
    Fashion-MNIST in benchmarks/RESULTS.md.
    """
    return two_cores("simsiam", {"hidden_dim": 512, "output_dim": 512, "head_layers": 2, "predictor_dim": 128})


def fastsiam_small() -> PretrainConfig:
    """FastSiam with the heads of ``simsiam/small`` and 4 views, so twice its cost.

    Command: ``nearfar pretrain DATA --out RUN --recipe fastsiam/small``. Expected: the table of all methods on
    Fashion-MNIST in benchmarks/RESULTS.md.
    """
    return two_cores("fastsiam", {"hidden_dim": 512, "output_dim": 512, "head_layers": 2, "predictor_dim": 128})


def nnbyol_small() -> PretrainConfig:
    """NNBYOL with the heads of ``byol/small`` and 4,096 keys; take fewer for fewer than 10,000 images.

    Command: ``nearfar pretrain DATA --out RUN --recipe nnbyol/small``. Expected: the table of all methods on
    Fashion-MNIST in benchmarks/RESULTS.md.
    """
    return two_cores("nnbyol", {"hidden_dim": 512, "output_dim": 128, "predictor_dim": 512, "queue_size": 4096})


def nnsiam_small() -> PretrainConfig:
    """NNSiam with the heads of ``simsiam/small`` and 4,096 keys; take fewer for fewer than 10,000 images.

    Command: ``nearfar pretrain DATA --out RUN --recipe nnsiam/small``. Expected: the table of all methods on
    Fashion-MNIST in benchmarks/RESULTS.md.
    """
    return two_cores(
        "nnsiam",
        {"hidden_dim": 512, "output_dim": 512, "head_layers": 2, "predictor_dim": 128, "queue_size": 4096},
    )


def all4one_small() -> PretrainConfig:
    """All4One with narrow heads, a transformer of one layer and 4,096 keys; fewer for fewer than 10,000 images.

    Command: ``nearfar pretrain DATA --out RUN --recipe all4one/small``. Expected: the table of all methods on
    Fashion-MNIST in benchmarks/RESULTS.md.
    """
    return two_cores(
        "all4one",
        {"hidden_dim": 512, "output_dim": 128, "predictor_dim": 512, "queue_size": 4096, "attention_layers": 1},
    )


def barlow_twins_small() -> PretrainConfig:
    """Barlow Twins with a 2-layer head of 128 features and lambda 1 / 128, which suits so few.

    Command: ``nearfar pretrain DATA --out RUN --recipe barlow-twins/small``. Expected: the table of all methods on
    Fashion-MNIST in benchmarks/RESULTS.md.
    """
    return two_cores(
        "barlow-twins", {"hidden_dim": 512, "output_dim": 128, "head_layers": 2, "redundancy_weight": 0.0078125}
    )


def vicreg_small() -> PretrainConfig:
    """VICReg with a 2-layer head of 512 features.

    Command: ``nearfar pretrain DATA --out RUN --recipe vicreg/small``. Expected: the table of all methods on
    Fashion-MNIST in benchmarks/RESULTS.md.
    """
    return two_cores("vicreg", {"hidden_dim": 512, "output_dim": 512, "head_layers": 2})


def vibcreg_small() -> PretrainConfig:
    """VIbCReg with a 2-layer head of 512 features, whitened in 16 groups of 32.

    Command: ``nearfar pretrain DATA --out RUN --recipe vibcreg/small``. Expected: the table of all methods on
    Fashion-MNIST in benchmarks/RESULTS.md.
    """
    return two_cores("vibcreg", {"hidden_dim": 512, "output_dim": 512, "head_layers": 2, "whitening_groups": 16})


def w_mse_small() -> PretrainConfig:
    """W-MSE with a narrower head; output and blocks are those of CIFAR-10.

    Command: ``nearfar pretrain DATA --out RUN --recipe w-mse/small``. Expected: the table of all methods on
    Fashion-MNIST in benchmarks/RESULTS.md.
    """
    return two_cores("w-mse", {"hidden_dim": 512})


def tico_small() -> PretrainConfig:
    """TiCo with a narrow head.

    Command: ``nearfar pretrain DATA --out RUN --recipe tico/small``. Expected: the table of all methods on
    Fashion-MNIST in benchmarks/RESULTS.md.
    """
    return two_cores("tico", {"hidden_dim": 512, "output_dim": 128})


def emp_ssl_small() -> PretrainConfig:
    """EMP-SSL with narrow heads and four ordinary views, so twice the cost of two; ``--views emp-ssl`` makes 20 crops.

    Command: ``nearfar pretrain DATA --out RUN --recipe emp-ssl/small``. Expected: the table of all methods on
    Fashion-MNIST in benchmarks/RESULTS.md.
    """
    return two_cores("emp-ssl", {"hidden_dim": 512, "output_dim": 256})


def lejepa_small() -> PretrainConfig:
    """LeJEPA with a narrow head and 256 directions.

    Command: ``nearfar pretrain DATA --out RUN --recipe lejepa/small``. Expected: the table of all methods on
    Fashion-MNIST in benchmarks/RESULTS.md.
    """
    return two_cores("lejepa", {"hidden_dim": 512, "output_dim": 64, "directions": 256})
