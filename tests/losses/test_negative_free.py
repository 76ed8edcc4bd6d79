"""Losses without negatives: loops, golden values, closed forms, other libraries, gradients and hard input."""

from __future__ import annotations

import math
from collections.abc import Callable

import lightly.loss as oracle
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from lightly.loss.hypersphere_loss import HypersphereLoss
from lightly.loss.lejepa_loss import LeJEPALoss, SIGReg
from torch import Tensor

from nearfar.errors import InputError
from nearfar.losses.alignment_uniformity import align_uniform, alignment, uniformity
from nearfar.losses.barlow_twins import barlow_twins
from nearfar.losses.dino import dino, dino_center
from nearfar.losses.koleo import koleo
from nearfar.losses.negative_cosine import byol, negative_cosine
from nearfar.losses.sigreg import _ENTRIES, draw_directions, lejepa, sigreg
from nearfar.losses.spectral import spectral_contrastive
from nearfar.losses.swav import sinkhorn, swav
from nearfar.losses.tico import tico, tico_covariance
from nearfar.losses.vicreg import vibcreg, vicreg
from nearfar.losses.w_mse import w_mse
from tests.losses import reference_negative_free as loop
from tests.losses.negative_free_cases import CENTER, DIM, DIRECTIONS, LOSSES, RUNNING, drawn, pair

# What needs statistics of the batch cannot do with one row.
NEEDS_TWO = {"barlow_twins", "vicreg", "vibcreg", "w_mse", "koleo", "spectral_contrastive", "uniformity",
             "align_uniform"}  # fmt: skip


