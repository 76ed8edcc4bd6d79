from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from nearfar.errors import InputError
from nearfar.losses import align_distribution, fix_match


def slow(weak: np.ndarray, strong: np.ndarray, threshold: float) -> float:
    total = 0.0
    for q, z in zip(weak.astype(np.float64), strong.astype(np.float64), strict=True):
        label = int(np.argmax(q))
        if q[label] >= threshold:
            total -= math.log(math.exp(z[label]) / sum(math.exp(value) for value in z))
    return total / len(weak)


def test_fix_match_is_equation_4() -> None:
    rng = np.random.default_rng(0)
    weak = rng.dirichlet(np.full(4, 0.3), 30).astype(np.float32)
    strong = rng.normal(size=(30, 4)).astype(np.float32)
    for threshold in (0.0, 0.5, 0.95):
        found = fix_match(torch.from_numpy(weak), torch.from_numpy(strong), threshold=threshold)
        assert float(found.loss) == pytest.approx(slow(weak, strong, threshold), rel=1e-5)
        assert float(found.used) == pytest.approx(float((weak.max(1) >= threshold).mean()))


def test_no_gradient_reaches_the_weak_views_and_none_the_unsure() -> None:
    logits = torch.randn(6, 3, requires_grad=True)
    weak = torch.tensor([[0.98, 0.01, 0.01]] * 3 + [[0.5, 0.3, 0.2]] * 3, requires_grad=True)
    fix_match(weak, logits).loss.backward()
    assert weak.grad is None
    assert logits.grad is not None
    assert (logits.grad[:3].abs().sum(1) > 0).all()
    assert (logits.grad[3:] == 0).all()


def test_nothing_sure_is_a_loss_of_zero() -> None:
    logits = torch.randn(4, 3, requires_grad=True)
    found = fix_match(torch.full((4, 3), 1 / 3), logits)
    assert float(found.loss.detach()) == 0.0
    assert float(found.used) == 0.0
    found.loss.backward()
    assert (logits.grad == 0).all()


def test_half_precision_is_computed_in_float32() -> None:
    weak, strong = torch.softmax(torch.randn(8, 3), 1), torch.randn(8, 3)
    found = fix_match(weak.bfloat16(), strong.bfloat16(), threshold=0.1).loss
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(float(fix_match(weak, strong, threshold=0.1).loss), abs=0.03)


def test_alignment_is_a_product_made_to_sum_to_one() -> None:
    rng = np.random.default_rng(1)
    q = rng.dirichlet(np.ones(3), 10)
    wanted, seen = np.array([0.2, 0.3, 0.5]), np.array([0.6, 0.3, 0.1])
    found = align_distribution(torch.from_numpy(q), wanted=torch.from_numpy(wanted), seen=torch.from_numpy(seen))
    for row, before in zip(found.numpy(), q, strict=True):
        product = [before[y] * wanted[y] / seen[y] for y in range(3)]
        assert np.allclose(row, np.array(product) / sum(product))


def test_answers_that_are_as_frequent_as_wanted_stay() -> None:
    q = torch.softmax(torch.randn(5, 3), 1)
    even = torch.full((3,), 1 / 3)
    assert torch.allclose(align_distribution(q, wanted=even, seen=even), q, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda q, z: fix_match(q, z, threshold=1.5), r"threshold must be in \[0, 1\], got 1.5"),
        (lambda q, z: fix_match(q[:2], z), "weak"),
        (lambda q, z: align_distribution(q, wanted=torch.ones(2), seen=torch.ones(3)), r"wanted must be \(3,\)"),
        (lambda q, z: align_distribution(q, wanted=torch.ones(3), seen=torch.zeros(3)), "seen must be finite and > 0"),
    ],
)
def test_wrong_input(call: object, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        call(torch.softmax(torch.randn(4, 3), 1), torch.randn(4, 3))  # type: ignore[operator]
