"""The ResNets of Google's SimCLR, v1 and v2, from the variables of a TensorFlow checkpoint.

Names and order were read in https://github.com/google-research/simclr (``resnet.py``, Apache 2.0). Variables are
numbered in order of creation, ``base_model/conv2d/kernel``, ``base_model/conv2d_1/kernel``, …, each convolution with
``base_model/batch_normalization…/{gamma,beta,moving_mean,moving_variance}`` behind it: the stem, then block after
block, and in the first block of every stage the projection of the shortcut before the convolutions. Kernels are HWIO.

What comes out has torchvision's and timm's names. What differs all the same:

- Google's max-pool pads on one side only, ours on both: numbers at the border of the map differ.
- Google feeds pixels in [0, 1], without normalisation (set ``mean`` 0 and ``std`` 1 to embed with these weights).
- ResNet-18 and -34 have a projection in their first stage that timm's have not; it is left over.
- Widths of 2 and 4 fit no timm model. Selective kernels (``sk1``) are not read.
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

_VARIABLE = re.compile(r"base_model/(conv2d|batch_normalization)(?:_(\d+))?/(kernel|gamma|beta|moving_\w+)(?::0)?")
_STATE = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_OPTIMIZER = ("/Momentum", "/Adam", "/Adam_1", "global_step")


def is_google(names: Iterable[str]) -> bool:
    """Whether these are names of variables of Google's SimCLR."""
    return any(_VARIABLE.fullmatch(name) for name in names)


def convert(variables: Mapping[str, NDArray[Any]], who: str) -> dict[str, Tensor]:
    """Return the weights under torchvision's names; heads keep theirs, the optimiser's state is left out.

    Args:
        variables: names to arrays; read one by one, so a lazily read mapping need not fit into memory.
        who: the file, for errors.

    Raises:
        RunError: when the variables are not those of a plain ResNet.
    """
    kernels, norms, rest = _sorted(variables)
    fix = "take a checkpoint without selective kernels and squeeze-and-excitation (sk0)"
    got = f"{len(kernels)} convolutions and {len(norms)} BatchNorms"
    require(len(kernels) == len(norms), who, "variables", "those of a plain ResNet", got, fix, error=RunError)
    wanted = set(_STATE)
    complete = all(set(norm) == wanted for norm in norms.values())
    require(complete, who, "each BatchNorm", f"{', '.join(sorted(wanted))}", "an incomplete one", error=RunError)
    arrays = [np.asarray(variables[name]) for _, name in sorted(kernels.items())]
    found: dict[str, Tensor] = {}
    for (conv, bn), kernel, (_, norm) in zip(
        _names([len(kernel) for kernel in arrays], who), arrays, sorted(norms.items()), strict=True
    ):
        found[f"{conv}.weight"] = torch.from_numpy(kernel).permute(3, 2, 0, 1).contiguous()
        for variable, state in _STATE.items():
            found[f"{bn}.{state}"] = torch.from_numpy(np.asarray(variables[norm[variable]]))
    return found | {name.replace("/", "."): torch.from_numpy(np.asarray(variables[name])) for name in rest}


def _sorted(names: Iterable[str]) -> tuple[dict[int, str], dict[int, dict[str, str]], list[str]]:
    """Return kernels and BatchNorms by their number, and all other names but those of the optimiser."""
    kernels: dict[int, str] = {}
    norms: dict[int, dict[str, str]] = {}
    rest = []
    for name in names:
        match = _VARIABLE.fullmatch(name)
        if match is None:
            if not name.removesuffix(":0").endswith(_OPTIMIZER):
                rest.append(name)
        elif match[1] == "conv2d":
            kernels[int(match[2] or 0)] = name
        else:
            norms.setdefault(int(match[2] or 0), {})[match[3]] = name
    return kernels, norms, rest


def _names(sizes: list[int], who: str) -> list[tuple[str, str]]:
    """Return the names of convolutions and BatchNorms from the sides of the kernels, in order of creation.

    A block is 1, 3, 1 (bottleneck) or 3, 3; a projection, 1 more before it, begins a stage.
    """
    block = [1, 3, 1] if sizes[1:4] == [1, 1, 3] else [3, 3]
    names, place, stage, number = [("conv1", "bn1")], 1, 0, 0
    while place < len(sizes):
        if sizes[place : place + 1 + len(block)] == [1, *block]:
            stage, number = stage + 1, 0
            names.append((f"layer{stage}.0.downsample.0", f"layer{stage}.0.downsample.1"))
            place += 1
        fits = stage > 0 and sizes[place : place + len(block)] == block
        must = f"blocks of {block}, each stage begun by a projection"
        require(fits, who, "sides of the kernels", must, sizes, error=RunError)
        names += [(f"layer{stage}.{number}.conv{i}", f"layer{stage}.{number}.bn{i}") for i in range(1, len(block) + 1)]
        place, number = place + len(block), number + 1
    return names
