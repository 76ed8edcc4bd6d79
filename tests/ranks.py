"""Run a function on several gloo ranks of this machine."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as mp


def _worker(rank: int, world: int, folder: str, function: Callable[[int, int], Any]) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=world)
    try:
        result = function(rank, world)
    finally:
        torch.distributed.destroy_process_group()
    (Path(folder) / f"{rank}.pickle").write_bytes(pickle.dumps(result))


def run_on_ranks(function: Callable[[int, int], Any], world: int) -> list[Any]:
    """Return ``function(rank, world)`` of every rank, in rank order; the function stands at a module's top level."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_worker, args=(world, folder, function), nprocs=world, join=True)
        return [pickle.loads((Path(folder) / f"{rank}.pickle").read_bytes()) for rank in range(world)]
