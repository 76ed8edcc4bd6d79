"""Runs of metric learning: relations, samplers, unseen classes, and going on after a stop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import nearfar
from nearfar.data import ArraySource
from nearfar.encoders import fingerprint, load_encoder
from nearfar.errors import ConfigError, DataError, NearfarError
from nearfar.methods import build
from nearfar.pipeline.unseen import UnseenClasses, hold_out_classes
from tests.samples import pictures, timeless, train, write_folder


def labelled(count: int = 48, classes: int = 6) -> ArraySource:
    images, labels = pictures(count, classes=classes, channels=3)
    return ArraySource(images, labels=labels)


def test_classes_held_out_are_scored_after_every_epoch_and_at_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(labelled(), tmp_path / "run", method="metric", hold_out_classes=0.4, batch_size=8)
    rows = [row for row in run.metrics() if "unseen_recall@1" in row]
    assert [row["epoch"] for row in rows] == [0, 1]
    assert all(0 <= row["unseen_map@r"] <= 1 for row in rows)
    said = capsys.readouterr().err
    assert "unseen recall@1" in said
    assert "unseen classes split: 16 rows" in said
    kept = json.loads((run.path / "unseen.json").read_text())
    assert len(kept["classes"]) == 2
    scores = {s["name"]: s for result in kept["report"]["results"] for s in result["scores"]}
    assert scores["recall@1"]["value"] == pytest.approx(rows[-1]["unseen_recall@1"])
    assert {"roc-auc", "eer", "map@r"} <= scores.keys()
    config = run.config()
    assert config["sampler"] == "balanced"
    assert config["hold_out_classes"] == 0.4


def test_no_class_is_on_both_sides_and_unlabelled_items_are_trained_on() -> None:
    source = labelled()
    assert source.labels is not None
    source.labels[:5] = -1
    kept, held = hold_out_classes(source, 0.34, seed=0)
    assert kept.labels is not None
    assert held.labels is not None
    assert not set(kept.labels.tolist()) & set(held.labels.tolist())
    assert len(np.unique(held.labels)) == 2
    assert (kept.labels == -1).sum() == 5
    assert len(kept) + len(held) == len(source)
    again = hold_out_classes(source, 0.34, seed=0)[1]
    assert list(again.ids) == list(held.ids)
    with pytest.raises(DataError, match="classes must be >= 4 of two items, got 3"):
        hold_out_classes(labelled(classes=3), 0.5, seed=0)
    with pytest.raises(DataError, match="labels to hold classes out must be given"):
        hold_out_classes(ArraySource(pictures()[0]), 0.5, seed=0)


def test_watching_changes_neither_the_mode_nor_the_weights_nor_the_chance() -> None:
    from nearfar.data import Loader

    source = labelled()

    def batches(part: Any) -> Loader:
        return Loader(
            part,
            lambda items, rng: [torch.from_numpy(np.stack(list(items))).permute(0, 3, 1, 2).float()],
            batch_size=16, shuffle=False, drop_last=False, threads=0,
        )  # fmt: skip

    encoder = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten())
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    watcher = UnseenClasses(source, batches, seed=0)
    scores = watcher(encoder)
    assert set(scores) == {"unseen_recall@1", "unseen_map@r"}
    assert encoder.training
    assert all(torch.equal(before[key], value) for key, value in encoder.state_dict().items())


def test_a_run_with_proxies_and_unseen_classes_resumes_to_the_same_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nearfar.training.module import TrainingModule

    settings: dict[str, Any] = {
        "method": "metric", "method_options": {"loss": "proxy_anchor"}, "batch_size": 8, "epochs": 3,
        "hold_out_classes": 0.4, "checkpoint_seconds": 0.0,
    }  # fmt: skip
    whole = train(labelled(), tmp_path / "whole", **settings)
    step = TrainingModule.training_step

    def stopping(self: Any, batch: Any, index: int) -> Any:
        if self.trainer.global_step == 5:
            raise KeyboardInterrupt
        return step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", stopping)
        with pytest.raises(KeyboardInterrupt):
            train(labelled(), tmp_path / "cut", **settings)
    cut = train(labelled(), tmp_path / "cut", resume=True)
    assert timeless(cut) == timeless(whole)
    assert fingerprint(load_encoder(cut.path)[0]) == fingerprint(load_encoder(whole.path)[0])
    assert whole.config()["method_options"]["classes"] == 5  # of the classes that are trained on, numbered 0 to 4


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    images, _ = pictures(12, channels=3)
    for row, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{row}.png")
    return tmp_path


RELATIONS = {
    "pairs": ("a,b,same", [f"{n}.png,{(n + 4 * (n % 3 == 0) + 1) % 12}.png,{n % 2}" for n in range(12)], "contrastive"),
    "scores": ("a,b,score", [f"{n}.png,{(n + 5) % 12}.png,{n / 3}" for n in range(12)], "cosent"),
    "triplets": ("anchor,positive,negative", [f"{n}.png,{(n + 4) % 12}.png,{(n + 1) % 12}.png" for n in range(12)],
                 "triplet"),
    "sets": ("path,labels", [f"{n}.png,{'red;' if n % 2 else ''}group {n % 3}" for n in range(12)],
             "multi_label_sup_con"),
}  # fmt: skip


@pytest.mark.parametrize("kind", RELATIONS)
def test_every_kind_of_relation_trains(shots: Path, kind: str) -> None:
    header, rows, loss = RELATIONS[kind]
    (shots / "data.csv").write_text("\n".join([header, *rows]) + "\n")
    run = train(
        str(shots / "data.csv"), shots / "run", method="metric", method_options={"loss": loss}, batch_size=4, epochs=1
    )
    assert run.config()["method_options"]["given"] == kind
    losses = [row["loss"] for row in run.metrics() if "loss" in row]
    assert len(losses) == 3
    assert np.isfinite(losses).all()
    assert load_encoder(run.path)[1].modality == "image"


def test_siamese_takes_given_pairs_and_others_refuse_them(shots: Path) -> None:
    header, rows, _ = RELATIONS["pairs"]
    path = shots / "data.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    run = train(str(path), shots / "siamese", method="siamese", batch_size=4, epochs=1, limit=8)
    assert run.config()["method_options"]["pairs"] == "given"
    assert len([row for row in run.metrics() if "loss" in row]) == 2
    with pytest.raises(DataError, match="method simclr: data must be images, with or without labels, got pairs"):
        train(str(path), shots / "simclr", batch_size=4)
    with pytest.raises(ConfigError, match="must be one that data of pairs fit"):
        train(str(path), shots / "circle", method="metric", method_options={"loss": "circle"}, batch_size=4)
    with pytest.raises(DataError, match="data must be pairs, got labels"):
        train(labelled(), shots / "none", method="siamese", method_options={"pairs": "given"})


def test_a_sampler_decides_what_meets_in_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nearfar.methods.metric import Metric

    seen: list[list[int]] = []
    step = Metric.step

    def noted(self: Metric, batch: Any) -> Any:
        seen.append(sorted(batch.labels.tolist()))
        return step(self, batch)

    monkeypatch.setattr(Metric, "step", noted)
    train(labelled(), tmp_path / "auto", method="metric", batch_size=8, epochs=1)
    assert all(len(set(labels)) == 2 and labels.count(labels[0]) == 4 for labels in seen)
    seen.clear()
    options = {"per_class": 2}
    train(labelled(), tmp_path / "two", method="metric", batch_size=8, epochs=1, sampler="balanced",
          sampler_options=options)  # fmt: skip
    assert all(len(set(labels)) == 4 for labels in seen)
    seen.clear()
    train(labelled(), tmp_path / "apart", method="metric", batch_size=6, epochs=1, sampler="no-duplicates",
          sampler_options={"of": "class"})  # fmt: skip
    assert all(labels == list(range(6)) for labels in seen)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"sampler": "balancd"}, "did you mean 'balanced'"),
        ({"sampler": "balanced", "sampler_options": {"m": 2}}, "sampler balanced: unknown setting 'm'"),
        ({"sampler_options": {"per_class": 2}}, "sampler-options must be left out with sampler auto"),
        ({"sampler": "balanced", "sampler_options": {"per_class": 5}}, "a divisor of the batch of 16"),
        ({"sampler": "balanced", "buffer": 8}, "sampler and buffer must be given one at a time"),
        ({"hold_out_classes": 1.5}, r"hold_out_classes must be in \(0, 1\)"),
        ({"method_options": {"loss": "arcfase"}}, "did you mean 'arcface'"),
    ],
)
def test_wrong_settings_are_one_sentence_and_leave_no_run(
    settings: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(NearfarError, match=sentence):
        train(labelled(), tmp_path / "run", method="metric", **settings)
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_proxies_of_a_run_of_one_s_own_need_the_number_of_classes() -> None:
    encoder = torch.nn.Linear(3, 2)
    encoder.dim = 2  # type: ignore[assignment]
    with pytest.raises(ConfigError, match=r"as nearfar\.pretrain does by itself"):
        build("metric", encoder, {"loss": "cosface"})


def test_a_folder_is_trained_on_indexed_calibrated_and_matched(tmp_path: Path) -> None:
    for split, count in (("train", 48), ("test", 24)):
        write_folder(tmp_path / "photos" / split, count, channels=3)
    photos = tmp_path / "photos"
    run = train(str(photos), tmp_path / "run", method="metric", epochs=3, lr=0.01)
    nearfar.embed(run.path, photos, split="train", out=tmp_path / "known.parquet")
    index = tmp_path / "idx"
    nearfar.index(tmp_path / "known.parquet", out=index)
    found = nearfar.calibrate(index, photos, run=run.path, target=["recall=0.9"], resamples=20)
    assert "24 labelled items of 4 classes" in found.sentence
    nearfar.embed(run.path, photos, split="test", out=tmp_path / "held.parquet")
    by_file = nearfar.calibrate(index, tmp_path / "held.parquet", target=["recall=0.9"], resamples=20)
    assert by_file.cuts[0].cut == pytest.approx(found.cuts[0].cut, rel=1e-4)
    answers = nearfar.match(index, str(photos / "test"), run=run.path)
    assert len(answers.matches) == 24
    right = [answer.label == answer.query.split("/")[-2] for answer in answers.matches if answer.known]
    assert len(right) >= 0.8 * 24
    assert np.mean(right) > 0.7
    report = nearfar.evaluate_index(index, photos, run=run.path, timed=3)
    assert report["recall@1"].value > 0.7
    with pytest.raises(DataError, match="add --run with what embedded the index"):
        nearfar.calibrate(index, photos)
