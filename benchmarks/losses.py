"""Time and memory of the losses, forward and backward, beside lightly, pytorch-metric-learning and plain torch.

    uv run python -m benchmarks.losses            # measures and writes benchmarks/results/losses.json
    uv run python -m benchmarks.losses --quick    # small sizes only, prints, writes nothing
    uv run python -m benchmarks.losses --triplets # semi-hard triplets alone, into losses_triplets.json

128-d float32 on two threads. Time: all contenders of one loss and size take turns in one process; medians. Memory: each
case in a process of its own, the peak of resident memory over what was resident before the call (Linux). What would
need more than 8 GiB by extrapolation from smaller sizes is not run, and its cell says so.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.record import Timer, table, write
from nearfar import losses

DIM, THREADS, SEED = 128, 2, 0
LIMIT_MIB = 8 * 1024
SIZES = (128, 512, 2048, 8192)
SECONDS_PER_CASE = 1.5
SECONDS_AT_MOST = 15.0

TRIPLETS = "semi-hard triplets"

Loss = Callable[[Tensor, Tensor], Tensor]


def plain_nt_xent(z1: Tensor, z2: Tensor) -> Tensor:
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    logits = (z @ z.T / 0.1).masked_fill(torch.eye(len(z), dtype=torch.bool), -torch.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


def plain_sup_con(z1: Tensor, z2: Tensor) -> Tensor:
    z, labels = F.normalize(torch.cat([z1, z2]), dim=1), classes(z1).repeat(2)
    itself = torch.eye(len(z), dtype=torch.bool)
    positive = (labels[:, None] == labels[None]) & ~itself
    log_p = (z @ z.T / 0.1).masked_fill(itself, -torch.inf).log_softmax(1)
    return -(torch.where(positive, log_p, 0).sum(1) / positive.sum(1)).mean()


def plain_info_nce(z1: Tensor, z2: Tensor) -> Tensor:
    return F.cross_entropy(F.normalize(z1, dim=1) @ F.normalize(z2, dim=1).T / 0.07, torch.arange(len(z1)))


def plain_clip(z1: Tensor, z2: Tensor) -> Tensor:
    logits, target = F.normalize(z1, dim=1) @ F.normalize(z2, dim=1).T / 0.07, torch.arange(len(z1))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def plain_siglip(z1: Tensor, z2: Tensor) -> Tensor:
    logits = F.normalize(z1, dim=1) @ F.normalize(z2, dim=1).T * 10 - 10
    return -F.logsigmoid(logits * (2 * torch.eye(len(z1)) - 1)).sum() / len(z1)


def plain_dcl(z1: Tensor, z2: Tensor) -> Tensor:
    z, n = F.normalize(torch.cat([z1, z2]), dim=1), len(z1)
    logits, index = z @ z.T / 0.1, torch.arange(2 * n)
    hidden = torch.zeros(2 * n, 2 * n, dtype=torch.bool)
    hidden[index, index] = hidden[index, index.roll(n)] = True
    return (logits.masked_fill(hidden, -torch.inf).logsumexp(1) - logits[index, index.roll(n)]).mean()


def plain_semihard(z1: Tensor, z2: Tensor) -> Tensor:
    """All semi-hard triplets by broadcasting, the way that needs N^3."""
    z, labels = F.normalize(torch.cat([z1, z2]), dim=1), classes(z1).repeat(2)
    d = torch.cdist(z, z).pow(2)
    same = labels[:, None] == labels[None]
    gap = d[:, :, None] - d[:, None]
    positive = same & ~torch.eye(len(z), dtype=torch.bool)
    semihard = positive[:, :, None] & ~same[:, None] & (gap < 0) & (gap > -0.2)
    return (gap[semihard] + 0.2).mean()


def classes(z: Tensor) -> Tensor:
    """Classes of four items (eight rows, two views each)."""
    return torch.arange(len(z)) // 4


def lightly(name: str) -> Loss:
    import lightly.loss

    return getattr(lightly.loss, name)(temperature=0.1)


def metric_learning_nt_xent() -> Loss:
    from pytorch_metric_learning.losses import NTXentLoss

    loss = NTXentLoss(temperature=0.1)
    return lambda z1, z2: loss(torch.cat([z1, z2]), torch.arange(len(z1)).repeat(2))


def metric_learning_sup_con() -> Loss:
    from pytorch_metric_learning.losses import SupConLoss

    loss = SupConLoss(temperature=0.1)
    return lambda z1, z2: loss(torch.cat([z1, z2]), classes(z1).repeat(2))


def metric_learning_semihard() -> Loss:
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.miners import TripletMarginMiner

    loss, miner = TripletMarginLoss(margin=0.2), TripletMarginMiner(margin=0.2, type_of_triplets="semihard")

    def call(z1: Tensor, z2: Tensor) -> Tensor:
        z, labels = torch.cat([z1, z2]), classes(z1).repeat(2)
        return loss(z, labels, miner(z, labels))

    return call


CONTENDERS: dict[str, dict[str, Callable[[], Loss]]] = {
    "NT-Xent": {
        "nearfar": lambda: losses.nt_xent,
        "plain torch": lambda: plain_nt_xent,
        "lightly": lambda: lightly("NTXentLoss"),
        "pytorch-metric-learning": metric_learning_nt_xent,
    },
    "SupCon": {
        "nearfar": lambda: lambda a, b: losses.sup_con(torch.cat([a, b]), classes(a).repeat(2)),
        "plain torch": lambda: plain_sup_con,
        "pytorch-metric-learning": metric_learning_sup_con,
    },
    "DCL": {
        "nearfar": lambda: losses.dcl,
        "plain torch": lambda: plain_dcl,
        "lightly": lambda: lightly("DCLLoss"),
    },
    "InfoNCE": {"nearfar": lambda: losses.info_nce, "plain torch": lambda: plain_info_nce},
    "CLIP": {"nearfar": lambda: losses.clip, "plain torch": lambda: plain_clip},
    "SigLIP": {"nearfar": lambda: losses.siglip, "plain torch": lambda: plain_siglip},
    # N pairs here are 2N rows, so 512 pairs are the batch of 1,024.
    TRIPLETS: {
        "nearfar": lambda: (
            lambda a, b: losses.triplet_from_labels(
                F.normalize(torch.cat([a, b]), dim=1), classes(a).repeat(2), mining="semihard"
            )
        ),
        "plain torch": lambda: plain_semihard,
        "pytorch-metric-learning": metric_learning_semihard,
    },
}
SIZES_OF = {TRIPLETS: (64, 512), "DCL": (128, 2048), "InfoNCE": (128, 2048, 8192)}
SIZES_OF |= {"CLIP": SIZES_OF["InfoNCE"], "SigLIP": SIZES_OF["InfoNCE"]}


def views(n: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(SEED)
    first = torch.randn(n, DIM, generator=generator)
    second = first + torch.randn(n, DIM, generator=generator)
    return first.requires_grad_(), second.requires_grad_()


def step(loss: Loss, inputs: tuple[Tensor, Tensor]) -> float:
    for z in inputs:
        z.grad = None
    value = loss(*inputs)
    value.backward()
    return value.item()


def resident(field: str) -> float:
    """VmRSS or VmHWM of this process in MiB."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {field} in /proc/self/status")


