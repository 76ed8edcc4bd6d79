"""What a comparison leaves behind, and what is done again."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nearfar
from nearfar.comparing import outputs, work
from nearfar.comparing.process import ChildError
from nearfar.data import ArraySource
from nearfar.errors import ConfigError, RunError
from nearfar.evaluation.seeds import paired_difference
from nearfar.report import compare_page
from nearfar.training.checkpoints import KeepLast
from nearfar.training.module import TrainingModule
from nearfar.training.run import Run
from tests.comparing.here import BASELINES, Here, Stop, again
from tests.report.html_checks import check_page
from tests.samples import timeless


def record(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return found


def test_every_table_has_the_methods_and_the_baselines(finished: Path) -> None:
    with (finished / "table.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["row"] for row in rows] == [*BASELINES, "simclr", "supcon"]
    keys = [f"{kind}@{labels}" for kind in ("knn", "linear") for labels in ("1", "10", "all")]
    for row in rows:
        for key in keys:
            mean, low, high = (float(row[f"{key} {end}"]) for end in ("mean", "low", "high"))
            assert 0 <= low <= mean <= high <= 1
            assert row[f"{key} seeds"] == "2"
        trained = row["row"] not in BASELINES[:2]
        assert bool(row["peak MiB"]) == bool(row["seconds"]) == trained
    assert [row["settings"] for row in rows] == ["", "", "", "simclr/small", "supcon/small"]
    text = (finished / "table.md").read_text(encoding="utf-8")
    for word in (
        "| raw pixels |",
        "| supcon |",
        "± ",
        "95 % t-intervals",
        "rule for noise",
        "recipe simclr/small",
        " to ",
    ):
        assert word in text


def test_the_runs_are_ordinary_run_folders_with_one_budget(finished: Path) -> None:
    assert sorted(path.name for path in (finished / "runs").iterdir()) == [
        "simclr-0", "simclr-1", "supcon-0", "supcon-1",
    ]  # fmt: skip
    shared = ("encoder", "encoder_options", "epochs", "batch_size", "image_size", "precision")
    configs = [Run(path).config() for path in sorted((finished / "runs").iterdir())]
    assert len({str([config[name] for name in shared]) for config in configs}) == 1
    assert [config["seed"] for config in configs] == [0, 1, 0, 1]
    assert configs[0]["method_options"]["temperature"] == 0.2
    assert configs[2]["method_options"]["temperature"] == 0.1
    assert {config["lr"] for config in configs} == {2e-3}
    encoder, _ = nearfar.load_encoder(finished / "runs" / "simclr-0")
    assert encoder.dim > 0


def test_what_is_held_out_is_seen_by_no_run(finished: Path) -> None:
    for path in (finished / "runs").iterdir():
        row = Run(path).metrics()[-1]
        assert round(row["seconds"] * row["images_per_second"]) == 96  # 3 batches of 32 of the 120 training images
    for path in (finished / "results").glob("*.json"):
        report = json.loads(path.read_text())["report"]
        assert "train split: 120 rows" in report["train"]
        assert "test split: 80 rows" in report["test"]


def test_all_rows_are_scored_by_the_same_protocols(finished: Path) -> None:
    for seed in (0, 1):
        kinds = []
        for name in ("raw-pixels", "untrained", "simclr", "supcon"):
            results = json.loads((finished / "results" / f"{name}-{seed}.json").read_text())["report"]["results"]
            kinds.append([(result["protocol"], result["settings"]) for result in results])
        assert kinds.count(kinds[0]) == 4
        assert next(settings for name, settings in kinds[0] if name == "fewshot")["seed"] == seed


def test_the_numbers_follow_from_those_of_the_seeds(finished: Path) -> None:
    found = record(finished)
    rows = {row["name"]: row for row in found["rows"]}
    for row in rows.values():
        values = [scores["linear@all"] for scores in row["by_seed"]]
        over = row["over_seeds"]["linear@all"]
        assert over["mean"] == pytest.approx(np.mean(values))
        assert over["sd"] == pytest.approx(np.std(values, ddof=1))
        half = 12.706204736 * np.std(values, ddof=1) / np.sqrt(2)
        assert over["low"] == pytest.approx(max(0.0, np.mean(values) - half), abs=1e-8)
    assert {(pair["first"], pair["second"]) for pair in found["differences"]} == {
        *(("simclr", name) for name in (*BASELINES, "supcon")), *(("supcon", name) for name in BASELINES),
    }  # fmt: skip
    for pair in found["differences"]:
        first, second = (
            [scores[pair["measure"]] for scores in rows[pair[name]]["by_seed"]] for name in ("first", "second")
        )
        expected = paired_difference(first, second)
        assert expected is not None
        assert (pair["mean"], pair["low"], pair["high"]) == pytest.approx(expected[:3])
        assert pair["within_noise"] == (pair["low"] <= 0 <= pair["high"])


def test_the_page_holds_everything_and_loads_nothing(finished: Path) -> None:
    page = check_page((finished / "report.html").read_text(encoding="utf-8"))
    text = page.text()
    for word in (
        "Numbers", "What is noise", "Training", "Collapse", "Facts", "raw pixels", "from scratch", "loss of simclr",
        "effective rank", "95 % t-interval", "simclr/small",
    ):  # fmt: skip
        assert word in text, word


def test_a_second_call_does_nothing_but_write_the_tables(
    data: Path, copy: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: (copy / name).read_bytes() for name in ("table.csv", "table.md")}
    for name in before:
        (copy / name).unlink()
    monkeypatch.setattr(work.Scorer, "score", None)
    result = again(data, copy, threads=2)  # threads change no number
    assert (here.jobs, here.steps) == ([], 0)
    assert {name: (copy / name).read_bytes() for name in before} == before
    assert result.report == copy / "report.html"
    assert [row.name for row in result.rows] == [*BASELINES, "simclr", "supcon"]
    assert result.verdicts[-1].startswith("rule for noise")


def test_lost_and_damaged_results_are_made_again_and_nothing_else(data: Path, copy: Path, here: Here) -> None:
    before = {path: json.loads(path.read_text()) for path in sorted((copy / "results").iterdir())}
    for name in ("simclr-1", "raw-pixels-0"):
        (copy / "results" / f"{name}.json").unlink()
    for name in ("untrained-1", "from-scratch-0"):
        path = copy / "results" / f"{name}.json"
        path.write_text(path.read_text()[:100])
    again(data, copy)
    assert here.steps == 0
    assert here.jobs == ["scratch: from scratch, seed 0"]
    assert {path: json.loads(path.read_text()) for path in sorted((copy / "results").iterdir())} == before


def test_a_lost_run_is_trained_again_to_the_same_numbers(data: Path, copy: Path, here: Here) -> None:
    before, rows = record(copy), timeless(Run(copy / "runs" / "supcon-0"))
    shutil.rmtree(copy / "runs" / "supcon-0")
    again(data, copy)
    assert here.jobs == ["pretrain: supcon, seed 0"]
    assert here.steps == 3
    assert timeless(Run(copy / "runs" / "supcon-0")) == rows
    assert [row["by_seed"] for row in record(copy)["rows"]] == [row["by_seed"] for row in before["rows"]]


def test_a_stopped_comparison_goes_on_where_it_was(
    data: Path, tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KeepLast, "_due", lambda *_: True)
    settings = {"budget": "2epochs", "seeds": 1, "per_class": [1]}
    whole = again(data, tmp_path / "whole", **settings)
    step = TrainingModule.training_step

    def stopping(self: TrainingModule, *args: Any) -> Any:
        if here.steps == 9:  # 6 of simclr, 3 of supcon
            raise Stop
        return step(self, *args)

    here.forget()
    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", stopping)
        with pytest.raises(Stop):
            again(data, tmp_path / "out", **settings)
    assert Run(tmp_path / "out" / "runs" / "simclr-0").finished
    assert not Run(tmp_path / "out" / "runs" / "supcon-0").finished
    here.forget()
    rest = again(data, tmp_path / "out", **settings)
    assert here.jobs == ["pretrain: supcon, seed 0", "scratch: from scratch, seed 0"]
    assert here.steps == 3  # of supcon's 6, the rest
    assert [row.scores for row in rest.rows] == [row.scores for row in whole.rows]
    for name in ("simclr-0", "supcon-0"):
        runs = [Run(tmp_path / out / "runs" / name) for out in ("whole", "out")]
        assert timeless(runs[0]) == timeless(runs[1])


def test_a_method_without_a_recipe_has_its_defaults_and_views_can_be_the_same_for_all(
    data: Path, tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "compare_page", compare_page)
    options = {"views": "digits", "view_options": {"rotate": 5.0}, "recipe_set": "none", "methods": ["simclr"]}
    result = again(data, tmp_path / "out", seeds=1, per_class=[2], **options)
    values = Run(tmp_path / "out" / "runs" / "simclr-0").config()
    assert values["method_options"]["temperature"] == 0.1
    assert (values["views"], values["view_options"]["rotate"]) == ("digits", 5.0)
    assert result.rows[-1].origin == "defaults"
    assert "| simclr | its defaults |" in (tmp_path / "out" / "table.md").read_text()
    assert result.verdicts[0].startswith("One seed says nothing about noise")
    assert check_page(result.report.read_text(encoding="utf-8"))


def test_a_method_that_cannot_be_trained_is_a_row_without_numbers(
    data: Path, tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(job: Mapping[str, Any]) -> dict[str, Any]:
        if "supcon" in job["name"]:
            raise ChildError("training: the loss must be finite, got nan at step 3; lower --lr", "RunError")
        return here(job)

    monkeypatch.setattr(work, "run_child", failing)
    for _ in range(2):
        result = again(data, tmp_path / "out", seeds=1, per_class=[1])
        assert result.rows[-1].scores == [{}]
        assert [job for job in here.jobs if "supcon" in job] == []
    text = (tmp_path / "out" / "table.md").read_text()
    assert "| supcon | – | – | – | – |" in text
    assert "a run failed and is left out: supcon, seed 0: training: the loss must be finite, got nan" in text

    def full(_: Any) -> Any:
        raise ChildError("disk full", "RunError")

    monkeypatch.setattr(work, "run_child", full)
    with pytest.raises(RunError, match="simclr, seed 0: disk full"):
        again(data, tmp_path / "other", seeds=1, per_class=[1])


def test_images_in_memory_are_kept_for_the_processes(data: Path, tmp_path: Path, here: Here) -> None:
    arrays = np.load(data)
    source = ArraySource(arrays["train_images"], arrays["train_labels"])
    settings = {"methods": ["simclr"], "seeds": 1, "per_class": [1]}
    result = again(source, tmp_path / "out", **settings)
    report = json.loads((tmp_path / "out" / "results" / "simclr-0.json").read_text())["report"]
    held = int(report["test"].split()[4])
    assert 20 <= held <= 28  # a fifth of 120
    assert len(result.rows) == 4
    here.forget()
    again(source, tmp_path / "out", **settings)
    assert here.jobs == []
    with pytest.raises(ConfigError, match="begun with other data"):
        again(ArraySource(arrays["train_images"], arrays["train_labels"][::-1].copy()), tmp_path / "out", **settings)
