"""Settings of methods that assign items to prototypes or classes: SwAV, DeepCluster-v2, DINO, twin labels."""

from __future__ import annotations

from nearfar.pipeline.settings import PretrainConfig
from nearfar.recipes.small import two_cores

__all__ = [
    "deepcluster_v2_cifar",
    "deepcluster_v2_imagenet",
    "deepcluster_v2_small",
    "dino_cifar",
    "dino_imagenet",
    "dino_small",
    "swav_cifar",
    "swav_imagenet",
    "swav_small",
    "twin_labels_cifar",
    "twin_labels_imagenet",
    "twin_labels_small",
]


def swav_imagenet() -> PretrainConfig:
    """SwAV on ImageNet: ResNet-50, 2 crops of 224 and 6 of 96 pixels, 800 epochs of batches of 4,096.

    Command: ``nearfar pretrain IMAGENET --out RUN --recipe swav/imagenet``. Published: 75.3 % linear top-1 (the
    authors' model table); 72.1 % after 100 epochs, 73.9 % after 200, 74.6 % after 400.

    Departures: the warm-up starts at 0 and the cosine ends there (0.3 and 0.0048 in the script); biases and norms are
    neither decayed nor adapted, as they are by the script's LARC. For batches of 256 the script has lr 0.6, no warm-up,
    frozen_steps 5005, queue_size 3840 and, for 200 epochs, queue_start 0.075 (72.7 %).
    """
    return PretrainConfig(
        method="swav",
        encoder="resnet50",
        views="swav",
        image_size=224,
        epochs=800,
        batch_size=4096,
        optimizer="lars",
        lr=4.8,
        weight_decay=1e-6,
        warmup_epochs=10,
    )


def swav_cifar() -> PretrainConfig:
    """SwAV on CIFAR-10: ResNet-18 with the small stem, two crops, the setting of lightly's benchmark.

    Command: ``nearfar pretrain CIFAR10 --out RUN --recipe swav/cifar``. Published: 81.2 % kNN (k 200, temperature 0.1,
    the best epoch on the test images) by lightly; solo-learn has 89.17 % online linear after 1,000 epochs of another
    setting (LARS, 3,000 prototypes, queue).

    Departures: AdamW stands for Adam, whose decay goes into the gradient.
    """
    return PretrainConfig(
        method="swav",
        method_options={"hidden_dim": 512, "prototypes": 512, "frozen_steps": 0},
        encoder="resnet18",
        views="cifar",
        view_options={"scale": (0.14, 1.0)},
        image_size=32,
        epochs=200,
        batch_size=128,
        optimizer="adamw",
        lr=1e-3,
        weight_decay=1e-6,
        warmup_epochs=0,
    )


def swav_small() -> PretrainConfig:
    """SwAV with the small encoder, 20 epochs.

    Command: ``nearfar pretrain DATA --out RUN --recipe swav/small``. Expected: the table of all methods on
    Fashion-MNIST in benchmarks/RESULTS.md. Our choice of sizes: 300 prototypes, a tenth of the paper's, for data of
    10,000 items and more, and held fast for 40 steps, an epoch of 10,000.
    """
    return two_cores("swav", {"hidden_dim": 512, "prototypes": 300, "frozen_steps": 40})


def deepcluster_v2_imagenet() -> PretrainConfig:
    """DeepCluster-v2 on ImageNet: ResNet-50, 2 crops of 224 and 6 of 96 pixels, 800 epochs of batches of 4,096.

    Command: ``nearfar pretrain IMAGENET --out RUN --recipe deepcluster-v2/imagenet``. Cost beside SwAV's: 1.3 GB of
    embeddings on every device, and k-means before every epoch. Published: 75.2 % linear top-1 (the authors' model
    table).

    Departures: those of ``swav/imagenet``, and the method's own first epoch.
    """
    return PretrainConfig(
        method="deepcluster-v2",
        encoder="resnet50",
        views="swav",
        image_size=224,
        epochs=800,
        batch_size=4096,
        optimizer="lars",
        lr=4.8,
        weight_decay=1e-6,
        warmup_epochs=10,
    )


def deepcluster_v2_cifar() -> PretrainConfig:
    """DeepCluster-v2 on CIFAR-10: ResNet-18 with the small stem, two views, 1,000 epochs, solo-learn's setting.

    Command: ``nearfar pretrain CIFAR10 --out RUN --recipe deepcluster-v2/cifar``. Published: 88.85 % online linear (on
    CIFAR-100 63.61 %) by solo-learn.

    Departures: solo-learn's LARS clips, with a trust coefficient of 0.02; ours is SimCLR's and SwAV's, with 0.001.
    """
    return PretrainConfig(
        method="deepcluster-v2",
        encoder="resnet18",
        views="simclr",
        image_size=32,
        epochs=1000,
        batch_size=256,
        optimizer="lars",
        lr=0.6,
        weight_decay=1e-6,
        warmup_epochs=11,
    )


def deepcluster_v2_small() -> PretrainConfig:
    """DeepCluster-v2 with the small encoder, 20 epochs.

    Command: ``nearfar pretrain DATA --out RUN --recipe deepcluster-v2/small``. Expected: the table of all methods
    on Fashion-MNIST in benchmarks/RESULTS.md. Our choice of sizes: 3 sets of 300 prototypes, a tenth of the
    published.
    """
    return two_cores("deepcluster-v2", {"hidden_dim": 512, "prototypes": 300})


