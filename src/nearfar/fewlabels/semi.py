"""SimCLRv2's three phases in one command: the verb as a function."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table as RichTable

from nearfar.config import from_mapping, to_mapping
from nearfar.errors import ConfigError, DataError, require
from nearfar.fewlabels.folders import settle
from nearfar.fewlabels.outputs import write_all
from nearfar.fewlabels.parts import Data, choose_rows, open_data
from nearfar.fewlabels.phases import Phases
from nearfar.fewlabels.prepare import decoded
from nearfar.fewlabels.project import Amount, Project
from nearfar.fewlabels.settings import DistillConfig, FinetuneConfig, LabelChoice, SemiConfig
from nearfar.fewlabels.start import Start, open_start, reading
from nearfar.fewlabels.summary import Row, rows_of, table_of
from nearfar.fewlabels.targets import known_rows
from nearfar.methods import METHODS
from nearfar.modalities import choose
from nearfar.pipeline.data import content_digest
from nearfar.pipeline.pretrain import pretrain
from nearfar.pipeline.settings import PretrainConfig
from nearfar.progress import say
from nearfar.recipes import RECIPES
from nearfar.report import to_rich

__all__ = ["Semi", "semi"]


class Semi(NamedTuple):
    """What the three phases leave.

    Attributes:
        path: the folder.
        rows: one a phase or baseline and number of labels, with its numbers by draw.
    """

    path: Path
    rows: list[Row]

    @property
    def report(self) -> Path:
        """The page that opens in a browser."""
        return self.path / "report.html"

    def tables(self) -> list[RichTable]:
        """Return the numbers for a terminal, one table an amount of labels."""
        amounts = dict.fromkeys(row.amount for row in self.rows)
        return [to_rich(table_of(self.rows, amount)) for amount in amounts]


def semi(
    data: Any,
    *,
    out: str | Path,
    config: SemiConfig | None = None,
    choice: LabelChoice | None = None,
    **changes: Any,
) -> Semi:
    """Pretrain on everything, fine-tune on few labels, distil on the unlabelled rest, and report beside baselines.

    Chen et al., "Big Self-Supervised Models are Strong Semi-Supervised Learners", NeurIPS 2020,
    https://arxiv.org/abs/2006.10029. The baselines learn from the same labels: training from scratch, linear probe,
    kNN and label propagation on the pretrained features, and, unless left out, FixMatch and self-training from the
    pretrained encoder.

    Stopped at any moment, even by a kill, the same call goes on where it was; what is finished is not done again.

    Args:
        data: as for `nearfar.pretrain`. ``train`` and ``test`` are its splits, else a fifth is held out of all phases.
        out: the folder to write: the runs, ``results.json``, ``table.csv`` and ``report.html``.
        config: the settings; all defaults when absent.
        choice: which labels may be used; with ``sweep`` alone, as many as it says.
        changes: single settings of both records, such as ``per_class=10`` or ``run="runs/first"``.

    Returns:
        The rows with their numbers, and where the report is.

    Raises:
        ConfigError: on an unknown or wrong setting, or one that differs from those that ``out`` was begun with.
        DataError: when data or labels cannot be used.
        RunError: when ``out`` or ``run`` cannot be used, or training fails.
    """
    settings, labels = settle("semi", config or SemiConfig(), choice, changes)
    settings, first = _checked(settings)
    start = None if settings.run is None else open_start(settings.run, data, labels.input_options)
    if start is not None:
        modality, options = reading(start.inputs, labels)
    else:
        modality = choose(settings.modality, data)
        options = modality.check_options({**first.reading, **labels.input_options})
    amounts = _amounts(settings, labels)
    found = open_data(data, dataclasses.replace(labels, per_class=None, fraction=None), modality, options)
    scored = found.test is not None and found.test_values is not None and len(known_rows(found.test_values)) > 0
    fix = "give data with a labelled test split, or --test-labels"
    require(scored, "semi", "test items", "given, and labelled: the report is about them", "none", fix, error=DataError)
    for amount in amounts:  # whatever is wrong with the labels is said before anything is trained
        choose_rows(found.targets, found.values, amount.choice)
    project = Project(Path(out))
    with project.locked():
        project.claim(_facts(settings, labels, found, start))
        if start is None:
            start = _pretrained(project, found, first, modality.name, options)
        found = decoded(found, start.inputs, settings.threads)
        phases = Phases(project, start, settings)
        for amount in amounts:
            drawn = choose_rows(found.targets, found.values, amount.choice)
            phases.do(amount, dataclasses.replace(found, rows=drawn))
        rows = rows_of(project, amounts, settings)
        write_all(project, rows, amounts, found, start, settings, str(data) if isinstance(data, str | Path) else "")
    say(f"done: {project.path}")
    return Semi(project.path, rows)


def _checked(settings: SemiConfig) -> tuple[SemiConfig, PretrainConfig]:
    """Check the settings of all phases before anything is read; return them with their types, and the first phase's."""
    own = {"accelerator": settings.accelerator, "precision": settings.precision, "threads": settings.threads}
    tuned = from_mapping(FinetuneConfig, {**own, **settings.finetune}, "finetune")
    student = from_mapping(DistillConfig, {**own, **settings.distill}, "distill")
    plain = PretrainConfig(method="simclr-v2") if settings.recipe is None else RECIPES.get(settings.recipe)()
    given = {**own, "seed": settings.seed, "probe": False, "modality": settings.modality, **settings.pretrain}
    first = from_mapping(PretrainConfig, {**to_mapping(plain), **given}, "pretrain")
    labels, fix = METHODS.get(first.method).info.labels, "take one such as simclr-v2"
    require(not labels, "semi", "pretrain.method", "one without labels", first.method, fix, error=ConfigError)
    phases = ((settings.pretrain, first), (settings.finetune, tuned), (settings.distill, student))
    typed = [{name: to_mapping(record)[name] for name in given} for given, record in phases]
    return dataclasses.replace(settings, pretrain=typed[0], finetune=typed[1], distill=typed[2]), first


