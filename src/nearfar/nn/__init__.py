"""Parts that methods share: heads, and the state they keep. Imports torch, `nearfar.errors`, `nearfar.distributed`."""

from nearfar.nn.heads import mlp
from nearfar.nn.queue import Queue, Stored

__all__ = ["Queue", "Stored", "mlp"]
