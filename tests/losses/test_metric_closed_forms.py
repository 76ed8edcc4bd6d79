"""Values that follow from an equation without a program, golden numbers, and what the distances promise."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from nearfar.errors import InputError
from nearfar.losses.circle import circle
from nearfar.losses.classifiers import arcface, cosface, normalized_softmax, sphereface
from nearfar.losses.contrastive import contrastive
from nearfar.losses.distances import DISTANCES, Distance, find_distance, from_similarity, lp
from nearfar.losses.distillation import distill_kl, distill_mse
from nearfar.losses.margin_beta import MarginBeta, margin_beta
from nearfar.losses.multi_similarity import multi_similarity
from nearfar.losses.n_pairs import mega_batch_margin, n_pairs
from nearfar.losses.nca import nca, soft_nearest_neighbour
from nearfar.losses.pn import pn
from nearfar.losses.proxies import Proxies, proxy_anchor, proxy_nca, soft_triple
from nearfar.losses.ranking import fast_ap, histogram, smooth_ap
from nearfar.losses.relational import rkd_angle, rkd_distance, similarity_preserving
from nearfar.losses.scored_pairs import angle, cosent, cosine_regression
from nearfar.losses.triplet import triplet, triplet_from_labels
from nearfar.losses.tuplet_margin import intra_pair_variance, tuplet_margin
from tests.losses import reference_metric as reference

F64 = torch.float64
LABELS = torch.tensor([0, 0, 0, 1, 1, 1])


def clusters() -> torch.Tensor:
    """Two classes, each one point, at a right angle."""
    return torch.eye(2, 4, dtype=F64)[LABELS]


def equal() -> torch.Tensor:
    return torch.ones(6, 4, dtype=F64)


def close(value: torch.Tensor, expected: float) -> None:
    assert_close(value, torch.tensor(expected, dtype=F64))


def test_contrastive_forms():
    x, y = torch.tensor([[3.0, 0.0]], dtype=F64), torch.tensor([[0.0, 4.0]], dtype=F64)
    near, far = torch.tensor([0]), torch.tensor([1])
    close(contrastive(x, y, near), 25.0)
    close(contrastive(x, y, far, margin=30.0), 5.0)
    close(contrastive(x, y, near, form="hadsell"), 12.5)
    close(contrastive(x, y, far, form="hadsell", margin=7.0), 2.0)
    close(contrastive(x, y, far), 0.0)


@pytest.mark.parametrize("mining", ["all", "semihard", "hard", "hard_negative"])
def test_triplets_of_equal_rows_give_the_margin(mining):
    z = equal()
    close(triplet_from_labels(z, LABELS, mining=mining, margin=0.3), 0.3)
    close(triplet_from_labels(z, LABELS, mining=mining, soft_margin=True), math.log(2))
    close(triplet_from_labels(clusters(), LABELS, mining=mining, margin=0.3), 0.0)


def test_equal_rows():
    z = equal()
    close(triplet(z, z, z, margin=0.7), 0.7)
    close(pn(z, z, z, margin=0.7), 0.7)
    close(pn(z, z, z, form="softmax"), 0.5)
    close(n_pairs(z, z), math.log(6))
    close(mega_batch_margin(z, z), 0.7)
    close(nca(z, LABELS), math.log(5 / 2))
    close(soft_nearest_neighbour(z, LABELS, temperature=7.0), math.log(5 / 2))
    close(nca(z, LABELS, form="probability"), 3 / 5)
    close(multi_similarity(z, LABELS, base=1.0), math.log(3) / 2 + math.log(4) / 50)
    close(tuplet_margin(z, LABELS, margin=0.0), math.log(4))
    close(intra_pair_variance(z, LABELS), 0.0)
    close(circle(z, LABELS, margin=0.4, gamma=1.0), math.log(1 + 6 * math.exp(1.4 * 0.6 - 0.4 * 0.4)))
    # Without an order every positive stands behind half of the others.
    close(smooth_ap(z, LABELS), 1 - (1 + 1 / 2) / (1 + 4 / 2))
    close(fast_ap(z, LABELS), 1 - 2 / 5)
    close(histogram(z, LABELS), 1.0)
    score = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    close(cosent(z, z, score), math.log(1 + 9))
    close(angle(z, z, score), math.log(1 + 9))


def test_perfect_clusters():
    z = clusters()
    close(nca(z, LABELS), -math.log(2 / (2 + 3 * math.exp(-2))))
    close(fast_ap(z, LABELS), 0.0)
    close(histogram(z, LABELS), 0.0)
    assert smooth_ap(z, LABELS) < 1e-9
    close(intra_pair_variance(z, LABELS), 0.0)
    close(multi_similarity(z, LABELS), 0.0)  # no pair is informative


def test_classifiers_at_their_centers():
    """With orthonormal weights and rows on them, cosines are 1 and 0."""
    weight = torch.eye(4, dtype=F64)
    z, labels = 2 * weight, torch.arange(4)

    def rest(own: float, scale: float) -> float:
        return math.log(1 + 3 * math.exp(-scale * own))

    close(normalized_softmax(z, labels, weight, temperature=0.5), rest(1, 2))
    close(cosface(z, labels, weight, margin=0.3, scale=2.0), rest(0.7, 2))
    close(arcface(z, labels, weight, margin=0.3, scale=2.0), rest(math.cos(0.3), 2))
    close(sphereface(z, labels, weight), rest(1, 2))  # psi(0) = 1, and the rows' length is the scale
    close(proxy_nca(z, labels, weight, temperature=1.0), rest(2, 1))
    close(proxy_nca(z, labels, weight, form="nca"), math.log(3) - 2)
    close(proxy_anchor(z, labels, weight, alpha=1.0), math.log1p(math.exp(-0.9)) + math.log1p(3 * math.exp(0.1)))
    close(soft_triple(z, labels, weight[:, None], margin=0.0, scale=2.0), rest(1, 2))


def test_margins_of_zero_are_the_plain_softmax():
    generator = torch.Generator().manual_seed(0)
    z, weight = (torch.randn(6, 4, generator=generator, dtype=F64) for _ in range(2))
    labels = torch.arange(6)
    plain = normalized_softmax(z, labels, weight, temperature=0.2)
    assert_close(arcface(z, labels, weight, margin=0.0, scale=5.0), plain)
    assert_close(cosface(z, labels, weight, margin=0.0, scale=5.0), plain)
    lengths = z / z.norm(dim=1, keepdim=True) * 5
    assert_close(sphereface(lengths, labels, weight, margin=1), plain)


def test_distillation_golden_values():
    n = torch.arange(32, dtype=F64).reshape(4, 8)
    teacher, student = 5 * torch.sin(n + 1.0), 5 * torch.cos(0.7 * n + 0.3)
    how = {"form": "cross_entropy"}
    close(distill_kl(student, teacher, temperature=0.1, rescale=False, **how), 36.389809945627064)
    close(distill_kl(student, teacher, temperature=0.1, **how), 0.36389809945627066)
    close(distill_kl(student, teacher, **how), 4.658580717128409)


def test_a_student_like_its_teacher_has_nothing_to_learn():
    t = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=F64)
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(1), dtype=F64))[0]
    for loss in (distill_kl, distill_mse, rkd_distance, rkd_angle, similarity_preserving):
        close(loss(t, t), 0.0)
    for loss in (rkd_distance, rkd_angle, similarity_preserving):
        assert loss(3 * t @ rotation, t) < 1e-25, "scaled and turned embeddings have the same relations"


def test_scores():
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=F64)
    y = torch.tensor([[2.0, 0.0], [0.0, 3.0]], dtype=F64)
    close(cosine_regression(x, y, torch.tensor([0.5, 0.5])), 0.25)
    close(cosent(x, y, torch.tensor([1, 0])), math.log1p(math.exp(-20)))
    close(cosent(x, y, torch.tensor([0, 1])), math.log1p(math.exp(20)))
    # x / y is 1 for the first pair and -i for the second: the sums of parts are 1 and -1, their sizes equal.
    close(angle(x, y, torch.tensor([1, 0])), math.log(2))


class TestDistances:
    @given(st.integers(0, 10**6), st.sampled_from([*DISTANCES, "lp3"]), st.sampled_from([torch.float32, F64]))
    @settings(max_examples=30, deadline=None)
    def test_pairs_and_matrix_agree_and_equal_the_loops(self, seed, name, dtype):
        generator = torch.Generator().manual_seed(seed)
        x, y = (torch.randn(n, 5, generator=generator, dtype=dtype) + 3 for n in (4, 3))
        distance = lp(3) if name == "lp3" else find_distance("test", name)
        matrix = distance.matrix(x, y)
        # Of the vectors' own length squared, as rounding of a dot product is.
        tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-9}
        for j in range(3):
            assert_close(matrix[:, j], distance.pairs(x, y[j].expand(4, 5)), **tolerance)
        if name != "lp3":
            loops = [[reference.DISTANCE[name](a, b) for b in y.double()] for a in x.double()]
            assert_close(matrix.double(), torch.tensor(loops, dtype=F64), **tolerance)

    @pytest.mark.parametrize("name", DISTANCES)
    def test_nearer_is_smaller(self, name):
        x = torch.tensor([[1.0, 2.0, 0.5]])
        near, far = x + 0.1 * torch.tensor([[0.0, 1.0, 0.0]]), -x
        distance = DISTANCES[name]
        assert distance.pairs(x, near) < distance.pairs(x, far)
        assert distance.matrix(x, near) < distance.matrix(x, far)

    @pytest.mark.parametrize("name", DISTANCES)
    @pytest.mark.parametrize("kind", ["pairs", "matrix"])
    def test_equal_rows_are_at_their_lowest_with_a_finite_gradient(self, name, kind):
        for offset in (0.0, 100.0):
            x = (torch.randn(3, 6, generator=torch.Generator().manual_seed(0)) + offset).requires_grad_()
            y = x.detach().clone().requires_grad_()
            value = getattr(DISTANCES[name], kind)(x, y)
            value.sum().backward()
            assert x.grad.isfinite().all()
            assert y.grad.isfinite().all()
            if DISTANCES[name].lowest == 0 and name != "snr":
                own = value.diagonal() if kind == "matrix" else value
                assert_close(own, torch.zeros(3), atol=2e-5 * (1 + offset), rtol=0)

    @pytest.mark.parametrize("loss", ["contrastive", "triplet", "lifted"])
    def test_zero_rows_have_a_finite_gradient(self, loss):
        z = torch.zeros(6, 4, requires_grad=True)
        if loss == "contrastive":
            value = contrastive(z, z.detach(), torch.tensor([0, 1] * 3), form="hadsell")
        else:
            value = triplet_from_labels(z, LABELS, distance="euclidean" if loss == "triplet" else "cosine")
        value.backward()
        assert z.grad.isfinite().all()

    def test_a_similarity_of_ones_own(self):
        similarity = from_similarity("mine", lambda x, y: (x * y).sum(1), lambda x, y: x @ y.T)
        z = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=F64)
        mine, theirs = (triplet_from_labels(z, LABELS, distance=d) for d in (similarity, "dot"))
        assert_close(mine, theirs)
        assert similarity.lowest == -math.inf
        assert from_similarity("cos", similarity.pairs, similarity.matrix, highest=1.0).lowest == 0

    def test_far_from_the_origin(self):
        """Without a shift ||x||^2 + ||y||^2 - 2 x.y loses all digits in float32."""
        z = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=F64)
        matrix = DISTANCES["squared_euclidean"].matrix
        assert_close(matrix((z + 1000).float(), (z + 1000).float()).double(), matrix(z, z), rtol=1e-2, atol=1e-2)

    def test_errors(self):
        with pytest.raises(InputError, match="did you mean 'cosine'"):
            find_distance("triplet", "cosin")
        with pytest.raises(InputError, match="p must be >= 1"):
            lp(0.5)
        assert isinstance(find_distance("x", lp(3)), Distance)


class TestModules:
    def test_proxies_hold_the_weights(self):
        torch.manual_seed(0)
        z, labels = torch.randn(5, 4), torch.tensor([0, 1, 2, 2, 1])
        head = Proxies(arcface, classes=3, dim=4, margin=0.2)
        assert_close(head(z, labels), arcface(z, labels, head.weight, margin=0.2))
        assert list(head.state_dict()) == ["weight"]
        assert_close(head.weight.norm(dim=1), torch.ones(3))
        centers = Proxies(soft_triple, classes=3, dim=4, centers=2)
        centers(z, labels).backward()
        assert centers.weight.shape == (3, 2, 4)
        assert centers.weight.grad.abs().sum() > 0
        assert_close(centers.predict(centers.weight[:, 1]), torch.arange(3))
        assert_close(head.predict(head.weight), torch.arange(3))
        with pytest.raises(InputError, match="centers must be >= 1"):
            Proxies(soft_triple, classes=3, dim=4, centers=0)

    def test_beta_is_learned_for_all_or_for_each(self):
        torch.manual_seed(0)
        x, y, different = torch.randn(4, 3), torch.randn(4, 3), torch.tensor([0, 1, 0, 1])
        for classes, labels in ((None, None), (3, torch.tensor([0, 2, 2, 0]))):
            module = MarginBeta(classes, beta=1.5, nu=0.1)
            value = module(x, y, different, labels)
            assert_close(value, margin_beta(x, y, different, 1.5, nu=0.1))
            value.backward()
            assert module.beta.grad.abs().sum() > 0
        assert module.beta.grad[1] == 0
        with pytest.raises(InputError, match="labels must be given"):
            module(x, y, different)
        with pytest.raises(InputError, match=r"in \[0, 3\)"):
            module(x, y, different, torch.tensor([0, 1, 2, 3]))
