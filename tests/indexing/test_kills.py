"""kill -9 at seeded moments: every acknowledged write is there afterwards, and no half one."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.indexing import places
from tests.indexing.killed import OPERATIONS


def run(backend, operations, moments, folder, seed):
    server = [places.postgres()] if backend == "pgvector" else []
    command = [sys.executable, "-W", "ignore", "-m", "tests.indexing.killed"]
    arguments = [backend, ",".join(operations), str(moments), str(folder), str(seed), *server]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=1200, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert done.returncode == 0, done.stderr[-3000:]
    problems = [line for line in lines if line.get("problem") is not None]
    assert not problems, (problems, done.stderr[-2000:])
    assert len(lines) == (moments + 1) * len(operations)
    return sum(line["acknowledged"] for line in lines if "operation" in line)


@pytest.mark.parametrize(
    ("backend", "operations"), [("lance", OPERATIONS[:3]), ("pgvector", OPERATIONS[:1]), ("milvus", OPERATIONS[:1])]
)
def test_killed_at_a_few_moments(backend, operations, tmp_path):
    run(backend, operations, 1, tmp_path, 1)


@pytest.mark.slow
@pytest.mark.timeout(1300)
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("backend", places.LASTING)
def test_killed_at_many_moments(backend, operation, tmp_path):
    acknowledged = run(backend, [operation], 20, tmp_path, 2)
    assert operation == "build" or acknowledged > 0
