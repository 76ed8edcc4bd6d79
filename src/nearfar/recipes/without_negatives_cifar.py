"""Methods without negatives on CIFAR-10 with ResNet-18: lightly's, solo-learn's or the paper's settings.

None of these has been run here. "kNN" is top-1 with k = 200 and temperature 0.1, "linear" that of a linear classifier:
online and after 1,000 epochs where it is solo-learn's. solo-learn's LARS has a trust coefficient of 0.02 and never
multiplies the rate by more than 1, which `PretrainConfig` cannot say; where a recipe departs for that, it says so.
"""

from __future__ import annotations

import dataclasses

from nearfar.pipeline.settings import PretrainConfig

__all__ = [
    "all4one_cifar",
    "barlow_twins_cifar",
    "byol_cifar",
    "emp_ssl_cifar",
    "fastsiam_cifar",
    "lejepa_cifar",
    "nnbyol_cifar",
    "nnsiam_cifar",
    "simsiam_cifar",
    "tico_cifar",
    "vibcreg_cifar",
    "vicreg_cifar",
    "w_mse_cifar",
]


def byol_cifar() -> PretrainConfig:
    """BYOL, 200 epochs at batch 128: lightly's benchmark, SGD 0.06, decay 5e-4, the teacher's momentum 0.99 throughout.

    Command: ``nearfar pretrain DATA --out RUN --recipe byol/cifar``. Published: kNN 86.9 %.
    """
    return PretrainConfig(
        method="byol",
        method_options={"hidden_dim": 1024, "predictor_dim": 1024, "momentum": 0.99, "final_momentum": 0.99},
        encoder="resnet18",
        views="cifar",
        image_size=32,
        epochs=200,
        batch_size=128,
        optimizer="sgd",
        lr=0.06,
        weight_decay=5e-4,
        warmup_epochs=0,
    )


def simsiam_cifar() -> PretrainConfig:
    """SimSiam, 800 epochs at batch 512: the paper's, SGD 0.03 per 256 items, decay 5e-4, a 2-layer projector.

    Command: ``nearfar pretrain DATA --out RUN --recipe simsiam/cifar``. Published: linear 91.8 % (the paper).
    """
    return PretrainConfig(
        method="simsiam",
        method_options={"head_layers": 2},
        encoder="resnet18",
        views="moco-v2",
        view_options={"blur": 0.0},
        image_size=32,
        epochs=800,
        batch_size=512,
        optimizer="sgd",
        lr=0.06,
        weight_decay=5e-4,
        warmup_epochs=0,
    )


def fastsiam_cifar() -> PretrainConfig:
    """FastSiam, 200 epochs at batch 128 and 4 views: lightly's benchmark, SGD 0.06, decay 5e-4.

    Command: ``nearfar pretrain DATA --out RUN --recipe fastsiam/cifar``. Published: kNN 90.6 %.
    """
    return dataclasses.replace(byol_cifar(), method="fastsiam", method_options={"head_layers": 2})


def nnbyol_cifar() -> PretrainConfig:
    """NNBYOL, 200 epochs at batch 128: the optimiser of ``byol/cifar``, solo-learn's heads, 4,096 keys.

    solo-learn keeps 65,536 keys, more than CIFAR-10 has images, and trains with its LARS.

    Command: ``nearfar pretrain DATA --out RUN --recipe nnbyol/cifar``. No published number for these settings.
    """
    return dataclasses.replace(byol_cifar(), method="nnbyol", method_options={"queue_size": 4096})


def nnsiam_cifar() -> PretrainConfig:
    """NNSiam, 1,000 epochs at batch 256: solo-learn's, SGD 0.5, decay 1e-5, BYOL's views without blur.

    Command: ``nearfar pretrain DATA --out RUN --recipe nnsiam/cifar``. No published number.
    """
    return PretrainConfig(
        method="nnsiam",
        method_options={"predictor_dim": 4096},
        encoder="resnet18",
        views="byol",
        view_options={"blur": 0.0},
        image_size=32,
        epochs=1000,
        batch_size=256,
        optimizer="sgd",
        lr=0.5,
        weight_decay=1e-5,
        warmup_epochs=10,
    )


def all4one_cifar() -> PretrainConfig:
    """All4One, 1,000 epochs at batch 256: solo-learn's, with lightly's SGD (0.06 per 128 items) for its LARS.

    Command: ``nearfar pretrain DATA --out RUN --recipe all4one/cifar``. Published: linear 93.24 % (with that LARS).
    """
    return dataclasses.replace(
        nnsiam_cifar(), method="all4one", method_options={"queue_size": 98304}, lr=0.12, weight_decay=5e-4
    )


