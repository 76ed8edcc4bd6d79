r"""SimCLRv2: SimCLR with a deeper head, of which a part may be kept, and with a memory of older negatives.

Chen, Kornblith, Swersky, Norouzi, Hinton, "Big Self-Supervised Models are Strong Semi-Supervised Learners", NeurIPS
2020, https://arxiv.org/abs/2006.10029

    encoder   h = f(x)           kept
    head      z = g(h)           MLP of three layers with BatchNorm (section 2), kept beside the encoder
    loss      NT-Xent (eq. 1)    negatives: the other 2(N - 1) views, over all ranks, and the memory
    state     with a memory: teacher of f and g, queue of its projections

Defaults: temperature 0.1, output 128, hidden layers of the encoder's width, as in the reference implementation, which
has no memory either: it brings about 1 % in the paper (65,536 projections, momentum 0.999), and stands behind
``memory``. The memory holds the teacher's projections of the first view of every item.

The first layer of the head, from which the paper fine-tunes on few labels, is no part of the encoder: a run keeps its
head in a file of its own, and ``nearfar finetune --from-layer 1`` begins there.

Departure: the last BatchNorm has a shift as well as a scale.
"""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from nearfar.data.batch import Batch, concat
from nearfar.errors import require
from nearfar.losses import nt_xent
from nearfar.methods.base import Info, Method, Step
from nearfar.nn import Queue, Teacher, mlp

__all__ = ["SimCLRV2"]


class SimCLRV2(Method):
    """SimCLRv2 on two views.

    Args:
        encoder: any module with ``dim``.
        hidden_dim: width of the head's hidden layers; 0 takes the encoder's ``dim``.
        output_dim: length of a projection z.
        head_layers: linear maps in the head.
        temperature: tau of NT-Xent, > 0.
        memory: number of older projections that are negatives as well; 0 for none, 65,536 in the paper.
        momentum: of the memory's teacher, in [0, 1].

    Raises:
        InputError: when a setting is out of its range.
    """

    info: ClassVar[Info] = Info(
        "SimCLR with a head of three layers and, where asked for, a memory of older negatives",
        "Chen et al. 2020",
        "https://arxiv.org/abs/2006.10029",
    )

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden_dim: int = 0,
        output_dim: int = 128,
        head_layers: int = 3,
        temperature: float = 0.1,
        memory: int = 0,
        momentum: float = 0.999,
    ) -> None:
        super().__init__()
        require(temperature > 0, "SimCLRV2", "temperature", "> 0", temperature)
        require(memory >= 0, "SimCLRV2", "memory", ">= 0", memory)
        require(0 <= momentum <= 1, "SimCLRV2", "momentum", "in [0, 1]", momentum)
        dim = int(encoder.dim)  # type: ignore[arg-type]
        self.encoder = encoder
        self.hidden_dim, self.output_dim, self.head_layers = hidden_dim or dim, output_dim, head_layers
        self.temperature, self.memory, self.momentum = temperature, memory, momentum
        self.head = mlp(dim, self.hidden_dim, output_dim, layers=head_layers, last_norm=True)
        self.teacher = Teacher(nn.Sequential(self.encoder, self.head)) if memory else None
        self.queue = Queue(output_dim, memory) if memory else None

    def step(self, batch: Batch) -> Step:
        """Return NT-Xent between the batch's two views."""
        require(len(batch.views) == 2, "SimCLRV2", "number of views", "2", len(batch.views))
        h = self.encoder(concat(batch.views))  # one pass: BatchNorm sees 2N
        z1, z2 = self.head(h).chunk(2)
        older = None if self.queue is None else self.queue.contents().keys
        queue = older if older is not None and len(older) else None
        loss = nt_xent(z1, z2, queue=queue, temperature=self.temperature)
        if self.queue is not None and self.teacher is not None:
            self.queue.enqueue(self.teacher(batch.views[0]))
        return Step(loss=loss, features=h.detach().chunk(2)[0])

    def after_step(self, progress: float) -> None:
        """Move the memory's teacher."""
        if self.teacher is not None:
            self.teacher.follow(nn.Sequential(self.encoder, self.head), self.momentum)
