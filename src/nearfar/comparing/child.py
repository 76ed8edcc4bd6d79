"""What runs in a process of its own: ``python -m nearfar.comparing.child`` with a job on standard input.

The job is one line of JSON, the answer is JSON on standard output, all else goes to standard error. When standard input
ends, the process that asked is gone, and this one goes too.
"""

from __future__ import annotations

import json
import os
import select
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nearfar.comparing.folder import Folder, write_json
from nearfar.comparing.parts import Parts, open_parts
from nearfar.comparing.settings import CompareConfig
from nearfar.config import from_mapping
from nearfar.errors import NearfarError
from nearfar.pipeline.data import limit_source
from nearfar.pipeline.memory import peak_gpu_mib, peak_memory_mib
from nearfar.pipeline.pretrain import pretrain
from nearfar.pipeline.settings import PretrainConfig

__all__ = ["JOBS"]


def memory() -> dict[str, float | None]:
    """Return the peaks of this process: its own memory, and what its tensors took of the GPU's."""
    return {"peak_mib": peak_memory_mib(), "gpu_mib": peak_gpu_mib()}


def _pretrain(job: Mapping[str, Any]) -> dict[str, Any]:
    """Pretrain one run, or go on with it, and write down what memory it took."""
    parts, config, folder = _opened(job)
    run = folder.run(config.method, config.seed)
    if run.path.joinpath("config.yaml").is_file():
        pretrain(parts.train, out=run.path, resume=True)
    else:
        pretrain(parts.train, out=run.path, config=config)
    write_json(folder.cost(config.method, config.seed), memory())
    return {}


def _probe(job: Mapping[str, Any]) -> dict[str, Any]:
    """Pretrain for a moment on some of the items, into a folder that is thrown away."""
    parts, config, _ = _opened(job)
    run = pretrain(limit_source(parts.train, job["items"], seed=0), out=job["out"], config=config, overwrite=True)
    return {"seconds": [row["seconds"] for row in run.metrics() if "epoch_loss" in row]}


def _scratch(job: Mapping[str, Any]) -> dict[str, Any]:
    """Train on labels alone, all of them and few."""
    from nearfar.comparing.scratch import scratch_report

    parts, config, folder = _opened(job)
    return scratch_report(parts, config, folder.scratch(config.seed), seconds=job["seconds"], memory=memory)


JOBS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "pretrain": _pretrain,
    "probe": _probe,
    "scratch": _scratch,
}


def _opened(job: Mapping[str, Any]) -> tuple[Parts, PretrainConfig, Folder]:
    settings = from_mapping(CompareConfig, job["settings"], "compare")
    return (
        open_parts(job["data"], settings),
        from_mapping(PretrainConfig, job["config"], "compare"),
        Folder(Path(job["folder"])),
    )


def main() -> None:
    """Do the job."""
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever prints must not come between the answer's lines
    line = _first_line()
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    try:
        job = json.loads(line)
        answer: dict[str, Any] = {"done": JOBS[job["kind"]](job)}
    except NearfarError as error:
        answer = {"error": str(error), "kind": type(error).__name__}
    except OSError as error:
        text = f"{error.filename or 'nearfar'}: {error.strerror or error}"
        answer = {"error": text, "kind": "RunError"}
    with os.fdopen(answers, "w", encoding="utf-8") as file:
        json.dump(answer, file)


def _first_line() -> bytes:
    """Read a line from the bare descriptor: a thread that waits in a buffered reader could not be left behind."""
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(0, 1 << 16)
        if not part:
            sys.exit(1)
        line += part
    ready, _, _ = select.select([0], [], [], 0)
    if ready:  # nothing follows a job but the end
        sys.exit(1)
    return line


def _end_with_the_parent() -> None:
    while os.read(0, 1 << 16):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
