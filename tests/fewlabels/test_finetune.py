from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nearfar
from nearfar.encoders import build, load_encoder, load_head
from nearfar.errors import ConfigError, InputError, RunError
from nearfar.fewlabels.loop import Steps, _optimizer
from nearfar.fewlabels.objectives import mix
from nearfar.fewlabels.predictor import Predictor, load_predictor
from nearfar.fewlabels.settings import FinetuneConfig
from nearfar.fewlabels.steps import count_steps, layer_rules, learning_rate
from nearfar.training.run import Run
from tests.fewlabels.here import Stop, moved, same_weights, stop_at, tune
from tests.samples import pictures, train


def predictor(layers: int = 1) -> Predictor:
    encoder, _ = build("small", in_channels=1, image_size=8, options={"width": 4})
    neck = nn.Sequential(*[nn.Linear(32, 32)] * layers)
    return Predictor(encoder, neck, 4)


def steps(**changes: Any) -> Steps:
    plain: dict[str, Any] = {
        "total": 4, "optimizer": "lars", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0, "warmup": 0.0, "clip": None,
        "precision": "32-true", "accelerator": "cpu", "log_every": 1, "checkpoint_seconds": 60.0,
    }  # fmt: skip
    return Steps(**{**plain, **changes})


def test_a_run_is_left_that_the_other_verbs_take(run: Path, data: Path, tmp_path: Path) -> None:
    found = tune(run, data, tmp_path / "out", per_class=3, from_layer=1)
    assert [one.name for one in found.scores] == ["top-1"]
    score = found["top-1"]
    assert score.n == 16
    assert 0 <= score.low <= score.value <= score.high <= 1
    assert found.labels == {str(n): 3 for n in range(4)}
    with (found.path / "labels.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert {row["label"] for row in rows} == {"0", "1", "2", "3"}
    assert [row["step"] for row in Run(found.path).metrics()] == [1, 2, 3, 4]
    with np.load(found.path / "predictions.npz") as saved:
        right = (saved["outputs"].argmax(1) == saved["wanted"]).mean()
    assert right == pytest.approx(score.value)
    assert "knn" in nearfar.evaluate(found.path, str(data), protocol=["knn"]).text()


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_it_begins_at_a_layer_of_the_head(run: Path, data: Path, tmp_path: Path, layer: int) -> None:
    found = tune(run, data, tmp_path / "out", per_class=3, from_layer=layer, least_steps=1, lr=1e-12, optimizer="sgd")
    model, _, _, _ = load_predictor(found.path)
    head, encoder = load_head(run), load_encoder(run)[0]
    assert head is not None
    assert len(model.neck) == 3 * layer
    x = torch.randn(6, 1, 8, 8)
    expected = encoder(x)
    for part in list(head)[: 3 * layer]:
        expected = part(expected)
    # weights have hardly moved, and BatchNorm's statistics by one batch
    weights = list(head.parameters())[: len(list(model.neck.parameters()))]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(model.neck.parameters(), weights, strict=True))
    assert model.neck(model.encoder(x)).shape == expected.shape
    assert model.classifier.weight.abs().max() < 1e-6


def test_the_layer_follows_from_the_share_of_labels(run: Path, data: Path, tmp_path: Path) -> None:
    few = tune(run, data, tmp_path / "few", per_class=1)
    many = tune(run, data, tmp_path / "many", per_class=6)
    assert Run(few.path).config()["from_layer"] == 1
    assert Run(many.path).config()["from_layer"] == 0


