"""From the folders of the phases to rows of numbers: means over draws with intervals, calibration, parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import RunError
from nearfar.evaluation import Score, expected_calibration_error, fit_temperature
from nearfar.evaluation.probability_calibration import softmax
from nearfar.evaluation.seeds import over_seeds
from nearfar.fewlabels.folders import read_scores
from nearfar.fewlabels.phases import phase_names
from nearfar.fewlabels.project import Amount, Project
from nearfar.fewlabels.settings import SemiConfig
from nearfar.report import Cell, Column, MeanSd, Table

__all__ = ["NOTES", "Calibration", "Row", "calibrated", "interval_of", "predictions", "rows_of", "table_of"]

NOTES = (
    "scored is the last step of every phase; nothing is chosen on the test items",
    "calibration: ECE over 15 bins; the temperature is fitted on one half of the test items and judged on the other, "
    "both ways, since few labels leave none to fit it on",
)


class Calibration(NamedTuple):
    """How far confidence and accuracy are apart.

    Attributes:
        before: the expected calibration error.
        after: the same after temperature scaling, cross-fitted over halves of the test items.
        temperature: the mean of the two temperatures.
    """

    before: float
    after: float
    temperature: float


@dataclasses.dataclass(frozen=True)
class Row:
    """One phase or baseline with one number of labels.

    Attributes:
        amount: the number of labels in words.
        phase: the name of the phase.
        per_class: labels of each class, or numbers, that the phase and those before it used, in the first draw.
        scores: one list a draw.
        calibration: one a draw; empty where outputs are no classes.
        parameters: of the model; ``None`` for baselines on frozen features.
        folders: where the draws stand.
    """

    amount: str
    phase: str
    per_class: dict[str, int]
    scores: list[list[Score]]
    calibration: list[Calibration]
    parameters: int | None
    folders: list[Path]

    @property
    def labels(self) -> int:
        """How many labels were used."""
        return sum(self.per_class.values())

    def names(self) -> list[str]:
        """Return what was measured."""
        return [one.name for one in self.scores[0]]

    def values(self, name: str) -> list[float]:
        """Return one number a draw."""
        return [one.value for scores in self.scores for one in scores if one.name == name]

    def ece(self, which: str) -> float | None:
        """Return the mean over draws of a field of `Calibration`."""
        values = [getattr(one, which) for one in self.calibration]
        return float(np.mean(values)) if values else None

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain values."""
        return {
            "amount": self.amount,
            "phase": self.phase,
            "labels_per_class": self.per_class,
            "parameters": self.parameters,
            "scores": {
                name: {"draws": self.values(name), **interval_of(self, name)._asdict()} for name in self.names()
            },
            "calibration": [one._asdict() for one in self.calibration],
        }


class Interval(NamedTuple):
    """A mean with the ends of its 95 % interval, where there is one, and what the interval is over."""

    mean: float
    low: float | None
    high: float | None
    sd: float | None
    over: str


def interval_of(row: Row, name: str) -> Interval:
    """Return the mean over draws: Student's interval over several, the score's own over one."""
    values = row.values(name)
    if len(values) > 1:
        found = over_seeds(values)
        return Interval(found.mean, found.low, found.high, found.sd, f"{len(values)} draws of the labels")
    one = next(score for score in row.scores[0] if score.name == name)
    return Interval(one.value, one.low, one.high, None, "the test items")


def rows_of(project: Project, amounts: Sequence[Amount], settings: SemiConfig) -> list[Row]:
    """Read all phases of all amounts.

    Raises:
        RunError: when one is damaged.
    """
    rows = []
    for folder in dict.fromkeys(amount.folder for amount in amounts):
        draws = [amount for amount in amounts if amount.folder == folder]
        first = _card(project.phase(draws[0], "finetuned"))
        for phase, place in phase_names(settings, first["task"]).items():
            row = _row(phase, draws, [project.phase(one, place) for one in draws])
            rows.append(dataclasses.replace(row, per_class=dict(first["labels"])))  # a student has its teacher's
    return rows


