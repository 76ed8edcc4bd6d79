"""``nearfar views`` and `nearfar.show_views`: the sheet of what a run would see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nearfar
from nearfar.errors import ConfigError, DataError
from nearfar.pipeline import show_views as module
from nearfar.recipes import RECIPES
from tests.cli.call import call, refused
from tests.samples import pictures, train, write_folder

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("views") / "data", 20, size=32, channels=3)


def sheet(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        picture.load()
        return picture


def columns(picture: Image.Image) -> int:
    """Count the columns of a sheet: vertical stretches with anything but paper in the first row of pictures."""
    filled = (np.asarray(picture.convert("L"))[8:104] < 250).any(axis=0)
    return int((np.diff(filled.astype(int)) == 1).sum() + filled[0])


def test_a_sheet_by_name_with_options(data: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "sheet.png"
    code, printed, err = call(
        capsys, "views", data, "--views", "cifar", "--view-options.hflip", "0", "--count", "3", "--out", out
    )
    assert (code, printed) == (0, ""), err
    assert f"written to {out}" in err
    drawn = sheet(out)
    assert columns(drawn) == 3  # the picture and SimCLR's two views
    same = nearfar.show_views(data, views="cifar", view_options={"hflip": 0}, count=3)
    np.testing.assert_array_equal(np.asarray(drawn), np.asarray(same))
    assert call(capsys, "views", data, "--views", "cifar", "--count", "5", "--out", out).code == 0
    assert sheet(out).height > drawn.height


def test_a_recipe_a_file_and_flags(data: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "sheet.png"
    code, _, err = call(capsys, "views", data, "--recipe", "simclr/small", "--count", "2", "--out", out)
    assert code == 0, err
    recipe = nearfar.show_views(data, config=RECIPES.get("simclr/small")(), count=2)
    np.testing.assert_array_equal(np.asarray(sheet(out)), np.asarray(recipe))
    run = train(data, tmp_path / "run", epochs=1, views="digits", seed=3)
    config = run.path / "config.yaml"
    code, _, err = call(capsys, "views", "--config", config, "--count", "2", "--out", out)
    assert code == 0, err
    of_run = nearfar.show_views(data, views="digits", count=2, seed=3)
    np.testing.assert_array_equal(np.asarray(sheet(out)), np.asarray(of_run))
    assert not np.array_equal(np.asarray(of_run), np.asarray(recipe))
    code, _, err = call(capsys, "views", "--config", config, "--views", "cifar", "--count", "2", "--out", out)
    assert code == 0, err
    changed = nearfar.show_views(data, views="cifar", count=2, seed=3)
    np.testing.assert_array_equal(np.asarray(sheet(out)), np.asarray(changed))


def test_a_files_views_still_reach_pretrain(data: Path, tmp_path: Path, capsys: Capture) -> None:
    """A verb and a setting share the name; the setting must not be taken for the verb."""
    (tmp_path / "mine.yaml").write_text("views: digits\nepochs: 1\nbatch_size: 16\nencoder_options: {width: 4}\n")
    code, _, err = call(capsys, "pretrain", data, "--config", tmp_path / "mine.yaml", "--out", tmp_path / "run")
    assert code == 0, err
    from nearfar.training.run import Run

    assert Run(tmp_path / "run").config()["views"] == "digits"


def test_an_unknown_setting_in_a_file_is_named(data: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "bad.yaml").write_text("vews: digits\n")
    said = call(capsys, "views", data, "--config", tmp_path / "bad.yaml", "--out", tmp_path / "sheet.png")
    assert said.code == 2
    assert "vews" in said.err
    assert "views" in said.err
    assert not (tmp_path / "sheet.png").exists()


def test_what_was_drawn_stands_below_the_views(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    captions: list[list[str]] = []
    from nearfar.pipeline import sheets

    before = sheets.seen

    def spied(*arguments: object, **options: object) -> object:
        found = before(*arguments, **options)  # type: ignore[arg-type]
        captions.extend(found[2])
        return found

    monkeypatch.setattr(sheets, "seen", spied)
    options = {"jitter": 1, "grayscale": 1, "blur": 1, "kernel": 3, "solarize": 1, "hflip": 1, "rotate": 30, "erase": 1}
    drawn = nearfar.show_views(data, views="simclr", view_options=options, count=2)
    assert len(captions) == 2
    for text in captions[0] + captions[1]:
        names = [line.split(" ")[0] for line in text.splitlines()]
        assert names[:3] == ["crop", "flip", "move"]
        assert set(names[3:7]) == {"brightness", "contrast", "saturation", "hue"}
        assert names[7:10] == ["gray", "blur", "solarize"]
    assert drawn.height > 2 * (96 + 10 * 16)


def test_every_word_of_a_caption_is_on_the_sheet() -> None:
    from nearfar.report.sheets import TEXT, _font, _wrap

    text = "crop 25 x 31 at (3, 12) of 32 x 32\nmove +12.5 deg, (-1.2, +3.4) px, zoom 1.02"
    for width in (60, 96, 150, 500):
        wrapped = _wrap(text, width)
        assert wrapped.split() == text.split()
        assert max(_font(TEXT).getlength(line) for line in wrapped.splitlines()) <= max(width, 70)
    assert _wrap(text, 500) == text


def test_grey_pictures_arrays_and_multi_crop(tmp_path: Path) -> None:
    images, _ = pictures(12, size=16)
    grey = nearfar.show_views(images, count=2)
    assert columns(grey) == 3
    crops = nearfar.show_views(pictures(12, size=32, channels=3)[0], method="swav", views="swav", count=1)
    assert columns(crops) == 1 + 8


def test_what_cannot_be_drawn(data: Path, tmp_path: Path, capsys: Capture) -> None:
    base = ("views", data, "--out", tmp_path / "sheet.png")
    assert "did you mean 'cifar'?" in refused(call(capsys, *base, "--views", "cifr"))
    assert "unknown setting 'flip'" in refused(call(capsys, *base, "--view-options.flip", "0"))
    assert "count must be from 1 to 256, got 0" in refused(call(capsys, *base, "--count", "0"))
    assert "out must be a .png file" in refused(call(capsys, "views", data, "--out", tmp_path / "sheet.jpg"))
    assert "an existing folder or file" in refused(call(capsys, "views", tmp_path / "no", "--out", tmp_path / "a.png"))
    assert "views swav must be of one size" in refused(call(capsys, *base, "--views", "swav"))
    assert "did you mean 'simclr'?" in refused(call(capsys, *base, "--method", "simcrl"))
    assert not (tmp_path / "sheet.png").exists()
    with pytest.raises(ConfigError, match="unknown setting 'view'"):
        nearfar.show_views(data, view="cifar")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "a.png").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="one of the first 100 images must be readable"):
        nearfar.show_views(broken)


def test_nothing_of_training_is_imported() -> None:
    import subprocess
    import sys

    code = "import sys, nearfar.pipeline.show_views; assert not {'lightning', 'timm'} & set(sys.modules)"
    assert module.__doc__
    subprocess.run([sys.executable, "-c", code], check=True)
