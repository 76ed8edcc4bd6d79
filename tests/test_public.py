"""The public names, kept in one explicit list, and what stands around them."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import nearfar
from nearfar.cli.app import VERBS, app

PUBLIC = [
    "NearfarError", "PretrainConfig", "__version__", "calibrate", "cluster", "compare", "dedupe", "demo", "distill",
    "embed", "evaluate", "evaluate_index", "explore", "export", "finetune", "index", "label_errors", "load_encoder",
    "load_weights", "match", "open_images", "outliers", "pretrain", "schema", "search", "select", "semi", "serve",
    "show_views",
]  # fmt: skip

ROOT = Path(__file__).parents[1]


def packages() -> list[str]:
    found = ["nearfar"]
    for module in pkgutil.walk_packages(nearfar.__path__, "nearfar."):
        if module.ispkg:
            found.append(module.name)
    return found


def modules() -> list[str]:
    return [module.name for module in pkgutil.walk_packages(nearfar.__path__, "nearfar.")]


def test_the_public_list_is_this_one() -> None:
    assert nearfar.__all__ == PUBLIC
    assert dir(nearfar) == sorted(PUBLIC)
    with pytest.raises(AttributeError, match="has no attribute 'pretrian'"):
        nearfar.pretrian  # noqa: B018


@pytest.mark.parametrize("name", packages())
def test_every_package_says_what_it_is_and_keeps_its_list(name: str) -> None:
    package = importlib.import_module(name)
    assert package.__doc__
    assert len(set(package.__all__)) == len(package.__all__)
    for entry in package.__all__:
        assert getattr(package, entry) is not None, entry


def test_every_public_function_and_class_is_described() -> None:
    missing = []
    for name in packages():
        package = importlib.import_module(name)
        for entry in package.__all__:
            thing = getattr(package, entry)
            ours = getattr(thing, "__module__", "").startswith("nearfar")
            if ours and callable(thing) and hasattr(thing, "__name__") and not thing.__doc__:
                missing.append(f"{name}.{entry}")
    assert not missing


def test_every_module_keeps_a_list() -> None:
    missing = []
    for name in modules():
        text = Path(str(importlib.util.find_spec(name).origin)).read_text()  # type: ignore[union-attr]
        if "\n__all__" not in text and not name.endswith("_version"):
            missing.append(name)
    assert not missing


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_and_every_flag_is_described(verb: str) -> None:
    command = app[verb]
    assert command.help
    arguments = command.assemble_argument_collection(parse_docstring=True)
    shown = [argument for argument in arguments if argument.show and argument.name != "*"]
    missing = [argument.name for argument in shown if not (argument.parameter.help or "").strip()]
    assert not missing
    assert shown or verb == "methods"


@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"methods", "encoders", "views"}))
def test_every_verb_is_a_function_as_well(verb: str) -> None:
    function = getattr(nearfar, verb.replace("-", "_"))
    assert function.__doc__
    assert "Args:" in function.__doc__


def test_the_import_contracts_cover_every_package() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract for contract in contracts if contract["type"] == "layers")["layers"]
    named = {name.strip() for layer in layers for name in layer.split("|")}
    top = {module.name for module in pkgutil.iter_modules(nearfar.__path__, "nearfar.")} - {"nearfar._version"}
    assert top == named
    lightning = next(contract for contract in contracts if contract["type"] == "forbidden")
    may = {
        "nearfar.cli",
        "nearfar.comparing",
        "nearfar.demonstration",
        "nearfar.fewlabels",
        "nearfar.demonstration_data",
        "nearfar.exploring",
        "nearfar.recipes",
        "nearfar.pipeline",
        "nearfar.serving",
        "nearfar.sklearn",
        "nearfar.training",
    }
    assert set(lightning["source_modules"]) == top - may
    assert "lightning" in lightning["forbidden_modules"]


def test_the_import_contracts_hold() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
