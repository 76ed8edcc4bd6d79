from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nearfar.data import ArraySource
from nearfar.errors import RunError
from nearfar.methods import METHODS
from nearfar.training.checkpoints import AtomicCheckpoints
from nearfar.training.fit import resolve_devices
from nearfar.training.precision import choose_precision
from nearfar.training.probes import FeatureBank, OnlineProbe, collapse_signs, collapse_warning
from tests.samples import limited_files, pictures, timeless, train
from tests.training.spies import Constant, LabelSpy, Spy


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> type[Spy]:
    monkeypatch.setitem(METHODS.builtin, "spy", "tests.training.spies:Spy")
    monkeypatch.setitem(METHODS.builtin, "label-spy", "tests.training.spies:LabelSpy")
    for kind in (Spy, LabelSpy):
        monkeypatch.setattr(kind, "seen", [])
        monkeypatch.setattr(kind, "moves", [])
    return Spy


def labelled(count: int = 48) -> ArraySource:
    return ArraySource(*pictures(count))


def test_labels_never_reach_a_self_supervised_method(spy: type[Spy], tmp_path: Path) -> None:
    run = train(labelled(), tmp_path / "run", method="spy", epochs=1)
    assert [batch.labels for batch in spy.seen] == [None] * 3
    assert "probe_accuracy" in run.metrics()[-1]


def test_labels_reach_a_supervised_method(spy: type[Spy], tmp_path: Path) -> None:
    data = labelled()
    train(data, tmp_path / "run", method="label-spy", epochs=1)
    for batch in LabelSpy.seen:
        assert batch.labels is not None
        assert batch.ids is not None
        assert data.labels is not None
        assert batch.labels.tolist() == data.labels[batch.ids.numpy()].tolist()


def test_without_probes_nothing_is_measured_by_labels(tmp_path: Path) -> None:
    run = train(labelled(), tmp_path / "run", probe=False, epochs=1)
    assert not {"probe_loss", "probe_accuracy", "knn_accuracy"} & set(run.metrics()[-1])


def test_probes_do_not_change_the_training(tmp_path: Path) -> None:
    with_probes = train(labelled(), tmp_path / "with")
    without = train(labelled(), tmp_path / "without", probe=False)
    losses = [[row["loss"] for row in run.metrics() if "loss" in row] for run in (with_probes, without)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize(("accumulate", "steps"), [(1, 5), (2, 3), (5, 1), (7, 1)])
def test_accumulation_moves_weights_and_teachers_once_per_optimiser_step(
    accumulate: int, steps: int, spy: type[Spy], tmp_path: Path
) -> None:
    run = train(labelled(40), tmp_path / "run", method="spy", batch_size=8, accumulate=accumulate, epochs=2)
    assert len(spy.seen) == 2 * 5
    assert len(spy.moves) == 2 * steps
    assert spy.moves[-1] == 1.0
    assert spy.moves == sorted(spy.moves)
    assert [row["step"] for row in run.metrics() if "loss" in row] == list(range(1, 2 * steps + 1))
    assert torch.load(run.checkpoint, weights_only=True)["global_step"] == 2 * steps


def test_two_accumulated_batches_give_the_gradient_of_their_mean(spy: type[Spy], tmp_path: Path) -> None:
    class Linear(torch.nn.Module):
        dim = 3

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(3)
            self.linear = torch.nn.Linear(64, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x.flatten(1))  # type: ignore[no-any-return]

    module, reference = Linear(), Linear()
    settings: dict[str, Any] = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "lr": 0.5, "warmup_epochs": 0}
    train(labelled(16), tmp_path / "run", method="spy", module=module, batch_size=8, accumulate=2, epochs=1, **settings)
    losses = [(reference(a) - reference(b)).square().mean() for a, b in (batch.views for batch in spy.seen)]
    torch.stack(losses).mean().backward()  # type: ignore[no-untyped-call]
    assert reference.linear.weight.grad is not None
    expected = reference.linear.weight.detach() - 0.5 * reference.linear.weight.grad
    torch.testing.assert_close(module.linear.weight.detach(), expected, rtol=1e-5, atol=1e-7)


def test_clipping_bounds_the_step(spy: type[Spy], tmp_path: Path) -> None:
    from nearfar.encoders import build

    def moved(clip: float | None, name: str) -> float:
        torch.manual_seed(0)
        encoder = build("small", in_channels=1, image_size=8, options={"width": 4})[0]
        before = torch.cat([p.detach().flatten().clone() for p in encoder.parameters()])
        settings: dict[str, Any] = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "lr": 1.0}
        train(
            labelled(16),
            tmp_path / name,
            method="spy",
            module=encoder,
            epochs=1,
            clip=clip,
            warmup_epochs=0,
            **settings,
        )
        after = torch.cat([p.detach().flatten() for p in encoder.parameters()])
        return float((after - before).norm())

    assert moved(1e-3, "clipped") == pytest.approx(1e-3, rel=0.01)
    assert moved(None, "free") > 1e-2


def test_a_loss_that_is_not_finite_stops_with_one_sentence(spy: type[Spy], tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"training: the loss must be finite, got nan at step \d+; lower --lr") as caught:
        train(labelled(), tmp_path / "run", method="spy", method_options={"breaks_at": 4}, checkpoint_seconds=0)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "encoder.json").exists()
    kept = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert all(torch.isfinite(value).all() for value in kept["state_dict"].values())


