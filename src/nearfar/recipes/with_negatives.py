"""Methods with negatives on ImageNet: the papers' settings, as far as `PretrainConfig` can say them.

None of these has been run here. Published numbers are top-1 of a linear classifier on the frozen ResNet-50 unless said
otherwise. Everywhere the images are normalised with mean 0.5 and deviation 0.25, biases and norms have no weight decay,
and the cosine of the learning rate ends at 0.
"""

from __future__ import annotations

import dataclasses

from nearfar.pipeline.settings import PretrainConfig

__all__ = [
    "cpc_imagenet",
    "dcl_imagenet",
    "dclw_imagenet",
    "densecl_imagenet",
    "moco_v2_imagenet",
    "moco_v3_imagenet",
    "moco_v3_imagenet_vit",
    "nnclr_imagenet",
    "ressl_imagenet",
    "simclr_imagenet",
    "simclr_v2_imagenet",
    "supcon_imagenet",
]


def simclr_imagenet() -> PretrainConfig:
    """SimCLR, 1,000 epochs at batch 4,096: the paper's best, LARS 0.3 per 256 items, decay 1e-6, temperature 0.1.

    Command: ``nearfar pretrain DATA --out RUN --recipe simclr/imagenet``. Published: 69.3 % (the paper), 64.5 % after
    100 epochs. Below batches of 1,024 the paper's other rule is better, 0.075 times the root of the batch.
    """
    return PretrainConfig(
        method="simclr",
        encoder="resnet50",
        views="simclr",
        image_size=224,
        epochs=1000,
        batch_size=4096,
        optimizer="lars",
        lr=4.8,
        weight_decay=1e-6,
        warmup_epochs=10,
    )


def simclr_v2_imagenet() -> PretrainConfig:
    """SimCLRv2, 800 epochs at batch 4,096: LARS 0.1 times the root of the batch, decay 1e-4, and the paper's memory.

    Command: ``nearfar pretrain DATA --out RUN --recipe simclr-v2/imagenet``. Published: 71.7 % (the paper), 71.1 % by
    its code, which has no memory.
    """
    return PretrainConfig(
        method="simclr-v2",
        method_options={"memory": 65536},
        encoder="resnet50",
        views="simclr",
        image_size=224,
        epochs=800,
        batch_size=4096,
        optimizer="lars",
        lr=6.4,
        weight_decay=1e-4,
        warmup_epochs=40,
    )


def dcl_imagenet() -> PretrainConfig:
    """DCL, 100 epochs at batch 256: lightly's benchmark, LARS 0.075 times the root of the batch, decay 1e-6.

    Command: ``nearfar pretrain DATA --out RUN --recipe dcl/imagenet``. Published: 65.1 % (lightly; SimCLR 63.2 %),
    66.9 % after 200 epochs (the paper).
    """
    return PretrainConfig(
        method="dcl",
        encoder="resnet50",
        views="simclr",
        image_size=224,
        epochs=100,
        batch_size=256,
        optimizer="lars",
        lr=1.2,
        weight_decay=1e-6,
        warmup_epochs=10,
    )


def dclw_imagenet() -> PretrainConfig:
    """DCLW with the settings of ``dcl/imagenet``.

    Command: ``nearfar pretrain DATA --out RUN --recipe dclw/imagenet``. Published: 64.5 % (lightly).
    """
    return dataclasses.replace(dcl_imagenet(), method_options={"weighted": True})


def nnclr_imagenet() -> PretrainConfig:
    """NNCLR, 1,000 epochs at batch 4,096: LARS 0.3 per 256 items, decay 1e-6, SimCLR's views.

    Command: ``nearfar pretrain DATA --out RUN --recipe nnclr/imagenet``. Published: 75.6 % (the paper). Optimiser and
    schedule are unverified.
    """
    return PretrainConfig(
        method="nnclr",
        encoder="resnet50",
        views="simclr",
        image_size=224,
        epochs=1000,
        batch_size=4096,
        optimizer="lars",
        lr=4.8,
        weight_decay=1e-6,
        warmup_epochs=10,
    )


def moco_v2_imagenet() -> PretrainConfig:
    """MoCo v2, 200 epochs at batch 256: SGD 0.03, decay 1e-4, no warm-up.

    Command: ``nearfar pretrain DATA --out RUN --recipe moco-v2/imagenet``. Cost: 53 hours on 8 V100 (the authors).
    Published: 67.7 % (the authors' code), 69.9 % with a symmetric loss. The batch is normalised in 8 shuffled parts, as
    on their 8 devices, on any number of devices that divides 8.
    """
    return PretrainConfig(
        method="moco-v2",
        encoder="resnet50",
        views="moco-v2",
        image_size=224,
        epochs=200,
        batch_size=256,
        optimizer="sgd",
        lr=0.03,
        weight_decay=1e-4,
        warmup_epochs=0,
    )


