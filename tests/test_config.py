from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from nearfar.config import check, check_options, dump_yaml, from_mapping, load_yaml, settings, to_mapping
from nearfar.errors import ConfigError


class Thing:
    def __init__(self, encoder: object, *, temperature: float = 0.1, layers: int = 2, name: str | None = None) -> None:
        self.temperature, self.layers, self.name = temperature, layers, name


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inner:
    lr: float = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outer:
    epochs: int
    inner: Inner = Inner()
    mean: tuple[float, ...] = (0.5,)


def test_settings_are_the_keyword_only_parameters() -> None:
    assert list(settings(Thing)) == ["temperature", "layers", "name"]
    assert settings(Thing)["layers"].annotation is int


def test_options_are_converted_to_their_types() -> None:
    assert check_options("x", Thing, {"temperature": "1e-3", "layers": "3"}) == {"temperature": 1e-3, "layers": 3}


def test_an_unknown_option_names_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"method x: unknown setting 'temprature'; did you mean 'temperature'\?"):
        check_options("method x", Thing, {"temprature": 1})


def test_a_wrong_type_says_who_what_must_got() -> None:
    with pytest.raises(ConfigError, match=r"method x: layers must be a valid integer.*got 'many'"):
        check_options("method x", Thing, {"layers": "many"})


def test_records_survive_yaml(tmp_path: Path) -> None:
    outer = Outer(epochs=3, inner=Inner(lr=0.5), mean=(0.1, 0.2))
    path = tmp_path / "a.yaml"
    path.write_text(dump_yaml(to_mapping(outer)))
    assert from_mapping(Outer, load_yaml(path), "a.yaml") == outer


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": 3}, "unknown setting 'epoch'; did you mean 'epochs'?"),
        ({}, "the setting 'epochs' is missing"),
        ({"epochs": 1, "inner": {"rl": 1}}, "a.yaml, inner: unknown setting 'rl'; did you mean 'lr'?"),
        ({"epochs": [1]}, "epochs must be a valid integer"),
    ],
)
def test_a_bad_record_is_one_sentence(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_mapping(Outer, values, "a.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["a: [", "- 1\n- 2", "\x00"])
def test_a_bad_yaml_file_is_one_sentence(tmp_path: Path, content: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"bad\.yaml") as caught:
        load_yaml(path)
    assert "\n" not in str(caught.value)


def test_a_missing_yaml_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_yaml(tmp_path / "none.yaml")


def test_a_mapping_within_options_may_come_as_json() -> None:
    assert check("x", "config", dict[str, Any] | None, '{"width": 3}') == {"width": 3}
    assert check("x", "name", str, '{"width": 3}') == '{"width": 3}'
    with pytest.raises(ConfigError):
        check("x", "config", dict[str, Any], "{broken")
