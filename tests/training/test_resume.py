from __future__ import annotations

import random
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboardX.proto.event_pb2 import Event, SessionLog

import nearfar
from nearfar.encoders import fingerprint, load_encoder
from nearfar.errors import ConfigError, RunError
from nearfar.methods import METHODS
from nearfar.training.run import Run
from tests.samples import pictures, timeless, train
from tests.training.killed import data, kill_when, start

CASES: dict[str, dict[str, Any]] = {
    "adamw": {"method": "simclr"},
    "lars, two batches a step": {"method": "simclr", "optimizer": "lars", "accumulate": 2},
    "random draws and a teacher": {"method": "wandering", "accumulate": 2, "optimizer": "sgd"},
}


@pytest.fixture(autouse=True)
def wandering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS.builtin, "wandering", "tests.training.spies:Wandering")


def settings(case: str) -> dict[str, Any]:
    return {"epochs": 3, "batch_size": 8, "checkpoint_seconds": 0.0, **CASES[case]}


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[list[dict[str, Any]], str]]:
    root = tmp_path_factory.mktemp("references")
    METHODS.builtin["wandering"] = "tests.training.spies:Wandering"
    found = {}
    for case in CASES:
        run = train(data(), root / case, **settings(case))
        found[case] = timeless(run), fingerprint(load_encoder(run.path)[0])
    del METHODS.builtin["wandering"]
    return found


def outcome(run: Run) -> tuple[list[dict[str, Any]], str]:
    return timeless(run), fingerprint(load_encoder(run.path)[0])