def predictions(folder: Path) -> dict[str, NDArray[Any]]:
    """Return ``ids``, ``outputs`` and, where known, ``wanted`` of a phase's test items.

    Raises:
        RunError: when the file is damaged.
    """
    try:
        with np.load(folder / "predictions.npz", allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{folder / 'predictions.npz'}: cannot be read ({error}); delete {folder}") from None


def calibrated(outputs: NDArray[Any], labels: NDArray[np.int64]) -> tuple[Calibration, NDArray[np.float64]]:
    """Return the calibration of logits (N, C), and the probabilities after cross-fitted temperature scaling."""
    order = np.random.default_rng(0).permutation(len(labels))
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    scaled, temperatures = np.empty(outputs.shape, np.float64), []
    for fitted, judged in (halves, halves[::-1]):
        temperature = fit_temperature(outputs[fitted], labels[fitted])
        scaled[judged] = softmax(outputs[judged], temperature)
        temperatures.append(temperature)
    before, after = (expected_calibration_error(found, labels) for found in (softmax(outputs), scaled))
    return Calibration(before, after, float(np.mean(temperatures))), scaled


def table_of(rows: Sequence[Row], amount: str, *, wide: bool = False) -> Table:
    """Return the table of one number of labels; with ``wide`` also intervals, calibration and parameters."""
    mine = [row for row in rows if row.amount == amount]
    names = mine[0].names()
    columns = [Column("")]
    for name in names:
        lower = "error" in name
        columns.append(Column(name, better="lower" if lower else "higher", percent=not _unbounded(name), digits=1))
        if wide:
            columns.append(Column(f"{name}, 95 %", percent=False))
    if any(row.calibration for row in mine):
        columns.append(Column("ECE", better="lower", percent=True, digits=1))
        if wide:
            columns.append(Column("ECE, scaled", better="lower", percent=True, digits=1))
    if wide:
        columns.append(Column("parameters", unit="M", digits=3))
    cells = [_cells(row, names, wide=wide, calibrated=any(one.calibration for one in mine)) for row in mine]
    notes = [f"intervals over {interval_of(mine[0], names[0]).over}", *NOTES] if wide and names else []
    return Table(columns, cells, title=f"{amount}: {mine[0].labels} labels", notes=notes)


def _cells(row: Row, names: Sequence[str], *, wide: bool, calibrated: bool) -> list[Cell]:
    cells: list[Cell] = [row.phase]
    for name in names:
        found = interval_of(row, name)
        cells.append(found.mean if found.sd is None else MeanSd(found.mean, found.sd))
        if wide:
            scale = 1 if _unbounded(name) else 100
            known = found.low is not None and found.high is not None
            cells.append(f"{found.low * scale:.1f} to {found.high * scale:.1f}" if known else None)  # type: ignore[operator]
    if calibrated:
        cells.append(row.ece("before"))
        if wide:
            cells.append(row.ece("after"))
    if wide:
        cells.append(None if row.parameters is None else row.parameters / 1e6)
    return cells


def _unbounded(name: str) -> bool:
    return name in ("mean absolute error", "R2", "Spearman")


def _row(phase: str, draws: Sequence[Amount], folders: Sequence[Path]) -> Row:
    cards = [_card(folder) for folder in folders]
    calibration = []
    if cards[0]["task"] == "classes":
        for folder in folders:
            found = predictions(folder)
            if "wanted" in found and bool((found["wanted"] >= 0).sum() >= 4):
                known = found["wanted"] >= 0
                calibration.append(calibrated(found["outputs"][known], found["wanted"][known])[0])
    return Row(
        amount=draws[0].name,
        phase=phase,
        per_class=dict(cards[0]["labels"]),
        scores=[[Score(**one) for one in card["scores"]] for card in cards],
        calibration=calibration,
        parameters=cards[0].get("parameters"),
        folders=list(folders),
    )


def _card(folder: Path) -> dict[str, Any]:
    found = read_scores(folder)
    if found is None:
        raise RunError(f"{folder}: its scores cannot be read; delete the folder, and the same command makes it again")
    return found
