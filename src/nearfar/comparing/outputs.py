"""What a comparison leaves behind: table.csv, table.md, results.json and report.html."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nearfar._version import __version__
from nearfar.comparing.contenders import OWN, Contender
from nearfar.comparing.folder import Folder
from nearfar.comparing.settings import Budget, CompareConfig
from nearfar.comparing.summary import Measure, Pair, Standing
from nearfar.comparing.tables import NOISE_RULE, accuracy_table, cost_table, csv_text, interval_table, verdicts
from nearfar.comparing.timing import RULE
from nearfar.config import to_mapping
from nearfar.files import write_atomic
from nearfar.pipeline.environment import environment
from nearfar.pipeline.settings import PretrainConfig
from nearfar.report import Bars, Cell, Column, Line, Table, compare_page, to_markdown

__all__ = ["Outcome", "notes", "write_all"]

FORMAT = 1

PROBES = {"linear probe": "probe_accuracy", "kNN": "knn_accuracy"}
SIGNS = {"feature std": "feature_std", "effective rank": "effective_rank"}


class Outcome(NamedTuple):
    """All that is known at the end."""

    config: CompareConfig
    shared: PretrainConfig
    entries: Sequence[Contender]
    columns: Sequence[Measure]
    rows: Sequence[Standing]
    pairs: Sequence[Pair]

    @property
    def verdicts(self) -> list[str]:
        """Which differences are within noise, in sentences."""
        return verdicts(self.pairs, self.columns)


def write_all(folder: Folder, outcome: Outcome, data: str) -> None:
    """Write every file, each all at once."""
    rows, columns = outcome.rows, outcome.columns
    several = outcome.config.seeds > 1  # one seed has no interval
    tables = [
        accuracy_table(rows, columns, notes=notes(outcome)),
        *([interval_table(rows, columns)] if several else []),
        cost_table(rows),
        _settings_table(outcome),
    ]
    write_atomic(folder.path / "table.csv", csv_text(rows, columns))
    write_atomic(folder.path / "table.md", _markdown(tables, outcome))
    write_atomic(folder.path / "results.json", json.dumps(_record(outcome, data), indent=2, ensure_ascii=False))
    _page(folder, outcome, tables, data)


def _items(shared: PretrainConfig) -> str:
    side = shared.image_size
    return shared.modality if side is None else f"{side} x {side} pixels"


def notes(outcome: Outcome) -> list[str]:
    """Return what the numbers need to be read rightly."""
    config, shared = outcome.config, outcome.shared
    method = next((row for row in outcome.rows if row.sentences and not row.baseline), None)
    scored = method or next(row for row in outcome.rows if row.sentences)
    scratch = outcome.rows[len(outcome.rows) - len(outcome.entries) - 1]
    first, last = config.each_seed[0], config.each_seed[-1]
    lines = [
        *scored.parts,
        f"the same for all: encoder {shared.encoder}, {_items(shared)}, batch "
        f"{shared.batch_size}, budget {Budget.parse(config.budget).words}, "
        f"{f'seed {first}' if first == last else f'seeds {first} to {last}'}; a seed draws weights, order, views and "
        "few labels",
        *(sentence for sentence in scored.sentences if not sentence.startswith("geometry")),
        *(sentence.removeprefix("scratch: ") for sentence in scratch.sentences if sentence.startswith("scratch")),
    ]
    if config.budget.endswith("min"):
        lines.append(RULE)
    failures = [failure for row in outcome.rows for failure in row.failures]
    return [*lines, *(f"a run failed and is left out: {failure}" for failure in failures)]


def _settings_table(outcome: Outcome) -> Table:
    """Return where each method's settings are from, and which of them are no defaults."""
    heads = [Column("method"), Column("settings from"), Column("which are no defaults")]
    cells: list[list[Cell]] = [[one.name, _origin(one), _own(one.config)] for one in outcome.entries]
    return Table(heads, cells, title="Settings of each method")


def _origin(entry: Contender) -> str:
    return "its defaults" if entry.origin == "defaults" else f"recipe {entry.origin}"


def _own(config: PretrainConfig) -> str:
    """Say the settings of a method that are no defaults."""
    plain = PretrainConfig()
    changed = {name: getattr(config, name) for name in OWN if getattr(config, name) != getattr(plain, name)}
    options = changed.pop("method_options", {}) | changed.pop("view_options", {})
    return ", ".join(f"{name} {value}" for name, value in {"optimizer": config.optimizer, **options, **changed}.items())


def _markdown(tables: Sequence[Table], outcome: Outcome) -> str:
    said = [f"- {sentence}" for sentence in (*outcome.verdicts, NOISE_RULE)]
    return "\n".join([*(to_markdown(table) for table in tables), "**What is noise**", "", *said]) + "\n"


