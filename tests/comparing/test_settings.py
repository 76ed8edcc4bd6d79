"""What a comparison is asked for: settings that are refused, and budgets."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nearfar.comparing import work
from nearfar.comparing.folder import Folder
from nearfar.comparing.settings import Budget
from nearfar.comparing.timing import epochs_within, trial
from nearfar.config import load_yaml
from nearfar.errors import ConfigError, DataError, NearfarError, RunError
from nearfar.pipeline.settings import PretrainConfig
from nearfar.recipes import RECIPES, small
from nearfar.training.run import Run
from tests.comparing.here import Here, Stop, again


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"budget": "2epochs"}, "was begun with budget 1epochs, got 2epochs; give the same, or choose another --out"),
        ({"batch_size": 16}, "begun with batch-size 32, got 16;"),
        ({"encoder_options": {"width": 8}}, "begun with encoder-options {'width': 4}, got {'width': 8};"),
        ({"recipe_set": "none"}, "begun with recipe-set small, got none;"),
        ({"limit": 64}, "begun with limit None, got 64;"),
    ],
)
def test_another_setting_is_refused_by_its_name(
    changes: dict[str, Any], said: str, data: Path, copy: Path, here: Here
) -> None:
    before = (copy / "compare.yaml").read_bytes()
    with pytest.raises(ConfigError) as caught:
        again(data, copy, **changes)
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(copy))
    assert here.jobs == []
    assert (copy / "compare.yaml").read_bytes() == before


def test_seeds_and_methods_join_a_comparison_and_nothing_is_run_again(data: Path, copy: Path, here: Here) -> None:
    alone = again(data, copy, methods=["simclr"])
    assert here.jobs == []
    assert [row.name for row in alone.rows if not row.baseline] == ["simclr"]
    more = again(data, copy, methods=["byol", "simclr"], seeds=3)
    trained = [job for job in here.jobs if job.startswith("pretrain")]
    assert trained == [
        f"pretrain: {name}" for name in ("byol, seed 0", "byol, seed 1", "byol, seed 2", "simclr, seed 2")
    ]
    assert [row.name for row in more.rows if not row.baseline] == ["byol", "simclr"]
    assert set(load_yaml(copy / "compare.yaml")["methods"]) == {"simclr", "supcon", "byol"}


def test_seeds_that_ran_in_another_folder_join_by_copying(data: Path, copy: Path, tmp_path: Path, here: Here) -> None:
    elsewhere = again(data, tmp_path / "elsewhere", seeds=1, first_seed=2)
    assert {job.rpartition(" ")[2] for job in here.jobs} == {"2"}
    for part in ("runs", "costs", "scratch", "results"):
        shutil.copytree(tmp_path / "elsewhere" / part, copy / part, dirs_exist_ok=True)
    here.forget()
    together = again(data, copy, seeds=3)
    assert here.jobs == []
    for row, alone in zip(together.rows, elsewhere.rows, strict=True):
        assert len(row.scores) == 3
        assert row.scores[2] == alone.scores[0]


def test_other_data_and_other_recipes_are_refused(
    data: Path, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = dict(np.load(data))
    arrays["test_images"] = 255 - arrays["test_images"]
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(ConfigError, match=r"begun with other data \(names, labels or content\); give the same"):
        again(tmp_path / "other.npz", copy)
    monkeypatch.setitem(RECIPES.builtin, "supcon/small", "nearfar.recipes.small:triplet")
    assert small.triplet().method_options != small.supcon().method_options
    with pytest.raises(ConfigError, match=r"begun with other settings of supcon \(.*'temperature': 0.1.*\), which are"):
        again(data, copy)


def test_before_anything_was_trained_other_settings_may_be_given(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_: Any) -> Any:
        raise Stop

    monkeypatch.setattr(work, "run_child", stop)
    for budget in ("1epochs", "3epochs"):
        with pytest.raises(Stop):
            again(data, tmp_path / "out", budget=budget)
        assert load_yaml(tmp_path / "out" / "compare.yaml")["settings"]["budget"] == budget


def test_a_folder_of_something_else_is_left_alone(data: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(
        RunError, match=r"must be a new folder or a comparison, got one with thesis.txt; choose another"
    ):
        again(data, tmp_path)
    with pytest.raises(RunError, match=r"thesis.txt: must be a folder to write to"):
        again(data, tmp_path / "thesis.txt")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def narrow() -> PretrainConfig:
    """A recipe whose queue is smaller than these tests' batches."""
    return PretrainConfig(method="moco-v2", method_options={"queue_size": 8})


def test_a_queue_smaller_than_the_batch_is_refused(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECIPES.builtin, "moco-v2/narrow", f"{__name__}:narrow")
    with pytest.raises(NearfarError, match=r"method moco-v2: method-options.queue-size must be >= 16, the batch size"):
        again(data, tmp_path / "out", methods=["moco-v2"], recipe_set="narrow", batch_size=16)
    assert not (tmp_path / "out").exists()