def close(value: Tensor, expected: float | Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(value, torch.as_tensor(expected, dtype=value.dtype), rtol=tolerance, atol=tolerance)


# Loops ---------------------------------------------------------------------------------------------------------------


@given(n=st.integers(2, 6), dim=st.integers(1, 4), seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None, derandomize=True)
def test_loops_at_any_size(n: int, dim: int, seed: int) -> None:
    a, b = pair(n, dim, seed)
    close(negative_cosine(a, b), loop.negative_cosine(a, b))
    close(byol(a, b), loop.byol(a, b))
    close(barlow_twins(a, b, redundancy_weight=0.3), loop.barlow_twins(a, b, 0.3, 1e-5), 1e-9)
    weights = (2.0, 3.0, 5.0)
    named = {f"{name}_weight": w for name, w in zip(("invariance", "variance", "covariance"), weights, strict=True)}
    close(vicreg(a, b, gamma=1.5, **named), loop.vicreg(a, b, weights, 1.5, 1e-4), 1e-10)
    close(vibcreg(a, b, gamma=1.5, **named), loop.vibcreg(a, b, weights, 1.5, 1e-4), 1e-6)
    close(koleo(a), loop.koleo(a, 1e-8), 1e-7)
    close(spectral_contrastive(a, b), loop.spectral_contrastive(a, b), 1e-10)
    close(alignment(a, b, alpha=3.0), loop.alignment(a, b, 3.0))
    close(uniformity(a, t=1.5), loop.uniformity(a, 1.5), 1e-10)
    close(swav(a, b, epsilon=0.5, temperature=0.3), loop.swav([a, b], 2, 0.3, 0.5, 3), 1e-10)


def test_spectral_is_the_same_on_both_sides_of_its_choice() -> None:
    for n, dim in ((4, 9), (9, 9), (10, 9), (30, 3)):
        a, b = pair(n, dim)
        close(spectral_contrastive(a, b), loop.spectral_contrastive(a, b), 1e-10)


def test_w_mse_equals_its_loop_for_views_blocks_and_orders() -> None:
    a, b, c = drawn(3, 12, 3)
    everything = list(range(12))
    close(w_mse(a, b), loop.w_mse([a, b], [everything], 0.0), 1e-9)
    close(w_mse(a, b, c, eps=0.2), loop.w_mse([a, b, c], [everything], 0.2), 1e-9)
    # 11 rows in blocks of at least 4 are two blocks, of 6 and 5 rows: no row is left out.
    uneven = [list(range(6)), list(range(6, 11))]
    close(w_mse(a[:11], b[:11], block_size=4), loop.w_mse([a[:11], b[:11]], uneven, 0.0), 1e-9)
    order = torch.tensor([everything, [11, 3, 7, 1, 0, 2, 10, 9, 4, 8, 5, 6]])
    expected = [loop.w_mse([a, b], [list(o[:6]), list(o[6:])], 0.0) for o in order.tolist()]
    close(w_mse(a, b, block_size=6, order=order), sum(expected) / 2, 1e-9)


def test_tico_and_its_running_covariance_equal_the_loop() -> None:
    a, b = pair()
    covariance = tico_covariance(RUNNING, a, momentum=0.7)
    close(tico(a, b, covariance, covariance_weight=3.0), loop.tico(a, b, RUNNING, 0.7, 3.0), 1e-10)


def test_sinkhorn_equals_the_loop_and_counts_a_queue_as_rows() -> None:
    scores = drawn(9, 4)
    close(sinkhorn(scores, epsilon=0.4), torch.tensor(loop.sinkhorn(scores, 0.4, 3), dtype=torch.float64), 1e-10)
    with_queue = torch.tensor(loop.sinkhorn(scores, 0.4, 5), dtype=torch.float64)[:6]
    close(sinkhorn(scores[:6], queue=scores[6:], epsilon=0.4, iterations=5), with_queue, 1e-10)


def test_swav_and_dino_with_small_crops_equal_their_loops() -> None:
    views = list(drawn(4, 6, DIM))
    close(swav(*views, epsilon=0.3, temperature=0.2), loop.swav(views, 2, 0.2, 0.3, 3), 1e-10)
    close(swav(*views, assign=3, epsilon=0.3, iterations=2), loop.swav(views, 3, 0.1, 0.3, 2), 1e-10)
    teacher = list(drawn(2, 6, DIM, seed=4))
    close(dino(views, teacher, CENTER), loop.dino(views, teacher, CENTER, 0.1, 0.04), 1e-10)
    close(dino(torch.stack(views), torch.stack(teacher), CENTER), dino(views, teacher, CENTER))


def test_swav_uses_the_queue_of_each_view() -> None:
    a, b, qa, qb = drawn(4, 6, DIM)
    qa, qb = qa[:4], qb[:3]
    codes = [sinkhorn(torch.cat([s, q]), epsilon=0.3)[:6] for s, q in ((a, qa), (b, qb))]
    halves = [-(q * F.log_softmax(s / 0.1, 1)).sum(1).mean() for q, s in zip(codes, (b, a), strict=True)]
    close(swav(a, b, queue=(qa, qb), epsilon=0.3), sum(halves) / 2, 1e-10)


def test_dino_center_is_the_running_mean_of_all_views() -> None:
    teacher = drawn(2, 6, DIM)
    close(dino_center(CENTER, teacher, momentum=0.8), 0.8 * CENTER + 0.2 * teacher.mean((0, 1)))
    half = dino_center(CENTER.float(), list(teacher.bfloat16()))
    assert half.dtype == torch.float32
    close(half, 0.9 * CENTER + 0.1 * teacher.bfloat16().double().mean((0, 1)), 1e-6)


def test_sigreg_and_lejepa_equal_their_loops_and_the_paper_s_grid() -> None:
    a, b = pair(9)
    close(sigreg(a, DIRECTIONS), loop.sigreg(a, DIRECTIONS, 33, 3.0), 1e-10)
    close(sigreg(a, DIRECTIONS, knots=9, t_max=5.0), loop.sigreg(a, DIRECTIONS, 17, 5.0), 1e-10)
    c = drawn(9, DIM, seed=5)
    value = lejepa(a, b, c, directions=DIRECTIONS, global_views=2, regularizer_weight=0.3)
    close(value, loop.lejepa([a, b, c], DIRECTIONS, 2, 0.3), 1e-10)


def test_sigreg_in_blocks_of_directions_equals_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = drawn(9, DIM).requires_grad_()
    parts = whole.detach().clone().requires_grad_()
    sigreg(whole, DIRECTIONS).backward()
    monkeypatch.setitem(_ENTRIES, "cpu", 9 * 17 * 4)
    sigreg(parts, DIRECTIONS).backward()
    close(parts.grad, whole.grad, 1e-12)  # type: ignore[arg-type]


# Golden values -------------------------------------------------------------------------------------------------------


def test_golden_values() -> None:
    a, b = loop.golden_views()
    close(byol(a, b), 1.6435009587578921)
    close(negative_cosine(a, b), -0.1782495206210539)
    close(barlow_twins(a, b, redundancy_weight=0.0), 9.601002667018788)
    close(barlow_twins(a, b, redundancy_weight=1.0), 9.601002667018788 + 21.046128208962926)
    close(barlow_twins(a, b), 9.7083379208845)
    zero = {"invariance_weight": 0.0, "variance_weight": 0.0, "covariance_weight": 0.0}
    close(vicreg(a, b, **zero | {"invariance_weight": 1.0}), 0.8205575766742377)
    close(vicreg(a, b, **zero | {"variance_weight": 1.0}), 0.3421476665018989)
    close(vicreg(a, b, **zero | {"covariance_weight": 1.0}), 1.7689722801926226)
    close(vicreg(a, b), 30.836603359596033)
    prototypes = F.normalize(torch.cos(0.9 * torch.arange(40, dtype=torch.float64).reshape(5, 8)), dim=1)
    scores = [F.normalize(z, dim=1) @ prototypes.T for z in (a, b)]
    close(swav(*scores), 4.927551277989176)


# Closed forms --------------------------------------------------------------------------------------------------------


def test_closed_forms_of_the_cosine_losses() -> None:
    a, _ = pair()
    close(negative_cosine(a, 3 * a), -1.0)
    close(byol(a, -a), 4.0)
    close(2 + 2 * negative_cosine(a, a.flip(0)), byol(a, a.flip(0)))


def test_barlow_twins_is_zero_for_equal_decorrelated_views_and_d_for_a_constant() -> None:
    z = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)
    close(barlow_twins(z, z, eps=1e-12), 0.0, 1e-10)
    close(barlow_twins(torch.ones_like(z), z), 2.0)


