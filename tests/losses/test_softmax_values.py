"""In-batch softmax losses against loops, golden values, closed forms and other libraries."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from lightly.loss import DCLLoss, DCLWLoss, NTXentLoss
from lightly.loss.regularizer import CO2Regularizer
from pytorch_metric_learning.losses import NTXentLoss as PmlNTXentLoss
from pytorch_metric_learning.losses import SupConLoss

from nearfar import losses
from nearfar.losses._engine import using
from tests.losses.softmax_cases import CASES, QUEUE, mean_of_loop, rows


def golden_views() -> tuple[torch.Tensor, torch.Tensor]:
    n = torch.arange(32, dtype=torch.float64).reshape(4, 8)
    return torch.sin(n + 1.0), torch.cos(0.7 * n + 0.3)


@pytest.mark.parametrize("way", ["plain", "tiled"])
@pytest.mark.parametrize("name", CASES)
def test_equals_the_loop_in_value_and_gradient(name: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nearfar.losses._tiled._SIDE", 3)
    case = CASES[name]
    x, y, more, ids = rows(5)
    x.requires_grad_()
    y.requires_grad_()
    wanted = mean_of_loop(case.loop(x, y, more, ids))
    wanted_gradient = torch.autograd.grad(wanted, [x, y], allow_unused=True)
    with using(way):
        got = case.loss(x, y, more, ids)
        gradient = torch.autograd.grad(got, [x, y], allow_unused=True)
    torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-12)
    for a, b in zip(gradient, wanted_gradient, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("name", CASES)
def test_reductions_agree_with_the_loop(name: str) -> None:
    case = CASES[name]
    inputs = rows(5, seed=1)
    values = case.loop(*inputs)
    counted = torch.stack([value for value in values if value is not None])
    zeros = torch.stack([torch.zeros(()).double() if value is None else value for value in values])
    assert len(zeros) == case.anchors * 5
    torch.testing.assert_close(case.loss(*inputs, reduction="none"), zeros)
    torch.testing.assert_close(case.loss(*inputs, reduction="sum"), counted.sum())
    torch.testing.assert_close(case.loss(*inputs, reduction="mean"), counted.mean())


# DCLW's weights are constants by definition; the loop test has its gradient.
@pytest.mark.parametrize("name", [name for name in CASES if name != "dclw"])
def test_gradcheck(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nearfar.losses._tiled._SIDE", 2)
    x, y, more, ids = rows(4, seed=2)
    x.requires_grad_()
    y.requires_grad_()
    with using("tiled"):
        assert torch.autograd.gradcheck(lambda a, b: CASES[name].loss(a, b, more, ids), (x, y))


def test_golden_values() -> None:
    z1, z2 = golden_views()
    queue = torch.sin(0.3 * torch.arange(48, dtype=torch.float64).reshape(6, 8) + 0.5)
    labels = torch.tensor([0, 0, 1, 2])
    got = {
        "nt_xent": losses.nt_xent(z1, z2, temperature=0.1),
        "nt_xent 0.5": losses.nt_xent(z1, z2, temperature=0.5),
        "google's code, sum of two means": 2 * losses.nt_xent(z1, z2, temperature=0.1),
        "sup_con": losses.sup_con(torch.cat([z1, z2]), labels.repeat(2), temperature=0.1),
        "sup_con, authors' factor": losses.sup_con(torch.cat([z1, z2]), labels.repeat(2), temperature=0.1) * 0.1 / 0.07,
        "sup_con without labels": losses.sup_con(torch.cat([z1, z2]), torch.arange(4).repeat(2)) * 0.1 / 0.07,
        "dcl": losses.dcl(z1, z2, temperature=0.1),
        "moco": losses.info_nce(z1, z2, queue=queue, in_batch=False, temperature=0.2),
        "clip": losses.clip(z1, z2, scale=1 / 0.07),
        "siglip": losses.siglip(z1, z2, scale=10.0, bias=-10.0),
    }
    wanted = {
        "nt_xent": 5.317472609887895,
        "nt_xent 0.5": 2.099554639293734,
        "google's code, sum of two means": 10.63494521977579,
        "sup_con": 4.907890947603708,
        "sup_con, authors' factor": 7.011272782291011,
        "sup_con without labels": 7.596389442696994,
        "dcl": 4.827977891125824,
        "moco": 1.977529255095073,
        "clip": 6.048093793343989,
        "siglip": 8.288135628181776,
    }
    assert {name: value.item() for name, value in got.items()} == pytest.approx(wanted, rel=1e-12)


def test_moco_v3_golden_value_is_in_batch_info_nce_times_two_tau() -> None:
    z1, z2 = golden_views()
    got = 2 * 0.2 * losses.info_nce(z1, z2, temperature=0.2)
    assert got.item() == pytest.approx(0.7626059322747785, rel=1e-12)


@pytest.mark.parametrize("n", [2, 4, 33])
@pytest.mark.parametrize("tau", [0.01, 0.1, 1.0])
def test_equal_embeddings(n: int, tau: float) -> None:
    z = torch.ones(n, 7)
    assert losses.nt_xent(z, z, temperature=tau).item() == pytest.approx(math.log(2 * n - 1), rel=1e-5)
    assert losses.info_nce(z, z, temperature=tau).item() == pytest.approx(math.log(n), rel=1e-5)
    assert losses.clip(z, z, scale=1 / tau).item() == pytest.approx(math.log(n), rel=1e-5)
    assert losses.dcl(z, z, temperature=tau).item() == pytest.approx(math.log(2 * n - 2), rel=1e-5, abs=1e-5)
    one_class = torch.zeros(n, dtype=torch.long)
    assert losses.sup_con(z, one_class, temperature=tau).item() == pytest.approx(math.log(n - 1), rel=1e-5, abs=1e-5)
    assert losses.sup_con(z, one_class, temperature=tau, variant="in").item() == pytest.approx(
        math.log(n - 1), rel=1e-5, abs=1e-5
    )


def test_two_orthogonal_clusters() -> None:
    """n pairs on one axis and n on another: an anchor sees 2n - 1 at cosine 1 and 2n at cosine 0."""
    n, tau = 6, 0.3
    z = torch.eye(2).repeat_interleave(n, 0)
    wanted = math.log(2 * n - 1 + 2 * n * math.exp(-1 / tau))
    assert losses.nt_xent(z, z, temperature=tau).item() == pytest.approx(wanted, rel=1e-6)
    labels = torch.arange(2).repeat_interleave(n)
    wanted = math.log(n - 1 + n * math.exp(-1 / tau))
    assert losses.sup_con(z, labels, temperature=tau).item() == pytest.approx(wanted, rel=1e-6)
    assert losses.sup_con(z, labels, temperature=tau, variant="in").item() == pytest.approx(wanted, rel=1e-6)


def test_siglip_of_orthogonal_pairs() -> None:
    n, scale, bias = 5, 3.0, -1.5
    z = torch.eye(n)
    wanted = math.log1p(math.exp(-(scale + bias))) + (n - 1) * math.log1p(math.exp(bias))
    assert losses.siglip(z, z, scale=scale, bias=bias).item() == pytest.approx(wanted, rel=1e-6)


def test_sup_con_with_each_item_its_own_class_is_nt_xent() -> None:
    x, y, *_ = rows(9)
    got = losses.sup_con(torch.cat([x, y]), torch.arange(9).repeat(2), temperature=0.1)
    torch.testing.assert_close(got, losses.nt_xent(x, y, temperature=0.1))


def test_multi_label_with_equal_labels_is_sup_con() -> None:
    x, _, _, ids = rows(9)
    got = losses.multi_label_sup_con(x, ids[:, None] == ids[None])
    torch.testing.assert_close(got, losses.sup_con(x, ids))


def test_gist_without_false_negatives_counts_all_four_kinds() -> None:
    """A guide that finds only the pair itself near leaves nothing out."""
    x, y, *_ = rows(4)
    eye = torch.eye(4)
    got = losses.gist(x, y, eye, eye, temperature=0.2)
    q, k = F.normalize(x, dim=1), F.normalize(y, dim=1)
    off = ~torch.eye(4, dtype=torch.bool)
    logits = torch.cat([q @ k.T, (q @ q.T)[off].view(4, 3), (k @ k.T)[off].view(4, 3)], 1) / 0.2
    torch.testing.assert_close(got, F.cross_entropy(logits, torch.arange(4)))


def test_ressl_of_equal_views_and_temperatures_is_an_entropy() -> None:
    x, *_ = rows(4)
    p = (F.normalize(x, dim=1) @ F.normalize(QUEUE, dim=1).T / 0.1).softmax(1)
    got = losses.ressl(x, x, QUEUE, student_temperature=0.1, teacher_temperature=0.1)
    torch.testing.assert_close(got, -(p * p.log()).sum(1).mean())


def test_co2_of_equal_views_is_zero() -> None:
    x, *_ = rows(4)
    assert losses.co2(x, x, queue=QUEUE).abs() < 1e-12
    assert losses.co2(x, x).abs() < 1e-12


def test_lightly() -> None:
    """The same numbers, except CO2: lightly sums over entries and divides by all of them, alpha in front."""
    x, y, *_ = rows(7, dtype=torch.float32)
    torch.testing.assert_close(losses.nt_xent(x, y, temperature=0.3), NTXentLoss(temperature=0.3)(x, y))
    torch.testing.assert_close(losses.dcl(x, y, temperature=0.3), DCLLoss(temperature=0.3)(x, y))
    # lightly's DCLW makes its weights with torch.tensor(tensor), which warns.
    with pytest.warns(UserWarning, match="copy construct"):
        theirs = DCLWLoss(temperature=0.3, sigma=0.5)(x, y)
    torch.testing.assert_close(losses.dclw(x, y, temperature=0.3, sigma=0.5), theirs)
    with pytest.warns(UserWarning, match="copy construct"):
        theirs = CO2Regularizer(alpha=1.0, t_consistency=0.3)(x, y)
    torch.testing.assert_close(losses.co2(x, y, temperature=0.3, include_positive=True), theirs)


def test_pytorch_metric_learning() -> None:
    """SupCon and, with a label per item, NT-Xent: one positive per anchor there, all others negative."""
    x, y, _, ids = rows(7, dtype=torch.float32)
    z, labels = torch.cat([x, y]), ids.repeat(2)
    torch.testing.assert_close(losses.sup_con(z, labels, temperature=0.3), SupConLoss(temperature=0.3)(z, labels))
    items = torch.arange(7).repeat(2)
    torch.testing.assert_close(losses.nt_xent(x, y, temperature=0.3), PmlNTXentLoss(temperature=0.3)(z, items))


def test_torch_cross_entropy_gives_clip_and_info_nce() -> None:
    x, y, *_ = rows(7)
    logits = F.normalize(x, dim=1) @ F.normalize(y, dim=1).T * 9.0
    target = torch.arange(7)
    one, other = F.cross_entropy(logits, target), F.cross_entropy(logits.T, target)
    torch.testing.assert_close(losses.clip(x, y, scale=9.0), (one + other) / 2)
    torch.testing.assert_close(losses.info_nce(x, y, temperature=1 / 9), one)
    torch.testing.assert_close(losses.info_nce(x, y, temperature=1 / 9, symmetric=True), (one + other) / 2)


def test_learnable_scale_and_bias_get_their_gradient() -> None:
    x, y, *_ = rows(4)
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    bias = torch.tensor(-1.0, dtype=torch.float64, requires_grad=True)
    for way in ("plain", "tiled"):
        with using(way):
            assert torch.autograd.gradcheck(lambda t: losses.clip(x, y, scale=t), (scale,))
            assert torch.autograd.gradcheck(lambda t, b: losses.siglip(x, y, scale=t, bias=b), (scale, bias))


def test_no_gradient_reaches_queue_teacher_and_guides() -> None:
    x, y, more, _ = rows(4)
    fixed = [tensor.clone().requires_grad_() for tensor in (QUEUE, more, more)]
    x.requires_grad_()
    total = losses.info_nce(x, y, queue=fixed[0]) + losses.ressl(x, fixed[1], fixed[0])
    total = total + losses.gist(x, y, fixed[1], fixed[2]) + losses.co2(x, y, queue=fixed[0])
    total.backward()
    assert all(tensor.grad is None for tensor in fixed)
