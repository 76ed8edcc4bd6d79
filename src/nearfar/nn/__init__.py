"""Parts that methods share: heads, and the state they keep. Imports torch, `nearfar.errors`, `nearfar.distributed`."""

from nearfar.nn.heads import mlp
from nearfar.nn.iterative_norm import IterativeNorm
from nearfar.nn.k_means import spherical_k_means
from nearfar.nn.masks import draw_blocks, draw_orders
from nearfar.nn.nearest import nearest
from nearfar.nn.prototypes import PrototypeHead, Prototypes, temperature_at
from nearfar.nn.queue import Queue, Stored
from nearfar.nn.shuffle import Shuffle, draw_shuffle
from nearfar.nn.split_batchnorm import SplitBatchNorm, split_batch_norms
from nearfar.nn.teacher import Teacher, momentum_at

__all__ = [
    "IterativeNorm",
    "PrototypeHead",
    "Prototypes",
    "Queue",
    "Shuffle",
    "SplitBatchNorm",
    "Stored",
    "Teacher",
    "draw_blocks",
    "draw_orders",
    "draw_shuffle",
    "mlp",
    "momentum_at",
    "nearest",
    "spherical_k_means",
    "split_batch_norms",
    "temperature_at",
]
