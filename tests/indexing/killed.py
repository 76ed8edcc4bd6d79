"""Writers that are killed at seeded moments, and whether what they acknowledged is there afterwards.

Run as a program: BACKEND OPERATION,... MOMENTS FOLDER SEED [SERVER]. It imports everything once and then forks: a child
writes and is killed, another opens the index and looks. Prints one line of JSON per moment, and a sum per operation.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
import traceback
from pathlib import Path

import numpy as np

ROWS, DIM = 40, 8
OPERATIONS = ("add", "upsert", "optimise", "build")
PARQUET_ROWS = 6000
LONGEST_S = 0.35


def vectors(step):
    rng = np.random.default_rng(step)
    return rng.normal(size=(ROWS, DIM)).astype(np.float32)


def batch(step):
    return [f"{step}-{row}" for row in range(ROWS)], vectors(step), [str(step)] * ROWS, [{"step": step}] * ROWS


def options(backend, server):
    return {"lance": {"kind": "ivf"}, "pgvector": {"server": server}, "milvus": {}}[backend]


def opened(backend, folder, server):
    from nearfar.indexing import create, open_index

    if (folder / "index.json").exists():
        return open_index(folder)
    return create(DIM, backend=backend, path=folder, **options(backend, server))


def say(value):
    os.write(1, f"{value}\n".encode())


def write(backend, operation, folder, first, server):
    """Write for ever; every line is acknowledged work."""
    if operation == "build":
        build(backend, folder, server)
        return
    index = opened(backend, folder, server)
    say("ready")
    for step in range(first, first + 100_000):
        ids, x, labels, metadata = batch(step)
        if operation == "upsert":
            index.upsert([f"u{row}" for row in range(ROWS)], x, labels, metadata)
        else:
            index.add(ids, x, labels, metadata)
        if operation == "optimise":
            index.optimise()
        say(step)


def build(backend, folder, server):
    import nearfar.pipeline.index as module

    module.BATCH = 250
    where = {"server": server} if server else {}
    say("ready")
    module.index(folder.parent / "embeddings.parquet", out=folder, backend=backend, **where)
    say("done")


def look(backend, operation, folder, server):
    """Print what is there: how many rows of each step, and whether they are the right ones."""
    from nearfar.errors import RunError
    from nearfar.indexing import open_index

    try:
        index = open_index(folder)
    except RunError as error:
        say(json.dumps({"error": str(error)}))
        return
    counts, right = {}, True
    for rows in index.iterate(500):
        for name, x, label, known in zip(rows.ids, rows.vectors, rows.labels, rows.metadata, strict=True):
            step = int(label)
            counts[step] = counts.get(step, 0) + 1
            row = int(name.rpartition("-")[2].lstrip("u"))
            if operation != "build":
                right &= known == {"step": step} and bool((x == vectors(step)[row]).all())
    right &= index.count == sum(counts.values()) == len(set(index.ids))
    if counts and operation != "build":
        step = max(counts)
        right &= index.search(vectors(step)[:1], 1).distances[0, 0] == 0
        right &= len(index.search(vectors(step)[:1], 10, where={"step": step}).ids[0]) == 10
    say(json.dumps({"counts": counts, "right": bool(right)}))


def child(work, *arguments):
    """Fork; return the process and the pipe of its lines."""
    read, wrote = os.pipe()
    process = os.fork()
    if process:
        os.close(wrote)
        return process, read
    try:
        os.close(read)
        os.dup2(wrote, 1)
        work(*arguments)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def lines_of(pipe, count=None, patience=120.0):
    """Read so many lines, or all until the writer is gone."""
    data, end = b"", time.monotonic() + patience
    while time.monotonic() < end and (count is None or data.count(b"\n") < count):
        if not select.select([pipe], [], [], 0.2)[0]:
            continue
        block = os.read(pipe, 65536)
        if not block:
            break
        data += block
    return data


def killed(backend, operation, folder, first, writes, delay, server):
    """Kill a writer so long after so many acknowledged writes: on a busy machine seconds alone come before any."""
    process, pipe = child(write, backend, operation, folder, first, server)
    data = lines_of(pipe, 1 + writes)
    time.sleep(delay)
    os.kill(process, signal.SIGKILL)
    data += lines_of(pipe)
    _, status = os.waitpid(process, 0)
    os.close(pipe)
    assert b"ready" in data, data
    steps = data.decode().split("ready\n", 1)[1].split("\n")[:-1]
    return steps, os.waitstatus_to_exitcode(status)


def main():
    backend, operations, moments, folder, seed, *rest = sys.argv[1:]
    patch(backend, operations)
    for operation in operations.split(","):
        place = Path(folder) / operation
        place.mkdir()
        if operation == "build":
            parquet(place / "embeddings.parquet")
        try_moments(backend, operation, int(moments), place, random.Random(int(seed)), rest[0] if rest else None)


def try_moments(backend, operation, moments, place, draw, server):
    index, first, acknowledged, total = place / "index", 0, [], 0
    for moment in range(moments):
        writes, delay = (0 if operation == "build" else draw.randint(0, 2)), draw.uniform(0, LONGEST_S)
        steps, code = killed(backend, operation, index, first, writes, delay, server)
        acknowledged += [int(step) for step in steps if step.isdecimal()]
        process, pipe = child(look, backend, operation, index, server)
        found = json.loads(lines_of(pipe).decode() or "{}")
        os.waitpid(process, 0)
        os.close(pipe)
        problem = judge(operation, acknowledged, found, first, code)
        say(json.dumps({"moment": moment, "acknowledged": len(acknowledged), "problem": problem}))
        total += problem is not None
        if acknowledged:
            first = max(acknowledged) + 2
        else:
            first += 2
        if operation == "build" and steps and steps[-1] == "done":
            index = place / f"index-{moment}"
    say(json.dumps({"operation": operation, "problems": total, "acknowledged": len(acknowledged)}))


def judge(operation, acknowledged, found, first, code):
    if operation == "build":
        if "error" in found:  # nothing there yet, or refused as unfinished
            fine = "is not finished" in found["error"] or "holds no finished index" in found["error"]
            return None if fine else found["error"]
        whole = {int(step): count for step, count in found["counts"].items()} == {0: PARQUET_ROWS}
        return None if whole and found["right"] else f"finished with {found}"
    if "error" in found:
        return None if not acknowledged and "holds no finished index" in found["error"] else found["error"]
    counts = {int(step): count for step, count in found.get("counts", {}).items()}
    if not found.get("right", False):
        return "rows are not what was written"
    if operation == "upsert":
        if not acknowledged and not counts:
            return None
        newest = max(acknowledged, default=-1)
        return None if len(counts) == 1 and list(counts.values()) == [ROWS] and max(counts) >= newest else f"{counts}"
    lost = [step for step in acknowledged if counts.get(step) != ROWS]
    half = [step for step, count in counts.items() if count != ROWS]
    return f"lost {lost}, half {half}" if lost or half else None


def patch(backend, operations):
    """Import what the children need, and make structures for few rows."""
    import faiss
    import pyarrow.parquet  # noqa: F401

    import nearfar.indexing.measure
    import nearfar.indexing.milvus_index as milvus
    import nearfar.indexing.pgvector_index as pgvector
    import nearfar.indexing.plans

    if "build" in operations:
        import nearfar.pipeline.index  # noqa: F401
    faiss.omp_set_num_threads(1)
    milvus.FLAT_ROWS = pgvector.FLAT_ROWS = 100
    if backend == "lance":
        import lancedb  # noqa: F401
    elif backend == "milvus":
        import milvus_lite.server_manager  # noqa: F401
        import pymilvus  # noqa: F401
    else:
        import psycopg  # noqa: F401


def parquet(path):
    from nearfar.data.embeddings import EmbeddingsInfo
    from nearfar.data.embeddings_writer import EmbeddingsWriter

    x = np.random.default_rng(0).normal(size=(PARQUET_ROWS, DIM))
    with EmbeddingsWriter(path, EmbeddingsInfo(DIM)) as writer:
        writer.write([f"0-{row}" for row in range(PARQUET_ROWS)], x, ["0"] * PARQUET_ROWS)


if __name__ == "__main__":
    main()
