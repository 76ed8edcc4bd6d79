"""The application: verbs, ``--config`` and ``--recipe`` before them, and one sentence for every error."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, ArgumentCollection, CycloptsError, Parameter
from cyclopts.config import Dict

from nearfar._version import __version__
from nearfar.cli.nested import completed, folded, joined
from nearfar.errors import NearfarError, RunError
from nearfar.progress import stderr

__all__ = ["given", "main"]

VERBS = (
    "demo", "views", "schema", "pretrain", "evaluate", "compare", "embed", "index", "search", "serve", "explore",
    "export", "methods", "encoders",
    "calibrate", "match", "dedupe", "outliers", "cluster", "select", "label-errors",
    "finetune", "distill", "semi",
)  # fmt: skip

AFTER = ("finetune", "distill", "semi")
"""Verbs that a recipe does not set: it is of a pretraining."""

NOTED = ("method", "pretrained_views", "pretrained_view_options")
"""What a fine-tuned or distilled run's config.yaml has beside settings."""

flags: list[str] = []
"""The settings that stand on the command line itself, not in a file or a recipe."""

app = App(
    name="nearfar",
    version=__version__,
    help="Contrastive and self-supervised learning: from raw data without labels to an encoder one can trust "
    "and an index one can search.",
    help_format="plaintext",
    default_parameter=Parameter(negative_iterable=(), negative_none=()),
    result_action="return_none",
    suppress_keyboard_interrupt=False,
)
app.meta.suppress_keyboard_interrupt = False
for verb in VERBS:
    app.command("nearfar.cli.{0}:{0}".format(verb.replace("-", "_")), name=verb)


@app.meta.default
def launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    config: Path | None = None,
    recipe: str | None = None,
    debug: bool = False,
) -> None:
    """Run a verb.

    Args:
        tokens: the verb and what belongs to it.
        config: a YAML file of settings for the verb; flags override it.
        recipe: the settings of a run by name, for pretrain and views; --config and flags override them.
        debug: show the traceback of an error.
    """
    of_file, of_recipe = _of_file(config), _of_recipe(recipe)
    app.config = (_remember_flags, *_sources(of_file, of_recipe, config, recipe))
    known = of_file if tokens[:1] and tokens[0] in AFTER else joined(of_file, of_recipe)
    app(completed(folded(tokens), known), exit_on_error=False, print_error=False)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 when all went well, 1 on an error, 2 on a wrong call, 130 on Ctrl-C."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    _spin_briefly()
    try:
        app.meta(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _fail(str(error), 2)
    except NearfarError as error:
        if "--debug" in tokens:
            raise
        _fail(str(error), 1)
    except OSError as error:
        if "--debug" in tokens:
            raise
        _fail(str(RunError(f"{error.filename or 'nearfar'}: {error.strerror or error}")), 1)
    except KeyboardInterrupt:
        _fail("stopped; what was written stays, --resume goes on from there where the verb has it", 130)
    except Exception as error:
        if "--debug" in tokens:
            raise
        first = (str(error).splitlines() or [""])[0]
        _fail(
            f"nearfar: {type(error).__name__}: {first}; this should have been a clear sentence, --debug shows where", 1
        )
    sys.exit(0)


def _spin_briefly() -> None:
    """Let OpenMP's threads sleep soon after a loop, which has to be said before torch is imported.

    By default they spin for milliseconds: that takes the cores from the threads that make views and from other
    programs. On two cores of which another program held one, the demo's training ran twice as fast for it; on free
    cores nothing was lost (docs/log.md).
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "1000"


def _remember_flags(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Note which settings stand on the command line itself; cyclopts calls this before the other sources."""
    flags[:] = [argument.keys[0] for argument in arguments if argument.tokens and argument.keys]


def given(*records: Any) -> dict[str, Any]:
    """Return the settings of these records that stand on the command line itself."""
    return {name: getattr(record, name) for record in records for name in flags if hasattr(record, name)}


def _of_file(config: Path | None) -> dict[str, Any]:
    """Return the settings of a file, without what a run's config.yaml has beside settings."""
    if config is None:
        return {}
    from nearfar.config import load_yaml

    return {
        key.replace("-", "_"): value for key, value in load_yaml(config).items() if key not in ("format", "nearfar")
    }


def _of_recipe(recipe: str | None) -> dict[str, Any]:
    if recipe is None:
        return {}
    from nearfar.config import to_mapping
    from nearfar.recipes import RECIPES

    return to_mapping(RECIPES.get(recipe)())


def _sources(
    of_file: dict[str, Any], of_recipe: dict[str, Any], config: Path | None, recipe: str | None
) -> tuple[Any, ...]:
    """Return where settings come from beside flags; an earlier source goes before a later one."""
    sources = []
    if config is not None:
        over = {name: value for name, value in joined(of_file, of_recipe).items() if name in of_file}
        alone = {verb: values for verb, values in _by_verb(of_file).items() if verb in AFTER}
        sources.append(Dict({**_by_verb(over), **alone}, source=str(config)))
    if recipe is not None:
        other = {"semi": {"recipe": recipe}, "finetune": {}, "distill": {}}
        sources.append(Dict({**_by_verb(of_recipe), **other}, source=f"recipe {recipe}"))
    return tuple(sources)


def _by_verb(values: dict[str, Any]) -> dict[str, Any]:
    """Return what each verb reads of a file's values; a flat mapping would lose the keys that are a verb's name."""
    import dataclasses
    import inspect

    from nearfar.cli.views import views
    from nearfar.pipeline.settings import PretrainConfig

    known = _given(values)
    unread = {field.name for field in dataclasses.fields(PretrainConfig)} - set(inspect.signature(views).parameters)
    shown = {key: value for key, value in known.items() if key not in unread}
    told = {key: value for key, value in known.items() if key not in NOTED}
    return {**dict.fromkeys(VERBS, known), "views": shown, "finetune": told, "distill": told}


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is null or empty: it stands for the default. Mappings within mappings travel as JSON."""
    import json

    def flat(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: json.dumps(item) if isinstance(item, dict) else item for key, item in value.items()}

    return {key: flat(value) for key, value in values.items() if value not in (None, [], {})}


def _fail(text: str, code: int) -> None:
    stderr.print(f"error: {text}", markup=False, soft_wrap=True, style="bold red" if stderr.is_terminal else None)
    sys.exit(code)