def test_a_collapsed_encoder_is_warned_of_in_words(
    spy: type[Spy], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(labelled(), tmp_path / "run", method="spy", module=Constant())
    said = capsys.readouterr().err
    assert said.count("the representations are nearly all equal") == 1
    assert "collapse" in said
    assert run.metrics()[-1]["feature_std"] < 0.05


def test_the_signs_of_collapse_have_their_closed_forms() -> None:
    spread = torch.eye(8)
    assert collapse_signs(spread)["effective_rank"] == pytest.approx(8.0, rel=1e-3)
    line = torch.tensor([[1.0, 0.0], [-1.0, 0.0]] * 4)
    assert collapse_signs(line)["effective_rank"] == pytest.approx(1.0, rel=1e-3)
    assert "directions only" in (collapse_warning(collapse_signs(line)) or "")
    torch.manual_seed(0)
    fine = collapse_signs(torch.randn(4096, 8))
    assert fine["feature_std"] == pytest.approx(1.0, abs=0.02)
    assert collapse_warning(fine) is None
    zeros = collapse_signs(torch.zeros(4, 3))
    assert all(np.isfinite(value) for value in zeros.values())


def test_the_probe_scores_before_it_learns_and_learns() -> None:
    torch.manual_seed(0)
    probe, twin = OnlineProbe(4, 2), OnlineProbe(4, 2)
    features = torch.randn(64, 4)
    labels = (features[:, 0] > 0).long()
    twin.load_state_dict(probe.state_dict())
    loss, right = probe.learn(features, labels)
    twin.norm.train()
    logits = twin.linear(twin.norm(features))
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits, labels).detach())
    assert int(right) == int((logits.argmax(dim=1) == labels).sum())
    for _ in range(100):
        last, right = probe.learn(features, labels)
    assert float(last) < 0.5 * float(loss)
    assert int(right) > 60


def test_the_bank_scores_by_what_came_before_and_forgets_the_oldest() -> None:
    bank = FeatureBank(2, 2, size=4)
    first = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert bank.score(first, torch.tensor([0, 1])) is None
    assert int(bank.score(first * 3, torch.tensor([0, 1]))) == 2  # type: ignore[arg-type]
    assert int(bank.filled) == 4
    assert int(bank.score(first, torch.tensor([1, 0]))) == 0  # type: ignore[arg-type]
    assert bank.labels.tolist() == [1, 0, 0, 1]
    many = torch.randn(9, 2)
    bank.score(many, torch.zeros(9, dtype=torch.int64))
    assert bank.labels.tolist() == [0] * 4


def test_a_full_disk_at_a_checkpoint_keeps_the_last_one(tmp_path: Path) -> None:
    path, io = tmp_path / "last.ckpt", AtomicCheckpoints()
    io.save_checkpoint({"step": 1, "x": torch.zeros(10)}, path)
    with limited_files(20_000), pytest.raises(RunError, match=r"last\.ckpt: .*cannot be written.*free some space"):
        io.save_checkpoint({"step": 2, "x": torch.randn(50_000)}, path)
    assert io.load_checkpoint(path)["step"] == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_full_disk_while_training_is_one_sentence_and_the_run_goes_on_later(tmp_path: Path) -> None:
    whole = train(labelled(), tmp_path / "whole")
    size = whole.checkpoint.stat().st_size
    with limited_files(size // 2), pytest.raises(RunError, match="free some space") as caught:
        train(labelled(), tmp_path / "run", checkpoint_seconds=0)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "encoder.json").exists()
    assert not list((tmp_path / "run").rglob("*.tmp"))
    resumed = train(labelled(), tmp_path / "run", checkpoint_seconds=0, resume=True)
    assert timeless(resumed) == timeless(whole)


def test_metrics_that_cannot_be_written_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nearfar.training.run import Run

    monkeypatch.setattr(Run, "metrics_path", property(lambda self: Path("/dev/full")))
    with pytest.raises(RunError, match=r"/dev/full: cannot be written \(No space left on device\)"):
        train(labelled(), tmp_path / "run")


def test_checkpoints_are_read_without_pickle(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    torch.save({"bad": Spy}, path)
    with pytest.raises(RunError, match="is not a checkpoint that can be resumed") as caught:
        AtomicCheckpoints().load_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_devices_and_precision_resolve_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_devices("auto", None) == ("cpu", 1)
    assert resolve_devices("cpu", 3) == ("cpu", 3)
    with pytest.raises(Exception, match="devices must be <= 0, the GPUs found here"):
        resolve_devices("gpu", None)
    assert choose_precision("16-mixed", "cpu") == "16-mixed"
    monkeypatch.setattr("nearfar.training.precision._cpu_has_bf16", lambda: True)
    assert choose_precision("auto", "cpu") == "bf16-mixed"
    monkeypatch.setattr("nearfar.training.precision._cpu_has_bf16", lambda: False)
    assert choose_precision("auto", "cpu") == "32-true"


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_other_precisions_train(precision: str, tmp_path: Path) -> None:
    run = train(labelled(), tmp_path / "run", precision=precision, epochs=1)
    assert np.isfinite(run.metrics()[-1]["epoch_loss"])
    assert json.loads((run.path / "encoder.json").read_text())["spec"]["dim"] == 32
