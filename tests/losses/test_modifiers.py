"""Matryoshka, cross-batch memory and the queue: any loss, exact values, and a state that survives resuming."""

from __future__ import annotations

import functools
import io

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning import losses as metric_learning
from torch import Tensor, nn

from nearfar.errors import InputError
from nearfar.losses.cross_batch_memory import CrossBatchMemory, with_references
from nearfar.losses.matryoshka import matryoshka
from nearfar.losses.nt_xent import nt_xent
from nearfar.losses.supcon import sup_con
from nearfar.losses.triplet import triplet, triplet_from_labels
from nearfar.nn.queue import Queue
from tests.losses import reference_negative_free as loop
from tests.losses.negative_free_cases import DIM, drawn, pair

sup_con_of_one_rank = functools.partial(sup_con, across_ranks=False)


def batches(count: int, n: int = 6) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [(drawn(n, DIM, seed=20 + i), torch.randint(0, 4, (n,), generator=generator)) for i in range(count)]


# Matryoshka ----------------------------------------------------------------------------------------------------------


def test_matryoshka_is_the_weighted_sum_over_prefixes_for_functions_modules_and_lambdas() -> None:
    a, b = pair()
    c = drawn(7, DIM, seed=3)
    labels = torch.tensor([0, 1, 0, 1, 2, 2, 0])
    value = matryoshka(nt_xent, (2, 3, DIM))(a, b, temperature=0.3)
    parts = [nt_xent(a[:, :m], b[:, :m], temperature=0.3) for m in (2, 3, DIM)]
    torch.testing.assert_close(value, sum(parts))
    weighted = matryoshka(sup_con, (2, 4), (0.5, 3.0))(a, labels)
    torch.testing.assert_close(weighted, 0.5 * sup_con(a[:, :2], labels) + 3.0 * sup_con(a[:, :4], labels))
    three = matryoshka(triplet, [3])(a, b, c)
    torch.testing.assert_close(three, triplet(a[:, :3], b[:, :3], c[:, :3]))
    module = matryoshka(nn.CosineEmbeddingLoss(), [3])(a, b, labels * 0 + 1)
    torch.testing.assert_close(module, nn.CosineEmbeddingLoss()(a[:, :3], b[:, :3], labels * 0 + 1))
    own = matryoshka(lambda z, views: (z - sum(views)).square().sum(), (1, 2))(a, [b, c])
    squares = (a - b - c).square()
    torch.testing.assert_close(own, squares[:, :1].sum() + squares[:, :2].sum())


def test_matryoshka_gives_per_anchor_values_and_cuts_only_what_it_says() -> None:
    a, b = pair(DIM)
    values = matryoshka(nt_xent, (2, 4))(a, b, reduction="none")
    assert values.shape == (2 * DIM,)

    def scored(z: Tensor, *, scores: Tensor, bank: Tensor) -> Tensor:
        assert scores.shape == (DIM, DIM)  # as wide as an embedding, but not one
        assert bank.shape[1] == z.shape[1]
        return (z @ bank.T).sum()

    bank = drawn(3, DIM, seed=5)
    value = matryoshka(scored, (2,), also=("bank",))(a, scores=drawn(DIM, DIM), bank=bank)
    torch.testing.assert_close(value, (a[:, :2] @ bank[:, :2].T).sum())


def test_matryoshka_gradient_reaches_only_the_prefix() -> None:
    a, b = pair()
    a.requires_grad_()
    matryoshka(nt_xent, (2, 3))(a, b).backward()
    assert a.grad is not None
    assert (a.grad[:, :3] != 0).all()
    assert (a.grad[:, 3:] == 0).all()


