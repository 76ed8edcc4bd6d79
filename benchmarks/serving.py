"""The service on loopback with 32 connections, its memory over many requests, and the map of a million points.

    uv run python -m benchmarks.serving [service|map]

The client runs on the same machine: plain sockets that send the next request once the answer is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.record import environment, table, write

CONNECTIONS = 32
VECTORS, DIM = 100_000, 128
SECONDS = 20.0
MANY, MANY_SECONDS = 50_000, 170.0
POINTS = 1_000_000


@contextlib.contextmanager
def process(*arguments: object) -> Iterator[tuple[psutil.Process, str]]:
    """Run a verb of nearfar and yield the process and its address once it listens."""
    command = [sys.executable, "-c", "from nearfar.cli import main; main()", *map(str, arguments), "--port", "0"]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert running.stderr is not None
        said = ""
        for line in running.stderr:
            said += line
            if found := re.search(r" on (http://\S+);", line):
                yield psutil.Process(running.pid), found[1]
                return
        raise RuntimeError(said)
    finally:
        running.terminate()
        running.wait()


def clustered(count: int, dim: int, seed: int = 0) -> np.ndarray:
    """Return vectors in clusters of some hundred."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(max(1, count // 400), dim)).astype(np.float32)
    return centres[rng.integers(len(centres), size=count)] + 0.3 * rng.normal(size=(count, dim)).astype(np.float32)


