"""Cut-points against a loop over every possible cut, closed forms, and properties."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nearfar.errors import InputError
from nearfar.evaluation import Answers, Calibration, Target, calibrate, confidence_curve, rates_at
from nearfar.evaluation.cutpoints import curves


def evidence(distances, right, classes=None, weights=None, false=None, missing=0.0):
    classes = list(range(len(distances))) if classes is None else classes
    findable, queries = {}, {}
    for name, ok, w in zip(classes, right, weights or [1] * len(right), strict=True):
        findable[name] = findable.get(name, 0.0) + (w if ok else 0)
        queries[name] = queries.get(name, 0.0) + 1
    findable[classes[0]] += missing
    return Answers(
        np.array(distances, dtype=float),
        np.array(right, dtype=bool),
        np.array(classes),
        findable,
        queries,
        None if weights is None else np.array(weights, dtype=float),
        None if false is None else np.array(false, dtype=float),
        None if false is None else np.array(classes),
    )


def rates_by_loop(answers, cut):
    weights = np.ones(len(answers.distances)) if answers.weights is None else answers.weights
    s = d = total_false = accepted_false = 0.0
    for far, ok, w in zip(answers.distances, answers.right, weights, strict=True):
        if far <= cut:
            s, d = (s + w, d) if ok else (s, d + w)
        if not ok and answers.false_distances is None:
            total_false += w
            accepted_false += w if far <= cut else 0
    for far in [] if answers.false_distances is None else answers.false_distances:
        total_false += 1
        accepted_false += far <= cut
    findable, queries = sum(answers.findable.values()), sum(answers.queries.values())
    return (
        s / (s + d) if s + d else math.nan,
        s / findable,
        2 * s / (s + d + findable),
        accepted_false / total_false if total_false else 0.0,
        accepted_false / queries,
    )


def draw(seed, n=60, with_false=True, weighted=False):
    rng = np.random.default_rng(seed)
    right = rng.random(n) < 0.7
    distances = np.round(np.where(right, rng.normal(0.3, 0.1, n), rng.normal(0.5, 0.1, n)).clip(0), 2)
    weights = rng.integers(1, 5, n).tolist() if weighted else None
    false = np.round(rng.normal(0.55, 0.1, n).clip(0), 2).tolist() if with_false else None
    return evidence(distances.tolist(), right.tolist(), (np.arange(n) % 12).tolist(), weights, false, missing=3.0)


@pytest.mark.parametrize("with_false", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_rates_are_those_of_a_loop_at_every_cut(with_false, weighted):
    answers = draw(0, with_false=with_false, weighted=weighted)
    for cut in [-0.1, 0.0, *np.unique(answers.distances), 0.123, 9.0]:
        assert rates_at(answers, cut) == pytest.approx(rates_by_loop(answers, cut), nan_ok=True)


@pytest.mark.parametrize("target", ["precision=0.9", "recall=0.6", "f1", "far=0.05", "false-matches=0.1"])
@pytest.mark.parametrize("seed", range(4))
def test_the_cut_is_the_best_of_all(target, seed):
    answers = draw(seed)
    found = calibrate(answers, target, resamples=3)
    cuts = np.unique([*answers.distances, *answers.false_distances])
    values = np.array([rates_by_loop(answers, cut) for cut in cuts])
    name, _, number = target.partition("=")
    column = values[:, ["precision", "recall", "f1", "far", "false-matches"].index(name)]
    if name == "f1":
        expected = int(np.argmax(column))
    elif name == "recall":
        expected = int(np.flatnonzero(column >= float(number))[0])
    else:
        reached = column >= float(number) if name == "precision" else column <= float(number)
        expected = int(np.flatnonzero(reached)[-1])
    following = cuts[min(expected + 1, len(cuts) - 1)]
    assert found.cut == pytest.approx((cuts[expected] + following) / 2)
    assert found.rates[name][0] == pytest.approx(column[expected])


def test_a_closed_form():
    # four right at .1 .2 .3 .4, one wrong at .35: precision 1 up to .3, then 3/4, then 4/5.
    answers = evidence([0.1, 0.2, 0.3, 0.35, 0.4], [1, 1, 1, 0, 1])
    assert calibrate(answers, "precision=1").cut == pytest.approx(0.325)
    assert calibrate(answers, "precision=0.8").cut == pytest.approx(0.4)
    assert calibrate(answers, "recall=0.75").cut == pytest.approx(0.325)
    assert calibrate(answers, "f1").cut == pytest.approx(0.4)  # 2·4/(5 + 4) against 2·3/(3 + 4)
    assert calibrate(answers, "far=0").cut == pytest.approx(0.325)


def test_equal_distances_are_accepted_together():
    answers = evidence([0.1, 0.2, 0.2, 0.3], [1, 1, 0, 1])
    assert calibrate(answers, "precision=0.9").cut == pytest.approx(0.15)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 2), st.booleans(), st.integers(0, 4)), min_size=3, max_size=40))
def test_a_stricter_target_never_accepts_more(rows):
    distances, right, classes = (list(column) for column in zip(*rows, strict=True))
    assume(any(right))
    assume(len(set(classes)) >= 2)
    answers = evidence(distances, right, classes)
    cuts, rates = curves(answers)
    assert (np.diff(cuts) > 0).all()
    assert (np.diff(rates["recall"]) >= 0).all()
    assert (np.diff(rates["far"]) >= 0).all()
    found = []
    for value in (0.5, 0.8, 0.95):
        try:
            found.append(calibrate(answers, f"precision={value}", resamples=2).cut)
        except InputError:
            found.append(-math.inf)
    assert found == sorted(found, reverse=True)
    recalls = [calibrate(answers, f"recall={value}", resamples=2).cut for value in (0.2, 0.6, 1.0)]
    assert recalls == sorted(recalls)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    # Precision of accepting everything is the share of right answers; classes are of different difficulty.
    hits = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        shares = rng.beta(8, 2, 60)  # mean 0.8
        right = (rng.random((60, 5)) < shares[:, None]).ravel()
        answers = evidence(np.full(300, 0.5).tolist(), right.tolist(), np.repeat(np.arange(60), 5).tolist())
        _, low, high = calibrate(answers, "recall=1", resamples=200, seed=seed).rates["precision"]
        hits += low <= 0.8 <= high
    assert 88 <= hits <= 100  # 95 expected, sd 2.2


def test_classes_that_did_not_choose_the_cut_check_it():
    # One class is wrong near by; the cut chosen without it is too wide for it.
    distances = [0.1] * 40 + [0.2] * 40 + [0.05] * 10
    right = [1] * 80 + [0] * 10
    classes = [*(np.arange(80) % 8), *([8] * 10)]
    found = calibrate(evidence(distances, right, [int(c) for c in classes]), "precision=0.85")
    assert found.rates["precision"][0] == pytest.approx(80 / 90)
    assert found.checked["precision"] <= found.rates["precision"][0] + 1e-9


@pytest.mark.parametrize(
    ("text", "measure", "value"),
    [("precision=0.99", "precision", 0.99), ("precision=99%", "precision", 0.99), ("f1", "f1", 1.0),
     ("far=1e-3", "far", 0.001), ("false-matches=2", "false-matches", 2.0), ("recall=.5", "recall", 0.5)],
)  # fmt: skip
def test_targets_are_read(text, measure, value):
    assert Target.of(text) == (measure, pytest.approx(value))
    assert Target.of(str(Target.of(text))) == Target.of(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("precison=0.9", "did you mean 'precision'"), ("precision=high", "a number, as in precision=0.99"),
     ("precision=99", "write precision=0.99 for 99"), ("recall", "a number")],
)  # fmt: skip
def test_wrong_targets_are_one_sentence(text, sentence):
    with pytest.raises(InputError, match=sentence):
        Target.of(text)


def test_an_unreachable_target_says_the_best():
    answers = evidence([0.1, 0.2], [0, 1])
    with pytest.raises(InputError, match=r"precision=0.9 is reached by no cut, the best is 0.5000"):
        calibrate(answers, "precision=0.9")


def test_evidence_is_checked():
    with pytest.raises(InputError, match="right answers must be >= 1"):
        evidence([0.1, 0.2], [0, 0])
    with pytest.raises(InputError, match="distances must be finite"):
        evidence([0.1, np.nan], [0, 1])
    with pytest.raises(InputError, match="classes of the labelled items must be >= 2"):
        calibrate(evidence([0.1, 0.2], [1, 1], [0, 0]), "f1")


def test_the_confidence_falls_with_the_distance_and_tells_the_share_of_right_answers():
    rng = np.random.default_rng(0)
    distances = rng.random(4000)
    answers = evidence(distances.tolist(), (rng.random(4000) < 1 - distances).tolist(), [0] * 2000 + [1] * 2000)
    at, sure = confidence_curve(answers)
    assert (np.diff(at) >= 0).all()
    assert (np.diff(sure) <= 1e-12).all()
    assert np.interp([0.2, 0.5, 0.8], at, sure) == pytest.approx([0.8, 0.5, 0.2], abs=0.07)
    assert len(at) <= 64


def test_confidence_never_says_certain():
    at, sure = confidence_curve(evidence([0.1, 0.2, 0.8, 0.9], [1, 1, 0, 0]))
    assert 0 < sure.min() < sure.max() < 1
    assert at[0] == pytest.approx(0.1)


def test_a_calibration_survives_json():
    answers = draw(1)
    at, sure = confidence_curve(answers)
    cuts = tuple(calibrate(answers, target, resamples=20) for target in ("precision=0.9", "far=0.1"))
    before = Calibration("cosine", "abc", "matches", cuts, tuple(at.tolist()), tuple(sure.tolist()), "how")
    after = Calibration.from_mapping(json.loads(json.dumps(before.to_mapping(), allow_nan=False)))
    assert after == before
    assert after.cut().target == "precision=0.9"
    assert after.cut("far=0.1") == cuts[1]
    assert "precision=0.9: accept up to" in after.text()
    with pytest.raises(InputError, match=r"did you mean 'precision=0\.9'"):
        after.cut("precision=0.8")
    with pytest.raises(InputError, match="is not a stored one"):
        Calibration.from_mapping({"format": 1})
