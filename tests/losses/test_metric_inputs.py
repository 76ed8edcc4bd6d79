"""Degenerate batches give finite numbers and gradients, wrong ones one clear error; memory stays linear."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from nearfar.errors import InputError
from nearfar.losses import _rows, contrastive, triplet
from nearfar.losses.distances import DISTANCES
from nearfar.losses.margin_beta import margin_beta
from nearfar.losses.miners import easy_hard_triplets, margin_pairs
from nearfar.losses.pn import pn
from nearfar.losses.ranking import smooth_ap
from nearfar.losses.triplet import triplet_from_labels
from tests.losses.metric_cases import CASES, ROWS, labelled, run

ALL = pytest.mark.parametrize("name", CASES)
OVER_LABELS = pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.inputs is labelled])


def finite(case, inputs):
    result = run(case, inputs)
    assert all(t.isfinite().all() for t in result), result
    return result


@ALL
def test_all_rows_equal(name):
    """Duplicates, and a collapsed encoder: every distance is 0."""
    case = CASES[name]
    inputs = case.inputs()
    row = torch.tensor([0.5, -1.0, 2.0, 0.3], dtype=torch.float64)
    same = tuple(row[: t.shape[-1]].expand_as(t) if t.is_floating_point() and t.ndim > 1 and t.shape[-1] == 4 else t
                 for t in inputs)  # fmt: skip
    finite(case, same)
    finite(case, tuple(t.float() if t.is_floating_point() else t for t in same))


@ALL
def test_all_rows_zero(name):
    case = CASES[name]
    finite(case, tuple(torch.zeros_like(t) if t.is_floating_point() and t.ndim > 1 else t for t in case.inputs()))


@ALL
def test_one_row(name):
    case = CASES[name]
    finite(case, tuple(t if i in case.shared else t[:1] for i, t in enumerate(case.inputs())))


@OVER_LABELS
def test_no_row(name):
    """A batch of which no row is labelled has no loss, rather than an error in the middle of a training."""
    case = CASES[name]
    value, grad = run(case, tuple(t[:0] for t in case.inputs()))
    assert value == 0
    assert grad.shape == (0, 4)


WITHOUT_PAIRS = {
    # Without epsilon an anchor needs no negative for its positive term, and no positive for its negative one; a
    # variance needs pairs of one kind only; negatives alone leave the ranked list and N-pairs their second term.
    "one class": {
        "fast_ap",
        "intra_pair_variance",
        "multi_similarity-epsilon=None",
        "nca",
        "ranked_list",
        "smooth_ap",
        "soft_nearest_neighbour",
    },
    "no positives": {"multi_similarity-epsilon=None", "intra_pair_variance", "ranked_list"},
}


@OVER_LABELS
@pytest.mark.parametrize("kind", WITHOUT_PAIRS)
def test_without_positives_or_negatives(name, kind):
    case = CASES[name]
    z, _ = case.inputs()
    labels = torch.zeros(ROWS, dtype=torch.int64) if kind == "one class" else torch.arange(ROWS)
    value, grad = finite(case, (z, labels))
    if not any(name.startswith(start) for start in WITHOUT_PAIRS[kind]):
        assert value == 0
        assert grad.abs().sum() == 0


@ALL
def test_large_embeddings(name):
    """1e4 times longer rows: similarities in [-1, 1] do not notice; distances grow, and nothing overflows."""
    case = CASES[name]
    inputs = tuple(1e4 * t.float() if t.is_floating_point() and t.ndim > 1 else t for t in case.inputs())
    finite(case, inputs)


@ALL
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_not_finite(name, bad):
    case = CASES[name]
    for i, t in enumerate(case.inputs()):
        if t.is_floating_point():
            inputs = [x.clone() for x in case.inputs()]
            inputs[i].view(-1)[1] = bad
            with pytest.raises(InputError, match="finite"):
                case.loss(*inputs, **case.settings)


@ALL
def test_wrong_shapes_and_types(name):
    case = CASES[name]
    inputs = case.inputs()
    for i, t in enumerate(inputs):
        if i in case.shared:
            wrong = [t[None], t[..., :2]]
        elif t.ndim == 2:
            wrong = [t[0], t[None], t.long(), t.to(torch.complex64)] + ([t[:-1]] if len(inputs) > 1 else [])
        else:
            wrong = [t[None], t[:-1]]
        if i == 1 and not t.is_floating_point():
            wrong.append(t.float())
        for value in wrong:
            with pytest.raises(InputError, match=f"{case.loss.__name__}: "):
                case.loss(*inputs[:i], value, *inputs[i + 1 :], **case.settings)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.per_row])
def test_unknown_reduction(name):
    with pytest.raises(InputError, match="reduction must be 'mean', 'sum' or 'none'"):
        CASES[name].loss(*CASES[name].inputs(), **CASES[name].settings, reduction="average")


# A value outside its range, for every setting of every loss.
SETTINGS = [
    ("contrastive", "margin", -1.0),
    ("contrastive", "margin", float("nan")),
    ("contrastive", "form", "square"),
    ("contrastive", "distance", "l2"),
    ("online_contrastive", "margin", 0.0),
    ("snr_contrastive", "zero_mean", -1.0),
    ("margin_beta", "nu", -0.1),
    ("margin_beta", "beta", torch.ones(3)),
    ("cosent-scale=1.0", "scale", 0.0),
    ("angle-scale=1.0", "scale", -1.0),
    ("triplet", "margin", 0.0),
    ("triplet_from_labels-mining=semihard", "mining", "medium"),
    ("pn", "form", "soft"),
    ("n_pairs", "regularization", -1.0),
    ("mega_batch_margin", "positive_margin", 1.5),
    ("lifted_structure", "margin", -1.0),
    ("generalized_lifted_structure", "distance", "l2"),
    ("circle", "margin", 1.0),
    ("circle", "gamma", 0.0),
    ("multi_similarity", "alpha", 0.0),
    ("multi_similarity", "epsilon", -0.1),
    ("tuplet_margin", "margin", 4.0),
    ("tuplet_margin", "scale", 0.0),
    ("intra_pair_variance", "positive_epsilon", -0.1),
    ("angular", "degrees", 90.0),
    ("ranked_list", "margin", 1.3),
    ("ranked_list", "balance", 1.1),
    ("ranked_list", "negative_temperature", -1.0),
    ("nca", "form", "probable"),
    ("nca", "scale", 0.0),
    ("soft_nearest_neighbour-temperature=3.0", "temperature", 0.0),
    ("fast_ap", "bins", 0),
    ("smooth_ap", "temperature", 0.0),
    ("histogram-bins=20", "bins", 0),
    ("normalized_softmax", "temperature", 0.0),
    ("arcface", "margin", -0.1),
    ("arcface", "scale", 0.0),
    ("sub_center_arcface-scale=5.0", "margin", 3.2),
    ("cosface", "margin", 2.0),
    ("sphereface", "margin", 0),
    ("sphereface", "margin", 1.5),
    ("sphereface", "blend", -1.0),
    ("proxy_nca", "form", "nca+"),
    ("proxy_nca", "temperature", 0.0),
    ("proxy_anchor", "alpha", 0.0),
    ("proxy_anchor", "margin", -0.1),
    ("soft_triple", "gamma", 0.0),
    ("soft_triple", "tau", -1.0),
    ("distill_kl", "temperature", 0.0),
    ("distill_kl", "form", "mse"),
]


@pytest.mark.parametrize(("name", "setting", "value"), SETTINGS, ids=str)
def test_settings_out_of_range(name, setting, value):
    case = CASES[name]
    with pytest.raises(InputError, match=f"{case.loss.__name__}: {setting} must be"):
        case.loss(*case.inputs(), **{**case.settings, setting: value})


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.shared])
def test_labels_beyond_the_classes(name):
    case = CASES[name]
    z, labels, weight = case.inputs()
    for bad in (labels + 3, labels - 1):
        with pytest.raises(InputError, match=r"labels must be in \[0, 5\)"):
            case.loss(z, bad, weight, **case.settings)


def test_y_is_0_or_1():
    x, y, different = CASES["contrastive"].inputs()
    assert_close(contrastive(x, y, different.bool()), contrastive(x, y, different.double()))
    with pytest.raises(InputError, match="0 \\(similar\\) or 1 \\(different\\), got \\[2"):
        contrastive(x, y, 2 * different)


def test_a_miner_that_finds_nothing_gives_zero():
    z = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.arange(4)
    i, j, different = margin_pairs(z, labels, negative_margin=1e-3)
    assert len(i) == 0
    a, p, n = easy_hard_triplets(z, labels)
    assert len(a) == 0
    total = triplet(z[a], z[p], z[n]) + pn(z[a], z[p], z[n]) + margin_beta(z[i], z[j], different)
    for form in ("linear", "hadsell"):
        total = total + contrastive(z[i], z[j], different, form=form)
    total = total + CASES["online_contrastive"].loss(z[i], z[j], different)
    total.backward()
    assert total == 0
    assert z.grad.abs().sum() == 0


def peak_bytes(function) -> int:
    """The largest sum of bytes alive at once that torch allocated on the CPU during a call."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        function()
    alive = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            alive += event.nbytes()
            peak = max(peak, alive)
    return peak


