"""The demo, cut short: all its parts in their order, and a report that needs no network."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import nearfar
from nearfar.errors import RunError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "out"
    nearfar.demo(out=folder, epochs=3)
    return folder


def test_the_report_is_one_file_that_needs_no_network(folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert len(page) < 3_000_000
    assert not re.findall(r"(?:src|href)=[\"']?https?:", page)
    for heading in ("Numbers", "Map of the embeddings", "Queries and their nearest neighbours", "Views", "Training"):
        assert heading in page


def test_three_subjects_are_scored_under_the_same_protocols(folder: Path) -> None:
    reports = [json.loads(path.read_text()) for path in sorted(folder.glob("evaluation-*.json"))]
    assert len(reports) == 3
    for key in ("train", "test"):
        assert len({report[key] for report in reports}) == 1
    settings = [[(r["protocol"], r["settings"]) for r in report["results"]] for report in reports]
    assert settings[0] == settings[1] == settings[2]
    draws = next(s for name, s in settings[0] if name == "fewshot")
    assert draws["draws"] >= 5
    assert draws["per_class"] == [1, 5, 10]


def test_three_epochs_already_beat_the_untrained_encoder(folder: Path) -> None:
    def value(name: str) -> float:
        report = json.loads((folder / f"evaluation-{name}.json").read_text())
        scores = {score["name"]: score["value"] for result in report["results"] for score in result["scores"]}
        return float(scores["linear, 5 per class"])

    assert value("pretrained-encoder") > value("untrained-encoder")


def test_an_older_demo_is_replaced_and_other_files_are_not(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match=r"must be a new folder or an older demo"):
        nearfar.demo(out=tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