def test_vicreg_of_equal_rows_is_the_variance_hinge_alone() -> None:
    z = torch.ones(4, 3, dtype=torch.float64)
    close(vicreg(z, z), 25 * (1 - math.sqrt(1e-4)))
    close(vibcreg(z, z), 50 * (1 - math.sqrt(1e-4)))


def test_vicreg_takes_the_unbiased_variance() -> None:
    z = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    hinge = 1 - math.sqrt(0.5 + 1e-4)  # unbiased 1/2; biased would be 1/4
    close(vicreg(z, z), 25 * hinge)


def test_vibcreg_covariance_ignores_the_scale_and_vicreg_s_does_not() -> None:
    a, b = pair()
    only = {"invariance_weight": 0.0, "variance_weight": 0.0}
    close(vibcreg(5 * a, 5 * b, **only), vibcreg(a, b, **only), 1e-9)
    assert vicreg(5 * a, 5 * b, **only) > 100 * vicreg(a, b, **only)


def test_w_mse_ignores_invertible_linear_maps_of_a_view() -> None:
    a, b = pair(12, 3)
    lower = torch.tensor([[2.0, 0, 0], [1, 3, 0], [-1, 0.5, 0.7]], dtype=torch.float64)
    close(w_mse(a @ lower.T + 4, b), w_mse(a, b), 1e-9)
    close(w_mse(a, 7 * a), 0.0, 1e-9)


