"""What every method is: an encoder with a head and a loss, driven one batch at a time."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from nearfar.data.batch import Batch

__all__ = ["Info", "Method", "Rule", "Step"]


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
    """One row of the table of methods, and what a method asks of its data and encoder.

    Attributes:
        summary: what it does, in one line.
        paper: authors and year.
        url: where the paper is.
        labels: whether `Method.step` needs labels.
        negatives: whether other items are pushed away.
        teacher: whether a second network, which no gradient moves, gives targets.
        queue: whether embeddings of past batches are kept.
        least_views: the fewest views of an item.
        most_views: the most views; ``None`` for any number.
        mixed_sizes: whether views may differ in size (multi-crop); the two largest then come first.
        sampler: the order of the batches that it wants, unless another is named: a name of `nearfar.data.SAMPLERS`.
        encoder: ``"any"``; ``"maps"`` needs ``encoder.feature_map``; ``"vit"`` needs a timm vision transformer.
    """

    summary: str
    paper: str
    url: str
    labels: bool = False
    negatives: bool = True
    teacher: bool = False
    queue: bool = False
    least_views: int = 2
    most_views: int | None = 2
    mixed_sizes: bool = False
    encoder: Literal["any", "maps", "vit"] = "any"
    sampler: str = "shuffled"

    @property
    def views(self) -> str:
        """The number of views in words."""
        if self.most_views == self.least_views:
            return str(self.least_views)
        return f">= {self.least_views}" if self.most_views is None else f"{self.least_views} to {self.most_views}"


class Rule(NamedTuple):
    """How the learning rate and decay of some parameters depart from those of the rest.

    Attributes:
        scale: factor on the learning rate.
        constant: keep the peak learning rate, without warm-up and cosine (SimSiam's predictor).
        decay: factor on the weight decay.
    """

    scale: float = 1.0
    constant: bool = False
    decay: float = 1.0


class Method(nn.Module, abc.ABC):
    """Subclass once, implement `step`, do not subclass the result.

    The constructor takes the encoder, then keyword-only, typed and defaulted settings, each kept as an attribute of
    the same name: command line, saved configuration and documentation are derived from its signature.

    Attributes:
        encoder: what is kept after pretraining; anything with an integer ``dim``.
        info: the method's row in the table of methods. Where ``info.labels`` is false the trainer hands `step`
            batches whose labels are ``None``.
        progress: scalar in [0, 1], the share of training that was done before this step; the trainer sets it, and
            schedules of a method's own (a teacher's temperature) read it.
    """

    info: ClassVar[Info]
    encoder: nn.Module
    progress: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("progress", torch.zeros(()), persistent=False)

    @abc.abstractmethod
    def step(self, batch: Batch) -> Step:
        """Return the loss of one batch, and its features."""

    @property
    def kept(self) -> nn.Module:
        """What is saved as the run's encoder: the online one, but for papers that keep the teacher (DINO)."""
        return self.encoder

    @property
    def relation(self) -> str:
        """What the data give beside items: ``"labels"``, ``"pairs"``, ``"triplets"``, ``"scores"`` or ``"sets"``."""
        return "labels"

    @property
    def kept_head(self) -> nn.Module | None:
        """What is saved beside the encoder, if it is a plain stack of layers: fine-tuning may begin within it."""
        return self._modules.get("head")

    def rules(self) -> Mapping[str, Rule]:
        """Return the parameters, by the beginning of their names, that the optimiser treats by a rule of their own."""
        return {}

    def prepare(self, items: int) -> None:
        """Make room for state that grows with the data set of ``items``; called before training and before a resume."""

    def start_epoch(self, epoch: int) -> None:
        """Called before the first step of every epoch, counted from 0, and not again when a run goes on within one."""

    def before_step(self) -> None:
        """Called when the gradients stand and the optimiser has not moved yet: the place to hold weights fast."""

    def after_step(self, progress: float) -> None:
        """Teachers move here, once per optimiser step; ``progress`` in [0, 1] is the share of training done."""

    def forward(self, *args: Any, **kwargs: Any) -> Step:
        """Call `step`; it exists because DistributedDataParallel wraps ``forward``."""
        return self.step(*args, **kwargs)