def test_two_at_once_are_refused(data: Path, copy: Path) -> None:
    with Folder(copy).locked(), pytest.raises(RunError, match="another comparison is at work in this folder; wait"):
        again(data, copy)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"methods": ["simclrr"]}, "method: name must be a known method, got 'simclrr'; did you mean 'simclr'?"),
        ({"methods": []}, "compare: methods must be one or more, got none"),
        ({"methods": ["simclr", "simclr"]}, "compare: methods must be different ones, got simclr twice"),
        ({"recipe_set": "smal"}, "recipe-set must be a set of recipes or none, got 'smal'; did you mean 'small'?"),
        ({"budget": "20"}, "compare: budget must be a whole number with 'epochs' or a number with 'min', got '20'"),
        ({"encoder": "smal"}, "did you mean 'small'?"),
        ({"encoder_options": {"widht": 4}}, "unknown setting 'widht'; did you mean 'width'?"),
        ({"view_options": {"hflip": 0.0}}, "compare: view_options must be given with views, got views auto"),
        ({"views": "digits", "view_options": {"rotat": 1}}, "unknown setting 'rotat'; did you mean 'rotate'?"),
        ({"seeds": 0}, "compare: seeds must be >= 1, got 0"),
        ({"batch_size": 121}, "batch-size must be <= 120, the number of training images, got 121; lower"),
        ({"bugdet": 3}, "compare: unknown setting 'bugdet'; did you mean 'budget'?"),
        ({"per_class": [0]}, "compare: per_class must be numbers >= 1, got (0,)"),
        ({"train_split": "tran"}, "has no split 'tran'; did you mean 'train'?"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_one_sentence_before_anything_is_written(
    changes: dict[str, Any], said: str, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(NearfarError) as caught:
        again(data, tmp_path / "out", **changes)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_without_labels_there_is_nothing_to_score_with(data: Path, tmp_path: Path) -> None:
    images = np.load(data)["train_images"]
    np.savez(tmp_path / "bare.npz", images=images)
    said = "compare: labels of the training images must be given: a comparison needs them for scoring, got none"
    with pytest.raises(DataError, match=said):
        again(tmp_path / "bare.npz", tmp_path / "out")
    with pytest.raises(DataError, match="compare: images in memory must be labelled, got no labels"):
        again(images, tmp_path / "out")


@pytest.mark.parametrize("text", ["20", "epochs", "0epochs", "-1epochs", "1.5epochs", "20 epochs", "20Epochs", "1epoch",
                                  "min", "0min", "-1min", "1e3min", "10mins", "10minepochs", ""])  # fmt: skip
def test_a_budget_is_read_strictly(text: str) -> None:
    with pytest.raises(ConfigError, match=r"compare: budget must be .* write 20epochs or 10min"):
        Budget.parse(text)


def test_a_budget_is_epochs_or_minutes() -> None:
    assert Budget.parse("20epochs") == (20, None)
    assert Budget.parse("10min") == (None, 600.0)
    assert Budget.parse("0.5min") == (None, 30.0)


def test_the_epochs_that_fit_follow_from_the_time_of_a_step() -> None:
    rows, epochs = trial(10_000, 100)
    assert (rows, epochs) == (1600, 2)  # one epoch of 16 batches is timed after the first
    assert trial(250, 100) == (250, 9)  # 8 epochs of 2 batches
    fit = epochs_within(60.0, [9.0, 1.6], items=10_000, batch_size=100)  # 0.1 s a step, 10 s an epoch
    assert fit.epoch_seconds == pytest.approx(10.0)
    assert fit.epochs == 6
    assert epochs_within(9.9, [9.0, 1.6], items=10_000, batch_size=100).epochs == 0


def test_minutes_become_epochs_once(data: Path, tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(job: Mapping[str, Any]) -> dict[str, Any]:
        found = here(job)
        return {"seconds": [5.0, 0.4, 0.6]} if job["kind"] == "probe" else found  # half a second an epoch of 3 steps

    monkeypatch.setattr(work, "run_child", timed)
    settings = {"methods": ["simclr"], "seeds": 1, "per_class": [1], "budget": "0.02min"}
    result = again(data, tmp_path / "out", **settings)
    assert here.jobs[0] == "probe: simclr, probe"
    assert Run(tmp_path / "out" / "runs" / "simclr-0").config()["epochs"] == 2  # 1.2 s
    assert result.rows[-1].epochs == 2
    assert result.rows[2].epochs >= 1
    assert not (tmp_path / "out" / "probes" / "simclr").exists()
    assert "budget in minutes: every method is timed" in (tmp_path / "out" / "table.md").read_text()
    here.forget()
    again(data, tmp_path / "out", **settings)
    assert here.jobs == []
    said = "budget must be enough for an epoch of simclr, about 0 s here, got 0.005min; give more, or fewer items"
    with pytest.raises(ConfigError, match=said):
        again(data, tmp_path / "little", **{**settings, "budget": "0.005min"})
    assert not (tmp_path / "little" / "runs").exists()