def test_logits_begin_at_zero() -> None:
    model = predictor()
    assert torch.equal(model(torch.randn(3, 1, 8, 8)), torch.zeros(3, 4))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"mixup": 0.4},
        {"pseudo_labels": "fixmatch", "threshold": 0.3},
        {"pseudo_labels": "self-training", "threshold": 0.3, "unlabelled_epochs": 2},
    ],
)
@pytest.mark.parametrize("step", [2, 5])
def test_a_kill_changes_nothing(
    run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], step: int
) -> None:
    changes = {"per_class": 3, "least_steps": 7, **changes}
    whole = tune(run, data, tmp_path / "whole", **changes)
    with monkeypatch.context() as patch:
        stop_at(patch, step)
        with pytest.raises(Stop):
            tune(run, data, tmp_path / "killed", **changes)
    again = tune(run, data, tmp_path / "killed", resume=True)
    assert same_weights(whole.path, again.path)
    assert whole.scores == again.scores
    assert Run(whole.path).metrics() == Run(again.path).metrics()


def test_a_finished_run_is_not_done_again(run: Path, data: Path, tmp_path: Path) -> None:
    found = tune(run, data, tmp_path / "out", per_class=3)
    assert tune(run, data, tmp_path / "out", resume=True) == found
    with pytest.raises(ConfigError, match="--resume: per-class must be 3 as the run was begun with, got 4"):
        tune(run, data, tmp_path / "out", resume=True, per_class=4)
    with pytest.raises(RunError, match="add --resume to go on, --overwrite to start again"):
        tune(run, data, tmp_path / "out", per_class=3)
    assert tune(run, data, tmp_path / "out", per_class=3, overwrite=True) == found


def test_threads_change_nothing(run: Path, data: Path, tmp_path: Path) -> None:
    one = tune(run, data, tmp_path / "one", per_class=6)
    two = tune(run, data, tmp_path / "two", per_class=6, threads=2)
    assert same_weights(one.path, two.path)


def test_frozen_stages_stay(run: Path, data: Path, tmp_path: Path) -> None:
    found = tune(run, data, tmp_path / "out", per_class=3, freeze=1, lr=1.0)
    changed = moved(run, found.path)
    assert changed
    assert all(int(name.split(".")[1]) >= 6 for name in changed), changed  # stem and first stage: places 0 to 5


def test_scratch_forgets_the_weights_and_keeps_the_encoder(run: Path, data: Path, tmp_path: Path) -> None:
    found = tune(run, data, tmp_path / "out", per_class=3, scratch=True, lr=1e-12)
    assert Run(found.path).config()["optimizer"] == "adamw"
    kernels = {name for name, p in load_encoder(run)[0].named_parameters() if p.ndim == 4}
    assert moved(run, found.path) >= kernels


