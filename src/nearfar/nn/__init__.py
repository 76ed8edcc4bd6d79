"""Parts that methods share: heads, and the state they keep. Imports torch, `nearfar.errors`, `nearfar.distributed`."""

from nearfar.nn.heads import mlp
from nearfar.nn.nearest import nearest
from nearfar.nn.queue import Queue, Stored
from nearfar.nn.teacher import Teacher, momentum_at

__all__ = ["Queue", "Stored", "Teacher", "mlp", "momentum_at", "nearest"]
