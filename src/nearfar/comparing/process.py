"""Running one piece of a comparison in a fresh Python process, which never outlives this one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nearfar
from nearfar.errors import NearfarError, RunError
from nearfar.progress import stderr

__all__ = ["ChildError", "run_child"]


class ChildError(RunError):
    """What went wrong in the other process, in its own words; ``kind`` is the name of the error there."""

    def __init__(self, text: str, kind: str) -> None:
        super().__init__(text)
        self.kind = kind


def run_child(job: Mapping[str, Any]) -> dict[str, Any]:
    """Do a job of `nearfar.comparing.child` in a process of its own and return what it returns.

    The child's standard input stays open as long as this process lives: however this one ends, the child sees the end
    of its input and ends as well. Ctrl-C does not reach the child's session; it is ended from here. Ending is a kill:
    everything a run leaves behind is written so that it survives one.

    Args:
        job: plain values; ``kind`` says which job.

    Raises:
        ChildError: when the job raises an error of nearfar.
        RunError: when the process ends without an answer.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "nearfar.comparing.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,  # a child that is gone already leaves nothing to flush, which closing would try again
        env=_environment(),
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin as questions, process.stdout as answers:
        try:
            with contextlib.suppress(BrokenPipeError):
                questions.write(json.dumps(job).encode() + b"\n")
            said = answers.read()
            code = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            stderr.show_cursor(True)  # which a progress bar had hidden
            raise
    return _answer(said, code, str(job.get("name", job["kind"])))


def _answer(said: bytes, code: int, name: str) -> dict[str, Any]:
    try:
        answer = json.loads(said)
    except ValueError:
        fix = "the same command goes on from there"
        raise RunError(f"{name}: its process ended without an answer ({_ended(code)}); {fix}") from None
    if "error" in answer:
        raise ChildError(answer["error"], answer["kind"])
    return dict(answer["done"])


def _ended(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    with contextlib.suppress(ValueError):
        hint = ", which is how a machine without memory ends processes" if code == -signal.SIGKILL else ""
        return f"{signal.Signals(-code).name}{hint}"
    return f"signal {-code}"


def _environment() -> dict[str, str]:
    """Let the child import the same nearfar, wherever this one was found."""
    package = nearfar.__file__
    if package is None:
        raise NearfarError("compare: nearfar must be imported from a folder; install it")
    paths = [str(Path(package).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