def moco_v3_imagenet() -> PretrainConfig:
    """MoCo v3, 100 epochs at batch 4,096: LARS 0.6 per 256 items, decay 1e-6, momentum 0.99 to 1, temperature 1.

    Command: ``nearfar pretrain DATA --out RUN --recipe moco-v3/imagenet``. Published: 68.9 % (the authors' code).
    300 epochs take 0.3 per 256 items (72.8 %).
    """
    return PretrainConfig(
        method="moco-v3",
        encoder="resnet50",
        views="moco-v3",
        image_size=224,
        epochs=100,
        batch_size=4096,
        optimizer="lars",
        lr=9.6,
        weight_decay=1e-6,
        warmup_epochs=10,
    )


def moco_v3_imagenet_vit() -> PretrainConfig:
    """MoCo v3 with ViT-S of 12 heads, 300 epochs at batch 4,096: AdamW 1.5e-4 per 256 items, decay 0.1, warm-up 40.

    Command: ``nearfar pretrain DATA --out RUN --recipe moco-v3/imagenet-vit``. Published: 73.2 % (the authors' code),
    with fixed position embeddings; timm's are trained. The crops of 8 to 100 % are those of its views for ViT.
    """
    return PretrainConfig(
        method="moco-v3",
        method_options={"temperature": 0.2, "head_layers": 3, "predictor_norm": True},
        encoder="vit_small_patch16_224",
        encoder_options={"num_heads": 12},
        views="moco-v3",
        view_options={"scale": (0.08, 1.0)},
        image_size=224,
        epochs=300,
        batch_size=4096,
        optimizer="adamw",
        lr=2.4e-3,
        weight_decay=0.1,
        warmup_epochs=40,
    )


def densecl_imagenet() -> PretrainConfig:
    """DenseCL, 200 epochs at batch 256: MoCo v2's settings.

    Command: ``nearfar pretrain DATA --out RUN --recipe densecl/imagenet``. Cost: 2.3 days on 8 V100 (the authors).
    Published: detection on VOC, AP 58.7 (the authors' code; MoCo v2 57.0).
    """
    return dataclasses.replace(moco_v2_imagenet(), method="densecl")


def ressl_imagenet() -> PretrainConfig:
    """ReSSL, 200 epochs at batch 256: SGD 0.05, decay 1e-4, warm-up of 5 epochs.

    Command: ``nearfar pretrain DATA --out RUN --recipe ressl/imagenet``. Published: 69.9 % (the authors' code), whose
    weak view is a crop of 20 to 100 %, mirrored or not; here it is the whole picture, shifted a little.
    """
    return PretrainConfig(
        method="ressl",
        encoder="resnet50",
        views="weak-strong",
        image_size=224,
        epochs=200,
        batch_size=256,
        optimizer="sgd",
        lr=0.05,
        weight_decay=1e-4,
        warmup_epochs=5,
    )


def cpc_imagenet() -> PretrainConfig:
    """CPC v2, 200 epochs at batch 512: patches of 80 every 36 pixels of 260, ResNet-50 with GroupNorm, AdamW 4e-4.

    Command: ``nearfar pretrain DATA --out RUN --recipe cpc/imagenet``. Published: 63.8 % (the paper, from patches
    pooled over the grid, with LayerNorm). Its authors published no code; optimiser, batch and epochs are unverified. A
    reproduction by others reached 54.8 %.
    """
    return PretrainConfig(
        method="cpc",
        method_options={"grid": 6, "patch": 80},
        encoder="resnet50_gn",
        views="simclr",
        image_size=260,
        epochs=200,
        batch_size=512,
        optimizer="adamw",
        lr=4e-4,
        weight_decay=0.0,
        warmup_epochs=0,
    )


def supcon_imagenet() -> PretrainConfig:
    """SupCon, 350 epochs at batch 6,144: the authors' script for ResNet-50, LARS 0.4 per 256 items, decay 1e-3.

    Command: ``nearfar pretrain DATA --out RUN --recipe supcon/imagenet``. Published: 78.7 % (the paper; cross-entropy
    78.2 %), all labels used. Departures: SimCLR's views where the script has AutoAugment's; the script normalises h
    before the head, which is one linear map there.
    """
    return PretrainConfig(
        method="supcon",
        encoder="resnet50",
        views="simclr",
        image_size=224,
        epochs=350,
        batch_size=6144,
        optimizer="lars",
        lr=9.6,
        weight_decay=1e-3,
        warmup_epochs=12,
    )
