"""SimCSE and CLIP against slow loops; every method where a view is a mapping of tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nearfar.data.batch import Batch
from nearfar.encoders import Encoder
from nearfar.errors import ConfigError, InputError
from nearfar.losses import clip, siglip
from nearfar.methods import METHODS, Method, build
from nearfar.methods.clip import CLIP
from nearfar.methods.simcse import SimCSE
from tests.methods.test_contract import OPTIONS
from tests.ranks import run_on_ranks

NOT_FOR_MAPPINGS = {"distill"}
"""Its teacher is an encoder of images."""

NAMES = [name for name in METHODS.names() if METHODS.get(name).info.encoder == "any" and name not in NOT_FOR_MAPPINGS]


class Words(Encoder):
    """A tiny encoder of token numbers without BatchNorm, so ranks and one process compute the same."""

    def __init__(self, dim: int = 6, dropout: float = 0.0) -> None:
        super().__init__()
        self.dim = dim
        self.table, self.linear, self.dropout = nn.Embedding(50, dim), nn.Linear(dim, dim), dropout

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        mask = x["attention_mask"].unsqueeze(-1)
        h = (self.table(x["input_ids"]) * mask).sum(1) / mask.sum(1).clamp(min=1)
        return F.dropout(torch.tanh(self.linear(h)), self.dropout, self.training)


def batch_of(name: str, n: int = 8, seed: int = 1) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    info = METHODS.get(name).info
    count = max(2, info.least_views) if info.most_views != 1 else 1
    views = [
        {
            "input_ids": torch.randint(0, 50, (n, 8), generator=generator),
            "attention_mask": (torch.arange(8)[None] < torch.randint(2, 9, (n, 1), generator=generator)).long(),
        }
        for _ in range(count)
    ]
    return Batch(views, torch.arange(n) % 3 if info.labels else None, torch.arange(n))


def make(name: str, seed: int = 0) -> Method:
    torch.manual_seed(seed)
    method = build(name, Words(), OPTIONS.get(name))
    method.prepare(64)
    method.start_epoch(0)
    return method


@pytest.mark.parametrize("name", NAMES)
def test_every_method_takes_views_that_are_mappings(name: str) -> None:
    method = make(name)
    step = method.step(batch_of(name))
    assert step.loss.shape == ()
    assert step.loss.dtype == torch.float32
    assert step.features.shape == (8, 6)
    step.loss.backward()
    assert not [key for key, p in method.named_parameters() if p.requires_grad and p.grad is None]
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)
    method.after_step(0.5)


@pytest.mark.parametrize("name", NAMES)
def test_texts_of_one_token_and_equal_texts_are_finite(name: str) -> None:
    method = make(name)
    batch = batch_of(name, n=4)
    same = [{key: part[:1].expand(4, -1).clone() for key, part in view.items()} for view in batch.views]  # type: ignore[union-attr]
    for view in same:
        view["attention_mask"][:, 1:] = 0
    loss = method.step(Batch(same, batch.labels, batch.ids)).loss
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)


def step_on_rank(rank: int, world: int) -> dict[str, dict[str, Tensor]]:
    results: dict[str, dict[str, Tensor]] = {}
    for name in ("simcse", "clip", "simclr", "byol", "vicreg", "supcon"):
        method, batch = make(name).eval(), batch_of(name)
        rows = slice(rank * 8 // world, (rank + 1) * 8 // world)
        views = [{key: part[rows] for key, part in view.items()} for view in batch.views]  # type: ignore[union-attr]
        labels = None if batch.labels is None else batch.labels[rows]
        loss = method.step(Batch(views, labels, None)).loss
        loss.backward()
        values = {"loss": loss.detach(), **{k: p.grad for k, p in method.named_parameters() if p.grad is not None}}
        if world > 1:
            for value in values.values():
                torch.distributed.all_reduce(value)
                value.div_(world)
        results[name] = values
    return results


def test_two_ranks_equal_one_process_on_texts() -> None:
    alone, both = step_on_rank(0, 1), run_on_ranks(step_on_rank, 2)
    for name, values in alone.items():
        for key, value in values.items():
            torch.testing.assert_close(both[0][name][key], value, rtol=1e-4, atol=1e-6, msg=f"{name} {key}")


def simcse_by_hand(views: list[Tensor], tau: float) -> float:
    """Equation 5 of the paper, one pair of rows at a time; without hard negatives equation 1."""
    unit = [F.normalize(view.detach().double(), dim=1) for view in views]
    total, count = 0.0, len(unit[0])
    for i in range(count):
        candidates = [float(unit[0][i] @ other[j]) / tau for other in unit[1:] for j in range(count)]
        own = float(unit[0][i] @ unit[1][i]) / tau
        total += math.log(sum(math.exp(value) for value in candidates)) - own
    return total / count


@pytest.mark.parametrize("count", [2, 3, 4])
def test_simcse_is_its_equation_with_hard_negatives(count: int) -> None:
    torch.manual_seed(0)
    encoder = Words()
    views = [batch_of("simcse", seed=seed).views[0] for seed in range(count)]
    plain = SimCSE(encoder, temperature=0.2, head="none")
    expected = simcse_by_hand([encoder(view) for view in views], 0.2)
    assert plain.step(Batch(views)).loss.item() == pytest.approx(expected, abs=1e-5)
    headed = SimCSE(encoder, temperature=0.2)
    expected = simcse_by_hand([headed.project(encoder(view)) for view in views], 0.2)
    assert headed.step(Batch(views)).loss.item() == pytest.approx(expected, abs=1e-5)


def test_symmetric_simcse_is_the_mean_of_both_directions() -> None:
    torch.manual_seed(0)
    encoder = Words()
    x, y = batch_of("simcse").views
    both = SimCSE(encoder, head="none", symmetric=True).step(Batch([x, y])).loss
    one, two = (SimCSE(encoder, head="none").step(Batch(views)).loss for views in ([x, y], [y, x]))
    torch.testing.assert_close(both, (one + two) / 2)


@pytest.mark.parametrize("chunk", [1, 3, 8, 100])
def test_cached_gradients_are_those_of_the_whole_batch_with_dropout_and_hard_negatives(chunk: int) -> None:
    views = [batch_of("simcse", seed=seed).views[0] for seed in range(3)]
    grads = []
    for size in (0, chunk):
        torch.manual_seed(0)
        method = SimCSE(Words(dropout=0.0), chunk_size=size)
        loss = method.step(Batch(views)).loss
        loss.backward()
        grads.append([loss.detach(), *(p.grad for p in method.parameters())])
    for whole, cached in zip(*grads, strict=True):
        torch.testing.assert_close(cached, whole)


def test_cached_gradients_replay_dropout() -> None:
    view = batch_of("simcse").views[0]
    torch.manual_seed(0)
    method = SimCSE(Words(dropout=0.5), head="none", chunk_size=4)
    torch.manual_seed(3)
    method.step(Batch([view, view])).loss.backward()
    cached = [p.grad.clone() for p in method.parameters() if p.grad is not None]
    method.zero_grad()
    torch.manual_seed(3)
    h = torch.cat([method.encoder({key: torch.cat([part, part])[rows] for key, part in view.items()})  # type: ignore[union-attr]
                   for rows in (slice(0, 4), slice(4, 8), slice(8, 12), slice(12, 16))])  # fmt: skip
    from nearfar.losses import info_nce

    info_nce(*h.chunk(2), temperature=0.05).backward()
    for one, two in zip(cached, [p.grad for p in method.parameters()], strict=True):
        assert two is not None
        torch.testing.assert_close(one, two)


class Sides(Encoder):
    """Images to one side, tokens to the other."""

    def __init__(self) -> None:
        super().__init__()
        self.dim = 6
        self.image = nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.BatchNorm1d(6))
        self.text = Words()
        self.image_map = nn.Linear(6, 6)

    def forward(self, x: Tensor | Mapping[str, Tensor]) -> Tensor:
        return self.image_map(self.image(x)) if isinstance(x, Tensor) else self.text(x)


def test_clip_takes_an_image_and_a_text_and_learns_its_scale() -> None:
    torch.manual_seed(0)
    images, texts = torch.randn(8, 3, 2, 2), batch_of("simcse").views[0]
    method = CLIP(Sides()).eval()
    x, y = method.encoder(images), method.encoder(texts)
    step = method.step(Batch([images, texts]))
    torch.testing.assert_close(step.loss, clip(x, y, scale=1 / 0.07))
    torch.testing.assert_close(step.logs["scale"], torch.tensor(1 / 0.07))
    step.loss.backward()
    assert method.log_scale.grad is not None
    assert method.log_scale.grad != 0
    with torch.no_grad():
        method.log_scale.fill_(10.0)
    assert method.step(Batch([images, texts])).logs["scale"] == 100


def test_siglip_starts_as_published() -> None:
    torch.manual_seed(0)
    images, texts = torch.randn(8, 3, 2, 2), batch_of("simcse").views[0]
    method = CLIP(Sides(), loss="siglip").eval()
    x, y = method.encoder(images), method.encoder(texts)
    torch.testing.assert_close(method.step(Batch([images, texts])).loss, siglip(x, y, scale=10.0, bias=-10.0))


def test_locked_images_stay_as_they_are() -> None:
    torch.manual_seed(0)
    images, texts = torch.randn(8, 3, 2, 2), batch_of("simcse").views[0]
    method = CLIP(Sides(), lock_images=True).train()
    before = {key: value.clone() for key, value in method.encoder.image.state_dict().items()}  # type: ignore[union-attr]
    method.step(Batch([images, texts])).loss.backward()
    after = method.encoder.image.state_dict()  # type: ignore[union-attr]
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(p.grad is None for p in method.encoder.image.parameters())  # type: ignore[union-attr]
    assert method.encoder.image_map.weight.grad is not None  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="encoder must be one with a side for images, got Words"):
        CLIP(Words(), lock_images=True)


def test_settings_out_of_range() -> None:
    with pytest.raises(InputError, match="temperature must be > 0, got 0"):
        SimCSE(Words(), temperature=0)
    with pytest.raises(InputError, match="chunk_size must be >= 0"):
        SimCSE(Words(), chunk_size=-1)
    with pytest.raises(InputError, match="number of views must be >= 2, got 1"):
        SimCSE(Words()).step(Batch([batch_of("simcse").views[0]]))