@pytest.mark.parametrize(
    ("dims", "weights", "message"),
    [
        ((), None, "dims"),
        ((2, 2), None, "different"),
        ((0, 2), None, ">= 1"),
        ((2.0,), None, "integers"),
        ((2, 3), (1.0,), "one per length"),
        ((2, 3), (1.0, -1.0), r"weights\[1\]"),
    ],
)
def test_matryoshka_settings_that_are_wrong(dims: tuple[int, ...], weights: tuple[float, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        matryoshka(nt_xent, dims, weights)


def test_matryoshka_lengths_and_names_that_do_not_fit_the_call() -> None:
    with pytest.raises(InputError, match="<= D"):
        matryoshka(nt_xent, (2, DIM + 1))(*pair())
    with pytest.raises(InputError, match="also"):
        matryoshka(nt_xent, (2,), also=("que",))(*pair())


# Cross-batch memory --------------------------------------------------------------------------------------------------


def test_memory_equals_a_double_loop_over_batch_and_memory() -> None:
    loss = CrossBatchMemory(with_references(sup_con_of_one_rank), Queue(DIM, 13), warmup=0)
    past: list[tuple[Tensor, int]] = []
    for z, labels in batches(5):
        held = past[-13:]
        stored = torch.stack([row for row, _ in held]) if held else z[:0]
        expected = loop.sup_con_with_references(z, labels.tolist(), stored, [label for _, label in held], 0.1)
        # the memory keeps float32
        torch.testing.assert_close(loss(z, labels), torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=1e-5)
        past += list(zip(z, labels.tolist(), strict=True))


def test_memory_equals_pytorch_metric_learning_s_value() -> None:
    theirs = metric_learning.CrossBatchMemory(metric_learning.SupConLoss(temperature=0.2), DIM, memory_size=64)
    form = with_references(functools.partial(sup_con, temperature=0.2, across_ranks=False))
    ours = CrossBatchMemory(form, Queue(DIM, 64, normalize=False), warmup=0)
    for z, labels in batches(4):
        torch.testing.assert_close(ours(z.float(), labels), theirs(z.float(), labels), rtol=1e-5, atol=1e-5)


def test_memory_takes_any_loss_a_users_own_and_one_with_miners() -> None:
    def spread(z: Tensor, labels: Tensor, *, reduction: str) -> Tensor:
        assert reduction == "none"
        same = labels[:, None] == labels[None]
        return torch.where(same, torch.cdist(z, z), 0).sum(1)

    def mined(z: Tensor, labels: Tensor, reference: Tensor, reference_labels: Tensor) -> Tensor:
        everyone, classes = torch.cat([z, reference]), torch.cat([labels, reference_labels])
        anchors, partners = (labels[:, None] == classes[None]).nonzero(as_tuple=True)
        apart = anchors != partners
        return (z[anchors[apart]] - everyone[partners[apart]]).square().sum()

    adapted = functools.partial(triplet_from_labels, across_ranks=False)
    for form in (with_references(spread), mined, with_references(adapted)):
        loss = CrossBatchMemory(form, Queue(DIM, 9, normalize=False), warmup=0)
        values = []
        for rows, labels in batches(3):
            z = rows.float().requires_grad_()
            value = loss(z, labels)
            value.backward()
            assert z.grad is not None
            assert z.grad.isfinite().all()
            values.append(float(value.detach()))
        assert all(value > 0 for value in values)


def test_gradient_is_that_of_the_anchors_with_the_memory_held_fixed() -> None:
    (z0, labels0), (z1, labels1) = batches(2)
    loss = CrossBatchMemory(with_references(sup_con_of_one_rank), Queue(DIM, 6, normalize=False), warmup=0).double()
    first = z0.clone().requires_grad_()
    loss(first, labels0)
    second = z1.clone().requires_grad_()
    loss(second, labels1).backward()
    assert first.grad is None

    def by_hand(z: Tensor) -> Tensor:
        everyone, classes = torch.cat([z, z0]), torch.cat([labels1, labels0])
        values = sup_con(everyone, classes, reduction="none", across_ranks=False)[:6]
        return values.sum() / sum((classes == c).sum() > 1 for c in labels1)

    again = z1.clone().requires_grad_()
    by_hand(again).backward()
    torch.testing.assert_close(second.grad, again.grad)
    assert torch.autograd.gradcheck(by_hand, z1.clone().requires_grad_())


def test_warm_up_and_evaluation_leave_the_memory_alone() -> None:
    queue = Queue(DIM, 32)
    loss = CrossBatchMemory(with_references(sup_con_of_one_rank), queue, warmup=2)
    for i, (z, labels) in enumerate(batches(4)):
        if i <= 2:  # the first call after warm-up meets an empty memory
            torch.testing.assert_close(loss(z, labels), sup_con_of_one_rank(z, labels))
        else:
            assert loss(z, labels) != sup_con_of_one_rank(z, labels)
        assert len(queue) == 6 * max(0, i - 1)
    loss.eval()
    before = {name: x.clone() for name, x in loss.state_dict().items()}
    with_memory = loss(*batches(5)[4])
    assert with_memory != sup_con_of_one_rank(*batches(5)[4])
    assert all(torch.equal(x, before[name]) for name, x in loss.state_dict().items())


@pytest.mark.parametrize("stop", [1, 2, 4])
def test_resuming_gives_the_same_next_values_bit_for_bit(stop: int) -> None:
    def build() -> CrossBatchMemory:
        return CrossBatchMemory(with_references(sup_con_of_one_rank), Queue(DIM, 10), warmup=2)

    whole, first = build(), build()
    expected = [whole(*batch) for batch in batches(7)]
    for batch in batches(7)[:stop]:
        first(*batch)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = build()
    second.load_state_dict(torch.load(file, weights_only=True))
    assert [second(*batch) for batch in batches(7)[stop:]] == expected[stop:]


def test_memory_names_what_is_wrong() -> None:
    queue = Queue(DIM, 4)
    with pytest.raises(InputError, match="warmup"):
        CrossBatchMemory(with_references(sup_con), queue, warmup=-1)
    loss = CrossBatchMemory(with_references(lambda z, labels, *, reduction: z.sum()), queue, warmup=0)
    z, labels = batches(1)[0]
    with pytest.raises(InputError, match="one value per row"):
        loss(z, labels)
    with pytest.raises(InputError, match="labels"):
        loss(z, labels[:-1])
    with pytest.raises(InputError, match="finite"):
        loss(z / 0, labels)
    assert len(queue) == 0
    assert int(loss.calls) == 0


def test_anchors_without_a_positive_do_not_count() -> None:
    z, _ = batches(1)[0]
    form = with_references(sup_con_of_one_rank)
    none = form(z, torch.arange(6), z[:0], torch.arange(0))
    assert none == 0
    stored = form(z, torch.arange(6), z[:1] + 1, torch.tensor([3]))
    expected = loop.sup_con_with_references(z, range(6), z[:1] + 1, [3], 0.1)
    torch.testing.assert_close(stored, torch.tensor(expected, dtype=torch.float64))


# Queue ---------------------------------------------------------------------------------------------------------------


@given(size=st.integers(1, 9), counts=st.lists(st.integers(1, 12), max_size=6))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_queue_keeps_the_last_rows_whatever_the_batches(size: int, counts: list[int]) -> None:
    queue = Queue(2, size, normalize=False)
    total = 0
    for count in counts:
        numbers = torch.arange(total, total + count)
        queue.enqueue(numbers[:, None].expand(count, 2).float(), labels=numbers * 2, ids=numbers * 3)
        total += count
    held = queue.contents()
    expected = list(range(max(0, total - size), total))
    assert sorted(held.ids.tolist()) == [3 * i for i in expected]
    assert torch.equal(held.labels * 3, held.ids * 2)
    assert torch.equal(held.keys[:, 0] * 3, held.ids.float())
    assert len(queue) == len(expected)


def test_queue_overwrites_in_place_like_moco_when_the_batch_divides_its_size() -> None:
    queue = Queue(1, 6, normalize=False)
    for start in (0, 2, 4, 6):
        queue.enqueue(torch.arange(start, start + 2)[:, None].float())
    assert queue.keys.flatten().tolist() == [6, 7, 2, 3, 4, 5]
    assert int(queue.position) == 2


def test_queue_starts_empty_and_stores_unit_keys_without_gradient() -> None:
    queue = Queue(3, 4)
    assert queue.contents().keys.shape == (0, 3)
    assert bool(queue)
    queue.enqueue(torch.tensor([[3.0, 0, 4], [0, 0, 0]]).bfloat16().requires_grad_())
    held = queue.contents()
    torch.testing.assert_close(held.keys, torch.tensor([[0.6, 0, 0.8], [0, 0, 0]]))
    assert not held.keys.requires_grad
    assert held.labels.tolist() == held.ids.tolist() == [-1, -1]


def test_what_was_read_does_not_change_and_backward_still_works_after_enqueue() -> None:
    queue = Queue(2, 2)
    queue.enqueue(torch.eye(2))
    held = queue.contents()
    w = torch.ones(2, 2, requires_grad=True)
    loss = (w @ held.keys.T).square().sum()
    queue.enqueue(-torch.eye(2))
    loss.backward()
    assert torch.equal(held.keys, torch.eye(2))
    assert w.grad is not None


def test_queue_state_survives_resuming_in_the_middle() -> None:
    first, second = Queue(DIM, 7), Queue(DIM, 7)
    for z, labels in batches(2, 5):
        first.enqueue(z, labels)
    second.load_state_dict(first.state_dict())
    for queue in (first, second):
        queue.enqueue(*batches(3, 5)[2])
    assert all(torch.equal(x, second.state_dict()[name]) for name, x in first.state_dict().items())


@pytest.mark.parametrize(
    ("keys", "options", "message"),
    [
        (torch.ones(2, 4), {}, "keys"),
        (torch.ones(3), {}, "keys"),
        (torch.ones(0, 3), {}, "keys"),
        (torch.ones(2, 3, dtype=torch.int64), {}, "keys"),
        (torch.full((2, 3), torch.nan), {}, "finite"),
        (torch.ones(2, 3), {"labels": torch.ones(2)}, "labels"),
        (torch.ones(2, 3), {"labels": torch.arange(3)}, "labels"),
        (torch.ones(2, 3), {"ids": torch.tensor([True, False])}, "ids"),
    ],
)
def test_queue_refuses_what_is_wrong_and_stays_as_it_was(
    keys: Tensor, options: dict[str, Tensor], message: str
) -> None:
    queue = Queue(3, 4)
    with pytest.raises(InputError, match=message):
        queue.enqueue(keys, **options)
    assert len(queue) == 0
    assert not queue.keys.any()


def test_queue_settings_that_are_wrong() -> None:
    for dim, size in ((0, 4), (4, 0)):
        with pytest.raises(InputError, match=">= 1"):
            Queue(dim, size)
