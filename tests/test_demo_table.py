"""The table's story, cut short, and the dispatch of stories."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import nearfar
from nearfar.demonstration import table
from nearfar.errors import DataError
from nearfar.evaluation import Repeated
from nearfar.pipeline.repeats import Repeats


def test_the_story_of_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "SPLITS", 2)
    monkeypatch.setattr(table, "SHOTS", (5, 0))
    monkeypatch.setattr("nearfar.pipeline.repeats.SCRATCH_STEPS", 5)
    result = nearfar.demo(modality="table", out=tmp_path / "out", epochs=1)
    page = result.report.read_text(encoding="utf-8")
    assert not re.findall(r"(?:src|href)=[\"']?https?:", page)
    for text in ("raw columns: gradient boosting", "pretrained encoder", "from scratch", "What they say", "malignant"):
        assert text in page
    assert (tmp_path / "out" / "index").is_dir()
    found = result.numbers["repeats"]
    assert set(found.numbers) == {
        "raw columns: logistic regression", "raw columns: PCA + logistic regression", "raw columns: gradient boosting",
        "untrained encoder", "pretrained encoder", "from scratch",
    }  # fmt: skip
    assert found.numbers["raw columns: logistic regression"][0][0].mean > 0.95


def test_what_it_says_depends_on_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "SHOTS", (0,))

    def said(own: float, other: float) -> str:
        pairs = {name: {0: (Repeated(mean, 0.01, 0, 1, 3),) * 2} for name, mean in
                 (("pretrained encoder", own), ("raw columns: logistic regression", other))}  # fmt: skip
        return table._story(Repeats(pairs, 1.0, ""))[0]

    assert "pretraining does not help: raw columns: logistic regression is better" in said(0.8, 0.9)
    assert "pretraining is ahead of the next" in said(0.9, 0.8)
    assert "as good as each other" in said(0.9, 0.895)


def test_a_table_of_ones_own_needs_labels(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n" + "1,2\n3,4\n" * 20)
    with pytest.raises(DataError, match="demo: labels must be given, got none; name the column with"):
        nearfar.demo(tmp_path / "t.csv", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
