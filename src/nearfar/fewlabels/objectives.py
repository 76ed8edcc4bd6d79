"""What is minimised on labels, and on labels and pseudo-labels together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from nearfar.data import Batch, Loader
from nearfar.errors import RunError
from nearfar.fewlabels.loop import Device, Objective, batches
from nearfar.fewlabels.predictor import Predictor
from nearfar.fewlabels.targets import loss_of
from nearfar.losses import align_distribution, distill_kl, fix_match

__all__ = ["Distilled", "FixMatch", "Supervised", "mix"]

_MIX = 3
"""Last number of the seed, so that mixing shares its random numbers with nothing else."""


class Supervised(Objective):
    """The task's loss on labelled items, perhaps mixed.

    Args:
        model: what is trained.
        place: where.
        loader: the labelled items, with one view.
        wanted: soft targets of the loader's items, (N, C) float32.
        task: which loss.
        label_smoothing: share of a label that is spread over all classes.
        mixup: alpha of the Beta distribution; 0 is none.
        seed: of the mixing.
    """

    def __init__(
        self,
        model: Predictor,
        place: Device,
        loader: Loader,
        wanted: Tensor,
        *,
        task: str,
        label_smoothing: float = 0.0,
        mixup: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.model, self.place, self.loader, self.task = model, place, loader, task
        self.wanted = wanted.to(place.device)
        self.label_smoothing, self.mixup, self.seed = label_smoothing, mixup, seed
        self._stream: Iterator[Batch] = iter(())

    def begin(self, step: int) -> None:
        """Put the stream where it stands before a step."""
        self._stream = batches(self.loader, step)

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return the loss of a step."""
        views, wanted = labelled_batch(next(self._stream), self.wanted, self.place)
        if self.mixup:
            views, wanted = mix(views, wanted, alpha=self.mixup, rng=np.random.default_rng([self.seed, step, _MIX]))
        with self.place.autocast():
            outputs = self.model(views)
        return loss_of(self.task, outputs, wanted, label_smoothing=self.label_smoothing), {}  # type: ignore[arg-type]


class FixMatch(Objective):
    """Cross-entropy on labels, and FixMatch's loss on unlabelled items seen twice: lightly and strongly changed.

    Labelled and unlabelled items pass through the model together, so that BatchNorm sees one batch, as in the paper.

    Args:
        model: what is trained.
        place: where.
        labelled: the labelled items, with one view.
        unlabelled: all items, with the light and the strong view.
        wanted: soft targets of the labelled items, (N, C) float32.
        label_smoothing: share of a label that is spread over all classes.
        threshold: the least confidence.
        weight: of the unlabelled loss.
        align: align the frequencies of the answers with those of the labels.
    """

    def __init__(
        self,
        model: Predictor,
        place: Device,
        labelled: Loader,
        unlabelled: Loader,
        wanted: Tensor,
        *,
        label_smoothing: float = 0.0,
        threshold: float = 0.95,
        weight: float = 1.0,
        align: bool = True,
    ) -> None:
        super().__init__()
        self.model, self.place, self.labelled, self.unlabelled = model, place, labelled, unlabelled
        self.wanted = wanted.to(place.device)
        self.frequencies = self.wanted.mean(0)
        self.seen = torch.full_like(self.frequencies, 1 / len(self.frequencies))
        self.label_smoothing, self.threshold, self.weight, self.align = label_smoothing, threshold, weight, align
        self._streams: tuple[Iterator[Batch], Iterator[Batch]] = iter(()), iter(())

    def begin(self, step: int) -> None:
        """Put both streams where they stand before a step."""
        self._streams = batches(self.labelled, step), batches(self.unlabelled, step)

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return the loss of a step, and the share of the unlabelled items that were used."""
        views, wanted = labelled_batch(next(self._streams[0]), self.wanted, self.place)
        weak, strong = (self.place.put(view) for view in next(self._streams[1]).views)
        with self.place.autocast():
            outputs = self.model(joined(views, weak, strong)).float()
        known, guess, answer = outputs.split([len(wanted), *[(len(outputs) - len(wanted)) // 2] * 2])
        found = fix_match(self._probabilities(guess.detach()), answer, threshold=self.threshold)
        loss = loss_of("classes", known, wanted, label_smoothing=self.label_smoothing)
        return loss + self.weight * found.loss, {"labelled_loss": loss.detach(), "pseudo_labelled": found.used}

    def _probabilities(self, logits: Tensor) -> Tensor:
        q = logits.softmax(1)
        if not self.align:
            return q
        self.seen = 0.99 * self.seen + 0.01 * q.mean(0)  # ReMixMatch keeps the mean of the last 128 batches
        return align_distribution(q, wanted=self.frequencies, seen=self.seen.clamp_min(1e-6))

    def remembered(self) -> dict[str, Tensor]:
        """Return how frequent the classes were among the answers."""
        return {"seen": self.seen.cpu()}

    def remember(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `remembered` returned."""
        self.seen = state["seen"].to(self.seen)


