from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nearfar.data import ArraySource, Loader
from nearfar.encoders import build, fingerprint, load_encoder
from nearfar.errors import ConfigError, DataError, RunError
from nearfar.fewlabels.loop import Device
from nearfar.fewlabels.objectives import Distilled
from nearfar.fewlabels.predictor import Predictor, load_predictor
from nearfar.training.run import Run
from tests.fewlabels.here import Stop, distil, same_weights, stop_at, tune
from tests.samples import pictures


@pytest.fixture(scope="module")
def teacher(run: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tune(run, data, tmp_path_factory.mktemp("teacher") / "out", per_class=6, least_steps=20, lr=0.5).path


def test_a_student_learns_without_labels(teacher: Path, data: Path, tmp_path: Path) -> None:
    before = fingerprint(load_predictor(teacher)[0])
    found = distil(teacher, data, tmp_path / "out")
    assert [one.name for one in found.scores] == ["top-1"]
    assert found.labels == {str(n): 0 for n in range(4)}
    config = Run(found.path).config()
    assert config["temperature"] == 0.1
    assert fingerprint(load_predictor(teacher)[0]) == before
    assert config["pretrained_views"] == "gray"
    assert distil(found.path, data, tmp_path / "next").scores  # a student may teach


def test_a_smaller_student_has_another_temperature(teacher: Path, data: Path, tmp_path: Path) -> None:
    found = distil(teacher, data, tmp_path / "out", student="small", student_options={"width": 2})
    assert Run(found.path).config()["temperature"] == 1.0
    assert load_encoder(found.path)[1].dim == 16


def test_a_student_may_begin_from_a_run(teacher: Path, run: Path, data: Path, tmp_path: Path) -> None:
    found = distil(teacher, data, tmp_path / "out", student=str(run), lr=1e-12)
    weights, before = (dict(load_encoder(path)[0].named_parameters()) for path in (found.path, run))
    assert all(torch.allclose(weights[name], before[name], atol=1e-6) for name in before)


def test_fixed_views_keep_the_teachers_answers(teacher: Path, data: Path, tmp_path: Path) -> None:
    found = distil(teacher, data, tmp_path / "out", views="fixed")
    with np.load(found.path / "teacher-logits.npz") as saved, np.load(data) as arrays:
        outputs, images = saved["outputs"], arrays["train_images"]
    model, _, inputs, _ = load_predictor(teacher)
    view = inputs.make_views(images, [inputs.evaluation_view()], np.random.default_rng(0))[0]
    with torch.inference_mode():
        assert np.allclose(model(view).numpy(), outputs, atol=1e-5)


@pytest.mark.parametrize("changes", [{}, {"views": "fixed"}, {"labelled_weight": 0.3, "per_class": 3}])
def test_a_kill_changes_nothing(
    teacher: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    changes = {"epochs": 2, **changes}
    whole = distil(teacher, data, tmp_path / "whole", **changes)
    with monkeypatch.context() as patch:
        stop_at(patch, 4)
        with pytest.raises(Stop):
            distil(teacher, data, tmp_path / "killed", **changes)
    again = distil(teacher, data, tmp_path / "killed", resume=True)
    assert same_weights(whole.path, again.path)
    assert Run(whole.path).metrics() == Run(again.path).metrics()
    assert len(Run(whole.path).metrics()) == 6


class Recorder(Predictor):
    """A model that keeps what it was shown, and in which mode."""

    def __init__(self) -> None:
        encoder, _ = build("small", in_channels=1, image_size=8, options={"width": 2})
        super().__init__(encoder, nn.Sequential(), 3)
        nn.init.normal_(self.classifier.weight)
        self.seen: list[tuple[Tensor, bool, Tensor]] = []

    def forward(self, x: Any) -> Tensor:
        outputs = super().forward(x)
        self.seen.append((x, self.training, outputs.detach()))
        return outputs


@pytest.mark.parametrize("tau", [0.1, 1.0])
def test_the_loss_is_equation_2_on_the_same_crop(tau: float) -> None:
    images, _ = pictures(8)

    def crop(items: Any, rng: np.random.Generator) -> list[Tensor]:
        noise = rng.normal(size=items.shape).astype(np.float32)
        return [torch.from_numpy(noise).permute(0, 3, 1, 2)]

    torch.manual_seed(0)
    student, teacher = Recorder(), Recorder()
    loader = Loader(ArraySource(images), crop, batch_size=8, threads=0)
    objective = Distilled(student, Device("cpu", "32-true"), loader, teacher, temperature=tau)
    objective.begin(0)
    objective.train()
    loss, _ = objective.loss(0)
    (seen, mode, s), (other, teaching, t) = student.seen[0], teacher.seen[0]
    assert torch.equal(seen, other)
    assert mode
    assert not teaching
    expected = 0.0
    for row in range(8):
        p = np.exp(t[row].double().numpy() / tau)
        q = np.exp(s[row].double().numpy() / tau)
        expected -= float((p / p.sum() * np.log(q / q.sum())).sum()) / 8
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert all(p.grad is not None for p in student.parameters())
    teacher.train()
    with pytest.raises(RunError, match="the teacher must be in eval mode"):
        objective.loss(1)


def test_a_teacher_with_other_classes(teacher: Path, tmp_path: Path) -> None:
    images, labels = pictures(48)
    np.savez(tmp_path / "other.npz", train_images=images, train_labels=labels + 2, test_images=images,
             test_labels=labels + 2)  # fmt: skip
    with pytest.raises(DataError, match=r"must be one that knows all classes of the data, '4', '5' among them"):
        distil(teacher, tmp_path / "other.npz", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_cannot_teach(run: Path, data: Path, teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="run must be one with a classifier, got none; give the --out of nearfar"):
        distil(run, data, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"labelled_weight must be in \[0, 1\), got 1"):
        distil(teacher, data, tmp_path / "out", labelled_weight=1)
    with pytest.raises(ConfigError, match="encoder"):
        distil(teacher, data, tmp_path / "out", student="smal")
    assert not (tmp_path / "out").exists()


def test_unlabelled_data_are_enough(teacher: Path, tmp_path: Path) -> None:
    images, _ = pictures(32)
    np.save(tmp_path / "images.npy", images)
    found = distil(teacher, tmp_path / "images.npy", tmp_path / "out", test_split="none")
    assert found.scores == []
    assert found.text() == "nothing was scored: no test items, or none with labels"
