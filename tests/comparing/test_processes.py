"""What only other processes can show."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from nearfar.comparing import process as children
from nearfar.comparing import work
from nearfar.comparing.process import ChildError, run_child
from nearfar.errors import RunError
from nearfar.training.run import Run
from tests.comparing.here import Stop, again
from tests.training import killed, programs


def test_the_peak_of_a_process_is_its_own() -> None:
    ballast = np.ones(300 << 17)  # 300 MiB that a child's getrusage would begin with
    code = "from nearfar.pipeline.memory import peak_memory_mib as peak; a = bytearray(60 << 20); print(peak())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ballast[-1] == 1
    assert 60 < float(done.stdout) < 200


def test_a_process_answers_or_says_why_not(data: Path, tmp_path: Path) -> None:
    job = {"kind": "pretrain", "name": "simclr, seed 0", "data": str(data), "folder": str(tmp_path),
           "settings": {"methods": ["simclr"], "batch_size": 500}, "config": {}}  # fmt: skip
    with pytest.raises(ChildError, match=r"batch-size must be <= 120, the number of training images, got 500"):
        run_child(job)


@pytest.mark.parametrize("kind", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_nothing_goes_on_when_the_command_is_stopped(
    kind: signal.Signals, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed.prepare()
    out, log = tmp_path / "out", tmp_path / "log"
    arguments = [
        "compare", str(data), "--methods", "simclr", "supcon", "--out", str(out), "--budget", "100000epochs",
        "--seeds", "1", "--batch-size", "32", "--encoder-options.width", "4", "--accelerator", "cpu",
        "--precision", "32-true", "--threads", "1",
    ]  # fmt: skip
    process = killed.context.Process(target=programs.command, args=(arguments, str(log)))
    process.start()
    run = Run(out / "runs" / "simclr-0")
    killed.wait_until(process, lambda: len(run.metrics()) >= 2)
    assert process.pid is not None
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    os.kill(process.pid, kind)
    process.join(60)
    gone, alive = psutil.wait_procs(children, timeout=30)
    for child in alive:
        child.kill()
    process.kill()
    process.join()
    assert not alive
    assert len(gone) == len(children)
    if kind == signal.SIGINT:
        said = programs.said(log)
        assert process.exitcode == 130, said
        assert "Traceback" not in said
        assert said.strip().splitlines()[-1].startswith("error: stopped; ")
    assert not run.finished

    def stop(job: Mapping[str, Any]) -> dict[str, Any]:
        assert job["name"] == "simclr, seed 0"
        raise Stop

    monkeypatch.setattr(work, "run_child", stop)
    with pytest.raises(Stop):  # the same command goes on with the same run
        again(data, out, budget="100000epochs", seeds=1)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise SystemExit(3)", r"process ended without an answer \(exit status 3\); the same command goes on"),
        ("import os; os.kill(os.getpid(), 9)", r"job: .* \(SIGKILL, which is how a machine without memory ends"),
        ("print('no JSON')", r"job: its process ended without an answer \(exit status 0\)"),
    ],
)  # fmt: skip
def test_a_process_without_an_answer_is_one_sentence(code: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    popen = subprocess.Popen
    monkeypatch.setattr(children.subprocess, "Popen", lambda _, **more: popen([sys.executable, "-c", code], **more))
    with pytest.raises(RunError, match=said):
        run_child({"kind": "job"})
