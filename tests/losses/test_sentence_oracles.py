"""Losses equal sentence-transformers where it has the same equation; the model handed to it returns its input."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.testing import assert_close

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from sentence_transformers.sentence_transformer import losses as theirs

from nearfar import losses

N, D = 12, 6


class Given(nn.Module):
    """A model whose sentences are their embeddings already."""

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"sentence_embedding": features["z"]}


def columns(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(N, D, generator=generator, dtype=torch.float64) for _ in range(count)]


def both(
    ours: Callable[..., Tensor], module: Any, count: int, labels: Tensor | None = None, *, exact: bool = True
) -> None:
    """Compare values and the gradients of all columns; torch's own Euclidean distance adds 1e-6 to each difference."""
    near = {} if exact else {"rtol": 1e-4, "atol": 1e-5}
    a, b = ([z.clone().requires_grad_() for z in columns(count)] for _ in range(2))
    left = ours(*a)
    right = module([{"z": z} for z in b], labels)
    left.backward()
    right.backward()
    assert_close(left, right, **near)
    for x, y in zip(a, b, strict=True):
        assert_close(x.grad, y.grad, **near)


SCORES = torch.linspace(0, 1, N, dtype=torch.float64)[torch.randperm(N, generator=torch.Generator().manual_seed(1))]
SAME = torch.arange(N) % 3 == 0


def test_cosine_regression() -> None:
    both(lambda x, y: losses.cosine_regression(x, y, SCORES), theirs.CosineSimilarityLoss(Given()), 2, SCORES)


def test_cosent() -> None:
    both(lambda x, y: losses.cosent(x, y, SCORES), theirs.CoSENTLoss(Given()), 2, SCORES)


def test_angle() -> None:
    both(lambda x, y: losses.angle(x, y, SCORES), theirs.AnglELoss(Given()), 2, SCORES)


def test_contrastive_in_hadsells_form() -> None:
    """Theirs takes 1 for similar pairs and the cosine distance; on unit rows it is half the squared Euclidean one."""
    euclidean = theirs.SiameseDistanceMetric.EUCLIDEAN
    module = theirs.ContrastiveLoss(Given(), distance_metric=euclidean, margin=4.0)
    both(lambda x, y: losses.contrastive(x, y, ~SAME, margin=4.0, form="hadsell"), module, 2, SAME.long(), exact=False)


def test_online_contrastive() -> None:
    module = theirs.OnlineContrastiveLoss(Given(), distance_metric=theirs.SiameseDistanceMetric.EUCLIDEAN, margin=4.0)
    both(
        lambda x, y: losses.online_contrastive(x, y, ~SAME, margin=4.0, distance="euclidean"),
        module,
        2,
        SAME.long(),
        exact=False,
    )


def test_triplet() -> None:
    module = theirs.TripletLoss(Given(), triplet_margin=1.0)
    both(lambda a, p, n: losses.triplet(a, p, n, margin=1.0, distance="euclidean"), module, 3, exact=False)


def test_in_batch_negatives_with_hard_negatives() -> None:
    def ours(q: Tensor, k: Tensor, n: Tensor) -> Tensor:
        return losses.info_nce(q, k, negatives=n, temperature=1 / 20)

    both(ours, theirs.MultipleNegativesRankingLoss(Given()), 3)


def test_symmetric_in_batch_negatives() -> None:
    directions = ("query_to_doc", "doc_to_query")
    module = theirs.MultipleNegativesRankingLoss(Given(), directions=directions, partition_mode="per_direction")
    both(lambda q, k: losses.clip(q, k, scale=20.0), module, 2)


def test_mega_batch_margin() -> None:
    module = theirs.MegaBatchMarginLoss(Given(), use_mini_batched_version=False)
    both(losses.mega_batch_margin, module, 2)


def test_margin_mse() -> None:
    margins = SCORES * 3 - 1
    both(lambda a, p, n: losses.margin_mse(a, p, n, margins), theirs.MarginMSELoss(Given()), 3, margins)


CLASSES = torch.arange(N) % 4


def test_batch_all_triplets() -> None:
    """Theirs averages over the triplets with a loss."""
    euclidean = theirs.BatchHardTripletLossDistanceFunction.euclidean_distance

    def ours(z: Tensor) -> Tensor:
        return losses.triplet_from_labels(z, CLASSES, margin=1.0, mining="all", distance="euclidean", nonzero=True)

    both(ours, theirs.BatchAllTripletLoss(Given(), distance_metric=euclidean, margin=1.0), 1, CLASSES)


def test_batch_hard_triplets() -> None:
    euclidean = theirs.BatchHardTripletLossDistanceFunction.euclidean_distance

    def ours(z: Tensor) -> Tensor:
        return losses.triplet_from_labels(z, CLASSES, margin=1.0, mining="hard", distance="euclidean")

    both(ours, theirs.BatchHardTripletLoss(Given(), distance_metric=euclidean, margin=1.0), 1, CLASSES)


def test_batch_hard_soft_margin_triplets() -> None:
    def ours(z: Tensor) -> Tensor:
        return losses.triplet_from_labels(z, CLASSES, mining="hard", distance="euclidean", soft_margin=True)

    both(ours, theirs.BatchHardSoftMarginTripletLoss(Given()), 1, CLASSES)