def dino_imagenet() -> PretrainConfig:
    """DINO on ImageNet: ViT-S/16, 2 crops of 224 and 8 of 96 pixels, 100 epochs of batches of 1,024.

    Command: ``nearfar pretrain IMAGENET --out RUN --recipe dino/imagenet``. Published: 69.3 % kNN (k 20) and 74.0 %
    linear top-1 after 100 epochs; 300 epochs with teacher_temperature 0.07: 73.3 % and 76.0 %.

    Departures: the decay stays at 0.04 (a cosine to 0.4 in the code), the learning rate ends at 0 (1e-6).
    """
    return PretrainConfig(
        method="dino",
        method_options={"teacher_temperature": 0.04},
        encoder="vit_small_patch16_224",
        encoder_options={"dynamic_img_size": True, "drop_path_rate": 0.1},
        views="dino",
        image_size=224,
        epochs=100,
        batch_size=1024,
        optimizer="adamw",
        lr=2e-3,
        weight_decay=0.04,
        warmup_epochs=10,
        clip=3.0,
    )


def dino_cifar() -> PretrainConfig:
    """DINO on CIFAR-10: ResNet-18 with the small stem, two crops, the setting of lightly's benchmark.

    Command: ``nearfar pretrain CIFAR10 --out RUN --recipe dino/cifar``. Published: 84.0 % kNN (k 200, temperature 0.1,
    the best epoch on the test images) by lightly; solo-learn has 89.52 % online linear after 1,000 epochs of another
    setting (LARS, 4,096 outputs, momentum 0.9995).
    """
    return PretrainConfig(
        method="dino",
        method_options={
            "prototypes": 2048,
            "head_layers": 2,
            "head_norm": True,
            "teacher_temperature": 0.04,
            "momentum": 0.99,
            "final_momentum": 0.99,
            "frozen_share": 0.0,
        },
        encoder="resnet18",
        views="byol",
        view_options={"scale": (0.4, 1.0), "blur": 0.0},
        image_size=32,
        epochs=200,
        batch_size=128,
        optimizer="sgd",
        lr=0.06,
        weight_decay=5e-4,
        warmup_epochs=0,
    )


def dino_small() -> PretrainConfig:
    """DINO with the small encoder, 20 epochs.

    Command: ``nearfar pretrain DATA --out RUN --recipe dino/small``. Expected: the table of all methods on
    Fashion-MNIST in benchmarks/RESULTS.md. Our choice of sizes: 256 outputs at a constant 0.04 of the teacher's
    temperature (with 1,024 outputs and the rise to 0.07 the loss stays nearer to the uniform ln K), and a teacher
    that moves faster than the paper's, since there are hundreds of steps in place of a hundred thousand.
    """
    return PretrainConfig(
        method="dino",
        method_options={
            "hidden_dim": 512,
            "bottleneck_dim": 128,
            "prototypes": 256,
            "head_norm": True,
            "teacher_temperature": 0.04,
            "momentum": 0.99,
            "frozen_share": 0.05,
        },
        encoder="small",
        epochs=20,
        batch_size=256,
        optimizer="adamw",
        lr=2e-3,
    )


def twin_labels_imagenet() -> PretrainConfig:
    """Twin labels on ImageNet with the settings of TWIST without multi-crop: ResNet-50, 800 epochs of 2,048 items.

    Command: ``nearfar pretrain IMAGENET --out RUN --recipe twin-labels/imagenet``. No number is published for this
    method; TWIST, the nearest, has 72.6 % linear top-1 with these settings and its own loss.
    """
    return PretrainConfig(
        method="twin-labels",
        method_options={"classes": 32768},
        encoder="resnet50",
        views="barlow-twins",
        image_size=224,
        epochs=800,
        batch_size=2048,
        optimizer="lars",
        lr=4.0,
        weight_decay=1.5e-6,
        warmup_epochs=10,
    )


def twin_labels_cifar() -> PretrainConfig:
    """Twin labels on CIFAR-10: ResNet-18 with the small stem; schedule and views as in ``swav/cifar``.

    Command: ``nearfar pretrain CIFAR10 --out RUN --recipe twin-labels/cifar``. No number is published.
    """
    return PretrainConfig(
        method="twin-labels",
        method_options={"hidden_dim": 512, "classes": 512},
        encoder="resnet18",
        views="cifar",
        view_options={"scale": (0.14, 1.0)},
        image_size=32,
        epochs=200,
        batch_size=128,
        optimizer="adamw",
        lr=1e-3,
        weight_decay=1e-6,
        warmup_epochs=0,
    )


def twin_labels_small() -> PretrainConfig:
    """Twin labels with the small encoder, 20 epochs.

    Command: ``nearfar pretrain DATA --out RUN --recipe twin-labels/small``. Expected: the table of all methods on
    Fashion-MNIST in benchmarks/RESULTS.md. Our choice of sizes.
    """
    return two_cores("twin-labels", {"hidden_dim": 512, "classes": 300})
