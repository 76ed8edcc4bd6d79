"""Several protocols on one encoder's embeddings, as a record that can be printed, stored and compared."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

from nearfar.errors import InputError, nearest, require
from nearfar.evaluation.classification import Auc
from nearfar.evaluation.fewshot import FewShot
from nearfar.evaluation.geometry import Geometry
from nearfar.evaluation.knn import KNN
from nearfar.evaluation.linear import Linear
from nearfar.evaluation.protocol import Labelled, Protocol, Score
from nearfar.evaluation.retrieval import Retrieval
from nearfar.evaluation.verification import Verification

__all__ = ["PROTOCOLS", "Report", "Result", "comparison", "evaluate"]

PROTOCOLS: dict[str, type[Protocol]] = {
    protocol.name: protocol for protocol in (KNN, Linear, FewShot, Retrieval, Verification, Geometry, Auc)
}
"""The protocols by name, as the command line knows them."""

USUAL = tuple(name for name in PROTOCOLS if name != Auc.name)
"""Those that are taken when none is named."""

FORMAT = 1


class Result(NamedTuple):
    """What one protocol gave.

    Attributes:
        protocol: its name.
        sentence: its description, printed beside the numbers.
        settings: its fields.
        scores: its numbers.
    """

    protocol: str
    sentence: str
    settings: dict[str, Any]
    scores: tuple[Score, ...]


@dataclass(frozen=True)
class Report:
    """The numbers of one encoder.

    Attributes:
        subject: whose embeddings these are.
        train: which rows could be learnt from, in words.
        test: which rows were scored, in words.
        results: one per protocol, in the order asked for.
    """

    subject: str
    train: str
    test: str
    results: tuple[Result, ...]

    def __getitem__(self, name: str) -> Score:
        """Return the score of this name.

        Raises:
            InputError: when there is none; the nearest is offered.
        """
        scores = {score.name: score for result in self.results for score in result.scores}
        if name not in scores:
            raise InputError(f"report of {self.subject}: has no score {name!r}; {nearest(name, scores)}")
        return scores[name]

    def to_json(self) -> str:
        """Return the whole record as JSON text."""
        results = [
            {
                "protocol": result.protocol,
                "sentence": result.sentence,
                "settings": result.settings,
                "scores": [score._asdict() for score in result.scores],
            }
            for result in self.results
        ]
        content = {"format": FORMAT, "subject": self.subject, "train": self.train, "test": self.test}
        return json.dumps({**content, "results": results}, indent=2, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Read what ``to_json`` wrote.

        Raises:
            InputError: when it is something else.
        """
        try:
            content = json.loads(text)
            require(content["format"] == FORMAT, "report", "format", str(FORMAT), content["format"])
            results = tuple(
                Result(
                    item["protocol"],
                    item["sentence"],
                    item["settings"],
                    tuple(Score(**score) for score in item["scores"]),
                )
                for item in content["results"]
            )
            return cls(content["subject"], content["train"], content["test"], results)
        except InputError:
            raise
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"report: is not JSON of an evaluation ({type(error).__name__}: {error})") from None

    def table(self) -> Table:
        """Return the numbers as a table for the terminal, each protocol's sentence in its last column."""
        table = Table(title=Text(f"{self.subject}\n{self.train}\n{self.test}"), title_justify="left")
        table.add_column("score", no_wrap=True)
        table.add_column("value", no_wrap=True, justify="right")
        table.add_column("protocol")
        for result in self.results:
            for row, score in enumerate(result.scores):
                note = f"({score.note}) " if score.note else ""
                text = Text(f"{note}{result.sentence if row == 0 else ''}".strip())
                table.add_row(Text(score.name), Text(format_score(score)), text)
            table.add_section()
        return table

    def text(self) -> str:
        """Return the numbers as plain text: each protocol's sentence, then its numbers below it."""
        lines = [self.subject, f"  {self.train}", f"  {self.test}"]
        for result in self.results:
            lines += ["", f"{result.protocol}: {result.sentence}"]
            for score in result.scores:
                note = f"   ({score.note})" if score.note else ""
                lines.append(f"  {score.name:<24} {format_score(score)}{note}")
        return "\n".join(lines) + "\n"


def format_score(score: Score) -> str:
    """Return a score as ``value ± sd`` or ``value [low, high]``, four digits after the point."""
    text = f"{score.value:.4f}"
    if score.sd is not None:
        return f"{text} ± {score.sd:.4f}"
    if score.low is not None and score.high is not None:
        return f"{text} [{score.low:.4f}, {score.high:.4f}]"
    return text


def evaluate(
    train: Labelled, test: Labelled, protocols: Iterable[Protocol | str] = USUAL, *, subject: str = "encoder"
) -> Report:
    """Score the test rows by every protocol asked for.

    Args:
        train: rows that may be learnt from: neighbours, the probe's training rows, the pool of few labels.
        test: rows that are scored, and on which nothing is ever chosen.
        protocols: protocols, or names of ``PROTOCOLS`` for their defaults; all but ``auc`` if not given.
        subject: whose embeddings these are, for the record.

    Returns:
        The record of all numbers, each with its protocol.

    Raises:
        InputError: on an unknown protocol, or rows that do not allow one.
    """
    results = []
    for protocol in [_resolve(item) for item in protocols]:
        scores = tuple(protocol.scores(train, test))
        results.append(Result(protocol.name, protocol.describe(), _settings(protocol), scores))
    return Report(subject, f"learnt from {train.describe()}", f"scored on {test.describe()}", tuple(results))


def _resolve(item: Protocol | str) -> Protocol:
    if isinstance(item, Protocol):
        return item
    if item not in PROTOCOLS:
        raise InputError(f"evaluate: unknown protocol {item!r}; {nearest(item, PROTOCOLS)}")
    return PROTOCOLS[item]()


def _settings(protocol: Protocol) -> dict[str, Any]:
    fields = asdict(protocol)  # type: ignore[call-overload]
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}


def comparison(reports: Sequence[Report], names: Sequence[str] | None = None) -> Table:
    """Return several encoders side by side: a row per score, a column per encoder.

    Args:
        reports: of the same protocols on the same rows.
        names: the scores to show; those of the first report if not given.

    Raises:
        InputError: when there is no report, or two were not made by the same protocols.
    """
    require(len(reports) > 0, "comparison", "reports", "one or more", 0)
    made_by = [[(result.protocol, result.settings) for result in report.results] for report in reports]
    same = all(protocols == made_by[0] for protocols in made_by)
    require(same, "comparison", "reports", "made by the same protocols", "different settings", "evaluate again")
    table = Table("score")
    for report in reports:
        table.add_column(Text(report.subject), justify="right", no_wrap=True)
    for name in names if names is not None else [s.name for result in reports[0].results for s in result.scores]:
        table.add_row(Text(name), *(Text(format_score(report[name])) for report in reports))
    return table
