"""The ResNets of Google's SimCLR, v1 and v2, from the variables of a TensorFlow checkpoint.

Names and order were read in https://github.com/google-research/simclr (``resnet.py``, Apache 2.0). Variables are
numbered in order of creation, ``base_model/conv2d/kernel``, ``base_model/conv2d_1/kernel``, …, each convolution with
``base_model/batch_normalization…/{gamma,beta,moving_mean,moving_variance}`` behind it: the stem, then block after
block, and in the first block of every stage the projection of the shortcut before the convolutions. Kernels are HWIO.
With selective kernels (``sk1``) the stem has three convolutions, and the 3x3 convolution of a block is followed by the
two 1x1 that mix its streams, the second without BatchNorm. v2 has a second copy, ``ema_model/base_model/…``.

What comes out has torchvision's and timm's names (of ``sk1``, those of `nearfar.encoders.simclr_resnet`), so ``sk0`` of
width 1 fits timm's ResNets and all fit ``r50_1x_sk0`` to ``r152_3x_sk1``. What differs all the same:

- timm's max-pool pads around, Google's and that of ``r50_1x_sk0`` behind: with timm, numbers at the border differ.
- Google feeds pixels in [0, 1], without normalisation (set ``mean`` 0 and ``std`` 1 to embed with these weights).
- ResNet-18 and -34 have a projection in their first stage that timm's have not; it is left over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.errors import RunError, require

__all__ = ["convert", "is_google"]

_VARIABLE = re.compile(
    r"((?:ema_model/)?)base_model/(conv2d|batch_normalization)(?:_(\d+))?/(kernel|gamma|beta|moving_\w+)(?::0)?"
)
_STATE = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_OPTIMIZER = ("/Momentum", "/Adam", "/Adam_1", "global_step")
_SELECTIVE = (
    ("conv1", "bn1"), ("conv2.conv", "conv2.bn"), ("conv2.reduce", "conv2.reduce_bn"), ("conv2.select", None),
    ("conv3", "bn3"),
)  # fmt: skip
_DEEP_STEM = [("conv1.0", "conv1.1"), ("conv1.3", "conv1.4"), ("conv1.6", "bn1")]

Name = tuple[str, str | None]


def is_google(names: Iterable[str]) -> bool:
    """Whether these are names of variables of Google's SimCLR."""
    return any(_VARIABLE.fullmatch(name) for name in names)


def convert(variables: Mapping[str, NDArray[Any]], who: str) -> dict[str, Tensor]:
    """Return the weights under torchvision's names; heads keep theirs, the optimiser's state is left out.

    Args:
        variables: names to arrays; read one by one, so a lazily read mapping need not fit into memory.
        who: the file, for errors.

    Returns:
        Names to tensors; the moving average's stand behind ``ema_model.``.

    Raises:
        RunError: when the variables are not those of a ResNet with or without selective kernels.
    """
    copies, rest = _sorted(variables)
    found: dict[str, Tensor] = {}
    for copy, (kernels, norms) in copies.items():
        wanted = set(_STATE)
        complete = all(set(norm) == wanted for norm in norms.values())
        require(complete, who, "each BatchNorm", f"{', '.join(sorted(wanted))}", "an incomplete one", error=RunError)
        arrays = [np.asarray(variables[name]) for _, name in sorted(kernels.items())]
        ordered = iter([norm for _, norm in sorted(norms.items())])
        for (conv, bn), kernel in zip(_names([len(a) for a in arrays], len(norms), who), arrays, strict=True):
            found[f"{copy}{conv}.weight"] = torch.from_numpy(kernel).permute(3, 2, 0, 1).contiguous()
            if bn is not None:
                norm = next(ordered)
                for variable, state in _STATE.items():
                    found[f"{copy}{bn}.{state}"] = torch.from_numpy(np.asarray(variables[norm[variable]]))
    return found | {name.replace("/", "."): torch.from_numpy(np.asarray(variables[name])) for name in rest}


def _sorted(
    names: Iterable[str],
) -> tuple[dict[str, tuple[dict[int, str], dict[int, dict[str, str]]]], list[str]]:
    """Return, for each copy, kernels and BatchNorms by their number, and all other names but the optimiser's."""
    copies: dict[str, tuple[dict[int, str], dict[int, dict[str, str]]]] = {}
    rest = []
    for name in names:
        match = _VARIABLE.fullmatch(name)
        if match is None:
            if not name.removesuffix(":0").endswith(_OPTIMIZER):
                rest.append(name)
            continue
        kernels, norms = copies.setdefault(match[1].replace("/", "."), ({}, {}))
        if match[2] == "conv2d":
            kernels[int(match[3] or 0)] = name
        else:
            norms.setdefault(int(match[3] or 0), {})[match[4]] = name
    return copies, rest


def _names(sizes: list[int], norms: int, who: str) -> list[Name]:
    """Return the names of convolutions and BatchNorms from the sides of the kernels, in order of creation.

    A block is 1, 3, 1 (bottleneck), 3, 3, or 1, 3, 1, 1, 1 (selective kernels, where one convolution of every block has
    no BatchNorm); a projection, 1 more before it, begins a stage.
    """
    selective = norms < len(sizes)
    block: list[Name] = list(_SELECTIVE)
    names: list[Name] = [("conv1", "bn1")]
    if selective:
        shape = [1, 3, 1, 1, 1]
        names = list(_DEEP_STEM) if sizes[:3] == [3, 3, 3] else names
    else:
        shape = [1, 3, 1] if sizes[1:4] == [1, 1, 3] else [3, 3]
        block = [(f"conv{i}", f"bn{i}") for i in range(1, len(shape) + 1)]
    place, stage, number = len(names), 0, 0
    while place < len(sizes):
        if sizes[place : place + 1 + len(shape)] == [1, *shape]:
            stage, number = stage + 1, 0
            names.append((f"layer{stage}.0.downsample.0", f"layer{stage}.0.downsample.1"))
            place += 1
        fits = stage > 0 and sizes[place : place + len(shape)] == shape
        must = f"blocks of {shape}, each stage begun by a projection"
        require(fits, who, "sides of the kernels", must, sizes, error=RunError)
        names += [
            (f"layer{stage}.{number}.{conv}", None if bn is None else f"layer{stage}.{number}.{bn}")
            for conv, bn in block
        ]
        place, number = place + len(shape), number + 1
    count = sum(bn is not None for _, bn in names)
    must = f"{count} BatchNorms for {len(sizes)} convolutions"
    fix = "take a checkpoint without squeeze-and-excitation"
    require(count == norms, who, "variables", must, norms, fix, error=RunError)
    return names
