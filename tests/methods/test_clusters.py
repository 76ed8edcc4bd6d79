"""SwAV, DeepCluster-v2, DINO, twin labels: golden values, clusters, schedules and states."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nearfar.data.batch import Batch, by_size
from nearfar.distributed import mean_over_rows
from nearfar.errors import ConfigError, InputError
from nearfar.methods import METHODS, build
from nearfar.methods.deepcluster_v2 import DeepClusterV2
from nearfar.methods.dino import DINO
from nearfar.methods.swav import SwAV
from nearfar.methods.twin_labels import TwinLabels
from nearfar.nn import PrototypeHead, Prototypes, Teacher, spherical_k_means, temperature_at
from nearfar.pipeline.view_count import check_views, fit_views
from nearfar.recipes import RECIPES
from nearfar.views import VIEWS
from tests.ranks import run_on_ranks

FAMILY = ("swav", "deepcluster-v2", "twin-labels", "dino", "ibot", "mae", "distill")


class Pass(nn.Module):
    """Hands its input on, times a weight of 1, so that a test can choose the representations."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class AnySize(nn.Module):
    """A tiny convolutional encoder with BatchNorm for pictures of any size."""

    def __init__(self, dim: int = 6) -> None:
        super().__init__()
        self.dim = dim
        self.conv, self.norm = nn.Conv2d(3, dim, 2), nn.BatchNorm2d(dim)
        self.passes: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.passes.append(tuple(x.shape))
        return torch.tanh(self.norm(self.conv(x))).mean((2, 3))