def test_the_learning_rate_falls_layer_by_layer() -> None:
    model = predictor(layers=1)
    optimizer = _optimizer(model, steps(optimizer="sgd", special=layer_rules(model, 0.5)))
    names = {id(p): name for name, p in model.named_parameters()}
    rates = {names[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates.keys() == set(names.values())
    for name, rate in rates.items():
        stage = int(name.split(".")[2]) // 3 if name.startswith("encoder.") else 4
        assert rate == pytest.approx(0.1 * 0.5 ** (4 - stage)), name
    assert all(group["nesterov"] for group in optimizer.param_groups)


def test_lars_does_not_adapt_the_zero_classifier() -> None:
    model = predictor()
    optimizer = _optimizer(model, steps())
    names = {id(p): name for name, p in model.named_parameters()}
    adapt = {names[id(p)]: group["adapt"] for group in optimizer.param_groups for p in group["params"]}
    assert not adapt["classifier.weight"]
    assert not adapt["classifier.bias"]
    assert adapt["neck.0.weight"]
    assert adapt["encoder.layers.0.weight"]


def test_learning_rates_are_the_papers() -> None:
    assert learning_rate("lars", 1024) == pytest.approx(0.16)  # SimCLRv2's ResNet-50
    assert learning_rate("sgd", 4096) == pytest.approx(0.8)  # SimCLR's
    assert count_steps(FinetuneConfig(epochs=60, least_steps=200), 12) == 720
    assert count_steps(FinetuneConfig(epochs=60, least_steps=200), 1) == 200


def test_mixup_is_equation_1() -> None:
    x, y = torch.randn(5, 2, 3), torch.eye(5)
    mixed, wanted = mix(x, y, alpha=0.3, rng=np.random.default_rng(4))
    rng = np.random.default_rng(4)
    share, order = rng.beta(0.3, 0.3), rng.permutation(5)
    for row in range(5):
        assert torch.allclose(mixed[row], share * x[row] + (1 - share) * x[order[row]])
        assert torch.allclose(wanted[row], share * y[row] + (1 - share) * y[order[row]])


def test_several_labels_and_numbers(run: Path, tmp_path: Path) -> None:
    images, labels = pictures(24)
    np.savez(tmp_path / "data.npz", train_images=images, test_images=images[:8])
    several = ["a|b", "b", "a", "c|a"]
    (tmp_path / "l.csv").write_text("id,label\n" + "".join(f"train/{n},{several[labels[n]]}\n" for n in range(24)))
    (tmp_path / "t.csv").write_text("id,label\n" + "".join(f"test/{n},{several[labels[n]]}\n" for n in range(8)))
    tables = {"labels": str(tmp_path / "l.csv"), "test_labels": str(tmp_path / "t.csv")}
    found = tune(run, tmp_path / "data.npz", tmp_path / "several", task="multilabel", **tables)
    assert [one.name for one in found.scores] == ["mean average precision", "roc-auc"]
    (tmp_path / "l.csv").write_text("id,label\n" + "".join(f"train/{n},{labels[n] * 10}\n" for n in range(24)))
    (tmp_path / "t.csv").write_text("id,label\n" + "".join(f"test/{n},{labels[n] * 10}\n" for n in range(8)))
    found = tune(run, tmp_path / "data.npz", tmp_path / "numbers", task="regression", **tables)
    assert [one.name for one in found.scores] == ["mean absolute error", "R2", "Spearman"]
    assert load_predictor(found.path)[3].offset == pytest.approx((15.0,))


def test_any_modality(table: Path, tmp_path: Path) -> None:
    run = nearfar.pretrain(
        table, out=tmp_path / "run", method="simclr-v2", epochs=1, batch_size=16, accelerator="cpu", threads=1,
        precision="32-true",
    )  # fmt: skip
    found = tune(run.path, table, tmp_path / "out", per_class=5, pseudo_labels="fixmatch", least_steps=2)
    assert found["top-1"].n == 12


@pytest.mark.parametrize(
    ("changes", "kind", "sentence"),
    [
        ({"from_layer": 4}, InputError, "from-layer must be from 0 to 3, the layers of the head, got 4"),
        ({"learning_rate": 1}, ConfigError, "finetune: unknown setting 'learning_rate'"),
        ({"freeze": 9}, InputError, "n must be from 0 to 3, got 9"),
        ({"scratch": True, "from_layer": 1}, ConfigError, "from-layer must be 0 with scratch, got 1"),
        ({"label_smoothing": 1.0}, ConfigError, r"label_smoothing must be in \[0, 1\), got 1.0"),
        ({"optimizer": "adam"}, ConfigError, "optimizer must be 'lars', 'sgd' or 'adamw'"),
        ({"view_options": {"hflop": 0.0}}, ConfigError, "unknown setting 'hflop'"),
    ],
)
def test_wrong_settings_leave_nothing(
    run: Path, data: Path, tmp_path: Path, changes: dict[str, Any], kind: type[Exception], sentence: str
) -> None:
    with pytest.raises(kind, match=sentence):
        tune(run, data, tmp_path / "out", per_class=3, **changes)
    assert not list((tmp_path / "out").glob("encoder*"))


def test_a_run_without_a_head(data: Path, tmp_path: Path) -> None:
    run = train(pictures()[0], tmp_path / "run", method="simclr-v2", epochs=1).path
    for name in ("head.json", "head.safetensors"):
        (run / name).unlink()
    with pytest.raises(RunError, match="from-layer must be 0 where the run has no plain projection head"):
        tune(run, data, tmp_path / "out", per_class=1, from_layer=1)
    assert Run(tune(run, data, tmp_path / "out", per_class=1).path).config()["from_layer"] == 0
