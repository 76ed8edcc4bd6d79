"""What one rank of the test over ranks computes."""

from __future__ import annotations

import functools

import torch
import torch.distributed as dist
from torch import Tensor, nn

from nearfar.losses.cross_batch_memory import CrossBatchMemory, with_references
from nearfar.losses.dino import dino_center
from nearfar.losses.matryoshka import matryoshka
from nearfar.losses.supcon import sup_con
from nearfar.losses.swav import sinkhorn, swav
from nearfar.losses.tico import tico_covariance
from nearfar.losses.w_mse import w_mse
from nearfar.nn.queue import Queue
from tests.losses.negative_free_cases import CENTER, DIM, DIRECTIONS, LOSSES, RUNNING, drawn

SIZES = (7, 4)  # rows of the ranks: the last batch is uneven
X = drawn(2, sum(SIZES), 6)
LABELS = torch.tensor([0, 1, 2, 0, 1, 3, 0, 2, 4, 5, 0])


def compute(rows: slice, ranks: int) -> dict[str, Tensor]:
    """Return values and gradients of one encoder, for one rank's rows or for all of them."""
    results: dict[str, Tensor] = {}
    scores = drawn(3, DIM, seed=7)

    def record(name: str, loss: nn.Module | object) -> None:
        encoder = (0.4 * drawn(6, DIM, seed=6)).requires_grad_()
        value = loss(X[0, rows] @ encoder, X[1, rows] @ encoder)  # type: ignore[operator]
        value.backward()
        assert encoder.grad is not None
        for key, x in ((f"{name} value", value.detach()), (f"{name} gradient", encoder.grad)):
            if ranks > 1:
                dist.all_reduce(x)
            results[key] = x / ranks

    for name, loss in LOSSES.items():
        record(name, loss)
    record("swav with a queue", lambda a, b: swav(a, b, queue=(scores, scores), epsilon=0.5))
    order = torch.arange(sum(SIZES)).roll(3)[None]
    record("w_mse in blocks", lambda a, b: w_mse(a, b, block_size=5, eps=0.1, order=order))
    record("matryoshka", matryoshka(LOSSES["vicreg"], (2, DIM), (0.5, 2.0)))

    queue = Queue(DIM, 8, normalize=False)
    memory = CrossBatchMemory(with_references(functools.partial(sup_con, across_ranks=False)), queue, warmup=1)
    for step in range(4):
        record(f"memory {step}", lambda a, b: memory(a, LABELS[rows]) + 0 * b.sum())
    results["queue keys"], results["queue labels"] = queue.keys.clone(), queue.labels.clone()
    results["queue position"], results["queue fill"] = queue.position.clone(), queue.fill.clone()

    results["covariance"] = tico_covariance(RUNNING, X[0, rows] @ drawn(6, DIM))
    results["center"] = dino_center(CENTER, list(X[:, rows] @ drawn(6, DIM)))
    results["codes"] = sinkhorn(X[0, rows] @ drawn(6, DIM), queue=scores, epsilon=0.5)
    results["directions"] = DIRECTIONS
    return results


def compute_on_rank(rank: int, world: int) -> dict[str, Tensor]:
    """Compute this rank's share."""
    start = sum(SIZES[:rank])
    return compute(slice(start, start + SIZES[rank]), world)