def _amounts(settings: SemiConfig, labels: LabelChoice) -> list[Amount]:
    """Return every number of labels with every draw of it."""
    own = labels.per_class is not None or labels.fraction is not None or labels.labels is not None
    choices = [labels] if own or not settings.sweep else []
    numbers = [number for number in settings.sweep if number != labels.per_class]
    choices += [dataclasses.replace(labels, fraction=None, per_class=number) for number in numbers]
    if labels.per_class is not None:
        choices.sort(key=lambda one: one.per_class or 0)
    drawn = [(one, one.per_class is not None or one.fraction is not None) for one in choices]
    return [
        Amount.of(one, draw)
        for one, random in drawn
        for draw in range(labels.draw, labels.draw + (settings.draws if random else 1))
    ]


def _pretrained(
    project: Project, data: Data, first: PretrainConfig, modality: str, options: Mapping[str, Any]
) -> Start:
    """Do the first phase, or go on with it, without the test items and without labels."""
    out = project.path / "pretrained"
    say("1/3 pretrain: on all training items, without labels")
    if (out / "config.yaml").is_file():
        pretrain(data.train, out=out, resume=True)
    else:
        config = dataclasses.replace(first, modality=modality).with_reading(options)
        pretrain(data.train, out=out, config=config)
    return open_start(out, None)


def _facts(settings: SemiConfig, labels: LabelChoice, data: Data, start: Start | None) -> dict[str, Any]:
    """Return what must be the same when the phases go on; threads change no number, and more may be asked for."""
    values = {**to_mapping(settings), **to_mapping(labels)}
    for name in ("threads", "sweep", "draws", "student", "student_options", "pseudo_labels", "per_class", "fraction"):
        values.pop(name)
    digests = [content_digest(part) for part in (data.train, data.test) if part is not None]
    return {"settings": values, "data": digests, "encoder": None if start is None else start.fingerprint}
