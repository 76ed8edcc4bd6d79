"""Methods with negatives on CIFAR-10 with ResNet-18: lightly's, solo-learn's or the authors' settings.

None of these has been run here. "kNN" is top-1 with k = 200 and temperature 0.1, "linear" that of a linear classifier:
online and after 1,000 epochs where it is solo-learn's.
"""

from __future__ import annotations

import dataclasses

from nearfar.pipeline.settings import PretrainConfig

__all__ = [
    "cpc_cifar",
    "dcl_cifar",
    "dclw_cifar",
    "densecl_cifar",
    "moco_v2_cifar",
    "moco_v3_cifar",
    "nnclr_cifar",
    "ressl_cifar",
    "simclr_cifar",
    "simclr_v2_cifar",
    "supcon_cifar",
]


def simclr_cifar() -> PretrainConfig:
    """SimCLR, 200 epochs at batch 128: lightly's benchmark, SGD 0.06, decay 5e-4, temperature 0.5.

    Command: ``nearfar pretrain DATA --out RUN --recipe simclr/cifar``. Published: kNN 84.7 % (lightly). After 1,000
    epochs of other settings ResNet-18 has linear 90.7 % (solo-learn), ResNet-50 94.0 % (the paper, batch 1,024).
    """
    return PretrainConfig(
        method="simclr",
        method_options={"temperature": 0.5},
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


def simclr_v2_cifar() -> PretrainConfig:
    """SimCLRv2, 1,000 epochs at batch 512: the command of the authors' code, LARS 1.0 per 256 items, temperature 0.5.

    Command: ``nearfar pretrain DATA --out RUN --recipe simclr-v2/cifar``. Published: linear about 91 % (their README).
    """
    return PretrainConfig(
        method="simclr-v2",
        method_options={"temperature": 0.5},
        encoder="resnet18",
        views="cifar",
        image_size=32,
        epochs=1000,
        batch_size=512,
        optimizer="lars",
        lr=2.0,
        weight_decay=1e-4,
        warmup_epochs=10,
    )


def dcl_cifar() -> PretrainConfig:
    """DCL, 200 epochs at batch 128: lightly's benchmark, SGD 0.06, decay 5e-4.

    Command: ``nearfar pretrain DATA --out RUN --recipe dcl/cifar``. Published: kNN 84.4 %.
    """
    return dataclasses.replace(simclr_cifar(), method="dcl", method_options={})


def dclw_cifar() -> PretrainConfig:
    """DCLW with the settings of ``dcl/cifar``.

    Command: ``nearfar pretrain DATA --out RUN --recipe dclw/cifar``. Published: kNN 83.3 % (lightly's table of 2022,
    where DCL has 84.2 %).
    """
    return dataclasses.replace(dcl_cifar(), method_options={"weighted": True})


def nnclr_cifar() -> PretrainConfig:
    """NNCLR, 200 epochs at batch 128: lightly's benchmark, SGD 0.06, decay 5e-4, 4,096 embeddings, temperature 0.5.

    Command: ``nearfar pretrain DATA --out RUN --recipe nnclr/cifar``. Published: kNN 83.4 %, with NT-Xent between
    neighbours and predictions, whose negatives are rows of both.
    """
    return PretrainConfig(
        method="nnclr",
        method_options={"head_layers": 2, "queue_size": 4096, "temperature": 0.5},
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


def moco_v2_cifar() -> PretrainConfig:
    """MoCo with a symmetric loss, 200 epochs at batch 512: the authors' demonstration, whose head is linear.

    Command: ``nearfar pretrain DATA --out RUN --recipe moco-v2/cifar``. Published: kNN 85.3 %; after 800 epochs kNN
    89.7 %, linear 90.7 %. The demonstration adds both views' losses where this is their mean, so its SGD 0.06 and decay
    5e-4 stand here as 0.12 and 2.5e-4, which make the same steps.
    """
    return PretrainConfig(
        method="moco-v2",
        method_options={
            "head_layers": 1,
            "queue_size": 4096,
            "momentum": 0.99,
            "temperature": 0.1,
            "symmetric": True,
        },
        encoder="resnet18",
        views="supcon",
        view_options={"scale": (0.08, 1.0)},
        image_size=32,
        epochs=200,
        batch_size=512,
        optimizer="sgd",
        lr=0.12,
        weight_decay=2.5e-4,
        warmup_epochs=0,
    )


def moco_v3_cifar() -> PretrainConfig:
    """MoCo v3, 1,000 epochs at batch 256: solo-learn's, LARS 0.3, decay 1e-6, temperature 0.2, views without blur.

    Command: ``nearfar pretrain DATA --out RUN --recipe moco-v3/cifar``. Published: linear 93.1 %. solo-learn's LARS has
    a trust coefficient of 0.02 and never multiplies the rate by more than 1; ours has the paper's 0.001, for which 0.3
    is its rate of a run as long.
    """
    return PretrainConfig(
        method="moco-v3",
        method_options={"temperature": 0.2},
        encoder="resnet18",
        views="byol",
        view_options={"blur": 0.0},
        image_size=32,
        epochs=1000,
        batch_size=256,
        optimizer="lars",
        lr=0.3,
        weight_decay=1e-6,
        warmup_epochs=10,
    )


def densecl_cifar() -> PretrainConfig:
    """DenseCL, 200 epochs at batch 512, with the settings of MoCo's demonstration: SGD 0.06, decay 5e-4.

    Command: ``nearfar pretrain DATA --out RUN --recipe densecl/cifar``. Nobody published settings or numbers for images
    of 32 pixels, whose maps have 4 x 4 positions.
    """
    return PretrainConfig(
        method="densecl",
        method_options={"queue_size": 4096, "momentum": 0.99, "temperature": 0.1},
        encoder="resnet18",
        views="supcon",
        view_options={"scale": (0.08, 1.0)},
        image_size=32,
        epochs=200,
        batch_size=512,
        optimizer="sgd",
        lr=0.06,
        weight_decay=5e-4,
        warmup_epochs=0,
    )


def ressl_cifar() -> PretrainConfig:
    """ReSSL, 1,000 epochs at batch 256: solo-learn's, SGD 0.05, decay 1e-4, momentum 0.99 to 1, 65,536 embeddings.

    Command: ``nearfar pretrain DATA --out RUN --recipe ressl/cifar``. Published: linear 90.6 %, with a crop of 8 to
    100 %, mirrored or not, as the weak view; here it is the whole picture, shifted a little.
    """
    return PretrainConfig(
        method="ressl",
        method_options={"output_dim": 256, "queue_size": 65536, "momentum": 0.99, "final_momentum": 1.0},
        encoder="resnet18",
        views="weak-strong",
        image_size=32,
        epochs=1000,
        batch_size=256,
        optimizer="sgd",
        lr=0.05,
        weight_decay=1e-4,
        warmup_epochs=10,
    )


def cpc_cifar() -> PretrainConfig:
    """CPC v2, 200 epochs at batch 256: patches of 8 every 4 pixels, ResNet-18 with GroupNorm, AdamW 1e-3.

    Command: ``nearfar pretrain DATA --out RUN --recipe cpc/cifar``. The settings are our own choice and untuned: nobody
    published them for this encoder. Another reproduction reports 84.5 %.
    """
    return PretrainConfig(
        method="cpc",
        encoder="resnet18",
        encoder_options={"norm_layer": "groupnorm"},
        views="cifar",
        image_size=32,
        epochs=200,
        batch_size=256,
        optimizer="adamw",
        lr=1e-3,
    )


def supcon_cifar() -> PretrainConfig:
    """SupCon, 1,000 epochs at batch 256: solo-learn's, SGD 0.4, decay 1e-5, temperature 0.2, views with blur.

    Command: ``nearfar pretrain DATA --out RUN --recipe supcon/cifar``. Published: linear 93.8 % (solo-learn), all
    labels used; ResNet-50 with the paper's own settings, batches of 1,024 and temperature 0.1: 96.0 %.
    """
    return PretrainConfig(
        method="supcon",
        method_options={"hidden_dim": 2048, "output_dim": 256, "temperature": 0.2},
        encoder="resnet18",
        views="simclr",
        image_size=32,
        epochs=1000,
        batch_size=256,
        optimizer="sgd",
        lr=0.4,
        weight_decay=1e-5,
        warmup_epochs=10,
    )
