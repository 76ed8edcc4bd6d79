from __future__ import annotations

import json
from pathlib import Path

import pytest

from nearfar.cli.nested import completed, folded, joined
from nearfar.errors import ConfigError
from nearfar.recipes.small import GRAY
from nearfar.training.run import Run
from tests.cli.call import call, refused
from tests.samples import write_folder

WIDTH = "--pretrain.encoder-options.width"


def value(tokens: list[str], flag: str) -> object:
    (found,) = [token.removeprefix(f"{flag}=") for token in folded(tokens) if token.startswith(f"{flag}=")]
    return json.loads(found)


@pytest.mark.parametrize(
    "tokens",
    [
        ["pretrain", "photos", "--out", "x.y", "--epochs", "3", "-k", "5", "--lr=0.5"],
        ["distill", "a", "b", "--student-options.width"],  # cyclopts says that its value is missing
        ["search", "--", "--a.b.c", "2"],
        ["pretrain", "--input-options.pattern", "--out"],
        [],
    ],
)
def test_what_is_no_setting_of_a_mapping_stays(tokens: list[str]) -> None:
    assert folded(tokens) == tokens


def test_one_level_keeps_its_value_as_it_stands() -> None:
    assert folded(["pretrain", "--encoder-options.width", "16", "photos"]) == [
        "pretrain", "--encoder-options.width=16", "photos",
    ]  # fmt: skip
    assert folded(["--view-options.scale=-0.5", "--x.y", "-1"]) == ["--view-options.scale=-0.5", "--x.y=-1"]
    assert folded(["--input-options.pattern", "{label}_{take}"]) == ["--input-options.pattern={label}_{take}"]


def test_deeper_levels_are_one_mapping() -> None:
    tokens = ["semi", WIDTH, "16", "photos", f"{WIDTH.replace('width', 'patch-size')}=2", "--out", "x"]
    assert folded(tokens)[0] == "semi"
    assert folded(tokens)[2:] == ["photos", "--out", "x"]
    assert value(tokens, "--pretrain.encoder_options") == {"width": "16", "patch_size": "2"}
    deep = ["--a-options.view2.blur", "0", "--a-options.view2.sigma", "0.1", "2"]
    assert value(deep, "--a-options.view2") == {"blur": "0", "sigma": ["0.1", "2"]}


def test_numbers_that_follow_are_a_list() -> None:
    assert folded(["--view-options.speed", "1", "1.5", "sounds"]) == ['--view-options.speed=["1", "1.5"]', "sounds"]


def test_settings_have_underscores_and_columns_stay_as_they_are() -> None:
    assert folded(["--sampler-options.per-class", "4"]) == ["--sampler-options.per_class=4"]
    assert folded(["--finetune.least-steps", "4"]) == ["--finetune.least_steps=4"]
    columns = ["--input-options.columns.body-mass", "number"]
    assert value(columns, "--input-options.columns") == {"body-mass": "number"}


@pytest.mark.parametrize(
    ("tokens", "sentence"),
    [
        ([WIDTH, "1", WIDTH, "2"], f"{WIDTH}: must be given once"),
        (["--a.b.c", "1", "--a.b.c.d", "2"], "--a.b.c.d: must be given as a value or as a mapping, got both"),
    ],
)
def test_what_contradicts_itself_is_refused(tokens: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        folded(tokens)


FEW = ["--encoder", "small", "--encoder-options.width", 4, "--epochs", 1, "--batch-size", 16, "--threads", 1,
       "--accelerator", "cpu", "--precision", "32-true"]  # fmt: skip


def test_a_run_has_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_folder(tmp_path / "data", 32)
    done = call(
        capsys, "pretrain", data, "--out", tmp_path / "run", *FEW, "--method", "metric", "--view-options.scale", 0.5, 1,
        "--sampler", "balanced", "--sampler-options.per-class", 4, "--method-options.loss-options.base", 0.7,
    )  # fmt: skip
    assert done.code == 0, done.err
    config = Run(tmp_path / "run").config()
    assert config["view_options"] == {"scale": [0.5, 1.0]}
    assert config["sampler_options"] == {"per_class": 4}
    assert config["method_options"]["loss_options"] == {"base": "0.7"}
    wrong = call(
        capsys, "pretrain", data, "--out", tmp_path / "other", *FEW, "--method", "metric",
        "--method-options.loss-options.margn", 0.7,
    )  # fmt: skip
    assert "unknown setting 'margn'" in refused(wrong)


def test_flags_join_the_mappings_of_files_and_files_those_of_recipes(tmp_path: Path) -> None:
    under = {"views": "gray", "view_options": {"scale": [0.2, 1.0], "rotate": 0.0}, "epochs": 3}
    over = joined({"view_options": {"rotate": 5.0}, "epochs": 4}, under)
    assert over == {"views": "gray", "view_options": {"scale": [0.2, 1.0], "rotate": 5.0}, "epochs": 4}
    assert joined({"views": "digits", "view_options": {"hflip": 0.0}}, under)["view_options"] == {"hflip": 0.0}
    tokens = ["pretrain", "photos", "--view-options.rotate=1", "--epochs", "2", "--", "x"]
    assert completed(tokens, over) == [
        *tokens[:5], "--view-options.scale=[0.2, 1.0]", *tokens[5:],
    ]  # fmt: skip
    assert completed([*tokens[:3], "--views", "digits"], over) == [*tokens[:3], "--views", "digits"]
    assert completed(["pretrain", "photos"], over) == ["pretrain", "photos"]


def test_a_flag_leaves_the_other_options_of_a_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_folder(tmp_path / "data", 40)
    (tmp_path / "more.yaml").write_text("view-options:\n  blur: 0.25\n")
    flags = ["--view-options.hflip", "0", "--encoder-options.width", "4", "--epochs", "1", "--batch-size", "16"]
    code, _, err = call(
        capsys, "--config", tmp_path / "more.yaml", "pretrain", data, "--out", tmp_path / "run", "--recipe",
        "simclr/gray", *flags, "--accelerator", "cpu", "--threads", "1",
    )  # fmt: skip
    assert code == 0, err
    config = Run(tmp_path / "run").config()
    assert config["view_options"] == {**GRAY, "scale": list(GRAY["scale"]), "blur": 0.25, "hflip": 0}