@pytest.mark.parametrize("case", CASES)
def test_kills_at_random_moments_change_nothing(
    case: str, references: dict[str, tuple[list[dict[str, Any]], str]], tmp_path: Path
) -> None:
    rng = random.Random(case)
    out, done = tmp_path / "run", 0
    total = len(references[case][0])
    for attempt in range(2):
        process = start(out, 0.08, {**settings(case), "resume": attempt > 0})
        goal = rng.randint(done + 1, max(done + 1, (attempt + 1) * total // 3))
        assert kill_when(process, lambda goal=goal: len(Run(out).metrics()) >= goal, delay=rng.random() * 0.08)
        done = len(Run(out).metrics())
        assert not Run(out).finished
    run = train(data(), out, resume=True)
    assert outcome(run) == references[case]


class Stop(Exception):
    """Raised in place of a kill, where the moment has to be exact."""


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("moment", range(1, 15, 3))
def test_a_stop_after_any_batch_changes_nothing(
    case: str,
    moment: int,
    references: dict[str, tuple[list[dict[str, Any]], str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from nearfar.training.module import TrainingModule

    step, count = TrainingModule.training_step, 0

    def stopping(self: TrainingModule, *args: Any) -> torch.Tensor:
        nonlocal count
        count += 1
        if count > moment:
            raise Stop
        return step(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", stopping)
        with pytest.raises(Stop):
            train(data(), tmp_path / "run", **settings(case))
    torch.manual_seed(12345)
    run = train(data(), tmp_path / "run", resume=True)
    assert outcome(run) == references[case]


def test_rows_after_an_older_checkpoint_are_written_again(
    references: dict[str, tuple[list[dict[str, Any]], str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nearfar.training.checkpoints import KeepLast

    save, saved = KeepLast._save, 0

    def four_times(self: KeepLast, trainer: Any) -> None:
        nonlocal saved
        saved += 1
        if saved <= 4:
            save(self, trainer)

    with monkeypatch.context() as patch:
        patch.setattr(KeepLast, "_save", four_times)
        first = train(data(), tmp_path / "run", **settings("adamw"))
    assert torch.load(first.checkpoint, weights_only=True)["global_step"] < first.metrics()[-1]["step"]
    (first.path / "encoder.json").unlink()
    assert outcome(train(data(), first.path, resume=True)) == references["adamw"]


def test_a_run_killed_before_its_first_checkpoint_starts_again(
    references: dict[str, tuple[list[dict[str, Any]], str]], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    slow = {**settings("adamw"), "checkpoint_seconds": 1000.0}
    assert kill_when(start(out, 0.04, slow), lambda: len(Run(out).metrics()) >= 2)
    assert not Run(out).checkpoint.exists()
    (out / "views.png").unlink()
    run = train(data(), out, resume=True)
    assert outcome(run) == references["adamw"]
    assert (out / "views.png").stat().st_size > 0


def test_a_torn_last_line_of_the_metrics_is_mended(
    references: dict[str, tuple[list[dict[str, Any]], str]], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert kill_when(start(out, 0.04, settings("adamw")), lambda: len(Run(out).metrics()) >= 4)
    with Run(out).metrics_path.open("a") as file:
        file.write('{"step": 99, "lo')
    run = train(data(), out, resume=True)
    assert outcome(run) == references["adamw"]


def events(path: Path) -> list[Event]:
    """Read an events file: length (8 bytes), its checksum (4), the event, its checksum (4)."""
    content, found = path.read_bytes(), []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        found.append(Event.FromString(content[12 : 12 + length]))
        content = content[16 + length :]
    return found


def test_tensorboard_is_told_what_a_resumed_run_writes_again(stopped: Path, tmp_path: Path) -> None:
    shutil.copytree(stopped, tmp_path / "run")
    last = int(torch.load(stopped / "checkpoints" / "last.ckpt", weights_only=True)["global_step"])
    run = train(data(), tmp_path / "run", resume=True)
    second = max((run.path / "tensorboard").iterdir(), key=lambda path: path.stat().st_mtime)
    rows = events(second)
    assert rows[1].session_log.status == SessionLog.START
    assert rows[1].step == last + 1
    written = {(event.step, value.tag): value.simple_value for event in rows for value in event.summary.value}
    for row in run.metrics():
        for name in ("loss", "epoch_loss"):
            if row["step"] > last and name in row:
                assert written[row["step"], name] == pytest.approx(row[name])
    assert min(step for step, _ in written) == last + 1


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run that was killed in its second epoch."""
    out = tmp_path_factory.mktemp("stopped") / "run"
    assert kill_when(start(out, 0.04, settings("adamw")), lambda: len(Run(out).metrics()) >= 8)
    assert Run(out).checkpoint.is_file()
    return out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 0.5}, "--resume: lr must be 0.000"),
        ({"epochs": 9}, "--resume: epochs must be 3 as the run was started with, got 9; leave the setting out"),
        ({"epochs": 100}, "--resume: epochs must be 3"),
        ({"method": "supcon"}, "--resume: method must be 'simclr'"),
        ({"method_options": {"temperature": "0.3"}}, "--resume: method-options must be "),
        ({"probe": False}, "--resume: probe must be True"),
    ],
)
def test_settings_that_contradict_a_resumed_run_are_refused(
    changes: dict[str, Any], message: str, stopped: Path
) -> None:
    before = (stopped / "metrics.jsonl").read_bytes()
    with pytest.raises(ConfigError) as caught:
        nearfar.pretrain(data(), out=stopped, resume=True, **changes)
    assert message in str(caught.value)
    assert (stopped / "metrics.jsonl").read_bytes() == before


def test_settings_that_agree_with_a_resumed_run_are_no_contradiction(stopped: Path, tmp_path: Path) -> None:
    shutil.copytree(stopped, tmp_path / "run")
    run = nearfar.pretrain(
        data(), out=tmp_path / "run", resume=True, epochs=3, method="simclr", method_options={"temperature": "0.1"}
    )
    assert run.finished


def test_other_data_are_refused(stopped: Path) -> None:
    with pytest.raises(RunError, match="--resume: data must be the data that the run was started on"):
        nearfar.pretrain(pictures(48)[0], out=stopped, resume=True)
    same_size = data()
    same_size.images = np.ascontiguousarray(same_size.images[::-1])
    with pytest.raises(RunError, match="got other data; give that data, or start another run"):
        nearfar.pretrain(same_size, out=stopped, resume=True)


@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage", "foreign"])
def test_a_damaged_checkpoint_is_one_sentence(damage: str, stopped: Path, tmp_path: Path) -> None:
    shutil.copytree(stopped, tmp_path / "run")
    run = Run(tmp_path / "run")
    whole = run.checkpoint.read_bytes()
    if damage == "foreign":
        torch.save({"weights": torch.zeros(3)}, run.checkpoint)
    else:
        content = {"truncated": whole[: len(whole) // 2], "empty": b"", "garbage": b"\x00" * 1000}[damage]
        run.checkpoint.write_bytes(content)
    before = run.metrics()
    with pytest.raises(RunError, match=r"last\.ckpt: is not a checkpoint") as caught:
        train(data(), run.path, resume=True)
    assert "\n" not in str(caught.value)
    assert run.metrics() == before


def test_a_finished_run_has_nothing_to_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = train(pictures(32)[0], tmp_path / "run", epochs=1)
    before = first.metrics_path.read_bytes()
    again = train(pictures(32)[0], tmp_path / "run", resume=True, epochs=1)
    assert "is finished; nothing to do" in capsys.readouterr().err
    assert again.metrics_path.read_bytes() == before


def test_there_must_be_a_run_to_resume(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"must be a run folder, got one without config\.yaml"):
        train(pictures(32)[0], tmp_path / "none", resume=True)
    assert not (tmp_path / "none").exists()


def test_a_kill_at_the_start_leaves_a_folder_that_can_be_used_again(tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / ".config.yaml.123.tmp").write_text("half")
    assert train(pictures(32)[0], out, epochs=1).finished
