"""The names of weights in other people's files, and where among them an encoder's own names stand.

A file has the encoder's names behind a prefix that says whose module it was. Seen in the wild:

========================  =============================================================================
torchvision, timm         ``conv1.weight``: the two agree for ResNets, and for ViTs timm agrees with DINO's
ours                      ``model.conv1.weight`` of a timm model; ``method.encoder.`` before it in a checkpoint
lightly                   ``backbone.``, and ``backbone_momentum.`` beside it; where the backbone is
                          ``Sequential(*children)``, ``backbone.0.weight`` for conv1 and ``backbone.4.`` for layer1,
                          or ``backbone.2.`` for layer1 and ``shortcut`` for downsample in lightly's own ResNet
solo-learn                ``state_dict`` / ``backbone.`` (``encoder.`` in old ones), ``momentum_backbone.``
MoCo                      ``state_dict`` / ``module.encoder_q.``, ``module.encoder_k.``; v3 ``module.base_encoder.``
DINO                      ``student`` / ``module.backbone.``, ``teacher`` / ``backbone.``
========================  =============================================================================

So no list of prefixes is kept: the one behind which most of the encoder's numbers stand, in the right shape, is taken,
and a copy that follows another (momentum, teacher, exponential average) only where there is nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor

__all__ = ["Found", "flatten", "locate", "part_of"]

_FOLLOWERS = re.compile(r"momentum|teacher|(?:^|[._])(?:ema|target|key|encoder_k)(?=[._]|$)")
_CHILDREN = re.compile(r"((?:.*\.)?)(\d+)\.\d+\.conv1\.weight")
_WRAPPERS = ("state_dict", "model_state_dict", "module")


class Found(NamedTuple):
    """Where the encoder's weights stand in a file.

    Attributes:
        prefix: what stands before the encoder's names.
        names: the encoder's names and all others behind the prefix, with the file's name of each.
        numbers: how many numbers have the right name and shape.
    """

    prefix: str
    names: Mapping[str, str]
    numbers: int


def flatten(content: Any, prefix: str = "") -> dict[str, Tensor]:
    """Return the tensors of nested dictionaries under dotted names; all that is no tensor is left out."""
    found: dict[str, Tensor] = {}
    for key, value in content.items():
        if isinstance(value, Tensor):
            found[f"{prefix}{key}"] = value
        elif isinstance(value, Mapping):
            found |= flatten(value, f"{prefix}{key}.")
    return found


def locate(shapes: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Tensor], prefix: str | None = None) -> Found:
    """Return where most of the encoder's numbers stand.

    Args:
        shapes: the encoder's names and shapes.
        tensors: the file's.
        prefix: look there only.

    Returns:
        The best place. One that follows another is taken only where no other holds half as much.
    """
    places: list[tuple[int, str, dict[str, str]]] = []
    for names in _readings(tensors):
        counts: dict[str, int] = {}
        for name, old in names.items():
            tensor = tensors[old]
            for before, rest in _splits(name):
                if shapes.get(rest) == tuple(tensor.shape):
                    counts[before] = counts.get(before, 0) + tensor.numel()
        places += [(count, before, names) for before, count in counts.items() if prefix in (None, before)]
    if not places:
        return Found(prefix or "", {}, 0)
    leaders = [place for place in places if not _FOLLOWERS.search(place[1])]
    most = max(count for count, _, _ in places)
    good = [place for place in leaders if 2 * place[0] >= most] or places
    count, best, names = min(good, key=lambda place: (-place[0], len(place[1]), place[1]))
    behind = {name[len(best) :]: old for name, old in names.items() if name.startswith(best)}
    return Found(best, behind, count)


def part_of(name: str) -> str:
    """Return the part of the model that a name of the file belongs to, such as ``projector``."""
    parts = name.split(".")
    while len(parts) > 1 and parts[0] in _WRAPPERS:
        parts = parts[1:]
    return parts[0]


def _splits(name: str) -> Iterator[tuple[str, str]]:
    """Yield every way to cut a dotted name into a prefix, with its dot, and a rest."""
    yield "", name
    place = name.find(".")
    while place >= 0:
        yield name[: place + 1], name[place + 1 :]
        place = name.find(".", place + 1)


def _readings(names: Iterable[str]) -> Iterator[dict[str, str]]:
    """Yield readings of a file: a name as torchvision and timm have it, and the file's own."""
    plain = {name: name for name in names}
    yield plain
    starts = _starts(plain)
    read = {_of_resnet(name, starts): name for name in plain}
    if read != plain:
        yield read


def _starts(names: Iterable[str]) -> dict[str, int]:
    """Return, for each ResNet that was cut into numbered children, its prefix and the number of its first stage."""
    stages: dict[str, set[int]] = {}
    for name in names:
        if match := _CHILDREN.fullmatch(name):
            stages.setdefault(match[1], set()).add(int(match[2]))
    return {
        before: start for before, found in stages.items() for start in (2, 4) if found == {*range(start, start + 4)}
    }


def _of_resnet(name: str, starts: Mapping[str, int]) -> str:
    for before, start in starts.items():
        if name.startswith(before):
            number, dot, rest = name[len(before) :].partition(".")
            known = {"0": "conv1", "1": "bn1"} | {str(start + stage): f"layer{stage + 1}" for stage in range(4)}
            if dot and number in known:
                name = f"{before}{known[number]}.{rest}"
                break
    return name.replace(".shortcut.", ".downsample.")