def test_swav_of_equal_scores_is_ln_k_and_codes_are_balanced() -> None:
    scores = torch.zeros(6, 5, dtype=torch.float64)
    close(swav(scores, scores), math.log(5))
    codes = sinkhorn(drawn(10, 5), epsilon=0.3, iterations=200)
    close(codes.sum(1), torch.ones(10), 1e-12)
    close(codes.sum(0), torch.full((5,), 2.0), 1e-9)


def test_dino_s_two_collapses_have_the_losses_the_text_says() -> None:
    flat = torch.zeros(4, 8, dtype=torch.float64)
    close(dino([flat, flat], [flat, flat], torch.zeros(8)), math.log(8))
    peaked = F.one_hot(torch.zeros(4, dtype=torch.int64), 8).double() * 100
    close(dino([peaked, peaked], [peaked, peaked], torch.zeros(8)), 0.0)


def test_koleo_of_a_square_on_the_circle() -> None:
    z = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]], dtype=torch.float64)
    close(koleo(2 * z), -0.5 * math.log(2), 1e-7)
    close(koleo(torch.ones(3, 2, dtype=torch.float64)), -math.log(1e-8))


def test_sigreg_of_equal_rows_at_the_origin_is_the_integral() -> None:
    points = torch.linspace(-3, 3, 33, dtype=torch.float64)
    phi = (-points.square() / 2).exp()
    expected = 4 * torch.trapezoid((1 - phi).square() * phi, points)
    close(sigreg(torch.zeros(4, DIM, dtype=torch.float64), DIRECTIONS), expected)


def test_sigreg_prefers_a_gaussian_to_other_distributions_of_the_same_moments() -> None:
    z = drawn(512, DIM)
    gaussian = sigreg((z - z.mean(0)) / z.std(0), DIRECTIONS)
    signs = z.sign()
    assert sigreg(signs, torch.eye(DIM, dtype=torch.float64)) > 20 * gaussian
    assert sigreg(2 * z, DIRECTIONS) > 20 * gaussian
    assert sigreg(z + 1, DIRECTIONS) > 20 * gaussian


def test_spectral_of_orthogonal_classes() -> None:
    eye = torch.eye(4, dtype=torch.float64)
    close(spectral_contrastive(3 * eye, 3 * eye), -18.0)
    close(spectral_contrastive(eye[:1].expand(6, 4), eye[:1].expand(6, 4)), -1.0)


def test_alignment_and_uniformity_closed_forms() -> None:
    a, _ = pair()
    close(alignment(a, -a), 4.0)
    close(alignment(a, 2 * a), 0.0)
    close(uniformity(a[:1].expand(5, DIM)), 0.0, 1e-10)
    poles = torch.tensor([[1.0, 0], [-1, 0]], dtype=torch.float64)
    close(uniformity(poles), -8.0)


# Other libraries -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_lightly_computes_the_same_numbers(seed: int) -> None:
    a, b = pair(8, seed=seed)
    close(negative_cosine(a, b), oracle.NegativeCosineSimilarity()(a, b), 1e-10)
    close(barlow_twins(a, b, redundancy_weight=5e-3), oracle.BarlowTwinsLoss()(a.clone(), b.clone()), 1e-10)
    close(vicreg(a, b), oracle.VICRegLoss()(a, b), 1e-10)
    # lightly adds eps to every difference of coordinates before the norm as well
    close(koleo(a), oracle.KoLeoLoss()(a), 1e-6)
    # lightly's default t is 1
    close(align_uniform(a, b, t=1.0), HypersphereLoss()(a, b), 1e-10)


def test_lightly_s_tico_over_several_steps() -> None:
    theirs, covariance = oracle.TiCoLoss(), torch.zeros(DIM, DIM, dtype=torch.float64)
    for step in range(4):
        a, b = pair(6, seed=step)
        covariance = tico_covariance(covariance, a)
        close(tico(a, b, covariance), theirs(a, b), 1e-10)