def test_the_measure_of_memory():
    def allocate():
        a = torch.zeros(1000, 1000)
        del a
        b = torch.zeros(500, 1000)
        return b + 1

    assert 4_000_000 <= peak_bytes(allocate) < 4_100_000


@pytest.mark.parametrize("mining", ["all", "semihard", "hard"])
def test_mining_1024_rows_takes_less_than_64_mib(mining):
    """An N^3 tensor of float32 would take 4 GiB."""
    z = torch.randn(1024, 128, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.arange(1024) // 8
    peak = peak_bytes(lambda: triplet_from_labels(z, labels, mining=mining).backward())
    assert peak < 64 * 2**20, f"{peak / 2**20:.1f} MiB"


LINEAR = ["multi_similarity", "lifted_structure", "histogram-bins=20", "angular", "triplet_from_labels-mining=semihard"]


@pytest.mark.parametrize("name", LINEAR)
def test_memory_grows_with_the_batch_and_not_with_its_square(name, monkeypatch):
    monkeypatch.setattr(_rows, "_ENTRIES", {"cpu": 2**14})
    case = CASES[name]

    def peak(rows: int) -> int:
        z = torch.randn(rows, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
        labels = torch.arange(rows) // 2
        return peak_bytes(lambda: case.loss(z, labels, **case.settings).backward())

    # A block holds a fixed number of entries, many fewer than N^2; twice the rows may take twice the memory.
    assert peak(512) < 2.2 * peak(256)


def test_smooth_ap_holds_no_cube():
    z = torch.randn(512, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.arange(512) // 8
    assert peak_bytes(lambda: smooth_ap(z, labels).backward()) < 64 * 2**20  # N^3 float32: 512 MiB


def test_distances_have_a_finite_gradient_at_extremes():
    for name in DISTANCES:
        for scale in (1e-20, 1e-3, 1e8):
            z = (scale * torch.randn(4, 3, generator=torch.Generator().manual_seed(0))).requires_grad_()
            DISTANCES[name].pairs(z, z.detach().flip(0)).sum().backward()
            assert z.grad.isfinite().all(), (name, scale)
