"""Methods and encoders that note what happens to them, or go wrong in a known way."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nearfar.data.batch import Batch
from nearfar.errors import require
from nearfar.methods import Info, Method, Step


class Spy(Method):
    """Pulls two views together, and notes each batch and each call of `after_step`."""

    info: ClassVar[Info] = Info("notes what it sees", "none", "https://example.org")
    seen: ClassVar[list[Batch]] = []
    moves: ClassVar[list[float]] = []

    def __init__(self, encoder: nn.Module, *, breaks_at: int = -1) -> None:
        super().__init__()
        self.encoder, self.breaks_at = encoder, breaks_at
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def step(self, batch: Batch) -> Step:
        """Return the mean squared distance of the views; not a number once ``breaks_at`` steps are done."""
        self.seen.append(batch)
        first, second = (self.encoder(view) for view in batch.views)
        loss = (first - second).square().mean()
        if int(self.steps) == self.breaks_at:  # type: ignore[arg-type]
            loss = loss * torch.nan
        assert batch.ids is not None
        rows = {"rows": torch.tensor(float(len(first))), "ids": batch.ids.sum().float()}
        return Step(loss=loss, features=first.detach(), logs=rows)

    def after_step(self, progress: float) -> None:
        """Count an optimiser step."""
        self.moves.append(progress)
        self.steps += 1


class LabelSpy(Spy):
    """The same, and takes labels."""

    info: ClassVar[Info] = Info("notes what it sees", "none", "https://example.org", labels=True)


class Wandering(Method):
    """Draws random numbers from torch in each step, so that a resumed run must have its generator."""

    info: ClassVar[Info] = Info("draws noise", "none", "https://example.org")

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("teacher", torch.zeros(int(encoder.dim)))  # type: ignore[arg-type]

    def step(self, batch: Batch) -> Step:
        """Pull noisy representations to the teacher's."""
        h: Tensor = self.encoder(batch.views[0])
        require(h.ndim == 2, "Wandering", "h", "(N, dim)", tuple(h.shape))
        loss = (h + torch.randn_like(h) - self.teacher).square().mean()
        self.moved = h.detach().mean(dim=0)
        return Step(loss=loss, features=h.detach(), logs={"teacher": self.teacher.norm()})  # type: ignore[operator]

    def after_step(self, progress: float) -> None:
        """Move the teacher."""
        self.teacher: Any
        self.teacher.mul_(0.9).add_(self.moved, alpha=0.1)


class Constant(nn.Module):
    """An encoder that has collapsed: one representation for everything."""

    dim = 4

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, 4)."""
        return self.value.expand(len(x), 4) + x.flatten(1)[:, :4] * 0.0