def measure_memory(name: str, who: str, n: int) -> dict[str, float]:
    """Peak of resident memory during one step over what was resident before it; and that step's seconds."""
    loss = CONTENDERS[name][who]()
    for _ in range(3):
        step(loss, views(16))  # loads the libraries' kernels and thread pools
    inputs = views(n)
    ctypes.CDLL(None).malloc_trim(0)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak starts anew
    with Timer() as timer:
        value = step(loss, inputs)
    return {"mib": resident("VmHWM") - before, "seconds": timer.seconds, "loss": value}


def measure_time(name: str, contenders: Sequence[str], n: int) -> dict[str, dict[str, float]]:
    """Median seconds by the clock on two threads, and of processor time on one, which a busy machine changes little."""
    clock = take_turns(name, contenders, n, time.perf_counter, rounds=5 if n < 8192 else 3)
    torch.set_num_threads(1)
    processor = take_turns(name, contenders, n, time.process_time, rounds=3 if n < 8192 else 1)
    return {who: {"clock": clock[who], "processor": processor[who]} for who in contenders}


def take_turns(name: str, contenders: Sequence[str], n: int, now: Callable[[], float], rounds: int) -> dict[str, float]:
    """Median of what ``now`` counts for each contender; they take turns, so that a busy moment meets all."""
    made = {who: CONTENDERS[name][who]() for who in contenders}
    inputs = views(n)
    spent: dict[str, list[float]] = {who: [] for who in made}
    if now is time.perf_counter:
        for loss in made.values():
            step(loss, inputs)
    start, waiting = time.perf_counter(), list(made)
    while waiting:
        for who in waiting:
            before = now()
            step(made[who], inputs)
            spent[who].append(now() - before)
        enough = len(spent[contenders[0]]) >= rounds and time.perf_counter() - start > SECONDS_PER_CASE * len(made)
        full = {who for who in waiting if sum(spent[who]) > SECONDS_AT_MOST or len(spent[who]) >= 200}
        waiting = [] if enough else [who for who in waiting if who not in full]
    return {who: statistics.median(values) for who, values in spent.items()}


