"""The run folder of a fine-tuning or a distillation: begun once, gone on with by the settings it was begun with."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.config import from_mapping, to_mapping
from nearfar.errors import ConfigError, RunError, nearest, require
from nearfar.fewlabels.settings import LabelChoice
from nearfar.files import atomic_path
from nearfar.pipeline.environment import write_environment
from nearfar.progress import say
from nearfar.training.run import Run

__all__ = ["begin", "data_name", "opened", "read_scores", "settle", "write_arrays"]


def settle(who: str, config: Any, choice: LabelChoice | None, changes: Mapping[str, Any]) -> tuple[Any, LabelChoice]:
    """Return both records of settings with changes by name, each of which belongs to one of them.

    Raises:
        ConfigError: on an unknown name or a wrong value.
    """
    labels = LabelChoice() if choice is None else choice
    mine, theirs = ({field.name for field in dataclasses.fields(record)} for record in (config, labels))
    for name in changes:
        if name not in mine | theirs:
            raise ConfigError(f"{who}: unknown setting {name!r}; {nearest(name, mine | theirs)}")
    return _with(config, changes, mine, who), _with(labels, changes, theirs, "labels")


def _resumed(who: str, out: Path, config: Any, changes: Mapping[str, Any]) -> tuple[Run, Any, LabelChoice]:
    """Open the run to go on with, and the settings it was begun with; changes by name must say the same.

    Raises:
        RunError: when there is no such run.
        ConfigError: when a change is one.
    """
    run = Run.open(out)
    values = run.config()
    fix = "start another run, or again with --overwrite"
    same = values.get("method") == who
    require(same, str(out), "run", f"begun by nearfar {who}", values.get("method"), fix, error=RunError)
    found = []
    for cls in (type(config), LabelChoice):
        names = {field.name for field in dataclasses.fields(cls)}
        mine = {name: value for name, value in values.items() if name in names}
        try:
            found.append(from_mapping(cls, mine, str(out / "config.yaml")))
        except ConfigError as error:
            raise RunError(f"{error}; start again with --overwrite") from None
    known = {**to_mapping(found[0]), **to_mapping(found[1])}
    asked = {**to_mapping(_with(config, changes, set(to_mapping(config)), who)), **to_mapping(_choice(changes))}
    for name in changes:
        if name not in known:
            raise ConfigError(f"{who}: unknown setting {name!r}; {nearest(name, known)}")
        if asked[name] != known[name]:
            fix = "leave the setting out, or start another run"
            flag, was = name.replace("_", "-"), f"{known[name]!r} as the run was begun with"
            require(False, "--resume", flag, was, repr(asked[name]), fix, error=ConfigError)
    return run, found[0], found[1]


def opened(
    who: str,
    out: Path,
    config: Any,
    choice: LabelChoice | None,
    changes: Mapping[str, Any],
    *,
    resume: bool,
    overwrite: bool,
) -> tuple[Any, LabelChoice, Run | None]:
    """Return the settings that a verb goes by, and the run where it is finished already.

    Raises:
        ConfigError: on an unknown or wrong setting, or a change of one that the run was begun with.
        RunError: when the folder cannot be used.
    """
    if not resume:
        settings, labels = settle(who, config, choice, changes)
        Run.claim(out, overwrite=overwrite)
        return settings, labels, None
    run, settings, labels = _resumed(who, out, config, changes)
    if run.finished:
        say(f"{out}: is finished; nothing to do")
    return settings, labels, run if run.finished else None


def begin(
    out: Path,
    who: str,
    facts: Mapping[str, Any],
    records: Sequence[Any],
    *,
    data: str,
    resume: bool,
    overwrite: bool,
) -> Run:
    """Make the run folder with its settings and its environment, or open the one to go on with.

    Args:
        out: the folder.
        who: the verb.
        facts: what ``config.yaml`` says beside settings.
        records: the settings.
        data: the digest of the data.
        resume: go on.
        overwrite: delete what is there first.
    """
    values: dict[str, Any] = {"method": who, **facts}
    for record in records:
        values |= to_mapping(record)
    run = Run(out) if resume else Run.create(out, values, overwrite=overwrite)
    if not (out / "environment.json").is_file():
        write_environment(out / "environment.json", data=data)
    return run


def data_name(data: Any) -> str:
    """Return what ``config.yaml`` calls the data."""
    return str(data) if isinstance(data, str | Path) else f"<{type(data).__name__}>"


def write_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    """Write arrays all at once."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_scores(folder: Path) -> dict[str, Any] | None:
    """Return what ``scores.json`` of a run holds, or ``None``."""
    try:
        content = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _choice(changes: Mapping[str, Any]) -> LabelChoice:
    return _with(LabelChoice(), changes, {field.name for field in dataclasses.fields(LabelChoice)}, "labels")  # type: ignore[no-any-return]


def _with(record: Any, changes: Mapping[str, Any], names: set[str], who: str) -> Any:
    mine = {name: value for name, value in changes.items() if name in names}
    values = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    return from_mapping(type(record), {**values, **mine}, who) if mine else record