def barlow_twins_cifar() -> PretrainConfig:
    """Barlow Twins, 200 epochs at batch 128: lightly's benchmark, SGD 0.06, decay 5e-4, a 2-layer head of 2,048.

    Command: ``nearfar pretrain DATA --out RUN --recipe barlow-twins/cifar``. Published: kNN 84.2 %.
    """
    options = {"hidden_dim": 2048, "output_dim": 2048, "head_layers": 2, "redundancy_weight": 0.005}
    return dataclasses.replace(byol_cifar(), method="barlow-twins", method_options=options)


def vicreg_cifar() -> PretrainConfig:
    """VICReg, 1,000 epochs at batch 256: solo-learn's, LARS 0.3, decay 1e-4, with the usual trust coefficient, 0.001.

    Command: ``nearfar pretrain DATA --out RUN --recipe vicreg/cifar``. Published: linear 92.07 % (with its own LARS).
    """
    return PretrainConfig(
        method="vicreg",
        method_options={"hidden_dim": 2048, "output_dim": 2048},
        encoder="resnet18",
        views="vicreg",
        view_options={"blur": 0.0, "scale": (0.2, 1.0)},
        image_size=32,
        epochs=1000,
        batch_size=256,
        optimizer="lars",
        lr=0.3,
        weight_decay=1e-4,
        warmup_epochs=10,
    )


def vibcreg_cifar() -> PretrainConfig:
    """VIbCReg, 1,000 epochs at batch 256: solo-learn's; the trust coefficient as in ``vicreg/cifar``.

    Command: ``nearfar pretrain DATA --out RUN --recipe vibcreg/cifar``. Published: linear 91.18 % (with its own LARS).
    """
    return dataclasses.replace(vicreg_cifar(), method="vibcreg")


def w_mse_cifar() -> PretrainConfig:
    """W-MSE, 1,000 epochs at batch 256: solo-learn's, with AdamW for Adam, 2e-3, decay 1e-6, and 2 views.

    The paper's W-MSE 4 is ``--view-count 4``, at twice the cost.

    Command: ``nearfar pretrain DATA --out RUN --recipe w-mse/cifar``. Published: linear 88.67 %.
    """
    return PretrainConfig(
        method="w-mse",
        encoder="resnet18",
        views="simclr",
        view_options={"blur": 0.0, "scale": (0.2, 1.0)},
        image_size=32,
        epochs=1000,
        batch_size=256,
        optimizer="adamw",
        lr=2e-3,
        weight_decay=1e-6,
        warmup_epochs=10,
    )


def tico_cifar() -> PretrainConfig:
    """TiCo, 200 epochs at batch 256: the settings of lightly's benchmark on Imagenette, SGD 0.3, decay 1e-4.

    Command: ``nearfar pretrain DATA --out RUN --recipe tico/cifar``. No published number on CIFAR-10; on Imagenette at
    128 pixels: kNN 53.1 %.
    """
    return PretrainConfig(
        method="tico",
        method_options={"hidden_dim": 1024, "momentum": 0.996},
        encoder="resnet18",
        views="cifar",
        image_size=32,
        epochs=200,
        batch_size=256,
        optimizer="sgd",
        lr=0.3,
        weight_decay=1e-4,
        warmup_epochs=20,
    )


def emp_ssl_cifar() -> PretrainConfig:
    """EMP-SSL, 30 epochs at batch 100 and 20 crops: the published code's.

    Its LARS has a trust coefficient of 0.005 and clips the rate at 0.3. Weights move as much here with a rate of 5 at
    0.001, while the clip is idle; biases and norms do with a loss, and a decay of 1e-4, scaled by 0.06 = 0.3 / 5.

    Command: ``nearfar pretrain DATA --out RUN --recipe emp-ssl/cifar``. Published: 93.1 to 93.4 %, of the average over
    128 crops.
    """
    return PretrainConfig(
        method="emp-ssl",
        method_options={"similarity_weight": 12.0, "coding_weight": 0.06},
        encoder="resnet18",
        views="emp-ssl",
        image_size=32,
        epochs=30,
        batch_size=100,
        optimizer="lars",
        lr=5.0,
        weight_decay=6e-6,
        warmup_epochs=0,
    )


def lejepa_cifar() -> PretrainConfig:
    """LeJEPA, 800 epochs at batch 256: the authors' example on Imagenette, AdamW 2e-3, lambda 0.02, output 16.

    4 views as there. The example has a ViT-S/8; here the decay is 5e-4, which the authors advise for ResNets.

    Command: ``nearfar pretrain DATA --out RUN --recipe lejepa/cifar``. No published number for these settings.
    """
    return PretrainConfig(
        method="lejepa",
        method_options={"output_dim": 16, "regularizer_weight": 0.02, "directions": 256},
        encoder="resnet18",
        views="cifar",
        view_count=4,
        image_size=32,
        epochs=800,
        batch_size=256,
        optimizer="adamw",
        lr=2e-3,
        weight_decay=5e-4,
        warmup_epochs=1,
    )
