"""A run's projection head on disk: ``head.safetensors`` for the weights, ``head.json`` for the layers they belong to.

Fine-tuning on few labels begins in the middle of the head (SimCLRv2, https://arxiv.org/abs/2006.10029, section 2), so
pretraining keeps it beside the encoder. Only plain stacks of layers are kept; nothing is ever unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nearfar._version import __version__
from nearfar.errors import RunError, require
from nearfar.files import write_atomic

__all__ = ["FORMAT", "build_layers", "describe_layers", "first_layers", "load_head", "load_layers", "save_head"]

FORMAT = 1

_PLAIN: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "identity": nn.Identity}


def describe_layers(head: nn.Module) -> list[dict[str, Any]] | None:
    """Return the layers of a plain stack (linear maps, BatchNorm, ReLU, GELU), or ``None`` for any other module."""
    stack = list(head) if isinstance(head, nn.Sequential) else [head]
    layers = [_describe(layer) for layer in stack]
    known = [layer for layer in layers if layer is not None]
    return known if len(known) == len(layers) and any(layer["kind"] == "linear" for layer in known) else None


def build_layers(layers: Sequence[Mapping[str, Any]]) -> nn.Sequential:
    """Return the stack that `describe_layers` described, with fresh weights.

    Raises:
        RunError: when a layer is of an unknown kind.
    """
    return nn.Sequential(*(_build(layer) for layer in layers))


def first_layers(head: nn.Sequential, count: int) -> nn.Sequential:
    """Return the first ``count`` layers of a head: linear maps, each with the norm and the ReLU that follow it.

    Raises:
        InputError: when the head has fewer.
    """
    maps = [place for place, layer in enumerate(head) if isinstance(layer, nn.Linear)]
    require(0 <= count <= len(maps), "head", "from-layer", f"from 0 to {len(maps)}, the layers of the head", count)
    return head[: [*maps, len(head)][count]] if count else nn.Sequential()


def save_head(folder: Path, head: nn.Module | None) -> bool:
    """Write the two files, and return whether the head is a stack that can be kept."""
    from safetensors.torch import save

    layers = None if head is None else describe_layers(head)
    if head is None or layers is None:
        return False
    stack = head if isinstance(head, nn.Sequential) else nn.Sequential(head)
    weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in stack.state_dict().items()}
    write_atomic(folder / "head.safetensors", save(weights))
    write_atomic(
        folder / "head.json", json.dumps({"format": FORMAT, "nearfar": __version__, "layers": layers}, indent=2)
    )
    return True


def load_head(folder: Path) -> nn.Sequential | None:
    """Read the head of a run, in eval mode; ``None`` where the run kept none.

    Raises:
        RunError: when the files are damaged.
    """
    if not (folder / "head.json").is_file():
        return None
    return load_layers(folder / "head.json", folder / "head.safetensors")


def load_layers(card: Path, weights: Path) -> nn.Sequential:
    """Read a stack of layers from its description and its weights.

    Raises:
        RunError: when either is damaged or of a later version.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        values = json.loads(card.read_text(encoding="utf-8"))
        version, layers = int(values["format"]), values["layers"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{card}: cannot be read ({error}); copy the run again") from None
    require(version <= FORMAT, str(card), "format", f"<= {FORMAT}", version, "use a newer nearfar", error=RunError)
    stack = build_layers(layers)
    try:
        stack.load_state_dict(load_file(weights))
    except (OSError, SafetensorError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise RunError(f"{weights}: does not fit {card.name} ({first}); copy both again") from None
    return stack.eval()


def _describe(layer: nn.Module) -> dict[str, Any] | None:
    if type(layer) is nn.Linear:
        return {"kind": "linear", "in": layer.in_features, "out": layer.out_features, "bias": layer.bias is not None}
    if isinstance(layer, _BatchNorm) and layer.track_running_stats:  # over one rank or all: the weights are the same
        return {"kind": "batchnorm", "dim": layer.num_features, "affine": layer.affine, "eps": layer.eps}
    return next(({"kind": kind} for kind, make in _PLAIN.items() if type(layer) is make), None)


def _build(layer: Mapping[str, Any]) -> nn.Module:
    kind = layer.get("kind")
    try:
        if kind == "linear":
            return nn.Linear(int(layer["in"]), int(layer["out"]), bias=bool(layer["bias"]))
        if kind == "batchnorm":
            return nn.BatchNorm1d(int(layer["dim"]), eps=float(layer["eps"]), affine=bool(layer["affine"]))
        return _PLAIN[str(kind)]()
    except (KeyError, TypeError, ValueError):
        raise RunError(f"head: layer {dict(layer)} must be of a known kind; copy the run again") from None
