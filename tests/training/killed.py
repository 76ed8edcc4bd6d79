"""Runs in processes of their own, to be killed: forked from a server that has imported everything already."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nearfar.data import ArraySource
from nearfar.methods import METHODS
from tests.samples import pictures, train

PRELOADED = ["nearfar.training.fit", "nearfar.pipeline.pretrain", "nearfar.methods.simclr", "nearfar.views.cpu"]

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(PRELOADED)


class Slow(ArraySource):
    """Partly labelled pictures that take their time, so that there is a moment to kill in."""

    seconds = 0.0

    def read_many(self, indices: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return (M, H, W, C) images, after a while."""
        time.sleep(self.seconds)
        return super().read_many(indices)


def data(seconds: float = 0.0) -> Slow:
    """Return 40 pictures, a third of them without a label."""
    images, labels = pictures(40)
    source = Slow(images, np.where(np.arange(40) % 3 == 0, -1, labels))
    source.seconds = seconds
    return source


def body(out: str, seconds: float, changes: dict[str, Any]) -> None:
    """Train in this process."""
    torch.set_num_threads(1)
    METHODS.builtin["wandering"] = "tests.training.spies:Wandering"
    train(data(seconds), Path(out), **changes)


def start(out: Path, seconds: float, changes: dict[str, Any]) -> BaseProcess:
    """Start a run in another process."""
    process = context.Process(target=body, args=(str(out), seconds, changes))
    process.start()
    return process


def wait_until(process: BaseProcess, due: Callable[[], bool], *, patience: float = 120.0) -> None:
    """Wait until something is due, or the process has ended."""
    end = time.monotonic() + patience
    while process.is_alive() and not due():
        assert time.monotonic() < end, "the process did not get so far"
        time.sleep(0.005)


def kill_when(process: BaseProcess, due: Callable[[], bool], *, delay: float = 0.0) -> bool:
    """Kill a process with SIGKILL once ``due``; return whether it was still running."""
    wait_until(process, due)
    time.sleep(delay)
    running = process.is_alive()
    process.kill()
    process.join()
    return running


def prepare() -> None:
    """Let the server import everything while other tests run."""
    from multiprocessing import forkserver

    forkserver.ensure_running()
