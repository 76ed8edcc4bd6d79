"""Two processes on one machine, as torchrun starts them and as ``--devices 2`` does."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from nearfar.distributed import launched_rank
from nearfar.encoders import fingerprint, load_encoder
from nearfar.errors import ConfigError
from nearfar.methods import METHODS
from nearfar.training.run import Run
from tests.samples import timeless, train, write_folder
from tests.training import killed

SETTINGS: dict[str, Any] = {"method": "spy", "epochs": 2, "batch_size": 8, "log_every": 1}


def on_rank(rank: int, port: int, out: str, seconds: float, changes: dict[str, Any]) -> None:
    """Be one of two processes, told so by the environment."""
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), NODE_RANK="0", WORLD_SIZE="2", MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )  # fmt: skip
    METHODS.builtin["spy"] = "tests.training.spies:Spy"
    killed.body(out, seconds, changes)


def start(out: Path, changes: dict[str, Any], seconds: float = 0.0) -> list[BaseProcess]:
    """Start two ranks."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = [(rank, port, str(out), seconds, changes) for rank in range(2)]
    processes: list[BaseProcess] = [killed.context.Process(target=on_rank, args=each) for each in arguments]
    for process in processes:
        process.start()
    return processes


def both(out: Path, changes: dict[str, Any]) -> Run:
    """Train on two ranks to the end."""
    for process in start(out, changes):
        process.join(120)
        alive = process.is_alive()
        process.kill()
        assert not alive, "the ranks wait for each other"
        assert process.exitcode == 0
    return Run(out)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return both(tmp_path_factory.mktemp("ranks") / "two", {**SETTINGS, "devices": 2})


def test_partly_labelled_data_do_not_hang_and_metrics_are_written_once(two: Run) -> None:
    steps = [row["step"] for row in two.metrics() if "loss" in row]
    assert steps == list(range(1, 11))
    epochs = [row for row in two.metrics() if "epoch_loss" in row]
    assert [row["step"] for row in epochs] == [5, 10]
    assert 0 <= epochs[-1]["probe_accuracy"] <= 1
    assert 0 <= epochs[-1]["knn_accuracy"] <= 1
    assert len(list((two.path / "tensorboard").glob("events.*"))) == 1
    assert not list(two.path.rglob("*.tmp"))


def test_the_batch_of_all_ranks_is_that_of_one_process(
    two: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS.builtin, "spy", "tests.training.spies:Spy")
    one = train(killed.data(), tmp_path / "one", **SETTINGS)
    alone, together = ([row for row in run.metrics() if "loss" in row] for run in (one, two))
    assert [row["rows"] for row in together] == [4.0] * 10
    assert [row["rows"] for row in alone] == [8.0] * 10
    assert [row["ids"] * 2 for row in together] == [row["ids"] for row in alone]  # a rank's mean against the sum
    assert [row["lr"] for row in together] == [row["lr"] for row in alone]


def test_the_encoder_is_written_once_and_can_be_read(two: Run) -> None:
    assert two.finished
    encoder, spec = load_encoder(two.path)
    card = json.loads((two.path / "encoder.json").read_text())
    assert fingerprint(encoder) == card["fingerprint"]
    assert spec.dim == 32
    assert two.config()["devices"] == 2


def test_two_killed_ranks_resume_bit_for_bit(two: Run, tmp_path: Path) -> None:
    out = tmp_path / "run"
    processes = start(out, {**SETTINGS, "devices": 2, "checkpoint_seconds": 0.0}, seconds=0.05)
    assert killed.kill_when(processes[0], lambda: len(Run(out).metrics()) >= 4)
    processes[1].kill()
    processes[1].join()
    assert Run(out).checkpoint.is_file()
    assert not Run(out).finished
    again = both(out, {"resume": True})
    assert timeless(again) == timeless(two)
    assert fingerprint(load_encoder(out)[0]) == fingerprint(load_encoder(two.path)[0])


def test_another_number_of_ranks_cannot_resume(two: Run, tmp_path: Path) -> None:
    shutil.copytree(two.path, tmp_path / "run")
    (tmp_path / "run" / "encoder.json").unlink()
    with pytest.raises(ConfigError, match="--resume: devices must be 2 as the run was started with, got 1"):
        train(killed.data(), tmp_path / "run", resume=True, devices=1)


@pytest.mark.parametrize(
    ("environment", "rank"),
    [
        ({}, 0),
        ({"RANK": "3", "LOCAL_RANK": "1"}, 3),
        ({"LOCAL_RANK": "1", "NODE_RANK": "0"}, 1),
        ({"LOCAL_RANK": "0", "NODE_RANK": "0"}, 0),
        ({"NODE_RANK": "2"}, 2),
        ({"SLURM_PROCID": "5"}, 5),
    ],
)
def test_the_rank_is_known_from_any_launcher(
    environment: dict[str, str], rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert launched_rank() == rank


@pytest.mark.slow
def test_devices_2_starts_two_processes_itself(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", 48)
    arguments = (
        f"pretrain {data} --out {tmp_path / 'run'} --devices 2 --accelerator cpu --batch-size 16 --epochs 2 "
        "--encoder-options.width 4 --precision 32-true --threads 1 --log-every 1"
    ).split()
    program = Path(sys.executable).with_name("nearfar")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("done: ") == 1
    run = Run(tmp_path / "run")
    assert run.finished
    assert [row["step"] for row in run.metrics() if "loss" in row] == list(range(1, 7))
