"""Settings of methods that hide patches, MAE and iBOT, and of distillation from a fixed teacher."""

from __future__ import annotations

from nearfar.pipeline.settings import PretrainConfig

__all__ = [
    "distill_cifar",
    "distill_imagenet",
    "distill_small",
    "ibot_cifar",
    "ibot_imagenet",
    "ibot_small",
    "mae_cifar",
    "mae_imagenet",
    "mae_small",
]

TINY_VIT = {"patch_size": 4, "embed_dim": 96, "depth": 4, "num_heads": 3}
"""A vision transformer for images of 28 to 64 pixels, a side divisible by 4, on two CPU cores."""


def mae_imagenet() -> PretrainConfig:
    """MAE on ImageNet: ViT-B/16, crops and flips, 1,600 epochs of batches of 4,096.

    Command: ``nearfar pretrain IMAGENET --out RUN --recipe mae/imagenet``. Published: 68.0 % linear top-1 (67.8 % with
    the authors' PyTorch code), 83.6 % after fine-tuning on all labels.

    Departures: AdamW's second beta is 0.999 (0.95 in the paper).
    """
    return PretrainConfig(
        method="mae",
        encoder="vit_base_patch16_224",
        views="moco-v1",
        view_options={"jitter": 0.0, "grayscale": 0.0, "interpolation": "bicubic"},
        image_size=224,
        epochs=1600,
        batch_size=4096,
        optimizer="adamw",
        lr=2.4e-3,
        weight_decay=0.05,
        warmup_epochs=40,
    )


def mae_cifar() -> PretrainConfig:
    """MAE on CIFAR-10: ViT-S with patches of 4 pixels, crops and flips, 1,000 epochs, solo-learn's setting.

    Command: ``nearfar pretrain CIFAR10 --out RUN --recipe mae/cifar``. Published: nothing, solo-learn gives no
    number with it.

    Departures: AdamW's second beta is 0.999 (0.95 there).
    """
    return PretrainConfig(
        method="mae",
        encoder="vit_small_patch16_224",
        encoder_options={"patch_size": 4},
        views="moco-v1",
        view_options={"scale": (0.08, 1.0), "jitter": 0.0, "grayscale": 0.0},
        image_size=32,
        epochs=1000,
        batch_size=256,
        optimizer="adamw",
        lr=2e-4,
        weight_decay=0.05,
    )


def mae_small() -> PretrainConfig:
    """MAE with a vision transformer of 0.5 M parameters, 20 epochs; sides of images must be divisible by 4.

    Command: ``nearfar pretrain DATA --out RUN --recipe mae/small``. Expected: the table of all methods on
    Fashion-MNIST in benchmarks/RESULTS.md, with patches of 7 pixels. Our choice of sizes. Expect less than from
    other small recipes: masked autoencoders want hundreds of epochs and fine-tuning.
    """
    return PretrainConfig(
        method="mae",
        method_options={"decoder_dim": 64, "decoder_depth": 2, "decoder_heads": 4},
        encoder="vit_tiny_patch16_224",
        encoder_options=TINY_VIT,
        epochs=20,
        batch_size=256,
        optimizer="adamw",
        lr=2e-3,
    )


def ibot_imagenet() -> PretrainConfig:
    """ViT-S/16 with iBOT on ImageNet: 2 crops of 224 and 8 of 96 pixels, 800 epochs of batches of 1,024.

    Command: ``nearfar pretrain IMAGENET --out RUN --recipe ibot/imagenet``. Published for 10 small crops: 75.2 % kNN
    and 77.9 % linear top-1 (the teacher's encoder).

    Departures: DINO's crops (2 + 8, parted at 40 % of the area; the code has 2 + 10, parted at 25 %); the decay stays
    at 0.04 (a cosine to 0.4 in the code), the learning rate ends at 0 (1e-6).
    """
    return PretrainConfig(
        method="ibot",
        method_options={"temperature_warmup": 0.0375, "frozen_share": 0.00125},
        encoder="vit_small_patch16_224",
        encoder_options={"dynamic_img_size": True, "drop_path_rate": 0.1},
        views="dino",
        image_size=224,
        epochs=800,
        batch_size=1024,
        optimizer="adamw",
        lr=2e-3,
        weight_decay=0.04,
        warmup_epochs=10,
        clip=3.0,
    )


