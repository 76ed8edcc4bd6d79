from __future__ import annotations

import torch
from torch import Tensor

from nearfar.nn import draw_shuffle
from tests.ranks import run_on_ranks

SIZES = [5, 3, 4]
EVERYONE = torch.arange(24.0).view(12, 2)


def test_on_one_rank_a_batch_is_permuted_and_put_back() -> None:
    torch.manual_seed(0)
    shuffle = draw_shuffle(12, EVERYONE.device)
    shuffled = shuffle.apply(EVERYONE)
    assert isinstance(shuffled, Tensor)
    assert not torch.equal(shuffled, EVERYONE)
    assert torch.equal(shuffled.sort(dim=0).values, EVERYONE)
    assert torch.equal(shuffle.undo(shuffled), EVERYONE)
    assert torch.equal(shuffled, EVERYONE[shuffle.order])


def test_every_part_of_a_mapping_is_permuted_alike() -> None:
    shuffle = draw_shuffle(12, EVERYONE.device)
    both = shuffle.apply({"ids": EVERYONE, "mask": EVERYONE > 4})
    assert isinstance(both, dict)
    assert torch.equal(shuffle.undo(both["ids"]), EVERYONE)
    assert torch.equal(both["mask"], both["ids"] > 4)


def test_the_same_generator_draws_the_same_order() -> None:
    orders = []
    for _ in range(2):
        torch.manual_seed(3)
        orders.append(draw_shuffle(12, EVERYONE.device).order)
    assert torch.equal(*orders)


def shuffled_on_rank(rank: int, world: int) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(rank)  # rank 0's order must hold for all
    start = sum(SIZES[:rank])
    own = EVERYONE[start : start + SIZES[rank]]
    shuffle = draw_shuffle(len(own), own.device)
    shuffled = shuffle.apply(own)
    assert isinstance(shuffled, Tensor)
    return shuffled, shuffle.undo(shuffled), shuffle.order


def test_over_ranks_rows_change_ranks_and_come_back() -> None:
    results = run_on_ranks(shuffled_on_rank, 3)
    torch.manual_seed(0)
    alone = draw_shuffle(12, EVERYONE.device)
    for rank, (shuffled, back, order) in enumerate(results):
        start = sum(SIZES[:rank])
        assert len(shuffled) == SIZES[rank]
        assert torch.equal(order, alone.order)
        assert torch.equal(back, EVERYONE[start : start + SIZES[rank]])
    assert torch.equal(torch.cat([shuffled for shuffled, *_ in results]), EVERYONE[alone.order])
