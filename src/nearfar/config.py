"""Settings derived from signatures: a constructor's keyword-only parameters are its schema.

The same schema checks what comes from the command line, from a YAML file and from Python, so an unknown key or a
value of the wrong type is one sentence that names the nearest valid key, wherever it came from.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from nearfar.errors import ConfigError, nearest, sentence

__all__ = ["Setting", "check", "check_options", "dump_yaml", "from_mapping", "load_yaml", "settings", "to_mapping"]

T = TypeVar("T")


class Setting(NamedTuple):
    """One keyword-only parameter: its type and its default (``inspect.Parameter.empty`` when it has none)."""

    annotation: Any
    default: Any


def settings(factory: Callable[..., Any]) -> dict[str, Setting]:
    """Return the keyword-only parameters of a class or function, in order, with resolved types."""
    function = factory.__init__ if inspect.isclass(factory) else factory
    hints = typing.get_type_hints(function)
    return {
        name: Setting(hints.get(name, Any), parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


def check_options(
    who: str, factory: Callable[..., Any], options: Mapping[str, Any], *, without: Iterable[str] = ()
) -> dict[str, Any]:
    """Return ``options`` converted to the types that ``factory``'s keyword-only parameters ask for.

    Args:
        who: the name used in errors, such as ``"method simclr"``.
        factory: the class or function that the options are for.
        options: names to values, as read from a flag, a file or Python.
        without: parameters that are no settings, because they are set elsewhere.

    Raises:
        ConfigError: on an unknown name or a value of the wrong type.
    """
    schema = {name: setting for name, setting in settings(factory).items() if name not in set(without)}
    checked = {}
    for name, value in options.items():
        if name not in schema:
            raise ConfigError(f"{who}: unknown setting {name!r}; {nearest(name, schema)}")
        checked[name] = check(who, name, schema[name].annotation, value)
    return checked


def check(who: str, name: str, annotation: Any, value: Any) -> Any:
    """Convert one value to the type asked for.

    Raises:
        ConfigError: when it cannot be converted.
    """
    if isinstance(value, str) and any(value.startswith(mark) and _takes(annotation, *kinds) for mark, kinds in _JSON):
        with contextlib.suppress(ValueError):
            value = json.loads(value)  # a mapping or a list within a mapping, from a flag or a file
    plain = dataclasses.is_dataclass(annotation) or hasattr(annotation, "model_fields")
    try:
        adapter = TypeAdapter(annotation, config=None if plain else ConfigDict(arbitrary_types_allowed=True))
        return adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([name, *(str(part) for part in first["loc"] if isinstance(part, int))])
        must = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
        raise ConfigError(sentence(who, where, must, repr(value))) from None


_JSON: tuple[tuple[str, tuple[type, ...]], ...] = (("{", (dict,)), ("[", (list, tuple)))


def _takes(annotation: Any, *kinds: type) -> bool:
    """Whether a value of one of these kinds, or of a union with one of them, is asked for."""
    return typing.get_origin(annotation) in kinds or any(_takes(part, *kinds) for part in typing.get_args(annotation))


def from_mapping(cls: type[T], values: Mapping[str, Any], who: str) -> T:
    """Build a dataclass from names and values, each checked against its field.

    Raises:
        ConfigError: on an unknown name, a missing one, or a value of the wrong type.
    """
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    checked: dict[str, Any] = {}
    for name, value in values.items():
        if name not in fields:
            raise ConfigError(f"{who}: unknown setting {name!r}; {nearest(name, fields)}")
        checked[name] = _nested(hints[name], value, f"{who}, {name}") or check(who, name, hints[name], value)
    for name, field in fields.items():
        empty = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if empty and name not in checked:
            raise ConfigError(f"{who}: the setting {name!r} is missing; give it a value")
    return cls(**checked)


def _nested(annotation: Any, value: Any, who: str) -> Any:
    is_section = inspect.isclass(annotation) and dataclasses.is_dataclass(annotation)
    return from_mapping(annotation, value, who) if is_section and isinstance(value, Mapping) else None


def to_mapping(config: Any) -> dict[str, Any]:
    """Return a dataclass as plain names and values (paths as text, tuples as lists), ready for YAML or JSON."""
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config) if field.init}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_mapping(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        ConfigError: when the file cannot be read, is not YAML, or does not hold a mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give an existing YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0]
        raise ConfigError(f"{path}: is not valid YAML ({first})") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(sentence(str(path), "content", "a mapping of settings", type(content).__name__))
    return content


def dump_yaml(values: Mapping[str, Any]) -> str:
    """Return names and values as YAML, in the order given."""
    return yaml.safe_dump(_plain(values), sort_keys=False, allow_unicode=True)