def ibot_cifar() -> PretrainConfig:
    """ViT-S with patches of 4 pixels and iBOT on CIFAR-10, two crops, 1,000 epochs.

    Command: ``nearfar pretrain CIFAR10 --out RUN --recipe ibot/cifar``. No number is published: the encoder and the
    length are those of ``mae/cifar``, the rest the paper's, with DINO's momentum for batches of 256.
    """
    return PretrainConfig(
        method="ibot",
        method_options={"momentum": 0.9995},
        encoder="vit_small_patch16_224",
        encoder_options={"patch_size": 4, "drop_path_rate": 0.1},
        views="cifar",
        image_size=32,
        epochs=1000,
        batch_size=256,
        optimizer="adamw",
        lr=5e-4,
        weight_decay=0.04,
        clip=3.0,
    )


def ibot_small() -> PretrainConfig:
    """A vision transformer of 0.5 M parameters with iBOT, 20 epochs; sides of images must be divisible by 4.

    Command: ``nearfar pretrain DATA --out RUN --recipe ibot/small``. Expected: the table of all methods on
    Fashion-MNIST in benchmarks/RESULTS.md, with patches of 7 pixels. Our choice of sizes.
    """
    return PretrainConfig(
        method="ibot",
        method_options={
            "hidden_dim": 256,
            "bottleneck_dim": 64,
            "prototypes": 256,
            "teacher_temperature": 0.04,
            "momentum": 0.99,
            "frozen_share": 0.05,
        },
        encoder="vit_tiny_patch16_224",
        encoder_options=TINY_VIT,
        epochs=20,
        batch_size=256,
        optimizer="adamw",
        lr=2e-3,
        clip=3.0,
    )


def distill_imagenet() -> PretrainConfig:
    """A ResNet-18 learns the representations of timm's ResNet-50 on ImageNet, crops and flips, 100 epochs.

    Command: ``nearfar pretrain IMAGENET --out RUN --recipe distill/imagenet``. No number is published for these
    settings; crops and flips alone are SimCLRv2's choice for distillation. The teacher was trained with ImageNet's
    labels: take a run folder of your own as ``--method-options.teacher`` for a teacher without.
    """
    return PretrainConfig(
        method="distill",
        method_options={"teacher": "resnet50"},
        encoder="resnet18",
        views="moco-v1",
        view_options={"jitter": 0.0, "grayscale": 0.0},
        image_size=224,
        epochs=100,
        batch_size=256,
        optimizer="adamw",
        lr=1e-3,
    )


def distill_cifar() -> PretrainConfig:
    """A ResNet-18 with the small stem learns the representations of timm's ResNet-50 on CIFAR-10 at 128 pixels.

    Command: ``nearfar pretrain CIFAR10 --out RUN --recipe distill/cifar``. No number is published. The teacher was
    trained with ImageNet's labels.
    """
    return PretrainConfig(
        method="distill",
        method_options={"teacher": "resnet50", "teacher_size": 128},
        encoder="resnet18",
        views="moco-v1",
        view_options={"jitter": 0.0, "grayscale": 0.0},
        image_size=32,
        epochs=200,
        batch_size=256,
        optimizer="adamw",
        lr=1e-3,
    )


def distill_small() -> PretrainConfig:
    """The small encoder learns the representations of a small MobileNet of timm's, on images enlarged to 96 pixels.

    Command: ``nearfar pretrain DATA --out RUN --recipe distill/small``. The first run loads the teacher's published
    weights, which were trained with ImageNet's labels. Our choice of sizes.
    """
    return PretrainConfig(
        method="distill",
        method_options={"teacher": "mobilenetv3_small_100", "teacher_size": 96},
        encoder="small",
        epochs=20,
        batch_size=256,
        optimizer="adamw",
        lr=2e-3,
    )
