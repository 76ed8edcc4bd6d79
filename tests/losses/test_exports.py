"""What the losses package exports, and that its table in the documentation is whole."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

from nearfar import losses

DOCS = Path(__file__).parents[2] / "docs" / "losses.md"


def public_names() -> set[str]:
    modules = [module.name for module in pkgutil.iter_modules(losses.__path__) if not module.name.startswith("_")]
    names: set[str] = set()
    for module in modules:
        if module == "miners":
            names.add(module)
            continue
        names |= set(importlib.import_module(f"nearfar.losses.{module}").__all__)
    return names


def test_every_public_name_of_every_file_is_exported() -> None:
    assert set(losses.__all__) == public_names()
    assert len(losses.__all__) == len(set(losses.__all__))
    assert all(hasattr(losses, name) for name in losses.__all__)


def test_every_loss_documents_its_arguments_and_what_it_returns() -> None:
    for name in losses.__all__:
        found = getattr(losses, name)
        if inspect.isfunction(found) and "reduction" in inspect.signature(found).parameters:
            for section in ("Args:", "Returns:", "Raises:"):
                assert section in (found.__doc__ or ""), (name, section)
            for parameter in inspect.signature(found).parameters:
                assert f"{parameter}:" in found.__doc__, (name, parameter)


def test_the_table_in_the_documentation_names_every_exported_function() -> None:
    listed = set(re.findall(r"`(\w+)`", DOCS.read_text(encoding="utf-8")))
    functions = {name for name in losses.__all__ if inspect.isfunction(getattr(losses, name))}
    assert functions <= listed, sorted(functions - listed)
    for name in losses.miners.__all__:
        if inspect.isfunction(getattr(losses.miners, name)):
            assert name in listed, name
