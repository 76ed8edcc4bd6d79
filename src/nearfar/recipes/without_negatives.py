"""Methods without negatives on ImageNet: the papers' settings, as far as `PretrainConfig` can say them.

None of these has been run here. Published numbers are top-1 of a linear classifier on the frozen ResNet-50 unless said
otherwise. Where no source gives settings for ImageNet, those of the method it descends from stand in, and it is said.
Everywhere the images are normalised with mean 0.5 and deviation 0.25, and the cosine of the learning rate ends at 0.
"""

from __future__ import annotations

import dataclasses

from nearfar.pipeline.settings import PretrainConfig

__all__ = [
    "all4one_imagenet",
    "barlow_twins_imagenet",
    "byol_imagenet",
    "emp_ssl_imagenet",
    "fastsiam_imagenet",
    "lejepa_imagenet",
    "nnbyol_imagenet",
    "nnsiam_imagenet",
    "simsiam_imagenet",
    "tico_imagenet",
    "vibcreg_imagenet",
    "vicreg_imagenet",
    "w_mse_imagenet",
]


def byol_imagenet() -> PretrainConfig:
    """BYOL, 1,000 epochs at batch 4,096: LARS 0.2 per 256 items, decay 1.5e-6, momentum 0.996 to 1.

    Command: ``nearfar pretrain DATA --out RUN --recipe byol/imagenet``. Published: 74.3 % (the paper).
    """
    return PretrainConfig(
        method="byol",
        encoder="resnet50",
        views="byol",
        image_size=224,
        epochs=1000,
        batch_size=4096,
        optimizer="lars",
        lr=3.2,
        weight_decay=1.5e-6,
        warmup_epochs=10,
    )


def simsiam_imagenet() -> PretrainConfig:
    """SimSiam, 100 epochs at batch 256: SGD 0.05, decay 1e-4, no warm-up, MoCo v2's views.

    Command: ``nearfar pretrain DATA --out RUN --recipe simsiam/imagenet``. Published: 68.1 % (the paper).
    """
    return PretrainConfig(
        method="simsiam",
        encoder="resnet50",
        views="moco-v2",
        image_size=224,
        epochs=100,
        batch_size=256,
        optimizer="sgd",
        lr=0.05,
        weight_decay=1e-4,
        warmup_epochs=0,
    )


def fastsiam_imagenet() -> PretrainConfig:
    """FastSiam, 25 epochs at batch 32 and 4 views; SimSiam's learning rate, 0.05 per 256 items.

    Command: ``nearfar pretrain DATA --out RUN --recipe fastsiam/imagenet``. Published: no linear accuracy; on
    detection and segmentation this many epochs match supervised weights (the paper). Its own learning rate was not at
    hand.
    """
    return dataclasses.replace(simsiam_imagenet(), method="fastsiam", epochs=25, batch_size=32, lr=0.00625)


def nnbyol_imagenet() -> PretrainConfig:
    """NNBYOL with the settings of ``byol/imagenet`` and NNCLR's queue of 98,304.

    Command: ``nearfar pretrain DATA --out RUN --recipe nnbyol/imagenet``. No published number: no source gives a run.
    """
    options = {"momentum": 0.996, "queue_size": 98304}
    return dataclasses.replace(byol_imagenet(), method="nnbyol", method_options=options)


def nnsiam_imagenet() -> PretrainConfig:
    """NNSiam with the settings of ``simsiam/imagenet`` and NNCLR's queue of 98,304, which takes 768 MiB.

    Command: ``nearfar pretrain DATA --out RUN --recipe nnsiam/imagenet``. No published number: no source gives a run.
    """
    return dataclasses.replace(simsiam_imagenet(), method="nnsiam", method_options={"queue_size": 98304})


def all4one_imagenet() -> PretrainConfig:
    """All4One on ImageNet-100 with ResNet-18, 400 epochs at batch 256.

    solo-learn's settings, but for the optimiser: its LARS has a trust coefficient of 0.02 and never multiplies the rate
    of 1.0 by more than 1, which cannot be said here; SGD at 0.12 and decay 5e-4, of lightly's benchmarks, stands in.

    Command: ``nearfar pretrain DATA --out RUN --recipe all4one/imagenet``. No published number for these settings.
    """
    return PretrainConfig(
        method="all4one",
        method_options={"queue_size": 98304},
        encoder="resnet18",
        views="byol",
        image_size=224,
        epochs=400,
        batch_size=256,
        optimizer="sgd",
        lr=0.12,
        weight_decay=5e-4,
        warmup_epochs=10,
    )