def test_lightly_s_w_mse() -> None:
    a, b = (z.float() for z in pair(16, 4))
    theirs = oracle.WMSELoss(embedding_dim=4, w_size=16, track_running_stats=False)(torch.cat([a, b]))
    close(w_mse(a, b), theirs, 1e-4)


def test_lightly_s_swav_with_small_crops_and_a_queue() -> None:
    views, queue = list(0.2 * drawn(4, 6, DIM)), list(0.2 * drawn(2, 5, DIM, seed=1))
    close(swav(*views, queue=queue), oracle.SwaVLoss()(views[:2], views[2:], queue).squeeze(), 1e-10)


def test_lightly_s_dino_over_several_steps() -> None:
    theirs, center = oracle.DINOLoss(output_dim=DIM), torch.zeros(DIM, dtype=torch.float64)
    theirs = theirs.double()
    for step in range(3):
        views = list(drawn(4, 6, DIM, seed=step))
        teacher = list(drawn(2, 6, DIM, seed=step + 10))
        close(dino(views, teacher, center), theirs(teacher, views), 1e-6)
        center = dino_center(center, teacher)
        close(center, theirs.center.flatten(), 1e-10)


def test_lightly_s_lejepa(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SIGReg, "_generate_unit_vectors", lambda self, device, dtype, num_features: DIRECTIONS.float())
    views = drawn(3, 9, DIM).float()
    theirs = LeJEPALoss()(local_proj=views[2:], global_proj=views[:2])
    close(lejepa(*views, directions=DIRECTIONS, global_views=2), theirs, 1e-5)


# Gradients, precision, hard input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "swav"])
def test_gradient_is_the_numerical_derivative(name: str) -> None:
    a, b = pair(8, 3) if name == "w_mse" else pair(5, seed=2)
    targets = [b.clone(), a.clone()]
    covariance = tico_covariance(RUNNING, a) if name == "tico" else None
    # What a loss detaches stands here as a constant, so that the numerical derivative is that of the same function.
    held: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "negative_cosine": lambda x, _: negative_cosine(x, targets[0]),
        "byol": lambda x, _: byol(x, targets[0]),
        "dino": lambda x, y: dino([x, y], targets, CENTER, student_temperature=0.7, teacher_temperature=0.5),
        "tico": lambda x, y: tico(x, y, covariance),  # type: ignore[arg-type]
    }
    assert torch.autograd.gradcheck(held.get(name, LOSSES[name]), (a.requires_grad_(), b.requires_grad_()))


def test_gradient_of_swav_holds_the_codes_fixed() -> None:
    a, b = pair()
    codes = [sinkhorn(z, epsilon=0.5) for z in (a, b)]

    def by_hand(x: Tensor, y: Tensor) -> Tensor:
        return -(codes[0] * F.log_softmax(y / 0.3, 1) + codes[1] * F.log_softmax(x / 0.3, 1)).sum(1).mean() / 2

    inputs = (a.requires_grad_(), b.requires_grad_())
    assert torch.autograd.gradcheck(by_hand, inputs)
    ours = torch.autograd.grad(swav(*inputs, epsilon=0.5, temperature=0.3), inputs)
    for x, y in zip(ours, torch.autograd.grad(by_hand(*inputs), inputs), strict=True):
        close(x, y)


