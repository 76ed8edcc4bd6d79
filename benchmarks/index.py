"""Index back ends: building, searching, filtering, deleting, memory and disk, beside the bare libraries.

    uv run python -m benchmarks.index small          200,000 × 128, every back end but Milvus
    uv run python -m benchmarks.index milvus         200,000 × 128, the embedded Milvus
    uv run python -m benchmarks.index large          1,000,000 × 128, those that build within a minute
    uv run python -m benchmarks.index codes          200,000 × 128, every kind of code of the faiss back end

A list of back ends and a count may follow, for a quick look: ``small faiss,lance 40000``.

Vectors are made by a seeded script: one of 200 normal centres, plus a normal point of a 16-dimensional plane that all
share, plus 0.2 times normal noise in all directions, so that cells have to cut through clusters; queries are further
draws. Each back end runs in a process of its own, on two threads.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import peak_memory_mib, table, write

DIM, QUERIES, K, BATCH = 128, 1000, 10, 8192
SIZES = {"small": 200_000, "large": 1_000_000, "codes": 200_000, "milvus": 200_000}
SINGLES = 200
CONTENDERS = {
    "small": ("exact", "faiss", "faiss flat", "lance", "pgvector"),
    "milvus": ("milvus",),
    "large": ("exact", "faiss", "lance"),
    "codes": ("faiss float", "faiss int8", "faiss pq", "faiss binary", "faiss hnsw"),
}
COLUMNS = [
    "back end",
    "add s",
    "optimise s",
    "single ms",
    "bare ms",
    "batch queries/s",
    "bare queries/s",
    "recall@10",
    "10 % filter recall@10",
    "10 % filter ms",
    "delete 1,000 s",
    "memory MiB",
    "disk MiB",
]


def draw(count: int, seed: int) -> np.ndarray:
    """Return (count, DIM) float32."""
    world = np.random.default_rng(0)
    centres = world.normal(size=(200, DIM)).astype(np.float32)
    plane = (world.normal(size=(16, DIM)) / 4).astype(np.float32)
    rng = np.random.default_rng(seed)
    found = np.empty((count, DIM), np.float32)
    for start in range(0, count, 100_000):
        part = slice(start, min(start + 100_000, count))
        size = part.stop - part.start
        noise = rng.standard_normal((size, DIM), dtype=np.float32)
        inside = rng.standard_normal((size, 16), dtype=np.float32) @ plane
        found[part] = centres[rng.integers(200, size=size)] + inside + np.float32(0.2) * noise
    return found


def truth(x: np.ndarray, queries: np.ndarray) -> np.ndarray:
    import faiss

    unit, asked = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (x, queries))
    return faiss.knn(asked, unit, K, metric=faiss.METRIC_INNER_PRODUCT)[1]


def recall(found: list[list[Any]], true: np.ndarray) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found, true.tolist(), strict=True)]))


def timed(call: Any, least_s: float = 1.0) -> float:
    """Return seconds of one call: the least of at least three, over at least ``least_s``."""
    call()
    best, spent, rounds = float("inf"), 0.0, 0
    while rounds < 3 or spent < least_s:
        start = time.perf_counter()
        call()
        best = min(best, took := time.perf_counter() - start)
        spent, rounds = spent + took, rounds + 1
        if spent > 20:
            break
    return best


def singles(call: Any, queries: np.ndarray, count: int = SINGLES) -> float:
    """Return the median milliseconds of one query after another."""
    for query in queries[: min(10, count // 3)]:
        call(query[None])
    times: list[float] = []
    for query in queries[:count]:
        start = time.perf_counter()
        call(query[None])
        times.append(time.perf_counter() - start)
        if sum(times) > 20:
            break
    return 1000 * float(np.median(times))


def disk_mib(path: Path) -> float:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 2**20


def options_of(contender: str, folder: Path) -> tuple[dict[str, Any], Any]:
    backend, _, option = contender.partition(" ")
    options: dict[str, Any] = {"backend": backend}
    if option:
        options |= {"kind": option} if option in ("flat", "hnsw") else {"kind": "ivf", "codes": option}
    if backend in ("lance", "milvus", "pgvector"):
        options["path"] = folder / contender.replace(" ", "-")
    server = postgres(folder) if backend == "pgvector" else None
    if server is not None:
        options["server"] = server.get_uri()
    return options, server


def build(options: dict[str, Any], x: np.ndarray) -> tuple[Any, float, float, str]:
    from nearfar.indexing import create

    start = time.perf_counter()
    index = create(DIM, **options)
    with index.bulk():
        for at in range(0, len(x), BATCH):
            rows = range(at, min(at + BATCH, len(x)))
            index.add(list(rows), x[rows.start : rows.stop], metadata=[{"n": row % 10} for row in rows])
    added = time.perf_counter() - start
    words = index.optimise()
    return index, added, time.perf_counter() - start - added, words


def measure(contender: str, folder: Path) -> list[Any]:
    """Measure one back end; runs in a process of its own."""
    import faiss

    faiss.omp_set_num_threads(2)
    x, queries = np.load(folder / "x.npy", mmap_mode="r"), np.load(folder / "queries.npy")
    true, filtered_true = np.load(folder / "true.npy"), np.load(folder / "filtered.npy")
    options, server = options_of(contender, folder)
    backend = options["backend"]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    index, added, optimised, words = build(options, x)
    print(words, file=sys.stderr, flush=True)
    score = recall(index.search(queries, K).ids, true)
    single = singles(lambda q: index.search(q, K), queries)
    many = queries if backend != "milvus" else queries[:200]
    batch = len(many) / timed(lambda: index.search(many, K))
    memory = peak_memory_mib() - before
    few, where = queries[: {"exact": 100, "pgvector": 50, "milvus": 10}.get(backend, QUERIES)], {"n": 3}
    filtered = recall(index.search(few, K, where=where).ids, filtered_true[: len(few)])
    filtered_ms = singles(lambda q: index.search(q, K, where=where), queries, 50 if backend != "milvus" else 3)
    bare_ms, bare_qps = bare(index, backend, x, queries)
    start = time.perf_counter()
    gone = list(range(0, len(x), len(x) // 1000))[:1000]
    index.remove(gone)
    deleted = time.perf_counter() - start
    assert not set(gone) & {name for ids in index.search(queries[:10], K).ids for name in ids}
    size = disk(index, backend, folder / contender.replace(" ", "-"), len(x) - 1000)
    if server is not None:
        server.cleanup()
    numbers = [added, optimised, single, bare_ms, batch, bare_qps, score, filtered, filtered_ms, deleted, memory, size]
    extra = [index.plan.rough_recall] if contender in CONTENDERS["codes"] else []
    return [contender, *(None if n is None else float(n) for n in (*numbers, *extra)), words]


def disk(index: Any, backend: str, path: Path, count: int) -> float:
    from nearfar.indexing import open_index

    if backend == "pgvector":
        size = index._rows_of("SELECT pg_total_relation_size(%s::regclass)", [index.options["table"]])[0][0] / 2**20
        index.close()
        return float(size)
    if not index.lasting:
        index.save(path)
    size = disk_mib(path)
    index.close()
    with open_index(path) as again:
        assert again.count == count
    return size


def bare(index: Any, backend: str, x: np.ndarray, queries: np.ndarray) -> tuple[float | None, float | None]:
    """Return single ms and batched queries/s of the library underneath, with the same structure and parameters."""
    if backend in ("faiss", "lance"):
        return bare_faiss(index if backend == "faiss" else index._memory, x, queries)
    if backend == "exact":
        side = 1 / np.linalg.norm(x, axis=1)
        vectors = np.ascontiguousarray(x)

        def by_numpy(asked: np.ndarray) -> None:
            for at in range(0, len(asked), 20):
                rough = (asked[at : at + 20] @ vectors.T) * -side
                best = np.argpartition(rough, K, axis=1)[:, :K]
                np.take_along_axis(best, np.argsort(np.take_along_axis(rough, best, 1), axis=1), 1)

        return singles(by_numpy, queries, 50), len(queries) / timed(lambda: by_numpy(queries))
    if backend == "pgvector":
        name, breadth = index.options["table"], index._described.get("breadth", 40)
        text = f"SELECT id, label, point <#> %s::vector FROM {name} ORDER BY point <#> %s::vector LIMIT {K}"
        unit = queries / np.linalg.norm(queries, axis=1, keepdims=True)

        def by_sql(asked: np.ndarray) -> None:
            with index._connection.transaction():
                index._connection.execute(f"SET LOCAL hnsw.ef_search = {breadth}")
                for query in asked:
                    shown = "[" + ",".join(map(repr, query.tolist())) + "]"
                    index._connection.execute(text, [shown, shown], binary=True).fetchall()

        return singles(by_sql, unit), len(unit) / timed(lambda: by_sql(unit))
    probe = index._described["nprobe"]
    options = {
        "search_params": {"metric_type": "COSINE", "params": {"nprobe": probe}},
        "output_fields": ["id", "label"],
    }

    def by_milvus(asked: np.ndarray) -> None:
        index._client.search(index._name, data=list(asked), limit=K, **options)

    return singles(by_milvus, queries, 50), 200 / timed(lambda: by_milvus(queries[:200]))


def bare_faiss(index: Any, x: np.ndarray, queries: np.ndarray) -> tuple[float, float]:
    import faiss

    plan = index.plan
    unit = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    engine = index._engine.index
    if plan.kind == "flat":
        return singles(lambda q: engine.search(q, K), unit), len(unit) / timed(lambda: engine.search(unit, K))
    if plan.kind == "hnsw":
        engine.hnsw.efSearch = plan.breadth
        return singles(lambda q: engine.search(q, K), unit), len(unit) / timed(lambda: engine.search(unit, K))
    engine.nprobe = plan.nprobe
    if plan.codes == "binary":
        engine.qb = 8
    searcher = engine
    if plan.factor > 1:
        points = np.ascontiguousarray(x / np.linalg.norm(x, axis=1, keepdims=True))
        flat = faiss.IndexFlatIP(DIM)
        flat.add(points)
        searcher = faiss.IndexRefine(engine, flat)
        searcher.k_factor = float(plan.factor)
    return singles(lambda q: searcher.search(q, K), unit), len(unit) / timed(lambda: searcher.search(unit, K))


def postgres(folder: Path) -> Any:
    import os

    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    import pgserver

    place = folder / "postgres"
    place.mkdir()
    return pgserver.get_server(place, cleanup_mode="delete")


def main() -> None:
    job = sys.argv[1]
    if job == "--one":
        print(json.dumps(measure(sys.argv[2], Path(sys.argv[3]))))
        return
    chosen = sys.argv[2].split(",") if len(sys.argv) > 2 else CONTENDERS[job]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else SIZES[job]
    with tempfile.TemporaryDirectory(prefix="nearfar-index-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        x, queries = draw(count, 1), draw(QUERIES, 2)
        np.save(folder / "x.npy", x)
        np.save(folder / "queries.npy", queries)
        np.save(folder / "true.npy", truth(x, queries))
        np.save(folder / "filtered.npy", truth(x[3::10], queries) * 10 + 3)
        rows = []
        for contender in chosen:
            command = [sys.executable, "-W", "ignore", "-m", "benchmarks.index", "--one", contender, name]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
            lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
            print(contender, lines[-1] if lines else f"failed with {done.returncode}", flush=True)
            if lines:
                rows.append(json.loads(lines[-1]))
            shutil.rmtree(folder / contender.replace(" ", "-"), ignore_errors=True)
    columns = [*COLUMNS, "recall@10 of the codes alone"] if job == "codes" else list(COLUMNS)
    title = f"{count:,} vectors of {DIM}, cosine, top {K}, two threads"
    words = table("Structures that optimise chose", ["back end", "what it said"], [[row[0], row[-1]] for row in rows])
    write(
        f"index_{job}",
        title={
            "small": "Index back ends at 200,000 vectors",
            "milvus": "The embedded Milvus at 200,000 vectors",
            "large": "Index back ends at 1,000,000 vectors",
            "codes": "Quantised codes with rescoring, and HNSW",
        }[job],
        tables=[table(title, columns, [row[:-1] for row in rows]), words],
        notes=NOTES,
    )


NOTES = [
    "Seeded clustered vectors: 200 normal centres, a plane of 16 dimensions that all share, 0.2 times normal "
    "noise; 1,000 further draws as queries.",
    "Recall is against an exact search; the target was 0.95, the parameters are those that optimise chose by itself. "
    "The filter passes every tenth item.",
    "Single: median of up to 200 queries one by one. Batch: 1,000 queries in one call (milvus: 200), the best of three "
    "or more.",
    "Bare: the library underneath with the same structure and parameters, without our ids, checks and exact distances: "
    "FAISS (with IndexRefine over flat float32 where we measure again) for faiss and lance, numpy for exact, SQL over "
    "the same connection for pgvector, the client for milvus.",
    "Memory: growth of the process's peak while building and searching; servers are not counted. Disk: the folder, or "
    "the table with its indexes.",
]
"""What a reader needs to judge the numbers."""


if __name__ == "__main__":
    main()
