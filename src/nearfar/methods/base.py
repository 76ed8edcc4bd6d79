"""What every method is: an encoder with a head and a loss, driven one batch at a time."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from nearfar.data.batch import Batch

__all__ = ["Info", "Method", "Step"]


class Step(NamedTuple):
    """What one batch yields.

    Attributes:
        loss: scalar float32, to be minimised.
        features: (N, dim) detached representations h of the first view, for probes and the collapse monitor.
        logs: further scalars to record under their own names.
    """

    loss: Tensor
    features: Tensor
    logs: Mapping[str, Tensor] = MappingProxyType({})


class Info(NamedTuple):
    """One row of the table of methods."""

    summary: str
    paper: str
    url: str
    labels: bool = False
    negatives: bool = True
    teacher: bool = False
    queue: bool = False
    views: str = "2"


class Method(nn.Module, abc.ABC):
    """Subclass once, implement `step`, do not subclass the result.

    The constructor takes the encoder, then keyword-only, typed and defaulted settings, each kept as an attribute of
    the same name: command line, saved configuration and documentation are derived from its signature.

    Attributes:
        encoder: what is kept after pretraining; anything with an integer ``dim``.
        info: the method's row in the table of methods. Where ``info.labels`` is false the trainer hands `step`
            batches whose labels are ``None``.
    """

    info: ClassVar[Info]
    encoder: nn.Module

    @abc.abstractmethod
    def step(self, batch: Batch) -> Step:
        """Return the loss of one batch, and its features."""

    def after_step(self, progress: float) -> None:
        """Teachers move here, once per optimiser step; ``progress`` in [0, 1] is the share of training done."""

    def forward(self, *args: Any, **kwargs: Any) -> Step:
        """Call `step`; it exists because DistributedDataParallel wraps ``forward``."""
        return self.step(*args, **kwargs)
