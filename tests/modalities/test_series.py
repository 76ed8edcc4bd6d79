"""Reading time series, what their inputs learn, their views, and TS2Vec."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nearfar
from nearfar.data.series import open_series
from nearfar.encoders import load_encoder
from nearfar.encoders.series import SeriesConv
from nearfar.errors import DataError, InputError
from nearfar.modalities.series import SERIES
from nearfar.views.series import Drawn, SeriesView, change
from tests.modalities.samples import series
from tests.modalities.test_contract import QUICK

LONG = """series,time,hr,temp,label,group
a,0,60,36.5,0,p
a,1,62,,0,p
a,2.2,64,36.7,0,p
b,100,80,38,1,q
b,101.1,,38.2,1,q
b,101.2,84,,1,q
"""


def test_a_long_table_becomes_even_steps(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(LONG)
    source = open_series(tmp_path / "t.csv", {"step": 1.0})[""]
    nan = np.nan
    assert source.channels == ("hr", "temp")
    assert np.array_equal(source.read(0), [[60, 36.5], [62, nan], [64, 36.7]], equal_nan=True)
    assert np.array_equal(source.read(1), [[80, 38], [84, 38.2], [nan, nan]], equal_nan=True)
    assert source.labels.tolist() == [0, 1]
    assert list(source.groups) == ["p", "q"]


def test_a_row_a_measurement_is_the_same(tmp_path: Path) -> None:
    lines = ["series,time,variable,value,label,group"]
    for line in LONG.splitlines()[1:]:
        name, time, hr, temp, label, group = line.split(",")
        lines += [f"{name},{time},hr,{hr},{label},{group}"] if hr else []
        lines += [f"{name},{time},temp,{temp},{label},{group}"] if temp else []
    (tmp_path / "wide.csv").write_text(LONG)
    (tmp_path / "long.csv").write_text("\n".join(lines) + "\n")
    wide, long = (open_series(tmp_path / f"{name}.csv", {"step": 1.0})[""] for name in ("wide", "long"))
    assert wide.fingerprint() == long.fingerprint()


@pytest.mark.parametrize(
    ("change_", "said"),
    [
        (("series,", "serie,"), "columns must be series among them, got none called 'series'; name it with"),
        (("a,1,62,,0,p", "a,1,62,,1,p"), "column 'label' must be the same in all rows of series 'a', got '0' and '1'"),
        (("a,1,", "a,,"), "column 'time' must be numbers or dates, in every row"),
        (("60,", "high,"), "channel 'hr' must be numbers, got texts"),
    ],
)
def test_bad_tables_are_one_sentence(change_: tuple[str, str], said: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(LONG.replace(*change_))
    with pytest.raises(DataError, match=said):
        open_series(tmp_path / "t.csv")


def test_arrays_must_have_three_axes(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", other=np.zeros((2, 3)))
    with pytest.raises(DataError, match=r"must be a \(N, T, C\) array called"):
        open_series(tmp_path / "t.npz")
    with pytest.raises(DataError, match="series must be"):
        open_series(np.zeros((2, 3)))


def test_scaling_is_over_the_measured_moments_of_the_training_rows() -> None:
    values = np.random.default_rng(0).normal(5, 2, (10, 8, 2))
    values[0, :3, 1] = np.nan
    source = open_series(values)[""]
    inputs = SERIES.fit(source, {})
    assert inputs.mean == pytest.approx([values[..., 0].mean(), np.nanmean(values[..., 1])])
    assert inputs.sd == pytest.approx([values[..., 0].std(), np.nanstd(values[..., 1])])
    assert inputs.gaps == (1,)
    x = inputs.make_views(values, [inputs.evaluation_view()], np.random.default_rng(0))[0]
    assert isinstance(x, torch.Tensor)
    assert x.shape == (10, 3, 8)
    assert x[0, 1, :3].tolist() == [0, 0, 0]
    assert x[0, 2].tolist() == [1, 1, 1, 0, 0, 0, 0, 0]
    with pytest.raises(DataError, match="channels must be measured somewhere in the training rows, got none in"):
        SERIES.fit(open_series(np.where(np.arange(2) == 1, np.nan, values))[""], {})


def test_raw_summaries_are_numpys() -> None:
    values = np.random.default_rng(0).normal(size=(6, 8, 2))
    values[1, 2:5, 0] = np.nan
    inputs = SERIES.fit(open_series(values)[""], {})
    scaled = (values - inputs.mean) / inputs.sd
    found = inputs.raw(values).reshape(6, 7, 2)
    for place, function in enumerate((np.nanmean, np.nanstd, np.nanmin, np.nanmax)):
        assert np.allclose(found[:, place], function(scaled, axis=1), atol=1e-5)
    assert np.allclose(found[:, 4], scaled[:, 0], atol=1e-5)
    assert np.allclose(found[:, 5], scaled[:, -1], atol=1e-5)
    assert found[1, 6].tolist() == [5 / 8, 1.0]


def ramps(count: int = 50, steps: int = 20) -> tuple[np.ndarray, np.ndarray]:
    rows = np.arange(float(steps))[None, :, None] + np.zeros((count, 1, 1))
    return rows, np.full(count, steps)


def test_crops_are_neighbours_and_stay_before_the_padding() -> None:
    rows, _ = ramps()
    rows[:, 15:] = np.nan
    made = change(rows, SeriesView(crop=0.5), np.full(50, 15), np.random.default_rng(0))
    assert made.shape == (50, 10, 1)
    assert (np.diff(made[..., 0], axis=1) == 1).all()
    assert set(made[:, 0, 0].tolist()) == {0, 1, 2, 3, 4, 5}


def test_segments_change_places_and_nothing_is_lost() -> None:
    rows, lengths = ramps()
    made = change(rows, SeriesView(permute=5), lengths, np.random.default_rng(0))
    assert (np.sort(made, axis=1) == rows).all()
    breaks = (np.diff(made[..., 0], axis=1) != 1).sum(axis=1)
    assert breaks.max() <= 4
    assert breaks.max() > 0


def test_a_pair_of_crops_shares_what_it_says() -> None:
    rows, lengths = ramps()
    for seed in range(5):
        rng = np.random.default_rng(seed)
        drawn = Drawn.of(lengths, 20, 15, rng)
        first, second = (
            change(rows, SeriesView(crop=0.75, pair=side), lengths, rng, drawn) for side in ("first", "second")
        )
        shared = 15 - drawn.shift
        assert shared >= 8
        assert (first[:, 15 - shared :] == second[:, :shared]).all()


@pytest.mark.parametrize("wrong", [{"crop": 0.0}, {"permute": 0}, {"hide": 1.0}, {"jitter": -0.1}])
def test_views_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        SeriesView(**wrong)


def test_the_encoder_sees_any_length_and_hides_moments_only_while_training() -> None:
    encoder = SeriesConv(channels=2, width=8, depth=2, dim=6, mask=0.5)
    x = torch.randn(3, 2, 10)
    assert encoder.feature_map(x).shape == (3, 6, 10)
    assert encoder(x[..., :4]).shape == (3, 6)
    assert not torch.equal(encoder(x), encoder(x))
    encoder.eval()
    assert torch.equal(encoder(x), encoder({"x": x}))
    assert torch.equal(encoder(x), encoder.feature_map(x).amax(dim=2))


def test_ts2vec_trains_on_its_crops_and_tells_waves_apart(tmp_path: Path) -> None:
    some = series(tmp_path)
    options = {"width": 16, "depth": 3, "dim": 16, "mask": 0.5}
    settings = {**QUICK, "epochs": 6, "encoder_options": options, "lr": 3e-3}
    run = nearfar.pretrain(some.data, out=tmp_path / "run", method="ts2vec", views="ts2vec", **settings)
    losses = [row["epoch_loss"] for row in run.metrics() if "epoch_loss" in row]
    assert losses[-1] < losses[0]
    report = nearfar.evaluate(run.path, some.data, protocol=["knn"], threads=1)
    assert report["knn"].value > 0.7
    assert load_encoder(run.path)[1].name == "series-conv"
