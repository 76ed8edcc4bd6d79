"""Comparing: the verb as a function."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table as RichTable

from nearfar.comparing.contenders import check_names, contenders, settled, shared
from nearfar.comparing.folder import Folder
from nearfar.comparing.outputs import Outcome, write_all
from nearfar.comparing.parts import as_array, open_parts, write_array
from nearfar.comparing.settings import CompareConfig
from nearfar.comparing.summary import Measure, Standing, measures, pairs, standings
from nearfar.comparing.tables import NOISE_RULE, accuracy_table, cost_table, verdicts
from nearfar.comparing.work import Work, data_path
from nearfar.config import from_mapping, to_mapping
from nearfar.progress import say
from nearfar.report import to_rich

__all__ = ["Comparison", "compare"]


class Comparison(NamedTuple):
    """What a comparison leaves.

    Attributes:
        path: the folder.
        rows: the baselines, then the methods, with their numbers by seed.
        columns: the accuracies that every row has.
        verdicts: which differences are within noise, in sentences.
    """

    path: Path
    rows: list[Standing]
    columns: list[Measure]
    verdicts: list[str]

    @property
    def report(self) -> Path:
        """The page that opens in a browser."""
        return self.path / "report.html"

    def tables(self) -> list[RichTable]:
        """Return the numbers for a terminal of eighty columns: kNN, linear, cost."""
        groups = dict.fromkeys(column.group for column in self.columns)
        kinds = {group: [column for column in self.columns if column.group == group] for group in groups}
        accuracies = [accuracy_table(self.rows, some, title=group) for group, some in kinds.items()]
        return [to_rich(table) for table in (*accuracies, cost_table(self.rows))]


def compare(
    data: Any,
    *,
    methods: Sequence[str],
    out: str | Path,
    budget: str = "20epochs",
    seeds: int = 3,
    recipe_set: str = "small",
    **settings: Any,
) -> Comparison:
    """Train every method on the same data with the same encoder and budget, score all alike, and say what is noise.

    Every run is pretrained in a process of its own. Stopped at any moment, even by a kill, the same call goes on where
    it was; what is finished is not done again.

    Args:
        data: labelled images, as for `nearfar.pretrain`; methods without labels see none. Without splits a fifth is
            held out from all training.
        methods: names of methods.
        out: the folder to write: the runs, ``table.csv``, ``table.md``, ``results.json`` and ``report.html``.
        budget: ``20epochs``, or ``10min`` of training a run: as many whole epochs as fit by a short timing.
        seeds: how many; they are 0, 1, ..., or begin with the setting ``first_seed``.
        recipe_set: methods take their own settings from the recipes METHOD/SET where there is one; ``none`` for the
            defaults of all.
        settings: further settings of `nearfar.comparing.CompareConfig`, such as ``encoder="resnet18"``.

    Returns:
        The rows with their numbers, and where the report is.

    Raises:
        ConfigError: on an unknown method or setting, or one that differs from those that ``out`` was begun with.
        DataError: when the data cannot be used, or has no labels to score with.
        RunError: when ``out`` holds something else, or a run fails.
    """
    given = {"methods": list(methods), "budget": budget, "seeds": seeds, "recipe_set": recipe_set, **settings}
    config = from_mapping(CompareConfig, given, "compare")
    check_names(config)
    in_memory = not isinstance(data, str | Path)
    source = as_array(data) if in_memory else data
    parts = open_parts(source, config)
    config = settled(config, parts)
    entries = contenders(config, parts)
    folder = Folder(Path(out))
    with folder.locked():
        folder.claim(_facts(config, parts.digests, entries))
        if in_memory and not folder.data.is_file():
            write_array(source, folder.data)
        epochs = Work(folder, data_path(data, folder), config, parts, entries).do()
        columns = measures(parts.shots)
        rows = standings(folder, entries, epochs, columns, config.each_seed)
        outcome = Outcome(config, shared(config, parts), entries, columns, rows, pairs(rows, columns))
        write_all(folder, outcome, "images in memory" if in_memory else str(data))
        say(f"done: {folder.path}")
        return Comparison(folder.path, rows, columns, [*verdicts(outcome.pairs, columns, brief=True), NOISE_RULE])


def _facts(config: CompareConfig, digests: Sequence[str], entries: Sequence[Any]) -> dict[str, Any]:
    """Return what must be the same when a comparison goes on; more seeds or methods change no run that exists."""
    free = ("methods", "seeds", "first_seed", "threads")
    values = {name: value for name, value in to_mapping(config).items() if name not in free}
    return {"settings": values, "data": list(digests), "methods": {entry.name: entry.own() for entry in entries}}