def crops(n: int = 4, sides: tuple[int, ...] = (8, 8, 5, 5, 5), seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return Batch([torch.randn(n, 3, side, side, generator=generator) for side in sides], None, torch.arange(n))


def vectors(count: int = 2, n: int = 8, dim: int = 6, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return Batch([torch.randn(n, dim, generator=generator) for _ in range(count)], None, torch.arange(n))


MULTI_CROP: dict[str, Callable[[nn.Module], nn.Module]] = {
    "swav": lambda encoder: SwAV(encoder, hidden_dim=12, output_dim=8, prototypes=10),
    "deepcluster-v2": lambda encoder: DeepClusterV2(encoder, hidden_dim=12, output_dim=8, prototypes=4),
    "dino": lambda encoder: DINO(encoder, hidden_dim=12, bottleneck_dim=8, prototypes=10),
}


@pytest.mark.parametrize("name", MULTI_CROP)
def test_each_size_of_crop_takes_one_pass(name: str) -> None:
    encoder = AnySize()
    method = MULTI_CROP[name](encoder)
    method.prepare(4)  # type: ignore[operator]
    step = method.step(crops())  # type: ignore[operator]
    assert encoder.passes == [(8, 3, 8, 8), (12, 3, 5, 5)]
    assert step.features.shape == (4, 6)
    step.loss.backward()
    assert all(p.grad is not None for p in method.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", MULTI_CROP)
def test_too_few_views_are_refused(name: str) -> None:
    method = MULTI_CROP[name](AnySize())
    method.prepare(4)  # type: ignore[operator]
    with pytest.raises(InputError, match="number of views must be >= 2, got 1"):
        method.step(crops(sides=(8,)))  # type: ignore[operator]


def test_by_size_keeps_the_order_of_views() -> None:
    views = [torch.full((2, 1, side), float(i)) for i, side in enumerate((4, 4, 3, 3, 4))]
    stacked = by_size(views)
    assert [tuple(part.shape) for part in stacked] == [(4, 1, 4), (4, 1, 3), (2, 1, 4)]  # type: ignore[union-attr]
    assert torch.cat([part[:, 0, 0] for part in stacked]).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]  # type: ignore[call-overload, index]
    words = [{"ids": torch.zeros(2, 5)}, {"ids": torch.zeros(2, 5)}, {"ids": torch.zeros(2, 7)}]
    assert [part["ids"].shape[0] for part in by_size(words)] == [4, 2]  # type: ignore[call-overload, index]


# SwAV


def golden_swav() -> tuple[SwAV, Batch]:
    n = torch.arange(32, dtype=torch.float64).reshape(4, 8)
    views = [torch.sin(n + 1.0).float(), torch.cos(0.7 * n + 0.3).float()]
    method = SwAV(Pass(8), hidden_dim=4, output_dim=8, prototypes=5)
    method.head = nn.Sequential(nn.Identity())
    prototypes = torch.cos(0.9 * torch.arange(40, dtype=torch.float64).reshape(5, 8)).float()
    with torch.no_grad():
        method.clusters.weight.copy_(3 * prototypes)  # the step brings them to length 1
    return method, Batch(views)


def test_swav_gives_the_golden_value() -> None:
    method, batch = golden_swav()
    # computed apart from this library, and by lightly's loss: epsilon 0.05, 3 iterations, temperature 0.1
    assert method.step(batch).loss.item() == pytest.approx(4.927551277989176, rel=2e-5)
    torch.testing.assert_close(method.clusters.weight.norm(dim=1), torch.ones(5))


def test_swav_prototypes_stand_still_for_the_first_steps() -> None:
    method = SwAV(Pass(6), hidden_dim=12, output_dim=8, prototypes=10, frozen_steps=2)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.5)
    start = F.normalize(method.clusters.weight.detach().clone(), dim=1)
    moved = []
    for _ in range(4):
        optimizer.zero_grad()
        method.step(vectors()).loss.backward()
        assert method.clusters.weight.grad is not None
        method.before_step()
        optimizer.step()
        method.after_step(0.0)
        moved.append(not torch.allclose(F.normalize(method.clusters.weight, dim=1), start, atol=1e-6))
    assert moved == [False, False, True, True]
    assert method.state_dict()["steps"] == 4


def test_swav_queue_is_filled_from_its_start_on_and_used_when_full() -> None:
    torch.manual_seed(0)
    options = {"hidden_dim": 12, "output_dim": 8, "prototypes": 10}
    method = SwAV(Pass(6), **options, queue_size=16, queue_start=0.5)  # type: ignore[arg-type]
    plain = SwAV(Pass(6), **options)  # type: ignore[arg-type]
    plain.load_state_dict(method.state_dict(), strict=False)
    same, held = [], []
    for seed, progress in enumerate((0.4, 0.5, 0.6, 0.7)):
        method.progress.fill_(progress)
        batch = vectors(seed=seed)
        same.append(torch.equal(method.step(batch).loss, plain.step(batch).loss))
        held.append(len(method.queues[0]))  # type: ignore[arg-type]
    assert held == [0, 8, 16, 16]
    assert same == [True, True, True, False]
    with torch.no_grad():
        z = F.normalize(method.head(torch.cat([vectors(seed=3).views[i] for i in (0, 1)])), dim=1)  # type: ignore[list-item]
    for queue, view in zip(method.queues, z.chunk(2), strict=True):
        torch.testing.assert_close(queue.contents().keys[:8], view)  # type: ignore[operator, union-attr]


def test_swav_in_eval_mode_stores_nothing() -> None:
    method = SwAV(Pass(6), hidden_dim=12, output_dim=8, prototypes=10, queue_size=8, queue_start=0.0).eval()
    method.step(vectors())
    assert len(method.queues[0]) == 0  # type: ignore[arg-type]


def test_prototypes_give_cosines_in_float32_under_autocast() -> None:
    torch.manual_seed(0)
    prototypes = Prototypes(8, 5)
    z = torch.randn(3, 8)
    expected = [[float(F.cosine_similarity(a, b, dim=0)) for b in prototypes.weight.detach()] for a in z]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = prototypes(z)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, torch.tensor(expected))


# spherical k-means and DeepCluster-v2


