"""From a checkpoint of Google's SimCLR to a folder that everything here takes: encoder, head, and what they are fed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nearfar.encoders.build import ENCODERS, build
from nearfar.encoders.files import save_encoder
from nearfar.encoders.foreign import read_weights
from nearfar.encoders.heads import save_head
from nearfar.encoders.loading import LoadReport, load_weights
from nearfar.encoders.simclr_resnet import LAYERS
from nearfar.errors import RunError, require

__all__ = ["import_google"]

EMA = "ema_model."
_DENSE = re.compile(r"head_contrastive\.nl_(\d+)\.dense\.kernel(?::0)?")
_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def import_google(path: str | Path, out: str | Path, *, image_size: int | None = None, ema: bool = False) -> LoadReport:
    """Write the encoder of a checkpoint of Google's SimCLR, v1 or v2, and its projection head, as a run's are.

    The folder goes wherever a run does: `nearfar.load_encoder`, ``nearfar embed``, and, with the head of v2's
    checkpoints, ``nearfar finetune OUT DATA --from-layer 1``. Depth, width and selective kernels are read off the
    weights. Pictures are fed in [0, 1] without normalisation, as Google does.

    Args:
        path: an ``.npz`` of the checkpoint's variables (docs/weights.md says how to write one).
        out: the folder to write; it must be new or empty.
        image_size: side of the pictures; 224, or 32 for a checkpoint with the stem for CIFAR, when absent.
        ema: take the moving average of the weights (v2).

    Returns:
        What fitted, as `nearfar.load_weights` says it.

    Raises:
        RunError: when the file is no such checkpoint, its blocks are not bottlenecks (ResNet-18 and -34), or something
            stands in ``out`` already.
    """
    path, out = Path(path), Path(out)
    fresh = not out.exists() or (out.is_dir() and not any(out.iterdir()))
    require(fresh, str(out), "folder", "new or empty", "one with something in it", "choose another", error=RunError)
    tensors = read_weights(path)
    prefix = EMA if ema else ""
    own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    name, options, small = _architecture(own, str(path))
    size = image_size or (32 if small else 224)
    encoder, spec = build(name, image_size=size, options=options, mean=(0.0,), std=(1.0,))
    report = load_weights(encoder, path, prefix=prefix)
    head = _head(own, str(path))
    out.mkdir(parents=True, exist_ok=True)
    save_head(out, head)
    save_encoder(out, encoder, spec, {"method": "simclr", "from": path.name})  # the last file: it makes a run finished
    return report


def _architecture(tensors: Mapping[str, Tensor], who: str) -> tuple[str, dict[str, Any], bool]:
    """Return the encoder's name and options, and whether it has the stem for small pictures."""
    names = [re.fullmatch(r"layer([1-4])\.(\d+)\.conv3\.weight", name) for name in tensors]
    blocks = [match for match in names if match]
    must = "those of a ResNet of bottlenecks, such as r50_1x_sk0"
    require({match[1] for match in blocks} == set("1234"), who, "variables", must, "others",
            "ResNet-18 and -34 load with nearfar.load_weights", error=RunError)  # fmt: skip
    counts = tuple(sum(match[1] == stage for match in blocks) for stage in "1234")
    width = tensors["bn1.weight"].numel() // 64
    selective = "layer1.0.conv2.select.weight" in tensors
    first = tensors.get("conv1.weight")
    small = first is not None and first.shape[-1] == 3
    depth = next((depth for depth, known in LAYERS.items() if known == counts), None)
    if depth is not None:
        name = f"r{depth}_{width}x_sk{int(selective)}"
        if name in ENCODERS:
            return name, {}, small
    return "simclr_resnet", {"width": width, "selective_kernels": selective, "layers": counts}, small


def _head(tensors: Mapping[str, Tensor], who: str) -> nn.Sequential | None:
    """Return the projection head: linear maps with BatchNorm, ReLU between them; ``None`` where there is none (v1)."""
    found = {int(match[1]): name for name in tensors if (match := _DENSE.fullmatch(name))}
    if not found:
        return None
    require(sorted(found) == list(range(len(found))), who, "head", "layers nl_0, nl_1, ...", sorted(found),
            error=RunError)  # fmt: skip
    layers: list[nn.Module] = []
    for number in sorted(found):
        kernel = tensors[found[number]]
        linear = nn.Linear(kernel.shape[0], kernel.shape[1], bias=False)
        norm = nn.BatchNorm1d(kernel.shape[1])
        linear.load_state_dict({"weight": kernel.T})
        norm.load_state_dict(norm.state_dict() | _norm(tensors, number))
        layers += [*([nn.ReLU()] if layers else []), linear, norm]
    return nn.Sequential(*layers).eval()


def _norm(tensors: Mapping[str, Tensor], number: int) -> dict[str, Tensor]:
    """Return a BatchNorm's state; the last one of Google's heads has no shift."""
    start = f"head_contrastive.nl_{number}.batch_normalization."
    found = {state: tensors[start + name] for name, state in _NORM.items() if start + name in tensors}
    return {name: tensor.to(torch.float32) for name, tensor in found.items()}