def in_process(kind: str, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.losses", "--child", kind, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def expected_mib(known: list[tuple[int, float]], n: int) -> float:
    """Extrapolate from the two largest sizes measured, with an exponent between 1 and 3."""
    (n0, m0), (n1, m1) = known[-2:]
    exponent = min(3.0, max(1.0, math.log(max(m1, 1) / max(m0, 1)) / math.log(n1 / n0)))
    return m1 * (n / n1) ** exponent


def compare(name: str, sizes: Sequence[int], notes: list[str]) -> list[list[Any]]:
    # nearfar is linear and needs no guard.
    guarded = [who for who in CONTENDERS[name] if who != "nearfar"]
    known = {who: [(n, in_process("memory", name, who, str(n))["mib"]) for n in (64, 128)] for who in guarded}
    rows: list[list[Any]] = []
    for n in sizes:
        memory: dict[str, float] = {}
        for who in CONTENDERS[name]:
            guess = expected_mib(known[who], n) if who in known else 0.0
            if guess > LIMIT_MIB:
                notes.append(f"{name}, {who} at {n:,} pairs: not run, about {guess / 1024:,.0f} GiB by extrapolation.")
                continue
            memory[who] = in_process("memory", name, who, str(n))["mib"]
            if who in known and n > 128:
                known[who].append((n, memory[who]))
        seconds = in_process("time", name, ",".join(memory), str(n))
        for who in CONTENDERS[name]:
            if who not in memory:
                rows.append([n, who, None, None, None, None, None])
                continue
            base = "plain torch" if "plain torch" in memory else None
            rows.append([
                n, who, round(seconds[who]["clock"] * 1e3, 3), round(memory[who], 1),
                round(seconds[who]["clock"] / seconds[base]["clock"], 3) if base else None,
                round(seconds[who]["processor"] / seconds[base]["processor"], 3) if base else None,
                round(memory[who] / memory[base], 4) if base else None,
            ])  # fmt: skip
            print(name, *rows[-1], flush=True)
    return rows


def slope() -> tuple[list[list[Any]], float]:
    rows, memory = [], {}
    for n in (2048, 8192, 32768, 65536):
        for name in ("NT-Xent", "SupCon"):
            got = in_process("memory", name, "nearfar", str(n))
            memory[name, n] = got["mib"]
            rows.append([name, n, round(got["mib"], 1), round(got["seconds"], 2), round(got["loss"], 4)])
            print("slope", *rows[-1], flush=True)
    return rows, max(memory[name, 32768] / memory[name, 2048] for name in ("NT-Xent", "SupCon"))


def aims(rows: dict[str, list[list[Any]]], growth: float | None) -> list[list[Any]]:
    """The aims set before, each with what was measured."""
    cell = {(name, row[0]): row for name, found in rows.items() for row in found if row[1] == "nearfar"}
    out: list[list[Any]] = []
    for name in ("NT-Xent", "SupCon"):
        if name not in rows:
            continue
        large, small = cell[name, 8192], cell[name, 512]
        out.append([f"{name}, 8,192 pairs: extra memory", "<= 100 MiB", large[3], large[3] <= 100])
        out.append([f"{name}, 8,192 pairs: time / plain torch", "<= 0.7", large[4], large[4] <= 0.7])
        out.append([f"{name}, 512 pairs: time / plain torch", "<= 1", small[4], small[4] <= 1])
        out.append([f"{name}, 8,192 pairs: processor time on one thread", "<= 0.7", large[5], large[5] <= 0.7])
        out.append([f"{name}, 512 pairs: processor time on one thread", "<= 1", small[5], small[5] <= 1])
    if TRIPLETS in rows:
        triplets = cell[TRIPLETS, 512]
        out.append(["semi-hard triplets, 1,024 rows: extra memory", "<= 64 MiB", triplets[3], triplets[3] <= 64])
    if growth is not None:
        out.append(["memory from 2,048 to 32,768 pairs", "<= 20-fold", round(growth, 1), growth <= 20])
    return [[*row[:3], "yes" if row[3] else "no"] for row in out]


def main(quick: bool, triplets: bool) -> None:
    notes = [
        f"Forward + backward, {DIM}-d float32 in random directions (seed {SEED}), {THREADS} threads, temperature 0.1 "
        "(InfoNCE and CLIP 1 / 0.07, SigLIP 10 and -10). N pairs are 2N rows.",
        "Time: median of at least 5 rounds (3 at 8,192 pairs) in which all contenders of a row's loss and size take "
        f"turns; one that has taken {SECONDS_AT_MOST:.0f} s sits out the rest. Memory: peak resident memory of one "
        "step over what was resident before, gradients included, one process a case.",
        "Time by the clock on two threads suffers where other programs run beside: each parallel region then waits for "
        "the slower thread. Processor time on one thread does not, and stands beside it.",
    ]
    if triplets:
        notes.append(
            "Semi-hard triplets: nearfar takes one negative per pair (FaceNet's rule), the other two all semi-hard "
            "triplets; so the rows compare the cost of mining, not the same number."
        )
    notes.append(f"Load average of the machine over the minute before: {os.getloadavg()[0]:.1f}.")
    rows = {}
    for name in [TRIPLETS] if triplets else [name for name in CONTENDERS if name != TRIPLETS]:
        sizes = SIZES_OF.get(name, SIZES)
        rows[name] = compare(name, [n for n in sizes if n <= 512] if quick else sizes, notes)
    if quick:
        return
    large, growth = ([], None) if triplets else slope()
    columns = [
        "pairs", "who", "ms", "extra MiB", "time / plain torch", "processor time / plain torch, one thread",
        "memory / plain torch",
    ]  # fmt: skip
    tables = [table("Aims", ["what", "aim", "measured", "met"], aims(rows, growth))]
    tables += [table(name, columns, found) for name, found in rows.items()]
    if large:
        tables.append(table("Large batches, nearfar", ["loss", "pairs", "extra MiB", "s", "loss value"], large))
    name, title = ("losses_triplets", "Triplets mined in the batch") if triplets else ("losses", "Losses")
    print(write(name, title=f"{title}: time and memory, forward and backward", tables=tables, notes=notes))


def child(kind: str, arguments: Sequence[str]) -> None:
    name, who, n = arguments
    if kind == "memory":
        print(json.dumps(measure_memory(name, who, int(n))))
    else:
        print(json.dumps(measure_time(name, who.split(","), int(n))))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--triplets", action="store_true")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(THREADS)
    if options.child:
        child(options.child[0], options.child[1:])
    else:
        main(options.quick, options.triplets)
