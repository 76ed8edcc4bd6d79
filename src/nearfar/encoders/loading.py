"""Starting from weights that are there already, with a report of what fitted and what did not."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nearfar.encoders.foreign import read_weights
from nearfar.encoders.layouts import Found, locate, part_of
from nearfar.errors import RunError, require

__all__ = ["LoadReport", "Reshaped", "load_weights"]

LEAST = 0.5
"""The share of an encoder's parameters that must be found; what fits less is another encoder."""

CLASSIFIERS = {"fc", "linear", "head", "heads", "classifier"}
"""Parts whose left-over names say nothing: a timm encoder may have ``head.norm``, and never ``head.fc``."""

SHOWN = 10


class Reshaped(NamedTuple):
    """A weight that has another shape in the file: it stays as it was."""

    name: str
    encoder: tuple[int, ...]
    file: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """What became of the weights of a file.

    Attributes:
        path: the file or folder.
        prefix: what stood before the encoder's names there.
        tensors: how many tensors were loaded, BatchNorm's statistics among them.
        parameters: how many numbers of the encoder's parameters were loaded.
        of: how many the encoder has.
        missing: names of the encoder that the file has not; they stay as they were.
        left_over: names of the file, in parts that the encoder has as well, that the encoder has not.
        reshaped: weights of another shape; they stay as they were.
        ignored: parts of the file that the encoder has not (classifier, projector, teacher), with their tensors.
    """

    path: str
    prefix: str
    tensors: int
    parameters: int
    of: int
    missing: tuple[str, ...]
    left_over: tuple[str, ...]
    reshaped: tuple[Reshaped, ...]
    ignored: Mapping[str, int]

    def line(self) -> str:
        """Return the numbers in one line."""
        place = f", names behind {self.prefix!r}" if self.prefix else ""
        faults = {"missing": self.missing, "left over": self.left_over, "of another shape": self.reshaped}
        counts = ", ".join(f"{len(items)} {what}" for what, items in faults.items() if items)
        share = f"{_millions(self.parameters)} of {_millions(self.of)} parameters"
        return f"loaded {self.tensors} tensors, {share} from {self.path}{place}; {counts or 'all fitted'}"

    def text(self) -> str:
        """Return the line, and below it what did not fit, with the nearest name on the other side."""
        lines = [self.line()]
        if self.missing:
            lines += [f"  missing, kept as built: {name}" for name in _paired(self.missing, self.left_over)]
        if self.reshaped:
            texts = [f"{name}: encoder {ours}, file {theirs}" for name, ours, theirs in self.reshaped]
            lines += [f"  of another shape, kept as built: {text}" for text in _few(texts)]
        if self.left_over:
            lines += [f"  left over in the file: {name}" for name in _paired(self.left_over, self.missing)]
        if self.ignored:
            parts = ", ".join(f"{name} ({count})" for name, count in self.ignored.items())
            lines.append(f"  no part of the encoder: {parts}")
        return "\n".join(lines)


def load_weights(encoder: nn.Module, path: str | Path, *, prefix: str | None = None) -> LoadReport:
    """Load what fits of a file's weights into an encoder, in place.

    Read are our own runs, plain torch and safetensors state dicts with torchvision's or timm's names, checkpoints of
    lightly, solo-learn, MoCo and DINO, and Google's SimCLR as an ``.npz`` of its variables (docs/weights.md). The
    names' prefix is found by itself. Classifiers, projectors, and teachers where there is a student, are left alone.

    Args:
        encoder: any module; a run's, one of `nearfar.encoders.build`, or your own.
        path: a file or a folder; see `nearfar.encoders.foreign.read_weights`.
        prefix: take the names behind this prefix, such as ``"teacher.backbone."``, instead of the best.

    Returns:
        What was loaded, missing, left over and of another shape; ``print(report.text())``.

    Raises:
        RunError: when the file cannot be read, less than half of the encoder's parameters are in it, or some are not
            finite. The encoder is then as it was.
    """
    path = Path(path)
    tensors = read_weights(path)
    own = encoder.state_dict()
    inner = "model." if all(name.startswith("model.") for name in own) else ""
    ours = {name.removeprefix(inner): tensor for name, tensor in own.items()}
    found = locate({name: tuple(tensor.shape) for name, tensor in ours.items()}, tensors, prefix)
    sizes = {name.removeprefix(inner): p.numel() for name, p in encoder.named_parameters()}
    fitting = [
        name for name, tensor in ours.items()
        if name in found.names and tensors[found.names[name]].shape == tensor.shape
    ]  # fmt: skip
    loaded, whole = sum(sizes.get(name, 0) for name in fitting), sum(sizes.values())
    if loaded < LEAST * whole or not fitting:
        raise RunError(_refusal(path, ours, tensors, loaded, whole))
    finite = all(bool(torch.isfinite(tensors[found.names[name]]).all()) for name in fitting)
    require(finite, str(path), "weights", "finite", "NaN or infinite ones", "take an earlier checkpoint",
            error=RunError)  # fmt: skip
    with torch.no_grad():
        for name in fitting:
            ours[name].copy_(tensors[found.names[name]])
    return _report(path, found, ours, tensors, len(fitting), (loaded, whole))


def _report(
    path: Path,
    found: Found,
    ours: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    count: int,
    parameters: tuple[int, int],
) -> LoadReport:
    behind = set(found.names.values())
    others = [part_of(name) for name in tensors if name not in behind]
    left_over = []
    parts = {part_of(name) for name in ours} - CLASSIFIERS
    for name in found.names:
        if name not in ours and part_of(name) in parts:
            left_over.append(name)
        elif name not in ours:
            others.append(part_of(name))
    return LoadReport(
        path=str(path),
        prefix=found.prefix,
        tensors=count,
        parameters=parameters[0],
        of=parameters[1],
        missing=tuple(n for n in ours if n not in found.names and not n.endswith("num_batches_tracked")),
        left_over=tuple(left_over),
        reshaped=tuple(
            Reshaped(name, tuple(tensor.shape), tuple(tensors[found.names[name]].shape))
            for name, tensor in ours.items()
            if name in found.names and tensors[found.names[name]].shape != tensor.shape
        ),
        ignored={part: others.count(part) for part in dict.fromkeys(others)},
    )


def _refusal(path: Path, ours: Mapping[str, Tensor], tensors: Mapping[str, Tensor], loaded: int, whole: int) -> str:
    """Return the one sentence about a file of another encoder, with names and shapes of both."""

    def example(items: Mapping[str, Tensor]) -> str:
        name, tensor = max(items.items(), key=lambda item: item[1].ndim)  # the first kernel, where there is one
        return f"{name} {tuple(tensor.shape)}"

    return (
        f"{path}: weights must fit at least half of the encoder's {_millions(whole)} parameters, got "
        f"{_millions(loaded)}: the encoder has {example(ours)}, the file {example(tensors)}; build the encoder that "
        "the file was trained with, or name the prefix of its weights"
    )


def _paired(names: Sequence[str], others: Sequence[str]) -> list[str]:
    """Return the first names, each with the nearest on the other side."""
    texts = []
    for name in names[:SHOWN]:
        close = difflib.get_close_matches(name, others, n=1, cutoff=0.6)
        texts.append(f"{name} (nearest: {close[0]})" if close else name)
    return _few([*texts, *names[SHOWN:]])


def _few(texts: Sequence[str]) -> list[str]:
    rest = len(texts) - SHOWN
    return [*texts[:SHOWN], *([f"and {rest} more"] if rest > 0 else [])]


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} M" if count >= 1e5 else f"{count:,}"