class Distilled(Objective):
    r"""Cross-entropy of the student with the teacher's answers (eq. 2 of SimCLRv2), perhaps with labels as well.

    .. math:: L = -(1 - a) \sum_y P_T(y | x; \tau) \log P_S(y | x; \tau) - a \log P_S(y_x | x)

    Args:
        model: the student.
        place: where.
        unlabelled: all items, with one view.
        teacher: in eval mode; it sees the very crop that the student sees. Or its outputs (N, C), one a row.
        temperature: tau.
        labelled: labelled items with one view, and their soft targets.
        weight: a.
        task: of the teacher; numbers are learnt by their squared difference, several classes by both sides' sigmoids.
    """

    def __init__(
        self,
        model: Predictor,
        place: Device,
        unlabelled: Loader,
        teacher: Predictor | Tensor,
        *,
        temperature: float,
        task: str = "classes",
        labelled: tuple[Loader, Tensor] | None = None,
        weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.model, self.place, self.unlabelled, self.task = model, place, unlabelled, task
        self._teacher = [teacher]  # in a list: it is no part of what is trained, moved or saved
        self.temperature, self.labelled, self.weight = temperature, labelled, weight
        self._streams: tuple[Iterator[Batch], Iterator[Batch]] = iter(()), iter(())
        if isinstance(teacher, Predictor):
            teacher.to(place.device).to(memory_format=torch.channels_last).eval()

    def begin(self, step: int) -> None:
        """Put the streams where they stand before a step."""
        labelled = iter(()) if self.labelled is None else batches(self.labelled[0], step)
        self._streams = batches(self.unlabelled, step), labelled

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return the loss of a step; where labels count, both parts of it."""
        batch = next(self._streams[0])
        views = self.place.put(batch.views[0])
        wanted = self._answers(views, batch)
        if self.labelled is None:
            with self.place.autocast():
                outputs = self.model(views).float()
            return self._distilled(outputs, wanted), {}
        seen, known = labelled_batch(next(self._streams[1]), self.labelled[1], self.place)
        with self.place.autocast():
            outputs = self.model(joined(views, seen)).float()
        answers, own = outputs.split([len(wanted), len(known)])
        loss, labels = self._distilled(answers, wanted), loss_of(self.task, own, known)  # type: ignore[arg-type]
        logs = {"distilled_loss": loss.detach(), "labelled_loss": labels.detach()}
        return (1 - self.weight) * loss + self.weight * labels, logs

    @torch.no_grad()
    def _answers(self, views: Tensor, batch: Batch) -> Tensor:
        teacher = self._teacher[0]
        if isinstance(teacher, Tensor):
            assert batch.ids is not None
            return teacher[batch.ids].to(self.place.device)
        if teacher.training:
            raise RunError("distill: the teacher must be in eval mode, got train mode")
        with self.place.autocast():
            answers: Tensor = teacher(views).float()
        return answers

    def _distilled(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        if self.task == "classes":
            return distill_kl(outputs, wanted, temperature=self.temperature, form="cross_entropy", rescale=False)
        if self.task == "multilabel":
            tau = self.temperature
            return loss_of("multilabel", outputs / tau, (wanted / tau).sigmoid())
        return loss_of("regression", outputs, wanted)


def labelled_batch(batch: Batch, wanted: Tensor, place: Device) -> tuple[Tensor, Tensor]:
    """Return the one view of a batch and the targets of its items, on the device."""
    assert batch.ids is not None
    return place.put(batch.views[0]), wanted[batch.ids.to(wanted.device)].to(place.device)


def joined(*views: Tensor | Mapping[str, Tensor]) -> Tensor:
    """Return views one after the other, as one batch."""
    if all(isinstance(view, Tensor) for view in views):
        return torch.cat(views)  # type: ignore[arg-type]
    return {name: torch.cat([view[name] for view in views]) for name in views[0]}  # type: ignore[return-value,index]


def mix(views: Tensor, wanted: Tensor, *, alpha: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Mix every item with another one of the batch, and their targets alike.

    Zhang, Cissé, Dauphin, Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", ICLR 2018,
    https://arxiv.org/abs/1710.09412, eq. 1; one weight a batch, as in the authors' code.

    Args:
        views: (N, ...) float.
        wanted: (N, C) soft targets.
        alpha: of the Beta distribution, > 0.
        rng: draws the weight and who is mixed with whom.
    """
    share = float(rng.beta(alpha, alpha))
    order = torch.from_numpy(rng.permutation(len(wanted))).to(wanted.device)
    return share * views + (1 - share) * views[order], share * wanted + (1 - share) * wanted[order]
