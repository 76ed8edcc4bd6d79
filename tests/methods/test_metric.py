"""The method metric: losses, miners, proxies, memory and given relations by configuration."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.data.batch import Batch
from nearfar.errors import InputError, NearfarError
from nearfar.losses import contrastive as contrastive_loss
from nearfar.losses import cosent, triplet
from nearfar.methods import build
from nearfar.methods.metric import Metric
from tests.methods.test_contract import SIDE, Flat
from tests.ranks import run_on_ranks

CASES: dict[str, dict[str, Any]] = {
    "semihard": {"loss": "multi_similarity", "miner": "semihard"},
    "pairs": {"loss": "contrastive", "miner": "margin_pairs", "output_dim": 4},
    "triplet": {"loss": "triplet", "miner": "hard", "distance": "cosine"},
    "couples": {"loss": "n_pairs"},
    "proxies": {"loss": "proxy_anchor", "classes": 4},
    "centers": {"loss": "soft_triple", "classes": 4, "centers": 2},
    "memory": {"loss": "circle", "memory": 12, "memory_warmup": 0},
    "memory-mined": {"loss": "triplet", "miner": "semihard", "memory": 12, "memory_warmup": 0},
}


def make(options: dict[str, Any], seed: int = 0) -> Metric:
    torch.manual_seed(seed)
    method = build("metric", Flat(), options)
    assert isinstance(method, Metric)
    return method


def batch(n: int = 8, views: int = 2, seed: int = 1, **more: Any) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images = [torch.randn(n, 3, SIDE, SIDE, generator=generator) for _ in range(views)]
    return Batch(images, torch.arange(n) % 3, torch.arange(n))._replace(**more)


def steps(rank: int, world: int) -> dict[str, dict[str, Tensor]]:
    results: dict[str, dict[str, Tensor]] = {}
    for name, options in CASES.items():
        method = make(options)
        for step in range(2):
            whole = batch(seed=step)
            rows = slice(rank * 8 // world, (rank + 1) * 8 // world)
            assert whole.labels is not None
            method.zero_grad()
            loss = method.step(Batch([v[rows] for v in whole.views], whole.labels[rows])).loss  # type: ignore[index]
            loss.backward()
        values = {"loss": loss.detach(), **{k: p.grad for k, p in method.named_parameters() if p.grad is not None}}
        if world > 1:
            for value in values.values():
                torch.distributed.all_reduce(value)
                value.div_(world)
        results[name] = values
    return results


def test_two_ranks_equal_one_process_for_every_kind_of_loss_and_with_memory() -> None:
    alone, both = steps(0, 1), run_on_ranks(steps, 2)
    for name in CASES:
        assert both[0][name].keys() == alone[name].keys()
        for key, value in alone[name].items():
            torch.testing.assert_close(both[0][name][key], value, rtol=1e-4, atol=1e-6, msg=f"{name} {key}")


@pytest.mark.parametrize("name", CASES)
def test_state_resumes_bit_for_bit(name: str) -> None:
    first = make(CASES[name])
    for seed in range(3):
        first.step(batch(seed=seed))
    second = make(CASES[name], seed=9)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.step(batch(seed=5)).loss, second.step(batch(seed=5)).loss)


def test_the_memory_takes_part_after_its_warm_up() -> None:
    method = make({"loss": "circle", "memory": 12, "memory_warmup": 2})
    plain = make({"loss": "circle"})
    values = [(method.step(batch(seed=s)).loss, plain.step(batch(seed=s)).loss) for s in range(4)]
    assert [bool(torch.equal(a, b)) for a, b in values] == [True, True, True, False]


def test_given_pairs_triplets_scores_and_sets_reach_their_losses() -> None:
    different = torch.tensor([0, 1, 1, 0])
    scores = torch.tensor([0.1, 0.9, 0.5, 0.3])
    two, three = batch(4), batch(4, views=3)
    method = make({"loss": "contrastive", "given": "pairs"})
    z = [torch.nn.functional.normalize(method.encoder(view), dim=1) for view in two.views]
    torch.testing.assert_close(method.step(two._replace(labels=different)).loss, contrastive_loss(*z, different))
    assert method.relation == "pairs"
    graded = make({"loss": "cosent", "given": "scores"})
    torch.testing.assert_close(graded.step(two._replace(labels=None, targets=scores)).loss, cosent(*z, scores))
    threes = make({"loss": "triplet", "given": "triplets"})
    z = [torch.nn.functional.normalize(threes.encoder(view), dim=1) for view in three.views]
    torch.testing.assert_close(threes.step(three._replace(labels=None)).loss, triplet(*z))
    sets = make({"loss": "multi_label_sup_con", "given": "sets"})
    assert torch.isfinite(sets.step(two._replace(labels=None, targets=torch.eye(4))).loss)


def test_proxies_have_a_rule_of_their_own() -> None:
    method = make({"loss": "arcface", "classes": 3, "proxy_rate": 50.0})
    assert method.rules()["proxies"].scale == 50
    assert make({}).rules() == {}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"loss": "arcface"}, "classes must be the number of classes"),
        ({"loss": "circle", "given": "pairs"}, "take contrastive"),
        ({"loss": "cosent"}, "must be one that data of labels fit"),
        ({"loss": "contrastive", "given": "pairs", "memory": 4}, "memory must be 0"),
        ({"loss": "histogram", "memory": 4}, "set memory to 0"),
        ({"loss": "circel"}, "did you mean 'circle'"),
        ({"memory": -1}, "memory must be >= 0"),
    ],
)
def test_wrong_settings_are_one_sentence(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises((NearfarError, InputError), match=sentence):
        make(options)
