"""Settings within settings as flags: ``--pretrain.encoder-options.width 16``, ``--view-options.speed 1 1``.

cyclopts fills mappings of one level, one value a key. What lies deeper and lists of numbers are put together here and
go on as JSON, which `nearfar.config.check` reads, so that both arrive as they would from a file.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from nearfar.errors import ConfigError

__all__ = ["completed", "folded", "joined"]

_FLAG = re.compile(r"--([A-Za-z][\w-]*(?:\.[\w-]+)+)(?:=(.*))?", re.DOTALL)

_OF = {"method_options": "method", "encoder_options": "encoder", "view_options": "views"}
"""Options that are those of something by name: with another name they are of no use."""

_PHASES = ("pretrain", "finetune", "distill")
"""Settings whose keys are settings themselves, beside those called ``...-options``."""


def folded(tokens: Sequence[str]) -> list[str]:
    """Return the tokens of a command with every setting of a mapping as one token, ``--NAME.KEY=VALUE``.

    Hyphens in names of settings become underscores; keys that data have given, such as names of columns, stay.

    Raises:
        ConfigError: when a setting is given twice, or as a value and as a mapping.
    """
    left: list[str] = list(tokens)
    found: list[str] = []
    places: dict[str, tuple[int, dict[str, Any]]] = {}
    while left:
        word = left.pop(0)
        if word == "--":
            return [*found, word, *left]
        match = _FLAG.fullmatch(word)
        values = [] if match is None else _values(match[2], left)
        if match is None or not values:
            found.append(word)
            continue
        root, key, *deeper = _spelled(match[1].split("."))
        name = f"--{root}.{key}"
        if not deeper:
            found.append(f"{name}={values[0] if len(values) == 1 else json.dumps(values)}")
            continue
        place, tree = places.setdefault(name, (len(found), {}))
        _put(tree, deeper, values[0] if len(values) == 1 else values, f"--{match[1]}")
        found[place:] = [f"{name}={json.dumps(tree, ensure_ascii=False)}", *found[place + 1 :]]
    return found


def joined(over: Mapping[str, Any], under: Mapping[str, Any]) -> dict[str, Any]:
    """Return one source of settings over another: mappings are joined key by key, all else is replaced."""
    found = {**under, **over}
    for name, value in over.items():
        below = under.get(name)
        named = _OF.get(name)
        changed = named is not None and named in over and over[named] != under.get(named)
        if isinstance(value, dict) and isinstance(below, dict) and not changed:
            found[name] = {**below, **value}
    return found


def completed(tokens: Sequence[str], known: Mapping[str, Any]) -> list[str]:
    """Return folded tokens with the keys that files and recipes have of the mappings that flags begin.

    Without it a flag such as ``--view-options.hflip 0`` would put away all other view options of a recipe.
    """
    begun: dict[str, set[str]] = {}
    for token in tokens:
        if match := re.fullmatch(r"--([\w-]+)\.([^=]+)=.*", token, re.DOTALL):
            begun.setdefault(match[1], set()).add(match[2])
    added = []
    for name, keys in begun.items():
        value, named = known.get(name.replace("-", "_")), _OF.get(name.replace("-", "_"))
        if not isinstance(value, dict) or any(word.partition("=")[0] == f"--{named}" for word in tokens):
            continue
        rest = {key: item for key, item in value.items() if key not in keys and item is not None}
        added += [f"--{name}.{key}={item if isinstance(item, str) else json.dumps(item)}" for key, item in rest.items()]
    place = tokens.index("--") if "--" in tokens else len(tokens)
    return [*tokens[:place], *added, *tokens[place:]]


def _values(given: str | None, left: list[str]) -> list[str]:
    """Take what belongs to a flag from the tokens behind it: one value, or as many numbers as follow each other."""
    if given is not None:
        return [given]
    count = 1 if left and not left[0].startswith("--") else 0
    while count and count < len(left) and all(_is_number(text) for text in left[: count + 1]):
        count += 1
    values = left[:count]
    del left[:count]
    return values


def _is_number(text: str) -> bool:
    with contextlib.suppress(ValueError):
        float(text)
        return True
    return False


def _spelled(parts: Sequence[str]) -> list[str]:
    """Return the parts of a flag with the names of settings as they are in Python."""
    own = [parts[0]]
    for above, part in itertools.pairwise(parts):
        settings = above in _PHASES or above.replace("_", "-").endswith("-options")
        own.append(part.replace("-", "_") if settings else part)
    return own


def _put(tree: dict[str, Any], path: Sequence[str], value: Any, flag: str) -> None:
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"{flag}: must be given as a value or as a mapping, got both; leave one out")
    if path[-1] in tree:
        raise ConfigError(f"{flag}: must be given once, got two values; leave one out")
    tree[path[-1]] = value
