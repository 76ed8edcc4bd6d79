"""Losses: pure functions, tensors in, a scalar out, computed in float32; modules only where there is state.

They know no framework and no modality. May import torch, `nearfar.distributed` and `nearfar.errors`; nothing above.
"""

from nearfar.losses.nt_xent import nt_xent
from nearfar.losses.supcon import sup_con

__all__ = ["nt_xent", "sup_con"]
