"""The three phases in a process of their own, killed in each of them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from nearfar.training.run import Run
from tests.fewlabels.here import same_weights
from tests.fewlabels.test_semi import SETTINGS

PROGRAM = """
import json, sys
import torch
import nearfar
torch.set_num_threads(1)
given = json.loads(sys.argv[1])
nearfar.semi(given.pop("data"), out=given.pop("out"), **given)
"""


def process(settings: dict[str, Any]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, json.dumps(settings)], stderr=subprocess.DEVNULL)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_real_kill_in_each_phase_changes_nothing(data: Path, tmp_path: Path) -> None:
    long = {name: {**SETTINGS[name]} for name in ("pretrain", "finetune", "distill")}
    long["pretrain"] |= {"epochs": 40, "checkpoint_seconds": 0.0}
    long["finetune"]["least_steps"] = 60
    long["distill"]["epochs"] = 30
    settings = {**SETTINGS, **long, "data": str(data), "per_class": 3, "pseudo_labels": ["none"]}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert process({**settings, "out": str(whole)}).wait() == 0
    for phase in ("pretrained", "3-per-class-0/finetuned", "3-per-class-0/distilled", "3-per-class-0/scratch"):
        running = process({**settings, "out": str(killed)})
        checkpoint = killed / phase / "checkpoints" / "last.ckpt"
        while not checkpoint.is_file() and running.poll() is None:
            time.sleep(0.005)
        running.kill()
        running.wait()
        assert checkpoint.is_file(), phase
        assert not (killed / phase / "encoder.json").is_file(), phase
    assert process({**settings, "out": str(killed)}).wait() == 0
    for phase in ("finetuned", "distilled", "scratch"):
        one, two = (folder / "3-per-class-0" / phase for folder in (whole, killed))
        assert same_weights(one, two), phase
        assert Run(one).metrics() == Run(two).metrics()
    first, second = (json.loads((folder / "results.json").read_text())["rows"] for folder in (whole, killed))
    assert first == second
