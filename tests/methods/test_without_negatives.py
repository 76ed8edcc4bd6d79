"""Methods without negatives: first losses by hand, what gets a gradient, teachers and queues."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nearfar.data.batch import Batch
from nearfar.errors import InputError
from nearfar.losses import draw_directions, emp_ssl, lejepa, tico, vibcreg, w_mse
from nearfar.methods import METHODS, Method, build
from nearfar.nn import IterativeNorm
from tests.losses import reference_negative_free as loop

FAMILY = [
    "byol", "simsiam", "fastsiam", "nnbyol", "nnsiam", "all4one", "barlow-twins", "vicreg", "vibcreg", "w-mse", "tico",
    "emp-ssl", "lejepa",
]  # fmt: skip
TEACHERS = ["byol", "nnbyol", "all4one", "tico"]
HEAD: dict[str, Any] = {"hidden_dim": 16, "output_dim": 8}
SMALL: dict[str, dict[str, Any]] = {
    "byol": HEAD | {"predictor_dim": 12},
    "simsiam": HEAD | {"predictor_dim": 4},
    "fastsiam": HEAD | {"predictor_dim": 4},
    "nnbyol": HEAD | {"predictor_dim": 12, "queue_size": 16},
    "nnsiam": HEAD | {"predictor_dim": 4, "queue_size": 16},
    "all4one": HEAD | {"predictor_dim": 12, "queue_size": 16, "attention_heads": 2, "attention_layers": 1},
    "vibcreg": HEAD | {"whitening_groups": 2},
    "w-mse": HEAD | {"output_dim": 3, "block_size": 6},
    "lejepa": HEAD | {"directions": 16},
}


class Flat(nn.Module):
    """A linear map and tanh, of pictures of any size."""

    dim = 6

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(12, self.dim)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.linear(F.adaptive_avg_pool2d(x, 2).flatten(1)))


def make(name: str, **options: Any) -> Method:
    torch.manual_seed(0)
    return build(name, Flat(), SMALL.get(name, HEAD) | options)


def batch_of(count: int = 2, n: int = 12, seed: int = 1) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return Batch([torch.randn(n, 3, 4, 4, generator=generator) for _ in range(count)], None, torch.arange(n))


def count_of(name: str) -> int:
    return max(2, METHODS.get(name).info.least_views)


# First losses by hand -------------------------------------------------------------------------------------------------


@torch.no_grad()
def heads(method: Any, view: Tensor, *, of: Method | None = None) -> tuple[Tensor, Tensor]:
    """Return z and q(z) of one view in float64, every map and norm spelled out: BatchNorm sees this view alone."""
    source: Any = copy.deepcopy(of or method).double()
    h = source.encoder(view.double())
    z = by_hand(source.head, h)
    return z, by_hand(source.predict, z)


@torch.no_grad()
def by_hand(head: nn.Module, x: Tensor) -> Tensor:
    for layer in [head] if isinstance(head, nn.Identity) else head:  # type: ignore[union-attr]
        if isinstance(layer, nn.BatchNorm1d):
            x = (x - x.mean(0)) / (x.var(0, correction=0) + layer.eps).sqrt()
            x = x if layer.weight is None else x * layer.weight + layer.bias
        elif isinstance(layer, nn.Linear):
            x = x @ layer.weight.T + (0 if layer.bias is None else layer.bias)
        elif isinstance(layer, nn.ReLU):
            x = x * (x > 0)
        else:
            assert isinstance(layer, nn.Identity)
    return x


def test_byols_first_loss_is_both_squared_distances_to_the_teacher() -> None:
    method, batch = make("byol"), batch_of()
    with torch.no_grad():  # a teacher that is not the online network, so that mixing them up shows
        for p in method.teacher.parameters():  # type: ignore[union-attr]
            p.mul_(1.3)
    teacher: Any = copy.deepcopy(method)
    teacher.encoder, teacher.head = teacher.teacher.module
    (z1, q1), (_, q2) = (heads(method, view) for view in batch.views)  # type: ignore[arg-type]
    (t1, _), (t2, _) = (heads(method, view, of=teacher) for view in batch.views)  # type: ignore[arg-type]
    step = method.step(batch)
    assert step.loss.item() == pytest.approx(loop.byol(q1, t2) + loop.byol(q2, t1), rel=1e-5)
    assert step.loss.item() != pytest.approx(loop.byol(q1, t1) + loop.byol(q2, t2), rel=1e-3)
    torch.testing.assert_close(step.features, method.encoder(batch.views[0]).detach())
    assert z1.shape == (12, 8)


@pytest.mark.parametrize("options", [{}, {"stop_gradient": False}, {"predictor": False}, {"head_layers": 2}])
def test_simsiams_first_loss_is_the_mean_of_both_negative_cosines(options: dict[str, Any]) -> None:
    method, batch = make("simsiam", **options), batch_of()
    (z1, p1), (z2, p2) = (heads(method, view) for view in batch.views)  # type: ignore[arg-type]
    expected = (loop.negative_cosine(p1, z2) + loop.negative_cosine(p2, z1)) / 2
    assert method.step(batch).loss.item() == pytest.approx(expected, rel=1e-5)


def test_fastsiams_target_is_the_mean_of_the_other_views() -> None:
    method, batch = make("fastsiam"), batch_of(5)
    pairs = [heads(method, view) for view in batch.views]  # type: ignore[arg-type]
    losses = []
    for v, (_, p) in enumerate(pairs):
        target = torch.stack([z for w, (z, _) in enumerate(pairs) if w != v]).mean(0)
        losses.append(loop.negative_cosine(p, target))
    assert method.step(batch).loss.item() == pytest.approx(sum(losses) / 5, rel=1e-5)


@pytest.mark.parametrize("name", ["nnbyol", "nnsiam"])
def test_neighbours_take_the_place_of_the_targets_once_the_queue_holds_keys(name: str) -> None:
    method, batch = make(name), batch_of()
    plain = make({"nnbyol": "byol", "nnsiam": "simsiam"}[name])
    plain.load_state_dict({k: v for k, v in method.state_dict().items() if not k.startswith("queue")})
    torch.testing.assert_close(method.step(batch).loss, plain.step(batch).loss)  # the queue was empty
    queue: Any = method.queue
    assert len(queue) == 12
    keys = queue.contents().keys.double()
    other = batch_of(seed=7)
    (z1, q1), (z2, q2) = (heads(method, view) for view in other.views)  # type: ignore[arg-type]
    if name == "nnbyol":
        teacher: Any = copy.deepcopy(method)
        teacher.encoder, teacher.head = teacher.teacher.module
        z1, z2 = (heads(method, view, of=teacher)[0] for view in other.views)  # type: ignore[arg-type]
    n1, n2 = (keys[[max(range(12), key=lambda k: loop.cosine(row, keys[k])) for row in z]] for z in (z1, z2))
    side = loop.byol if name == "nnbyol" else loop.negative_cosine
    expected = side(q1, n2) + side(q2, n1)
    expected = expected if name == "nnbyol" else expected / 2
    assert method.step(other).loss.item() == pytest.approx(expected, rel=1e-5)
    assert len(queue) == 16


@pytest.mark.parametrize("name", ["barlow-twins", "vicreg"])
def test_barlow_twins_and_vicreg_are_their_losses_on_the_heads(name: str) -> None:
    method: Any = make(name)
    batch = batch_of()
    z1, z2 = (by_hand(copy.deepcopy(method.head).double(), method.encoder(view).double()) for view in batch.views)
    if name == "vicreg":
        expected = loop.vicreg(z1, z2, (25.0, 25.0, 1.0), 1.0, 1e-4)
    else:
        expected = loop.barlow_twins(z1, z2, 0.0051, 1e-5)
    assert method.step(batch).loss.item() == pytest.approx(expected, rel=1e-4)
    if name == "barlow-twins":
        scaled = make(name, loss_scale=0.1).step(batch).loss
        torch.testing.assert_close(scaled, make(name).step(batch).loss / 10)


def test_vibcreg_whitens_unless_told_not_to() -> None:
    batch = batch_of()
    method: Any = make("vibcreg")
    assert isinstance(method.head[-1], IterativeNorm)
    plain: Any = make("vibcreg", whitening=False)
    z1, z2 = (by_hand(copy.deepcopy(plain.head), plain.encoder(view)) for view in batch.views)
    torch.testing.assert_close(plain.step(batch).loss, vibcreg(z1, z2))
    norm = copy.deepcopy(method.head[-1])
    torch.testing.assert_close(method.step(batch).loss, vibcreg(norm(z1), norm(z2)))


def test_w_mse_takes_all_views_and_new_orders_in_every_step() -> None:
    batch = batch_of(3)
    method: Any = make("w-mse")
    h = torch.cat([method.encoder(view) for view in batch.views])
    z = by_hand(copy.deepcopy(method.head), h).chunk(3)
    torch.testing.assert_close(method.step(batch).loss, w_mse(*z, block_size=6))
    orders: Any = make("w-mse", iterations=3)
    first, second = orders._orders(z[0]), orders._orders(z[0])
    assert first.shape == (3, 12)
    assert torch.equal(first[0], torch.arange(12))
    assert not torch.equal(first[1:], second[1:])
    again: Any = make("w-mse", iterations=3)
    assert torch.equal(again._orders(z[0]), first)


def test_ticos_running_moment_includes_the_batch_and_stays_for_the_next() -> None:
    method: Any = make("tico")
    for seed in range(2):
        batch = batch_of(seed=seed)
        z = by_hand(copy.deepcopy(method.head), method.encoder(batch.views[0])).detach()
        target = copy.deepcopy(method.teacher)(batch.views[1])
        u = F.normalize(z, dim=1)
        expected = 0.9 * method.covariance + 0.1 * u.T @ u / 12
        torch.testing.assert_close(method.step(batch).loss, tico(z, target, expected), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(method.covariance, expected)


def test_emp_ssl_and_lejepa_pass_their_settings_and_know_large_views() -> None:
    batch = batch_of(4)
    method: Any = make("emp-ssl", similarity_weight=3.0, coding_weight=2.0, eps=0.5)
    z = by_hand(copy.deepcopy(method.head), torch.cat([method.encoder(view) for view in batch.views])).chunk(4)
    expected = emp_ssl(*z, similarity_weight=3.0, coding_weight=2.0, eps=0.5)
    torch.testing.assert_close(method.step(batch).loss, expected, rtol=1e-5, atol=1e-5)

    small = [F.avg_pool2d(view, 2) for view in batch.views[2:]]  # type: ignore[arg-type]
    crops = Batch([*batch.views[:2], *small], None, None)
    for options, large in (({}, 2), ({"large_views": 3}, 3), ({"large_views": 9}, 4)):
        method = make("lejepa", **options)
        z = by_hand(copy.deepcopy(method.head), torch.cat([method.encoder(view) for view in crops.views])).chunk(4)
        directions = draw_directions(8, 16, seed=0)
        expected = lejepa(*z, directions=directions, global_views=large)
        torch.testing.assert_close(method.step(crops).loss, expected, rtol=1e-5, atol=1e-6)
    before = method.step(crops).loss
    assert not torch.equal(before, method.step(crops).loss)  # other directions


def test_all4ones_terms_by_hand() -> None:
    method: Any = make("all4one", dropout=0.0, neighbours=3)
    method.step(batch_of(seed=5))  # fills the queue
    keys = method.queue.contents().keys
    batch = batch_of()
    (z1, p1), (z2, p2) = (heads(method, view) for view in batch.views)  # type: ignore[arg-type]
    t1, t2 = (F.normalize(copy.deepcopy(method.teacher)(view), dim=1) for view in batch.views)
    n1, n2 = (torch.stack([keys[(keys @ row).argsort(descending=True)[:3]] for row in t]) for t in (t1, t2))
    places = torch.tensor([[math.sin(k), math.cos(k)] for k in range(3)])
    torch.testing.assert_close(method.places[:, :2], places)

    def contrast(a: Tensor, b: Tensor, temperature: float) -> float:
        rows = [loop.cross_entropy([float(i == j) for j in range(12)],
                                   [loop.cosine(x, y) / temperature for y in b]) for i, x in enumerate(a)]  # fmt: skip
        return loop.mean(rows)

    def centroid(x: Tensor) -> Tensor:
        whole: Tensor = method.attention(x.float() + method.places)
        return whole[:, 0].detach().double()

    s1, s2 = (by_hand(copy.deepcopy(method.predict_centroid).double(), z) for z in (z1, z2))
    led1, led2 = (torch.cat([s[:, None].float(), n[:, :2]], 1) for s, n in ((s1, n1), (s2, n2)))
    neighbour = (contrast(n1[:, 0], p2, 0.2) + contrast(n2[:, 0], p1, 0.2)) / 2
    centroids = (contrast(centroid(n1), centroid(led2), 0.1) + contrast(centroid(n2), centroid(led1), 0.1)) / 2
    step = method.step(batch)
    assert step.logs["neighbour"].item() == pytest.approx(neighbour, rel=1e-4)
    assert step.logs["centroid"].item() == pytest.approx(centroids, rel=1e-4)
    total = 0.5 * neighbour + 0.5 * centroids + 5 * step.logs["feature"].item()
    assert step.loss.item() == pytest.approx(total, rel=1e-4)


def test_all4one_takes_the_batch_for_the_queue_until_that_holds_enough() -> None:
    method: Any = make("all4one", neighbours=5)
    method.step(batch_of(n=3))
    assert len(method.queue) == 3
    assert torch.isfinite(method.step(batch_of(n=3)).loss)
    with pytest.raises(InputError, match="queue_size must be >= neighbours"):
        make("all4one", queue_size=4)
    with pytest.raises(InputError, match="output_dim must be even and divisible"):
        make("all4one", attention_heads=3)


# What gets a gradient, and what moves ---------------------------------------------------------------------------------


def test_the_stop_gradient_stops_and_its_ablation_does_not() -> None:
    batch = batch_of()

    def gradient(**options: Any) -> Tensor:
        method: Any = make("simsiam", **options)
        method.step(batch).loss.backward()
        found: Tensor = method.encoder.linear.weight.grad
        return found

    # with constants for targets the gradient is the same; with live targets it is another
    source: Any = make("simsiam")
    h1, h2 = (source.encoder(view) for view in batch.views)
    cosine = F.cosine_similarity
    for fixed in (True, False):
        pairs = ((source.head(h1), source.head(h2)), (source.head(h2), source.head(h1)))
        targets = [z.detach() if fixed else z for _, z in pairs]
        sides = [cosine(source.predict(z), t).mean() for (z, _), t in zip(pairs, targets, strict=True)]
        loss = -torch.stack(sides).mean()
        (expected,) = torch.autograd.grad(loss, source.encoder.linear.weight, retain_graph=True)
        torch.testing.assert_close(gradient(stop_gradient=fixed), expected, rtol=1e-4, atol=1e-6)
        assert not torch.allclose(gradient(stop_gradient=not fixed), expected, rtol=1e-2)


@pytest.mark.parametrize("name", TEACHERS)
def test_the_teacher_gets_no_gradient_and_moves_by_its_momentum(name: str) -> None:
    method: Any = make(name, momentum=0.9, final_momentum=1.0)
    method.step(batch_of()).loss.backward()
    assert all(p.grad is None and not p.requires_grad for p in method.teacher.parameters())
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.5)
    optimizer.step()
    before, online = method.teacher.module[0].linear.weight.clone(), method.encoder.linear.weight.detach()
    assert not torch.equal(before, online)
    method.after_step(0.0)
    torch.testing.assert_close(method.teacher.module[0].linear.weight, 0.9 * before + 0.1 * online)
    still = method.teacher.module[0].linear.weight.clone()
    method.after_step(1.0)
    assert torch.equal(method.teacher.module[0].linear.weight, still)
    head, taught = method.head[0].weight, method.teacher.module[1][0].weight
    assert not torch.equal(head, taught)


@pytest.mark.parametrize("name", ["simsiam", "fastsiam", "nnsiam"])
def test_the_predictors_learning_rate_stays(name: str) -> None:
    method = make(name)
    prefixes = tuple(prefix for prefix, rule in method.rules().items() if rule.constant)
    chosen = {key for key, _ in method.named_parameters() if key.startswith(prefixes)}
    assert chosen == {key for key, _ in method.named_parameters() if key.startswith("predict.")}
    assert chosen


def test_all4ones_transformer_learns_slower() -> None:
    method = make("all4one")
    ((prefix, rule),) = method.rules().items()
    assert rule.scale == 0.1
    assert any(key.startswith(prefix) for key, _ in method.named_parameters())


@pytest.mark.parametrize("name", FAMILY)
def test_every_view_counts(name: str) -> None:
    batch = batch_of(count_of(name))
    plain = make(name).step(batch).loss
    for v in range(len(batch.views)):
        views = list(batch.views)
        views[v] = views[v].flip(0)  # type: ignore[union-attr]
        assert not torch.isclose(make(name).step(batch._replace(views=views)).loss, plain, rtol=1e-4)


@pytest.mark.parametrize("name", FAMILY)
def test_a_wrong_number_of_views_is_named(name: str) -> None:
    info = METHODS.get(name).info
    wrong = 3 if info.most_views == 2 else info.least_views - 1
    with pytest.raises(InputError, match="number of views must be"):
        make(name).step(batch_of(wrong))


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("byol", {"momentum": 1.5}), ("byol", {"final_momentum": -0.1}), ("nnbyol", {"momentum": -1.0}),
        ("nnbyol", {"queue_size": 0}), ("all4one", {"temperature": 0.0}), ("all4one", {"dropout": 1.0}),
        ("all4one", {"feature_weight": -1.0}), ("barlow-twins", {"redundancy_weight": -1.0}),
        ("barlow-twins", {"loss_scale": 0.0}), ("vicreg", {"covariance_weight": -1.0}),
        ("vibcreg", {"whitening_groups": 3}), ("w-mse", {"block_size": 3}), ("w-mse", {"iterations": 0}),
        ("w-mse", {"whitening_eps": 1.0}), ("tico", {"covariance_momentum": 2.0}),
        ("tico", {"covariance_weight": -1.0}), ("emp-ssl", {"eps": 0.0}), ("lejepa", {"regularizer_weight": 2.0}),
        ("lejepa", {"directions": 0}), ("lejepa", {"large_views": 0}),
    ],
)  # fmt: skip
def test_a_setting_out_of_its_range_is_named(name: str, bad: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(bad)).removeprefix("whitening_").removeprefix("queue_")):
        make(name, **bad)
