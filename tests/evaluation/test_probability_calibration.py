from __future__ import annotations

import numpy as np
import pytest
import torch

from nearfar.errors import InputError
from nearfar.evaluation import expected_calibration_error, fit_temperature, reliability, softmax


def sample(count=400, classes=5, sharp=3.0, seed=0):
    """Logits, and labels drawn from softmax(logits / sharp): their right temperature is ``sharp``."""
    rng = np.random.default_rng(seed)
    logits = sharp * rng.normal(size=(count, classes)) * 1.5
    p = softmax(logits / sharp)
    labels = np.array([rng.choice(classes, p=row) for row in p])
    return logits, labels


def slow_error(probabilities, labels, bins):
    total = 0.0
    for m in range(bins):
        rows = [i for i, row in enumerate(probabilities) if m / bins < max(row) <= (m + 1) / bins]
        if rows:
            accuracy = sum(int(np.argmax(probabilities[i])) == labels[i] for i in rows) / len(rows)
            confidence = sum(max(probabilities[i]) for i in rows) / len(rows)
            total += len(rows) / len(labels) * abs(accuracy - confidence)
    return total


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_error_agrees_with_the_slow_loop(bins):
    logits, labels = sample()
    p = softmax(logits)
    assert expected_calibration_error(p, labels, bins) == pytest.approx(slow_error(p, labels, bins), abs=1e-12)


def test_a_diagram_by_hand():
    p = np.array([[1.0, 0.0], [1.0, 0.0], [0.6, 0.4], [0.4, 0.6], [0.5, 0.5]])
    found = reliability(p, np.array([0, 1, 0, 1, 1]), bins=2)
    assert found.counts.tolist() == [1, 4]  # 0.5 belongs to (0, 0.5]
    assert found.confidence.tolist() == pytest.approx([0.5, (1 + 1 + 0.6 + 0.6) / 4])
    assert found.accuracy.tolist() == [0.0, 0.75]  # of equal probabilities the lower class is the prediction
    assert found.edges.tolist() == [0.0, 0.5, 1.0]
    assert expected_calibration_error(p, np.array([0, 1, 0, 1, 1]), bins=2) == pytest.approx((0.5 + 4 * 0.05) / 5)


def test_empty_bins_are_nan_and_count_for_nothing():
    p, labels = np.array([[0.9, 0.1], [0.1, 0.9]]), np.array([0, 1])
    found = reliability(p, labels, bins=10)
    assert np.isnan(found.accuracy[:8]).all()
    assert np.isnan(found.confidence[9])
    assert expected_calibration_error(p, labels, bins=10) == pytest.approx(0.1)


def test_rows_of_unknown_label_are_left_out():
    logits, labels = sample()
    hidden = np.where(np.arange(len(labels)) % 2 == 0, -1, labels)
    assert expected_calibration_error(softmax(logits), hidden) == expected_calibration_error(
        softmax(logits[1::2]), labels[1::2]
    )
    assert fit_temperature(logits, hidden) == fit_temperature(logits[1::2], labels[1::2])


@pytest.mark.parametrize("sharp", [0.2, 1.0, 5.0])
def test_temperature_is_the_minimum_that_torch_finds(sharp):
    logits, labels = sample(sharp=sharp)
    x, y = torch.tensor(logits), torch.tensor(labels)
    sharpness = torch.ones((), dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([sharpness], max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-12)

    def closure():
        solver.zero_grad()
        loss = torch.nn.functional.cross_entropy(x * sharpness, y)
        loss.backward()
        return loss

    solver.step(closure)
    assert fit_temperature(logits, labels) == pytest.approx(1 / sharpness.item(), rel=1e-5)


def test_temperature_scales_with_the_logits():
    logits, labels = sample()
    assert fit_temperature(7 * logits, labels) == pytest.approx(7 * fit_temperature(logits, labels), rel=1e-6)


def test_scaling_mends_an_overconfident_classifier():
    logits, labels = sample(2000, sharp=4.0)
    rest, truth = sample(2000, sharp=4.0, seed=1)
    temperature = fit_temperature(logits, labels)
    assert temperature == pytest.approx(4.0, rel=0.1)
    assert expected_calibration_error(softmax(rest), truth) > 0.2
    assert expected_calibration_error(softmax(rest, temperature), truth) < 0.04


def test_temperature_ends_where_the_minimum_is_at_infinity():
    logits, labels = np.eye(3) * 5, np.arange(3)
    assert fit_temperature(logits, labels) == 0.01
    assert fit_temperature(-logits, labels) == 100.0
    assert fit_temperature(np.zeros((3, 3)), labels) == 100.0  # nothing is known: any temperature is as good


def test_large_logits_stay_finite():
    logits, labels = sample()
    assert np.isfinite(fit_temperature(1e4 * logits, labels))
    assert np.isfinite(softmax(1e4 * logits, 0.01)).all()


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: reliability(np.ones((2, 3)), np.zeros(2, int)), "probabilities must be >= 0, each row with the sum 1"),
        (lambda: reliability(np.full((2, 2), 0.5), np.array([0, 2])), "labels must be below the 2 classes, got 2"),
        (lambda: reliability(np.full((2, 2), 0.5), np.array([-1, -1])), "labels must be known for some rows"),
        (lambda: reliability(np.full((2, 2), 0.5), np.zeros(2, int), bins=0), "bins must be >= 1"),
        (lambda: fit_temperature(np.array([[1.0, np.nan]]), np.zeros(1, int)), "values must be finite"),
        (lambda: fit_temperature(np.ones((2, 2)), np.zeros(3, int)), r"labels must be of shape \(2,\)"),
        (lambda: fit_temperature(np.ones(2), np.zeros(2, int)), r"shape must be \(N, C\)"),
        (lambda: softmax(np.ones((1, 2)), 0.0), "temperature must be > 0"),
    ],
)
def test_bad_input_is_one_sentence(call, text):
    with pytest.raises(InputError, match=text):
        call()