@pytest.mark.parametrize("name", ["negative_cosine", "byol", "dino"])
def test_targets_get_no_gradient(name: str) -> None:
    a, b = (z.requires_grad_() for z in pair())
    if name == "dino":
        dino([a, a], [b, b], CENTER).backward()
    else:
        LOSSES[name](a, b).backward()
    assert a.grad is not None
    assert b.grad is None


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_and_autocast_compute_in_float32(name: str) -> None:
    a, b = (z.bfloat16() for z in pair(8, DIM, seed=1))
    plain = LOSSES[name](a.float(), b.float())
    assert plain.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = LOSSES[name](a.float(), b.float())
    assert cast.dtype == torch.float32
    close(cast, plain, 1e-6)
    if name not in ("koleo", "sigreg", "uniformity"):  # these add the views in bfloat16 before the loss
        close(LOSSES[name](a, b), plain, 1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_one_row_is_finite_or_one_clear_error(name: str) -> None:
    a, b = (z.requires_grad_() for z in pair(1))
    if name in NEEDS_TWO:
        with pytest.raises(InputError, match=r">= 2|in 2"):
            LOSSES[name](a, b)
        return
    loss = LOSSES[name](a, b)
    loss.backward()
    assert loss.isfinite()
    assert a.grad is not None
    assert a.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("what", ["equal rows", "zeros", "equal views", "constant dimension", "tiny"])
def test_degenerate_batches_are_finite_with_finite_gradients(name: str, what: str) -> None:
    a, b = (z.float() for z in pair(6))
    if what == "equal rows":
        a, b = a[:1].repeat(6, 1), b[:1].repeat(6, 1)
    elif what == "zeros":
        a, b = torch.zeros(6, DIM), torch.zeros(6, DIM)
    elif what == "equal views":
        b = a.clone()
    elif what == "constant dimension":
        a[:, 2], b[:, 2] = 0.3, 0.7
    else:
        a, b = 1e-12 * a, 1e-12 * b
    a.requires_grad_()
    b.requires_grad_()
    loss = LOSSES[name](a, b)
    loss.backward()
    assert loss.isfinite()
    for z in (a, b):
        assert z.grad is None or z.grad.isfinite().all()


def test_zero_rows_give_the_documented_values_and_bounded_gradients() -> None:
    zero, one = torch.zeros(2, 3, requires_grad=True), torch.ones(2, 3)
    for loss, value in ((negative_cosine, 0.0), (byol, 2.0), (alignment, 1.0)):
        result = loss(zero, one)
        close(result, value, 1e-6)
        (gradient,) = torch.autograd.grad(result, zero)
        assert gradient.abs().max() <= 4
    close(tico(zero, one, torch.eye(3)), 1.0)
    close(uniformity(torch.zeros(3, 2)), -4.0)


def test_sinkhorn_in_float32_neither_overflows_nor_starves_a_prototype() -> None:
    scores = torch.tensor([[90.0, -90, 0], [80, -90, 0], [85, -90, 0]])
    codes = sinkhorn(scores)
    assert codes.isfinite().all()
    close(codes.sum(1), torch.ones(3), 1e-5)


def test_w_mse_names_a_singular_covariance_and_its_cure() -> None:
    z = torch.ones(6, 3)
    with pytest.raises(InputError, match="eps > 0"):
        w_mse(z, z)
    close(w_mse(z, z, eps=0.01), 2.0)


def test_per_row_values_average_to_the_mean() -> None:
    a, b = pair()
    for loss in (negative_cosine, byol, alignment, lambda x, y, **o: tico(x, y, RUNNING, **o),
                 lambda x, y, **o: koleo(x, **o)):  # fmt: skip
        values = loss(a, b, reduction="none")
        assert values.shape == (7,)
        close(values.mean(), loss(a, b))
        close(values.sum(), loss(a, b, reduction="sum"))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("what", ["nan", "inf", "integers", "rows", "dimensions", "one axis", "empty"])
def test_bad_tensors_raise_one_sentence_with_the_name(name: str, what: str) -> None:
    a, b = pair()
    if what in ("nan", "inf"):
        a[0, 0] = math.nan if what == "nan" else math.inf
    elif what == "integers":
        a, b = a.long(), b.long()
    elif what == "rows":
        b = b[:-1]
    elif what == "dimensions":
        b = b[:, :-1]
    elif what == "one axis":
        a, b = a[0], b[0]
    else:
        a, b = a[:0], b[:0]
    adds = name in ("koleo", "sigreg", "uniformity") and what in ("rows", "dimensions")
    with pytest.raises(RuntimeError if adds else InputError):
        LOSSES[name](a, b)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a, b: barlow_twins(a, b, redundancy_weight=-1.0), "redundancy_weight"),
        (lambda a, b: barlow_twins(a, b, eps=0.0), "eps"),
        (lambda a, b: vicreg(a, b, variance_weight=math.nan), "variance_weight"),
        (lambda a, b: vibcreg(a, b, gamma=0.0), "gamma"),
        (lambda a, b: w_mse(a), "two or more"),
        (lambda a, b: w_mse(a, b, block_size=99), "block_size"),
        (lambda a, b: w_mse(a[:4], b[:4]), "> D"),
        (lambda a, b: w_mse(a, b, eps=1.0), "eps"),
        (lambda a, b: w_mse(a, b, order=torch.zeros(1, 7, dtype=torch.int64)), "permutations"),
        (lambda a, b: w_mse(a, b, order=torch.zeros(7)), "permutations"),
        (lambda a, b: tico(a, b, torch.zeros(2, 2)), "covariance"),
        (lambda a, b: tico_covariance(RUNNING, a, momentum=1.5), "momentum"),
        (lambda a, b: swav(a), "two or more"),
        (lambda a, b: swav(a, b, assign=3), "assign"),
        (lambda a, b: swav(a, b, queue=[a]), "queue"),
        (lambda a, b: swav(a, b, temperature=0.0), "temperature"),
        (lambda a, b: sinkhorn(a, iterations=0), "iterations"),
        (lambda a, b: sinkhorn(a, queue=b[:, :2]), "queue"),
        (lambda a, b: dino([a], [b], CENTER), "two or more"),
        (lambda a, b: dino([], [b], CENTER), "student"),
        (lambda a, b: dino([a, b], [b], CENTER[:2]), "center"),
        (lambda a, b: dino([a, b], [b], CENTER, teacher_temperature=0.0), "teacher_temperature"),
        (lambda a, b: dino_center(CENTER, [a], momentum=-0.1), "momentum"),
        (lambda a, b: koleo(a, eps=0.0), "eps"),
        (lambda a, b: koleo(a, reduction="middle"), "reduction"),  # type: ignore[arg-type]
        (lambda a, b: sigreg(a, DIRECTIONS[:2]), "directions"),
        (lambda a, b: sigreg(a, DIRECTIONS, knots=1), "knots"),
        (lambda a, b: sigreg(a, DIRECTIONS, t_max=0.0), "t_max"),
        (lambda a, b: lejepa(directions=DIRECTIONS), "views"),
        (lambda a, b: lejepa(a, directions=DIRECTIONS, global_views=2), "global_views"),
        (lambda a, b: lejepa(a, directions=DIRECTIONS, regularizer_weight=2.0), "regularizer_weight"),
        (lambda a, b: draw_directions(0, 4, seed=0), "dim"),
        (lambda a, b: alignment(a, b, alpha=0.0), "alpha"),
        (lambda a, b: uniformity(a, t=-1.0), "t must"),
        (lambda a, b: align_uniform(a, b, uniformity_weight=-1.0), "uniformity_weight"),
    ],
)
def test_bad_settings_raise_one_sentence_with_the_name(call: Callable[..., Tensor], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(*pair())


def test_directions_are_unit_seeded_and_fresh_for_every_seed() -> None:
    first = draw_directions(7, 50, seed=1)
    close(first.norm(dim=0), torch.ones(50), 1e-6)
    assert torch.equal(first, draw_directions(7, 50, seed=1))
    assert not torch.equal(first, draw_directions(7, 50, seed=2))


def test_koleo_and_uniformity_in_blocks_equal_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    from nearfar.losses import _rows

    z = drawn(40, DIM)
    whole = koleo(z, reduction="none")
    monkeypatch.setitem(_rows._ENTRIES, "cpu", 7 * 40)
    close(koleo(z, reduction="none"), whole)
    from nearfar.losses._engine import using

    with using("tiled"):
        tiled = uniformity(z)
    close(tiled, loop.uniformity(z, 2.0), 1e-10)
