from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nearfar
from nearfar.errors import ConfigError, DataError, RunError
from nearfar.fewlabels import outputs
from nearfar.fewlabels.phases import phase_names
from nearfar.fewlabels.semi import Semi
from nearfar.fewlabels.settings import SemiConfig
from nearfar.training.run import Run
from tests.fewlabels.here import DISTILL, TUNE, Stop, same_weights, stop_at
from tests.report.html_checks import check_page
from tests.samples import TINY

SHARED = {"precision": "32-true", "accelerator": "cpu", "threads": 1}
SETTINGS: dict[str, Any] = {
    **SHARED,
    "pretrain": {**{key: TINY[key] for key in ("batch_size", "encoder", "encoder_options", "log_every")}, "epochs": 1},
    "finetune": {key: value for key, value in TUNE.items() if key not in SHARED},
    "distill": {key: value for key, value in DISTILL.items() if key not in SHARED},
}
PHASES = ["fine-tuned", "distilled", "from scratch", "linear probe", "kNN", "label propagation", "fixmatch",
          "self-training"]  # fmt: skip


def go(data: Any, out: Path, **changes: Any) -> Semi:
    return nearfar.semi(data, out=out, **{**SETTINGS, **changes})


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three phases with two numbers of labels and a small student; to be read only."""
    out = tmp_path_factory.mktemp("semi") / "out"
    go(data, out, sweep=(1, 3), draws=2, student="small", student_options={"width": 2})
    return out


def test_it_leaves_a_report_beside_every_baseline(finished: Path) -> None:
    content = json.loads((finished / "results.json").read_text())
    phases = [*PHASES[:2], "student", *PHASES[2:]]
    assert [(row["amount"], row["phase"]) for row in content["rows"]] == [
        (amount, phase) for amount in ("1 per class", "3 per class") for phase in phases
    ]
    for row in content["rows"]:
        top = row["scores"]["top-1"]
        assert len(top["draws"]) == 2
        assert top["low"] <= top["mean"] <= top["high"]
        assert row["labels_per_class"] == dict.fromkeys("0123", int(row["amount"][0]))
        assert len(row["calibration"]) == 2
    page = (finished / "report.html").read_text()
    check_page(page)
    for text in ("Most confident mistakes", "Calibration", "Over the number of labels", "Parameters and throughput"):
        assert text in page, text
    assert set(content["items_per_second"]) == {"fine-tuned", "distilled", "student"}
    rows = (finished / "table.csv").read_text().splitlines()
    assert len(rows) == 1 + 2 * len(phases)


def test_no_phase_saw_more_labels_than_were_given(finished: Path) -> None:
    for draw in (0, 1):
        tables = {
            phase: (finished / f"3-per-class-{draw}" / phase / "labels.csv").read_text()
            for phase in ("finetuned", "scratch", "fixmatch", "self-training")
        }
        assert len(set(tables.values())) == 1
        assert len(tables["finetuned"].splitlines()) == 13
        assert not (finished / f"3-per-class-{draw}" / "distilled" / "labels.csv").exists()
    assert "probe_accuracy" not in (finished / "pretrained" / "metrics.jsonl").read_text()


def test_the_same_call_does_nothing_again(
    finished: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Path(shutil.copytree(finished, tmp_path / "out"))
    stop_at(monkeypatch, 0)
    again = go(data, out, sweep=(1, 3), draws=2, student="small", student_options={"width": 2})
    before, after = (json.loads((path / "results.json").read_text()) for path in (finished, out))
    assert before["rows"] == after["rows"]
    assert len(again.tables()) == 2
    with pytest.raises(ConfigError, match="the phases were begun with seed 0, got 1; give the same"):
        go(data, out, sweep=(1, 3), seed=1)


def test_more_may_be_asked_for_later(finished: Path, data: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(finished, tmp_path / "out"))
    kept = (out / "3-per-class-0" / "finetuned" / "encoder.json").stat().st_mtime_ns
    rows = go(data, out, sweep=(2, 3), draws=1, pseudo_labels=("none",)).rows
    assert {row.amount for row in rows} == {"2 per class", "3 per class"}
    assert (out / "3-per-class-0" / "finetuned" / "encoder.json").stat().st_mtime_ns == kept


@pytest.mark.parametrize("step", [2, 6, 10])
def test_a_kill_in_each_phase_changes_nothing(
    run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(outputs, "few_labels_page", lambda path, **_: path)
    given = {**SETTINGS, "run": str(run), "per_class": 3, "pseudo_labels": ("none",)}
    given.pop("pretrain")
    whole = nearfar.semi(data, out=tmp_path / "whole", **given)
    with monkeypatch.context() as patch:
        stop_at(patch, step)  # 4 steps of fine-tuning, 3 of distillation, 4 from scratch
        with pytest.raises(Stop):
            nearfar.semi(data, out=tmp_path / "killed", **given)
    again = nearfar.semi(data, out=tmp_path / "killed", **given)
    for phase in ("finetuned", "distilled", "scratch"):
        one, two = (path / "3-per-class-0" / phase for path in (whole.path, again.path))
        assert same_weights(one, two)
        assert Run(one).metrics() == Run(two).metrics()
    assert [row.scores for row in whole.rows] == [row.scores for row in again.rows]


def test_a_kill_while_pretraining_goes_on(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nearfar.fewlabels import semi as verb

    def dying(source: Any, **settings: Any) -> Any:
        done = nearfar.pretrain(source, **settings)
        for name in ("encoder.json", "encoder.safetensors"):
            (done.path / name).unlink()  # as if it had ended just before it wrote the encoder
        raise Stop

    monkeypatch.setattr(outputs, "few_labels_page", lambda path, **_: path)
    with monkeypatch.context() as patch:
        patch.setattr(verb, "pretrain", dying)
        with pytest.raises(Stop):
            go(data, tmp_path / "out", per_class=1, pseudo_labels=("none",))
    assert len(go(data, tmp_path / "out", per_class=1, pseudo_labels=("none",)).rows) == 6


def test_labels_that_cannot_be_drawn_cost_no_training(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be one with at least 13 labels, got 12"):
        go(data, tmp_path / "out", sweep=(1, 13))
    assert not (tmp_path / "out").exists()


def test_there_must_be_something_to_score(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="semi: test items must be given, and labelled"):
        go(data, tmp_path / "out", per_class=1, test_split="none")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"finetune": {"lrr": 1}}, "finetune: unknown setting 'lrr'; did you mean 'lr'"),
        ({"distill": {"temperature": 0}}, "temperature must be > 0"),
        ({"pretrain": {"method": "supcon"}}, "pretrain.method must be one without labels, got supcon"),
        ({"run": "x"}, "run must be given without settings of a pretraining"),
        ({"sweep": (1, 1)}, "sweep must be different numbers >= 1"),
        ({"recipe": "simclr/smal"}, "did you mean"),
    ],
)
def test_wrong_settings(data: Path, tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        go(data, tmp_path / "out", per_class=1, **changes)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_else(data: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(RunError, match=r"must be a new folder or one of nearfar semi, got one with mine\.txt"):
        go(data, tmp_path / "out", per_class=1)


def test_flags_of_the_phases_may_have_hyphens() -> None:
    assert SemiConfig(finetune={"least-steps": 20}).finetune == {"least_steps": 20}


def test_names_of_phases() -> None:
    assert list(phase_names(SemiConfig(), "classes")) == PHASES
    assert "label propagation" not in phase_names(SemiConfig(), "regression")


def test_a_table_and_its_numbers(table: Path, tmp_path: Path) -> None:
    pretrain = {"batch_size": 16, "epochs": 1, "log_every": 1}
    found = go(table, tmp_path / "out", per_class=4, pretrain=pretrain, pseudo_labels=("none",))
    assert {row.phase for row in found.rows} == set(PHASES[:6])
    assert all(np.isfinite(row.values("top-1")).all() for row in found.rows)