def request_bytes(path: str, body: bytes, kind: str) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def one_connection(port: int, requests: list[bytes], left: list[int], end: float, times: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while left[0] > 0 and time.perf_counter() < end:
        left[0] -= 1
        start = time.perf_counter()
        writer.write(requests[left[0] % len(requests)])
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        assert length is not None
        await reader.readexactly(int(length[1]))
        times.append(time.perf_counter() - start)
    writer.close()


def load(address: str, requests: list[bytes], *, count: int, seconds: float) -> tuple[np.ndarray, float]:
    """Ask with 32 connections; return the times of all answers and how long it took in all."""
    times: list[float] = []

    async def all_of_them() -> None:
        left, end, port = [count], time.perf_counter() + seconds, int(address.rsplit(":", 1)[1])
        await asyncio.gather(*(one_connection(port, requests, left, end, times) for _ in range(CONNECTIONS)))

    start = time.perf_counter()
    asyncio.run(all_of_them())
    return np.array(times), time.perf_counter() - start


def row(name: str, times: np.ndarray, took: float) -> list[Any]:
    p50, p99 = np.percentile(times * 1e3, [50, 99])
    return [name, len(times), round(len(times) / took), round(float(p50), 1), round(float(p99), 1)]


def service(folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    from nearfar.indexing import create

    x = clustered(VECTORS, DIM)
    for backend in ("exact", "faiss"):
        index = create(DIM, backend=backend)
        index.add([f"item {i}" for i in range(VECTORS)], x)
        if backend == "faiss":
            chosen = index.optimise()
        index.save(folder / backend)
    queries = clustered(256, DIM, seed=0)
    asked = [
        request_bytes("/v1/search/vector", json.dumps({"vectors": [q.tolist()], "k": 10}).encode(), "application/json")
        for q in queries
    ]
    rows, memory = [], []
    for backend in ("exact", "faiss"):
        with process("serve", folder / backend, "--rate", 0) as (running, address):
            load(address, asked, count=500, seconds=10)
            rows.append(row(f"vector, {backend}", *load(address, asked, count=20_000, seconds=SECONDS)))
            if backend == "faiss":
                before = running.memory_info().rss
                times, _ = load(address, asked, count=MANY, seconds=MANY_SECONDS)
                after = running.memory_info().rss
                memory.append([len(times), round(before / 2**20), round(after / 2**20)])
                rows.append(row("add one item, faiss", *load(address, adds(5_000), count=5_000, seconds=10)))
    rows.append(images(folder))
    columns = ["request", "answers", "requests/s", "p50 ms", "p99 ms"]
    tables = [
        table(f"{CONNECTIONS} connections on loopback", columns, rows),
        table("Resident memory of the service (MiB)", ["requests between", "before", "after"], memory),
    ]
    notes = [
        f"{VECTORS:,} clustered vectors of {DIM} numbers, k = 10, one query a request as JSON; {chosen}",
        "an added item is synced to the disk before it is acknowledged",
        "the image is a JPEG of 224 x 224; the encoder is `small` at 64 x 64 on one device, the CPU",
        "client and service share the cores",
    ]
    return tables, notes


def adds(count: int) -> list[bytes]:
    rows = clustered(count, DIM, seed=2).tolist()
    return [
        request_bytes(
            "/v1/items", json.dumps({"items": [{"id": f"new {i}", "vector": v}]}).encode(), "application/json"
        )
        for i, v in enumerate(rows)
    ]


def images(folder: Path) -> list[Any]:
    import torch
    from PIL import Image

    from nearfar.encoders import build, fingerprint, save_encoder
    from nearfar.indexing import create

    torch.manual_seed(0)
    encoder, spec = build("small", in_channels=3, image_size=64)
    (folder / "run").mkdir()
    save_encoder(folder / "run", encoder.eval(), spec)
    index = create(spec.dim, backend="faiss", fingerprint=fingerprint(encoder))
    index.add([f"item {i}" for i in range(20_000)], clustered(20_000, spec.dim))
    index.save(folder / "images")
    rng, asked = np.random.default_rng(0), []
    for _ in range(64):
        small = rng.integers(0, 256, (14, 14, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(small).resize((224, 224)).save(buffer, format="JPEG")
        asked.append(request_bytes("/v1/search/image?k=10", buffer.getvalue(), "image/jpeg"))
    with process("serve", folder / "images", "--run", folder / "run", "--rate", 0) as (_, address):
        load(address, asked, count=200, seconds=10)
        return row("image, faiss", *load(address, asked, count=20_000, seconds=SECONDS))


def points(folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Measure the page with a million points in headless Chromium, drawn by the processor alone."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("needs Chromium")
    x = clustered(POINTS, 16)
    labels = [f"class {i}" for i in np.argmax(x[:, :12], axis=1)]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), 16)
    pq.write_table(
        pa.table({"id": [str(i) for i in range(POINTS)], "embedding": vectors, "label": labels}), folder / "m"
    )
    rows = []
    start = time.perf_counter()
    with process("explore", folder / "m", "--method", "pca") as (running, address), sync_playwright() as playwright:
        rows.append(["service ready", "s", round(time.perf_counter() - start, 1)])
        rows.append(["service's memory", "MiB", round(running.memory_info().rss / 2**20)])
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1920, "height": 1080})
        start = time.perf_counter()
        tab.goto(f"{address}/explore")
        tab.wait_for_selector("html[data-ready=yes]", timeout=120_000)
        rows.append(["page ready", "s", round(time.perf_counter() - start, 1)])
        rows += [[name, "ms", round(value, 1)] for name, value in tab.evaluate(FRAMES)]
        start = time.perf_counter()
        tab.evaluate("nearfarMaps[0].app.pick(1234)")
        tab.wait_for_selector("#view .grid li")
        rows.append(["an item with 24 neighbours", "ms", round((time.perf_counter() - start) * 1e3)])
        browser.close()
    title = f"The map of {POINTS:,} points at 1920 x 1080, Chromium without a GPU"
    notes = ["frames while moving draw as many points as fit into 14 ms, all of them once it rests (medians of 20)"]
    return [table(title, ["what", "unit", "value"], rows)], notes


FRAMES = """() => {
  const map = nearfarMaps[0], { cloud } = map, paper = Palette_paper();
  function Palette_paper() { return getComputedStyle(document.documentElement).getPropertyValue("--paper").trim(); }
  const median = (act) => {
    const times = [];
    for (let i = 0; i < 20; i++) { const start = performance.now(); act(i); times.push(performance.now() - start); }
    return times.sort((a, b) => a - b)[10];
  };
  const found = [["all points, everything in sight", median(() => cloud.draw(paper))]];
  found.push(["a frame while moving", median((i) => { cloud.move(i % 2 ? 9 : -9, 3); cloud.draw(paper, 14); })]);
  cloud.fit();
  cloud.zoom(12);
  found.push(["all points, zoomed in 12 times", median(() => cloud.draw(paper))]);
  found.push(["the point under the pointer", median((i) => cloud.closest(400 + i * 9, 500, 14))]);
  cloud.fit();
  const w = cloud.width, h = cloud.height;
  found.push(["a lasso around half of them", median(() => cloud.inPolygon([[0, 0], [w / 2, 0], [w / 2, h], [0, h]]))]);
  return found;
}"""


def main() -> None:
    wanted = sys.argv[1:] or ["service", "map"]
    for name in wanted:
        with tempfile.TemporaryDirectory() as folder:
            tables, notes = {"service": service, "map": points}[name](Path(folder))
        title = {"service": "The HTTP service", "map": "The explorer's map"}[name]
        command = f"uv run python -m benchmarks.serving {name}"
        saved = {"service": "serving", "map": "exploring"}[name]
        write(saved, title=title, tables=tables, notes=notes, command=command, measured_on=environment())


if __name__ == "__main__":
    main()
