"""Methods with negatives against slow loops in float64: losses, queues, teachers, statistics."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from nearfar.data.batch import Batch
from nearfar.encoders.small import SmallConvNet
from nearfar.errors import InputError
from nearfar.methods import build
from tests.methods.negatives_reference import (
    WITH_TEACHER,
    batch_of,
    close,
    decoupled,
    frozen_copy,
    in_batch,
    make,
    moco,
    same_gradients,
    soft,
    trained,
    without_heads,
)

N = torch.arange(32, dtype=torch.float64).reshape(4, 8)
Z1, Z2 = torch.sin(N + 1.0), torch.cos(0.7 * N + 0.3)
GOLDEN_QUEUE = torch.sin(0.3 * torch.arange(48, dtype=torch.float64).reshape(6, 8) + 0.5)


# Golden values: recipes of others' code on one input.


def test_losses_of_given_embeddings_are_the_published_codes() -> None:
    batch = Batch([Z1, Z2])
    close(without_heads("simclr-v2", memory=0).step(batch).loss, 5.317472609887895)
    close(without_heads("dcl").step(batch).loss, 4.827977891125824)
    method = without_heads("moco-v2", temperature=0.2, batchnorm="plain")
    method.queue.enqueue(GOLDEN_QUEUE)
    close(method.step(batch).loss, 1.977529255095073)
    second = 0.4 * in_batch(Z2, Z1, 0.2)
    close(without_heads("moco-v3", temperature=0.2).step(batch).loss, 0.7626059322747785 + second)


# Teachers


@pytest.mark.parametrize("name", WITH_TEACHER)
def test_the_teacher_moves_by_the_moving_average_and_by_nothing_else(name: str) -> None:
    method = trained(name)
    before = copy.deepcopy(method.state_dict())
    method.step(batch_of(0)).loss.backward()
    torch.optim.SGD(method.parameters(), lr=0.5).step()
    stepped = method.state_dict()
    owners = {"teacher_encoder.module.": "encoder.", "teacher_head.module.": "head."}
    owners |= {
        "teacher_dense_head.module.": "dense_head.",
        "teacher.module.0.": "encoder.",
        "teacher.module.1.": "head.",
    }
    pairs = {
        theirs + key.removeprefix(theirs): ours + key.removeprefix(theirs)
        for key in dict(method.named_parameters())
        for theirs, ours in owners.items()
        if key.startswith(theirs)
    }
    assert pairs
    assert all(torch.equal(stepped[key], before[key]) for key in pairs)
    wanted = {key: stepped[key].clone() for key in pairs}
    momentum = 1 - 0.1 * (math.cos(math.pi * 0.25) + 1) / 2 if name == "moco-v3" else 0.9
    method.after_step(0.25)
    for teacher, online in pairs.items():
        moved = momentum * wanted[teacher] + (1 - momentum) * stepped[online]
        torch.testing.assert_close(method.state_dict()[teacher], moved, rtol=1e-12, atol=1e-14)
        assert not torch.equal(method.state_dict()[teacher], before[teacher]) or "bias" in teacher


def test_momentum_rises_by_a_cosine_where_asked_for() -> None:
    for name in ("moco-v2", "ressl"):
        method = make(name, momentum=0.5, final_momentum=1.0)
        with torch.no_grad():
            next(method.head.parameters()).fill_(1.0)
            next(method.teacher_head.module.parameters()).fill_(0.0)
        method.after_step(0.5)  # half way: 0.75
        assert torch.allclose(next(method.teacher_head.module.parameters()), torch.tensor(0.25, dtype=torch.float64))


# SimCLRv2, DCL


def test_the_memory_of_simclr_v2_adds_older_negatives_of_the_teacher() -> None:
    method = trained("simclr-v2")
    other = frozen_copy(method)
    batch = batch_of(7)
    z = other.head(other.encoder(torch.cat(list(batch.views))))
    older = other.queue.contents().keys
    values = []
    for i in range(12):
        negatives = torch.cat([z[[k for k in range(12) if k not in (i, (i + 6) % 12)]], older])
        values.append(moco(z[i : i + 1], z[(i + 6) % 12][None], negatives, 0.1))
    wanted = torch.stack(values).mean()
    loss = method.step(batch).loss
    close(loss, wanted)
    same_gradients(method, other, loss, wanted)
    newest = F.normalize(other.teacher(batch.views[0]), dim=1)
    torch.testing.assert_close(method.queue.contents().keys[6:], newest)


def test_without_a_memory_simclr_v2_has_neither_teacher_nor_queue() -> None:
    method = make("simclr-v2", memory=0)
    assert method.teacher is None
    assert method.queue is None
    assert [type(layer).__name__ for layer in method.head].count("Linear") == 3


@pytest.mark.parametrize("weighted", [False, True])
def test_the_positive_stands_in_no_denominator_of_dcl(weighted: bool) -> None:
    method = make("dcl", weighted=weighted, sigma=0.4)
    other = frozen_copy(method)
    batch = batch_of(7)
    z1, z2 = other.head(other.encoder(torch.cat(list(batch.views)))).chunk(2)
    loss, wanted = method.step(batch).loss, decoupled(z1, z2, 0.1, 0.4 if weighted else None)
    close(loss, wanted)
    same_gradients(method, other, loss, wanted)


# NNCLR, ReSSL


def test_the_positives_of_nnclr_are_the_nearest_rows_of_the_queue() -> None:
    for steps in (0, 1):
        method = trained("nnclr", steps)
        other = frozen_copy(method)
        batch = batch_of(7)
        z = other.head(other.encoder(torch.cat(list(batch.views))))
        p1, p2 = other.predictor(z).chunk(2)
        held = other.queue.contents().keys
        units = F.normalize(z, dim=1).detach()
        rows = [held[[(q - u).norm().item() for q in held].index(min((q - u).norm().item() for q in held))]
                for u in units] if steps else list(z.detach())  # fmt: skip
        n1, n2 = torch.stack(rows).chunk(2)
        wanted = (in_batch(n1, p2, 0.1) + in_batch(n2, p1, 0.1)) / 2
        loss = method.step(batch).loss
        close(loss, wanted)
        same_gradients(method, other, loss, wanted)
        torch.testing.assert_close(method.queue.contents().keys[-6:], units[:6])


def test_the_student_of_ressl_sees_the_strong_view_and_the_teacher_the_weak_one() -> None:
    for steps in (0, 1):
        method = trained("ressl", steps)
        other = frozen_copy(method)
        weak, strong = (batch := batch_of(7)).views
        targets = other.teacher_head(other.teacher_encoder(weak))
        student = other.head(other.encoder(strong))
        queue = other.queue.contents().keys if steps else targets
        wanted = soft(student, targets, queue, 0.1, 0.04)
        loss = method.step(batch).loss
        close(loss, wanted)
        same_gradients(method, other, loss, wanted)
        torch.testing.assert_close(method.queue.contents().keys[-6:], F.normalize(targets, dim=1))


# Settings


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("moco-v2", {"temperature": 0.0}, "MoCo: temperature must be > 0, got 0.0"),
        ("moco-v2", {"momentum": 1.5}, r"MoCo: momentum must be in \[0, 1\], got 1.5"),
        ("moco-v2", {"final_momentum": 1.5}, r"MoCo: final_momentum must be in \[0, 1\], got 1.5"),
        ("moco-v2", {"queue_size": 0}, "Queue: size must be >= 1, got 0"),
        ("moco-v3", {"temperature": -1.0}, "MoCoV3: temperature must be > 0, got -1.0"),
        ("simclr-v2", {"memory": -1}, "SimCLRV2: memory must be >= 0, got -1"),
        ("nnclr", {"temperature": 0.0}, "NNCLR: temperature must be > 0, got 0.0"),
        ("dcl", {"sigma": 0.0}, "DCL: sigma must be > 0, got 0.0"),
        ("ressl", {"teacher_temperature": 0.0}, "ReSSL: teacher_temperature must be > 0, got 0.0"),
        ("densecl", {"dense_weight": 1.0}, r"DenseCL: dense_weight must be in \(0, 1\), got 1.0; use moco-v2 for 0"),
        ("cpc", {"most_distance": 7}, "CPC: most_distance must be < 7, the grid, got 7"),
    ],
)
def test_settings_out_of_range_are_named(name: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        build(name, SmallConvNet(image_size=8, width=2), options)


@pytest.mark.parametrize("name", ["simclr-v2", "dcl", "nnclr", "moco-v2", "moco-v3", "ressl", "densecl", "cpc"])
def test_another_number_of_views_is_named(name: str) -> None:
    wanted, given = ("1", 2) if name == "cpc" else ("2", 3)
    views = [torch.zeros(4, 3, 8, 8)] * given
    method = make(name, SmallConvNet(image_size=8, width=2)).float()
    with pytest.raises(InputError, match=f"number of views must be {wanted}, got {given}"):
        method.step(Batch(views))
