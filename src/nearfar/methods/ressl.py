r"""ReSSL: a strongly changed view finds the same similarities to other items as a weakly changed one.

Zheng, You, Wang, Qian, Zhang, Wang, Xu, "ReSSL: Relational Self-Supervised Learning with Weak Augmentation", NeurIPS
2021, https://arxiv.org/abs/2107.09282

    encoder   h = f(x)             kept
    head      z = g(h)             MLP of two layers without BatchNorm, discarded after pretraining
    loss      cross-entropy (eq. 4) between the teacher's and the student's softmax of similarities to the queue
    state     teacher of f and g, queue of its embeddings of all ranks

The first view is the weak one, which the teacher sees; the second is the strong one, which the student sees
(``--views weak-strong``). Nothing is pushed away as such: the targets are soft.

Defaults: those of the reference implementation on ImageNet (temperatures 0.1 and 0.04, 131,072 embeddings, momentum
0.999, hidden layer 4096, output 512). ``momentum`` may rise to ``final_momentum`` by a cosine, as in solo-learn.

Departures: the queue starts empty, not with random embeddings; in the first step the batch's own embeddings stand for
it. The teacher's batch is not shuffled over ranks, as the reference implementation does. The features of a step are
those of the strong view, the only one that the student sees.
"""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from nearfar.data.batch import Batch
from nearfar.distributed import gather
from nearfar.errors import require
from nearfar.losses import ressl
from nearfar.methods.base import Info, Method, Step
from nearfar.nn import Queue, Teacher, mlp, momentum_at

__all__ = ["ReSSL"]


class ReSSL(Method):
    """ReSSL on a weak and a strong view.

    Args:
        encoder: any module with ``dim``.
        hidden_dim: width of the head's hidden layer; 0 takes the encoder's ``dim``.
        output_dim: length of a projection z.
        queue_size: number of embeddings that both views are compared with, >= 1.
        momentum: of the teacher, in [0, 1].
        final_momentum: what it rises to by a cosine; none keeps it.
        student_temperature: of the student's softmax, > 0.
        teacher_temperature: of the teacher's, > 0; lower, so that the targets are sharper.

    Raises:
        InputError: when a setting is out of its range.
    """

    info: ClassVar[Info] = Info(
        "a strong view finds the same similarities to other items as the teacher's weak view",
        "Zheng et al. 2021",
        "https://arxiv.org/abs/2107.09282",
        negatives=False,
        teacher=True,
        queue=True,
    )

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden_dim: int = 4096,
        output_dim: int = 512,
        queue_size: int = 131072,
        momentum: float = 0.999,
        final_momentum: float | None = None,
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.04,
    ) -> None:
        super().__init__()
        require(student_temperature > 0, "ReSSL", "student_temperature", "> 0", student_temperature)
        require(teacher_temperature > 0, "ReSSL", "teacher_temperature", "> 0", teacher_temperature)
        require(0 <= momentum <= 1, "ReSSL", "momentum", "in [0, 1]", momentum)
        final = momentum if final_momentum is None else final_momentum
        require(0 <= final <= 1, "ReSSL", "final_momentum", "in [0, 1]", final)
        dim = int(encoder.dim)  # type: ignore[arg-type]
        self.encoder = encoder
        self.hidden_dim, self.output_dim, self.queue_size = hidden_dim or dim, output_dim, queue_size
        self.momentum, self.final_momentum = momentum, final_momentum
        self.student_temperature, self.teacher_temperature = student_temperature, teacher_temperature
        self.head = mlp(dim, self.hidden_dim, output_dim, norm=False)
        self.teacher_encoder, self.teacher_head = Teacher(self.encoder), Teacher(self.head)
        self.queue = Queue(output_dim, queue_size)

    def step(self, batch: Batch) -> Step:
        """Return the cross-entropy between the two views' similarities to the queue."""
        require(len(batch.views) == 2, "ReSSL", "number of views", "2", len(batch.views))
        weak, strong = batch.views
        h = self.encoder(strong)
        targets = self.teacher_head(self.teacher_encoder(weak))
        older = self.queue.contents().keys
        loss = ressl(
            self.head(h),
            targets,
            older if len(older) else gather(targets),
            student_temperature=self.student_temperature,
            teacher_temperature=self.teacher_temperature,
        )
        self.queue.enqueue(targets)
        return Step(loss=loss, features=h.detach())

    def after_step(self, progress: float) -> None:
        """Move the teacher."""
        final = self.momentum if self.final_momentum is None else self.final_momentum
        momentum = momentum_at(progress, self.momentum, final)
        self.teacher_encoder.follow(self.encoder, momentum)
        self.teacher_head.follow(self.head, momentum)