def barlow_twins_imagenet() -> PretrainConfig:
    """Barlow Twins, 1,000 epochs at batch 2,048: LARS 0.2 per 256 items, decay 1e-6, the loss times 0.024.

    Scaling the loss gives biases and norms, which LARS does not adapt, the published rate of 0.0048.

    Command: ``nearfar pretrain DATA --out RUN --recipe barlow-twins/imagenet``. Published: 73.2 % (the paper).
    """
    return PretrainConfig(
        method="barlow-twins",
        method_options={"loss_scale": 0.024},
        encoder="resnet50",
        views="barlow-twins",
        image_size=224,
        epochs=1000,
        batch_size=2048,
        optimizer="lars",
        lr=1.6,
        weight_decay=1e-6,
        warmup_epochs=10,
    )


def vicreg_imagenet() -> PretrainConfig:
    """VICReg, 1,000 epochs at batch 2,048: LARS 0.2 per 256 items, decay 1e-6.

    Command: ``nearfar pretrain DATA --out RUN --recipe vicreg/imagenet``. Published: 73.2 % (the paper).
    """
    return PretrainConfig(
        method="vicreg",
        encoder="resnet50",
        views="vicreg",
        image_size=224,
        epochs=1000,
        batch_size=2048,
        optimizer="lars",
        lr=1.6,
        weight_decay=1e-6,
        warmup_epochs=10,
    )


def vibcreg_imagenet() -> PretrainConfig:
    """VIbCReg with the settings of ``vicreg/imagenet``: its authors trained on time series.

    Command: ``nearfar pretrain DATA --out RUN --recipe vibcreg/imagenet``. No published number.
    """
    return dataclasses.replace(vicreg_imagenet(), method="vibcreg")


def w_mse_imagenet() -> PretrainConfig:
    """W-MSE, 100 epochs at batch 256: lightly's benchmark, LARS 0.1 times the root of the batch, 3-layer head.

    Output and blocks are the published code's for STL-10 and Tiny ImageNet; 4 views as there and in lightly.

    Command: ``nearfar pretrain DATA --out RUN --recipe w-mse/imagenet``. No published number for these settings.
    """
    return PretrainConfig(
        method="w-mse",
        method_options={"hidden_dim": 2048, "output_dim": 128, "head_layers": 3, "block_size": 256},
        encoder="resnet50",
        views="simclr",
        view_count=4,
        image_size=224,
        epochs=100,
        batch_size=256,
        optimizer="lars",
        lr=1.6,
        weight_decay=1e-6,
        warmup_epochs=10,
    )


def tico_imagenet() -> PretrainConfig:
    """TiCo, 100 epochs at batch 256: lightly's benchmark, LARS 0.2, decay 1.5e-6, BYOL's views.

    Command: ``nearfar pretrain DATA --out RUN --recipe tico/imagenet``. Published for these settings: 49.7 % linear,
    26.6 % kNN (lightly).
    """
    return PretrainConfig(
        method="tico",
        encoder="resnet50",
        views="byol",
        image_size=224,
        epochs=100,
        batch_size=256,
        optimizer="lars",
        lr=0.2,
        weight_decay=1.5e-6,
        warmup_epochs=10,
    )


def emp_ssl_imagenet() -> PretrainConfig:
    """EMP-SSL on ImageNet-100 with ResNet-18, 10 epochs of 20 crops: the optimiser as in ``emp-ssl/cifar``.

    Command: ``nearfar pretrain DATA --out RUN --recipe emp-ssl/imagenet``. Published: 78.9 % (the paper), of the
    average over many crops.
    """
    return PretrainConfig(
        method="emp-ssl",
        method_options={"similarity_weight": 12.0, "coding_weight": 0.06},
        encoder="resnet18",
        views="emp-ssl",
        image_size=224,
        epochs=10,
        batch_size=100,
        optimizer="lars",
        lr=5.0,
        weight_decay=6e-6,
        warmup_epochs=0,
    )


def lejepa_imagenet() -> PretrainConfig:
    """LeJEPA, 100 epochs: AdamW 5e-4, decay 5e-4 for a ResNet, crops of two sizes, as the authors advise.

    Views are DINO's: 2 large and 8 small crops, cut at 40 % of the area (LeJEPA: 6 small, cut at 30 %). The batch is
    that of the authors' example on Imagenette.

    Command: ``nearfar pretrain DATA --out RUN --recipe lejepa/imagenet``. No published number for these settings.
    """
    return PretrainConfig(
        method="lejepa",
        encoder="resnet50",
        views="dino",
        image_size=224,
        epochs=100,
        batch_size=256,
        optimizer="adamw",
        lr=5e-4,
        weight_decay=5e-4,
        warmup_epochs=1,
    )