def unit_rows(n: int, dim: int = 4, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(n, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def slow_k_means(rows: np.ndarray, centroids: np.ndarray, iterations: int) -> tuple[np.ndarray, list[int]]:
    def nearest() -> list[int]:
        return [max(range(len(centroids)), key=lambda k: float(row @ centroids[k])) for row in rows]

    for _ in range(iterations):
        members = nearest()
        for k in range(len(centroids)):
            total = sum(
                (row for row, member in zip(rows, members, strict=True) if member == k), np.zeros(rows.shape[1])
            )
            if np.linalg.norm(total) > 0:
                centroids[k] = total / np.linalg.norm(total)
    return centroids, nearest()


@pytest.mark.parametrize("iterations", [0, 1, 10])
def test_k_means_equals_a_slow_loop(iterations: int) -> None:
    rows, start = unit_rows(60), unit_rows(7, seed=1)
    before = start.clone()
    centroids, nearest = spherical_k_means(rows, start, iterations=iterations)
    slow, members = slow_k_means(rows.double().numpy(), start.double().numpy().copy(), iterations)
    torch.testing.assert_close(centroids.double(), torch.from_numpy(slow), rtol=1e-5, atol=1e-6)
    assert nearest.tolist() == members
    assert torch.equal(start, before)


def test_k_means_agrees_with_scikit_learn_where_clusters_are_tight() -> None:
    from sklearn.cluster import KMeans

    directions = torch.eye(4)
    rows = F.normalize(directions.repeat_interleave(10, 0) + 0.05 * unit_rows(40), dim=1)
    start = F.normalize(directions + 0.3 * unit_rows(4, seed=2), dim=1)
    centroids, nearest = spherical_k_means(rows, start)
    other = KMeans(4, init=start.numpy(), n_init=1).fit(rows.numpy())
    assert nearest.tolist() == other.labels_.tolist()
    torch.testing.assert_close(centroids, F.normalize(torch.from_numpy(other.cluster_centers_), dim=1))


def test_a_centroid_without_rows_stays() -> None:
    rows = F.normalize(torch.tensor([[1.0, 0.1], [1.0, -0.1]]), dim=1)
    start = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    centroids, nearest = spherical_k_means(rows, start)
    torch.testing.assert_close(centroids, start)
    assert nearest.tolist() == [0, 0]


def stored(prototypes: int = 3, sets: int = 3) -> DeepClusterV2:
    """A method on representations themselves, with 20 of 24 items seen."""
    torch.manual_seed(0)
    method = DeepClusterV2(Pass(4), hidden_dim=4, output_dim=4, prototypes=prototypes, sets=sets)
    method.head = nn.Sequential(nn.Identity())
    method.prepare(24)
    method.start_epoch(0)
    for start in (0, 10):
        views = [unit_rows(10, seed=start + v) for v in range(3)]
        method.step(Batch(views, None, torch.arange(start, start + 10)))
    return method


def test_deepcluster_stores_the_large_views_by_id() -> None:
    method = stored()
    assert method.stored.tolist() == [True] * 20 + [False] * 4
    for view in range(2):
        torch.testing.assert_close(method.memory[view, 10:20], unit_rows(10, seed=10 + view))
    assert not method.memory[:, 20:].any()


def test_deepcluster_clusters_the_last_epoch_before_the_next() -> None:
    method = stored()
    assert bool((method.assigned == -1).all())
    method.start_epoch(1)
    assert bool((method.assigned[:, 20:] == -1).all())
    for j in range(3):  # set j takes view j mod 2; ten iterations more change nothing that has settled
        rows = method.memory[j % 2, :20]
        nearest = [max(range(3), key=lambda k, i=i: float(rows[i] @ method.centroids[j, k])) for i in range(20)]  # type: ignore[misc]
        assert method.assigned[j, :20].tolist() == nearest
        for k in range(3):
            members = rows[torch.tensor(nearest) == k]
            torch.testing.assert_close(method.centroids[j, k], F.normalize(members.sum(0), dim=0))


def test_deepcluster_loss_equals_a_slow_loop() -> None:
    method = stored()
    method.start_epoch(1)
    views = [unit_rows(5, seed=30 + v) for v in range(3)]
    loss = method.step(Batch(views, None, torch.arange(5))).loss
    total = 0.0
    for j in range(3):
        for view in views:
            for i in range(5):
                scores = [math.exp(float(view[i] @ c) / 0.1) for c in method.centroids[j]]
                total -= math.log(scores[int(method.assigned[j, i])] / sum(scores)) / (3 * 3 * 5)
    assert loss.item() == pytest.approx(total, rel=1e-5)


def test_deepcluster_without_clusters_spreads_items_evenly() -> None:
    method = stored(prototypes=4, sets=1)
    scores = (unit_rows(8, seed=5) @ method.centroids[0].T).repeat(2, 1)[None]
    targets = method._targets(scores, None, 2)
    assert targets.shape == (1, 8)
    counts = targets[0].bincount(minlength=4)
    assert counts.min() >= 1
    assert not torch.equal(targets[0], scores[0, :8].argmax(1))  # not simply the nearest
    method.assigned[0, 2:4] = torch.tensor([3, 1])
    mixed = method._targets(scores, torch.arange(8), 2)[0]
    assert mixed[2:4].tolist() == [3, 1]
    assert torch.equal(mixed[4:], targets[0, 4:])


def test_deepcluster_needs_room_and_enough_items() -> None:
    method = DeepClusterV2(Pass(4), hidden_dim=4, output_dim=4, prototypes=5)
    with pytest.raises(InputError, match=r"room for the items' embeddings must be made, got none; call prepare"):
        method.step(Batch([unit_rows(4)] * 2, None, torch.arange(4)))
    with pytest.raises(InputError, match="items must be >= the 5 prototypes, got 4"):
        method.prepare(4)
    assert torch.isfinite(method.step(Batch([unit_rows(4)] * 2)).loss)


def cluster_on_rank(rank: int, world: int) -> dict[str, Tensor]:
    torch.manual_seed(rank)  # generators that disagree
    method = DeepClusterV2(Pass(4), hidden_dim=4, output_dim=4, prototypes=3, sets=2)
    method.head = nn.Sequential(nn.Identity())
    method.prepare(21)
    rows = slice(rank, None, world)
    views = [unit_rows(21, seed=v)[rows] for v in range(2)]
    method.step(Batch(views, None, torch.arange(21)[rows]))
    torch.manual_seed(7)
    method.centroids.copy_(torch.ones(2, 3, 4))
    torch.manual_seed(7 + rank)
    method.start_epoch(1)
    values = torch.arange(3.0) + 10 * rank if rank == 0 else torch.tensor([100.0])
    return {**method.state_dict(), "mean": mean_over_rows(values)}


def test_two_ranks_cluster_as_one() -> None:
    alone, both = cluster_on_rank(0, 1), run_on_ranks(cluster_on_rank, 2)
    for key in ("memory", "stored", "assigned", "centroids"):
        torch.testing.assert_close(both[0][key], alone[key])
        assert torch.equal(both[0][key], both[1][key])
    assert float(both[0]["mean"] + both[1]["mean"]) / 2 == pytest.approx((0 + 1 + 2 + 100) / 4)


# DINO


def dino(**options: object) -> DINO:
    torch.manual_seed(0)
    options = {"hidden_dim": 12, "bottleneck_dim": 8, "prototypes": 10} | options
    return DINO(Pass(6), **options)  # type: ignore[arg-type]


def test_dino_center_moves_by_hand() -> None:
    method = dino(center_momentum=0.8)
    center = torch.zeros(10)
    for seed in range(2):
        batch = vectors(3, seed=seed)
        with torch.no_grad():
            outputs = torch.stack([method.teacher_head(method.teacher(view)) for view in batch.views[:2]])
        method.step(batch)
        center = 0.8 * center + 0.2 * outputs.sum((0, 1)) / 16
        torch.testing.assert_close(method.center, center)
    method.eval().step(vectors())
    torch.testing.assert_close(method.center, center)


def test_dino_loss_equals_a_slow_loop() -> None:
    method = dino()
    method.center.copy_(torch.linspace(-0.1, 0.1, 10))
    method.progress.fill_(0.15)
    center, batch = method.center.clone(), vectors(3, n=4)
    with torch.no_grad():
        for p in method.teacher.module.parameters():
            p.mul_(1.5)
        student = [method.head(method.encoder(view)).double() for view in batch.views]
        teacher = [method.teacher_head(method.teacher(view)).double() for view in batch.views[:2]]
    loss, terms = 0.0, 0
    for t in range(2):
        for s in range(3):
            if s == t:
                continue
            terms += 1
            for i in range(4):
                p = torch.softmax((teacher[t][i] - center) / 0.055, 0)  # half-way from 0.04 to 0.07
                q = torch.softmax(student[s][i] / 0.1, 0)
                loss -= float((p * q.log()).sum()) / 4
    assert method.step(batch).loss.item() == pytest.approx(loss / terms, rel=1e-5)


def test_the_teachers_temperature_rises_in_a_straight_line() -> None:
    found = [temperature_at(progress, 0.04, 0.07, 0.3) for progress in (0.0, 0.1, 0.2, 0.3, 1.0)]
    assert found == pytest.approx([0.04, 0.05, 0.06, 0.07, 0.07])
    assert temperature_at(torch.tensor(0.0), 0.04, 0.07, 0.0) == 0.07


def test_dino_keeps_the_teacher_which_follows_on_a_cosine() -> None:
    method = dino(momentum=0.9)
    assert method.kept is method.teacher.module
    assert method.kept is not method.encoder
    with torch.no_grad():
        method.encoder.scale.fill_(3.0)  # type: ignore[union-attr, operator]
    method.after_step(0.5)  # half-way from 0.9 to 1
    assert float(method.kept.scale) == pytest.approx(0.95 * 1 + 0.05 * 3)  # type: ignore[arg-type]
    head = copy.deepcopy(method.teacher_head.module)
    with torch.no_grad():
        method.head.prototypes.add_(1.0)
    method.after_step(1.0)
    assert float(method.kept.scale) == pytest.approx(1.1)  # type: ignore[arg-type]
    assert torch.equal(head.prototypes, method.teacher_head.module.prototypes)  # type: ignore[arg-type]


def test_dino_last_layer_stands_still_then_moves() -> None:
    method = dino(frozen_share=0.5)
    optimizer = torch.optim.AdamW(method.parameters(), lr=0.01, weight_decay=0.1)
    before = method.head.prototypes.detach().clone()
    for progress, moves in ((0.0, False), (0.49, False), (0.5, True)):
        method.progress.fill_(progress)
        optimizer.zero_grad()
        method.step(vectors()).loss.backward()
        method.before_step()
        optimizer.step()
        assert torch.equal(method.head.prototypes, before) is not moves, progress
    assert not torch.equal(method.head.mlp[0].weight, dino().head.mlp[0].weight)  # type: ignore[arg-type]


def test_dino_teacher_drops_nothing_and_keeps_its_own_batchnorm() -> None:
    encoder = AnySize()
    encoder.drop = nn.Dropout(0.5)
    method = DINO(encoder, hidden_dim=12, bottleneck_dim=8, prototypes=10, head_norm=True).train()
    assert encoder.drop.training
    assert not method.teacher.module.drop.training  # type: ignore[union-attr]
    assert method.teacher.module.norm.training  # type: ignore[union-attr]
    method.step(crops())
    assert int(method.teacher.module.norm.num_batches_tracked) == 1  # type: ignore[union-attr, arg-type]
    assert int(encoder.norm.num_batches_tracked) == 2  # type: ignore[arg-type]


def test_the_prototype_head_has_weights_and_bottleneck_of_length_1() -> None:
    torch.manual_seed(0)
    head = PrototypeHead(6, 12, 8, 10)
    with torch.no_grad():
        head.prototypes.mul_(torch.rand(10, 1) * 5)
    h = torch.randn(4, 6)
    z = head.mlp(h).detach()
    expected = [[float(F.cosine_similarity(a, b, dim=0)) for b in head.prototypes.detach()] for a in z]
    torch.testing.assert_close(head(h), torch.tensor(expected))
    assert head(h[:0]).shape == (0, 10)
    assert [type(part).__name__ for part in head.mlp] == ["Linear", "GELU", "Linear", "GELU", "Linear"]
    norms = PrototypeHead(6, 12, 8, 10, layers=2, norm=True).mlp
    assert [type(part).__name__ for part in norms] == ["Linear", "BatchNorm1d", "GELU", "Linear"]


def test_a_teacher_of_a_head_gets_no_gradient() -> None:
    teacher = Teacher(PrototypeHead(6, 12, 8, 10))
    assert not any(p.requires_grad for p in teacher.parameters())


# twin labels


def twins(**options: object) -> TwinLabels:
    torch.manual_seed(0)
    return TwinLabels(Pass(6), **({"hidden_dim": 12, "classes": 5} | options))  # type: ignore[arg-type]


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("balance", ["sinkhorn", "center"])
def test_each_twin_learns_the_others_label(balance: str, hard: bool) -> None:
    method = twins(balance=balance, hard=hard, temperature=0.8).eval()
    method.center.copy_(torch.linspace(-1, 1, 5))
    batch = vectors()
    with torch.no_grad():
        logits = [method.head(method.encoder(view)) for view in batch.views]
        labels = [slow_label(one.double(), balance, method.center.double(), hard) for one in logits]
    expected = 0.0
    for mine, other in ((0, 1), (1, 0)):
        p = torch.softmax(logits[mine].double() / 0.8, 1)
        expected -= float((labels[other] * p.log()).sum()) / 8 / 2
    step = method.step(batch)
    assert step.loss.item() == pytest.approx(expected, rel=1e-5)
    same = sum(int(a.argmax()) == int(b.argmax()) for a, b in zip(*labels, strict=True))
    assert step.logs["agreement"].item() == pytest.approx(same / 8)


def slow_label(logits: Tensor, balance: str, center: Tensor, hard: bool) -> Tensor:
    if balance == "center":
        q = torch.softmax((logits - center) / 0.5, 1)
    else:
        q = torch.exp(logits / 0.5)
        for _ in range(3):
            q = q / q.sum(0, keepdim=True)
            q = q / q.sum(1, keepdim=True)
    return torch.eye(5, dtype=torch.float64)[q.argmax(1)] if hard else q


def test_twin_labels_carry_no_gradient_and_the_center_moves() -> None:
    method = twins(balance="center", center_momentum=0.75)
    batch = vectors()
    with torch.no_grad():
        mean = copy.deepcopy(method).head(torch.cat([v for v in batch.views if isinstance(v, Tensor)])).mean(0)
    assert not method.label(torch.randn(4, 5, requires_grad=True)).requires_grad
    method.step(batch)
    torch.testing.assert_close(method.center, 0.25 * mean, rtol=1e-5, atol=1e-6)
    with pytest.raises(InputError, match="balance must be 'sinkhorn' or 'center'"):
        twins(balance="none")


def test_sinkhorn_labels_cannot_all_be_one_class() -> None:
    method = twins()
    logits = torch.randn(20, 5, generator=torch.Generator().manual_seed(0)) * 0.1
    logits[:, 2] += 3.0
    torch.testing.assert_close(method.label(logits).sum(0), torch.full((5,), 4.0), rtol=0.05, atol=0.0)
    assert len(twins(hard=True).label(logits).argmax(1).unique()) == 5


# settings and recipes


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("swav", {"temperature": 0.0}),
        ("swav", {"epsilon": -1.0}),
        ("swav", {"queue_start": 2.0}),
        ("swav", {"large_views": 0}),
        ("deepcluster-v2", {"prototypes": 0}),
        ("deepcluster-v2", {"temperature": 0.0}),
        ("dino", {"teacher_temperature": 0.0}),
        ("dino", {"momentum": 1.5}),
        ("dino", {"prototypes": 0}),
        ("twin-labels", {"classes": 1}),
    ],
)
def test_settings_out_of_range_are_refused(name: str, options: dict[str, object]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(options))}|count"):
        build(name, AnySize(), options)


@pytest.mark.parametrize("name", [f"{method}/{kind}" for method in FAMILY for kind in ("imagenet", "cifar", "small")])
def test_recipes_name_views_and_settings_that_exist(name: str) -> None:
    from nearfar.config import check_options
    from nearfar.modalities.image import ImageInputs

    config = RECIPES.get(name)()
    assert config.method == name.partition("/")[0]
    check_options(name, METHODS.get(config.method), config.method_options)
    size = config.image_size or 32
    views = ImageInputs(image_size=size, channels=3).views(config.views)
    check_views(config.method, config.views, views)
    fitted = fit_views(METHODS.get(config.method).info, views)
    assert set(config.view_options) <= set(vars(fitted[0]))
    assert config.views == "auto" or config.views in VIEWS
    story = RECIPES.get(name).__doc__ or ""
    assert f"--recipe {name}``" in story


def test_vision_transformers_alone_are_taken_where_patches_are_hidden() -> None:
    for name in ("mae", "ibot"):
        with pytest.raises(ConfigError, match="encoder must be a vision transformer of timm, got AnySize"):
            build(name, AnySize())
