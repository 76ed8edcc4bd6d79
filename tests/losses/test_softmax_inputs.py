"""Bad and degenerate input: a finite, documented value with a right gradient, or one clear error."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nearfar import losses
from nearfar.errors import InputError
from nearfar.losses._checks import in_float32, reduce, unit
from nearfar.losses._engine import using
from tests.losses.softmax_cases import CASES, QUEUE, rows

PAIRS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "nt_xent": losses.nt_xent,
    "info_nce": losses.info_nce,
    "info_nce, symmetric": lambda a, b: losses.info_nce(a, b, symmetric=True),
    "info_nce, queue": lambda a, b: losses.info_nce(a, b, queue=QUEUE.to(a.dtype), in_batch=False),
    "dcl": losses.dcl,
    "dclw": losses.dclw,
    "clip": losses.clip,
    "siglip": losses.siglip,
    "gist": lambda a, b: losses.gist(a, b, a, b),
    "ressl": lambda a, b: losses.ressl(a, b, QUEUE),
    "co2": losses.co2,
    "sup_con": lambda a, b: losses.sup_con(torch.cat([a, b]), torch.arange(len(a)).repeat(2)),
}


@pytest.mark.parametrize("way", ["plain", "tiled"])
@pytest.mark.parametrize("name", PAIRS)
def test_a_batch_of_one(name: str, way: str) -> None:
    x, y = (t.requires_grad_() for t in rows(1, dtype=torch.float32)[:2])
    with using(way):
        value = PAIRS[name](x, y)
        value.backward()
    assert value.isfinite()
    assert x.grad.isfinite().all()
    if name not in ("info_nce, queue", "siglip", "ressl"):  # these have something to compare with
        assert value.item() == pytest.approx(0.0, abs=1e-6)
        assert x.grad.abs().max() < 1e-5


@pytest.mark.parametrize("way", ["plain", "tiled"])
@pytest.mark.parametrize("name", PAIRS)
def test_duplicates_and_zero_rows_stay_finite(name: str, way: str) -> None:
    x = torch.tensor([[1.0, 2, 0, 1]]).repeat(6, 1)
    x[3] = 0
    for tau_like in (x, x * 0):
        a, b = tau_like.clone().requires_grad_(), tau_like.clone().requires_grad_()
        with using(way):
            value = PAIRS[name](a, b)
            value.backward()
        assert value.isfinite()
        assert a.grad.isfinite().all()


@pytest.mark.parametrize("way", ["plain", "tiled"])
@pytest.mark.parametrize("variant", ["out", "in"])
def test_sup_con_without_positives(variant: str, way: str) -> None:
    z = rows(5, dtype=torch.float32)[0].requires_grad_()
    with using(way):
        value = losses.sup_con(z, torch.arange(5), variant=variant)
        value.backward()
    assert value.item() == 0
    assert torch.equal(z.grad, torch.zeros_like(z))


def test_sup_con_with_one_class_and_one_row() -> None:
    z = rows(5, dtype=torch.float32)[0].requires_grad_()
    losses.sup_con(z, torch.zeros(5, dtype=torch.long)).backward()
    assert z.grad.isfinite().all()
    one = z.detach()[:1].requires_grad_()
    value = losses.sup_con(one, torch.zeros(1, dtype=torch.long))
    value.backward()
    assert value.item() == 0
    assert torch.equal(one.grad, torch.zeros_like(one))


def test_multi_label_without_any_weight() -> None:
    z = rows(3, dtype=torch.float32)[0].requires_grad_()
    value = losses.multi_label_sup_con(z, torch.eye(3))
    value.backward()
    assert value.item() == 0
    assert torch.equal(z.grad, torch.zeros_like(z))


def test_gist_with_everything_left_out_is_zero() -> None:
    x, y, *_ = rows(4, dtype=torch.float32)
    same = torch.ones(4, 3)
    assert losses.gist(x, y, same, same, margin=0.5).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("name", CASES)
def test_values_that_are_not_finite_are_named(name: str, bad: float) -> None:
    x, y, more, ids = rows(5)
    x[2, 1] = bad
    with pytest.raises(InputError, match="must be finite, got"):
        CASES[name].loss(x, y, more, ids)


@pytest.mark.parametrize("name", PAIRS)
def test_wrong_tensors_are_named(name: str) -> None:
    loss = PAIRS[name]
    x, y, *_ = rows(4)
    with pytest.raises(InputError, match="must be a float tensor"):
        loss(x.long(), y.long())
    with pytest.raises(InputError, match=r"must be of shape \(N, D\)"):
        loss(x[None], y[None])
    with pytest.raises(InputError, match=r"N, D >= 1"):
        loss(x[:0], y[:0])
    if name == "sup_con":
        return
    with pytest.raises(InputError, match="must be of as many rows as"):
        loss(x, y[:3])
    with pytest.raises(InputError, match="must be of the same D as"):
        loss(x, y[:, :3])


@pytest.mark.parametrize("labels", [torch.zeros(3).long(), torch.zeros(4), torch.zeros(4, 1).long(), torch.ones(4) > 0])
def test_wrong_labels(labels: Tensor) -> None:
    with pytest.raises(InputError, match="sup_con: labels must be"):
        losses.sup_con(rows(4)[0], labels)


X, Y, MORE, _ = rows(4)

WRONG: list[tuple[str, Callable[[], Tensor]]] = [
    ("temperature must be finite and > 0, got 0", lambda: losses.nt_xent(X, Y, temperature=0)),
    ("temperature must be finite and > 0, got nan", lambda: losses.sup_con(X, torch.arange(4), temperature=torch.nan)),
    ("temperature must be finite and > 0, got -1", lambda: losses.gist(X, Y, X, Y, temperature=-1)),
    ("sigma must be finite and > 0", lambda: losses.dclw(X, Y, sigma=0)),
    ("scale must be finite and > 0", lambda: losses.clip(X, Y, scale=-1)),
    ("scale must be finite and > 0", lambda: losses.clip(X, Y, scale=torch.tensor(-1.0))),
    ("scale must be a number or a float tensor of one element", lambda: losses.clip(X, Y, scale=torch.ones(2))),
    ("bias must be finite", lambda: losses.siglip(X, Y, bias=torch.inf)),
    ("reduction must be 'mean', 'sum' or 'none', got 'avg'", lambda: losses.nt_xent(X, Y, reduction="avg")),
    ("variant must be 'out' or 'in'", lambda: losses.sup_con(X, torch.arange(4), variant="both")),
    ("in_batch must be True with symmetric", lambda: losses.info_nce(X, Y, queue=X, in_batch=False, symmetric=True)),
    ("in_batch must be True without negatives and queue", lambda: losses.info_nce(X, Y, in_batch=False)),
    ("negatives must be of the same D", lambda: losses.info_nce(X, Y, negatives=X[:, :2])),
    ("queue must be of the same D", lambda: losses.co2(X, Y, queue=X[:, :2])),
    ("similarity must be of shape", lambda: losses.multi_label_sup_con(X, torch.ones(3, 3))),
    ("similarity must be >= 0", lambda: losses.multi_label_sup_con(X, -torch.ones(4, 4))),
    ("guide_queries must be of as many rows", lambda: losses.gist(X, Y, X[:3], Y[:3])),
    ("guide_negatives must be given exactly when", lambda: losses.gist(X, Y, X, Y, negatives=X)),
    ("guide_negatives must be of as many rows", lambda: losses.gist(X, Y, X, Y, negatives=X, guide_negatives=X[:2])),
    ("margin must be >= 0", lambda: losses.gist(X, Y, X, Y, margin=-1)),
    ("margin_kind must be 'absolute' or 'relative'", lambda: losses.gist(X, Y, X, Y, margin_kind="percent")),
]


@pytest.mark.parametrize(("message", "call"), WRONG, ids=[message for message, _ in WRONG])
def test_wrong_settings(message: str, call: Callable[[], Tensor]) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert message in str(caught.value)


def test_float32_and_float64_may_meet() -> None:
    for loss in PAIRS.values():
        torch.testing.assert_close(loss(X.float(), Y), loss(X, Y), rtol=1e-4, atol=1e-4, check_dtype=False)


def test_devices_must_agree() -> None:
    with pytest.raises(InputError, match="on the same device as z1"):
        losses.nt_xent(X, Y.to("meta"))


def test_unit_of_tiny_huge_and_zero_rows() -> None:
    z = torch.tensor([[3e-30, 4e-30], [3e37, 4e37], [0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    u = unit(z)
    torch.testing.assert_close(u, torch.tensor([[0.6, 0.8], [0.6, 0.8], [0, 0], [0.6, 0.8]]))
    u[2:].sum().backward()
    assert z.grad.isfinite().all()


def test_in_float32_widens_and_switches_autocast_off() -> None:
    @in_float32
    def product(a: Tensor, *, b: Tensor) -> Tensor:
        return a @ b

    half = torch.ones(2, 2, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert product(half, b=half).dtype == torch.float32
        assert product(half.double(), b=half.double()).dtype == torch.float64
    assert product(half.long(), b=half.long()).dtype == torch.int64


def test_reduce() -> None:
    values = torch.tensor([1.0, 2.0, torch.inf], requires_grad=True)
    valid = torch.tensor([True, True, False])
    assert reduce(values, "mean", valid=valid).item() == 1.5
    assert reduce(values, "sum", valid=valid).item() == 3
    assert reduce(values, "none", valid=valid).tolist() == [1, 2, 0]
    nothing = reduce(values, "mean", valid=valid & False)
    nothing.backward()
    assert nothing.item() == 0
    assert values.grad.tolist() == [0, 0, 0]