def _record(outcome: Outcome, data: str) -> dict[str, Any]:
    def row(one: Standing) -> dict[str, Any]:
        over = {column.key: one.over(column.key) for column in outcome.columns}
        return {
            "name": one.name,
            "baseline": one.baseline,
            "settings": one.origin,
            "epochs": one.epochs,
            "over_seeds": {key: None if found is None else found._asdict() for key, found in over.items()},
            "by_seed": one.scores,
            "seconds": one.seconds,
            "peak_mib": one.peak_mib,
            "gpu_mib": one.gpu_mib,
            "spread": one.spread,
            "rank": one.rank,
            "failures": one.failures,
            "protocols": one.sentences,
        }

    return {
        "format": FORMAT,
        "nearfar": __version__,
        "data": data,
        "settings": to_mapping(outcome.config),
        "methods": {entry.name: entry.own() for entry in outcome.entries},
        "rows": [row(one) for one in outcome.rows],
        "noise_rule": NOISE_RULE,
        "differences": [
            {
                "measure": pair.measure.key,
                "first": pair.first,
                "second": pair.second,
                **pair.difference._asdict(),
                "within_noise": pair.difference.within_noise,
            }
            for pair in outcome.pairs
        ],
        "environment": environment(),
    }


def _page(folder: Folder, outcome: Outcome, tables: Sequence[Table], data: str) -> None:
    rows, methods = outcome.rows, [row for row in outcome.rows if not row.baseline]
    trained = [row for row in rows if row.curves and "epoch_loss" in row.curves[0].values]
    accuracy = [Bars(f"{column.group} with all labels", *_bars(rows, column)) for column in _last(outcome.columns)]
    shots = [column.labels for column in outcome.columns if column.group == "kNN"]
    config = outcome.config
    compare_page(
        folder.path / "report.html",
        title="Comparison of methods",
        subtitle=f"{', '.join(row.name for row in methods)} on {data}: one encoder, one budget, one evaluation.",
        highlights=_highlights(outcome),
        tables=tables,
        bars_of=[one for one in accuracy if one.names],
        label_curves={group: _label_lines(rows, outcome.columns, group) for group in ("kNN", "linear")},
        label_ticks={float(place): text for place, text in enumerate(shots)},
        verdicts=outcome.verdicts,
        rule=NOISE_RULE,
        losses={row.name: _by_seed(row) for row in trained},
        probes=_over_epochs(methods, PROBES),
        collapse=_over_epochs(methods, SIGNS),
        facts={
            **{
                name.replace("_", " "): ", ".join(map(str, value)) if isinstance(value, list) else value
                for name, value in to_mapping(config).items()
                if value not in (None, [], {})
            },
            **_machine(),
            "folder": folder.path.name,
        },
    )


def _last(columns: Sequence[Measure]) -> list[Measure]:
    return [column for column in columns if column.labels == "all"]


def _bars(rows: Sequence[Standing], column: Measure) -> tuple[list[str], list[float], list[tuple[float, float]]]:
    known = [(row.name, found) for row in rows if (found := row.over(column.key)) is not None]
    nothing = float("nan")
    ends = [(nothing, nothing) if f.low is None or f.high is None else (f.low, f.high) for _, f in known]
    return [name for name, _ in known], [found.mean for _, found in known], ends


def _highlights(outcome: Outcome) -> list[tuple[str, str, str]]:
    found = []
    for column in outcome.columns[len(outcome.columns) // 2 - 1 :: len(outcome.columns) // 2]:
        reached = [(over, row) for row in outcome.rows if not row.baseline and (over := row.over(column.key))]
        if reached:
            best, row = max(reached, key=lambda pair: pair[0].mean)
            spread = "" if best.sd is None else f" ± {best.sd:.1%}"
            found.append(
                (f"{best.mean:.1%}", f"{column.group} with all labels", f"{row.name}{spread}, the best method")
            )
    seconds = [value for row in outcome.rows if not row.baseline for value in row.seconds if value is not None]
    runs = len(outcome.entries) * outcome.config.seeds
    what = f"{runs} run{'' if runs == 1 else 's'} of {Budget.parse(outcome.config.budget).words}"
    return [*found, (f"{sum(seconds):.0f} s", "of pretraining in all", what)]


def _label_lines(rows: Sequence[Standing], columns: Sequence[Measure], group: str) -> list[Line]:
    some = [column for column in columns if column.group == group]
    lines = []
    for row in rows:
        found = [row.over(column.key) for column in some]
        whole = [one for one in found if one is not None]
        if len(whole) == len(some):
            places = [float(place) for place in range(len(some))]
            lines.append(Line(row.name, places, [one.mean for one in whole], [one.sd or 0.0 for one in whole]))
    return lines


def _by_seed(row: Standing) -> list[Line]:
    return [
        Line(f"seed {run.seed}", list(range(1, len(values) + 1)), values)
        for run in row.curves
        if (values := list(run.values.get("epoch_loss", [])))
    ]


def _over_epochs(rows: Sequence[Standing], names: dict[str, str]) -> dict[str, list[Line]]:
    """Return one line a row for every curve that was recorded: the mean over seeds, and one standard deviation."""
    found: dict[str, list[Line]] = {}
    for title, name in names.items():
        for row in rows:
            runs = [run.values[name] for run in row.curves if name in run.values]
            if runs:
                shortest = min(map(len, runs))
                values = np.array([run[:shortest] for run in runs])
                sd = values.std(axis=0, ddof=1) if len(runs) > 1 else None
                line = Line(row.name, np.arange(1, shortest + 1), values.mean(axis=0), sd)
                found.setdefault(title, []).append(line)
    return found


def _machine() -> dict[str, object]:
    machine = environment()
    packages: Any = machine["packages"]
    return {
        "machine": f"{machine['cpu']}, {machine['cores']} cores",
        "GPUs": machine["gpus"] or "none",
        "versions": ", ".join(f"{name} {version}" for name, version in packages.items()),
    }
