"""Losses equal pytorch-metric-learning where it has the same equation; where it has not, the factor is stated."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch.testing import assert_close

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pytorch_metric_learning import distances, losses, reducers

from nearfar.losses import miners
from nearfar.losses.angular import angular
from nearfar.losses.circle import circle
from nearfar.losses.classifiers import arcface, cosface, normalized_softmax, sphereface, sub_center_arcface
from nearfar.losses.contrastive import contrastive, snr_contrastive
from nearfar.losses.lifted_structure import generalized_lifted_structure, lifted_structure
from nearfar.losses.margin_beta import margin_beta
from nearfar.losses.multi_similarity import multi_similarity
from nearfar.losses.n_pairs import n_pairs
from nearfar.losses.nca import nca
from nearfar.losses.proxies import proxy_anchor, proxy_nca, soft_triple
from nearfar.losses.ranked_list import ranked_list
from nearfar.losses.ranking import fast_ap, histogram, smooth_ap
from nearfar.losses.triplet import triplet_from_labels
from nearfar.losses.tuplet_margin import intra_pair_variance, tuplet_margin

N, D, C = 24, 8, 6
LABELS = torch.arange(N) % C


@pytest.fixture
def z():
    return torch.randn(N, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def mean():
    return reducers.MeanReducer()


def euclidean(normalize=False, power=1):
    return distances.LpDistance(normalize_embeddings=normalize, p=2, power=power)


def same(z, ours, theirs, factor=1.0, labels=LABELS, **tolerance):
    """Compare value and gradient with respect to the embeddings."""
    a, b = z.clone().requires_grad_(), z.clone().requires_grad_()
    left, right = ours(a), theirs(b, labels) * factor
    left.backward()
    right.backward()
    assert_close(left, right, **tolerance)
    assert_close(a.grad, b.grad, **tolerance)


def test_contrastive(z):
    """Theirs sums the mean over positive pairs and the mean over negative pairs; ours is one mean over all."""
    i, j, different = miners.all_pairs(LABELS)
    theirs = losses.ContrastiveLoss(pos_margin=0, neg_margin=2.0, distance=euclidean(power=2), reducer=mean())

    def ours(z):
        kinds = [(i[different == kind], j[different == kind]) for kind in (False, True)]
        return sum(contrastive(z[a], z[b], LABELS[a] != LABELS[b], margin=2.0) for a, b in kinds)

    same(z, ours, theirs)


def test_snr_contrastive(z):
    """Theirs normalises rows first; means as in the contrastive loss."""
    i, j, different = miners.all_pairs(LABELS)
    theirs = losses.SignalToNoiseRatioContrastiveLoss(neg_margin=1.5, reducer=mean())

    def ours(z):
        z = torch.nn.functional.normalize(z)
        kinds = [(i[different == kind], j[different == kind]) for kind in (False, True)]
        return sum(snr_contrastive(z[a], z[b], LABELS[a] != LABELS[b], margin=1.5) for a, b in kinds)

    same(z, ours, theirs)


@pytest.mark.parametrize("nonzero", [False, True])
def test_triplet_all(z, nonzero):
    theirs = losses.TripletMarginLoss(
        margin=0.3, distance=euclidean(power=2), reducer=reducers.AvgNonZeroReducer() if nonzero else mean()
    )
    same(z, lambda z: triplet_from_labels(z, LABELS, margin=0.3, mining="all", nonzero=nonzero), theirs)


@pytest.mark.parametrize("name", ["cosine", "squared_euclidean"])
def test_a_margin_means_the_same_for_a_similarity(z, name):
    distance = distances.CosineSimilarity() if name == "cosine" else euclidean(power=2)
    theirs = losses.TripletMarginLoss(margin=0.2, distance=distance, reducer=mean())
    same(z, lambda z: triplet_from_labels(z, LABELS, mining="all", distance=name), theirs)


def test_margin_with_beta(z):
    """Theirs goes over triplets; over pairs each positive one weighs (N - N_class) and each negative (N_class - 1)."""
    a, p, n = miners.all_triplets(LABELS)
    x, y = torch.cat([a, a]), torch.cat([p, n])
    different = torch.cat([torch.zeros_like(a), torch.ones_like(a)])
    theirs = losses.MarginLoss(margin=0.2, beta=3.0, distance=euclidean())
    same(z, lambda z: margin_beta(z[x], z[y], different, 3.0), theirs)


def test_n_pairs(z):
    """With one pair per class theirs draws each pair once, anchor first."""
    labels = torch.arange(12).repeat_interleave(2)
    theirs = losses.NPairsLoss(distance=distances.DotProductSimilarity(normalize_embeddings=False), reducer=mean())
    same(z, lambda z: n_pairs(z[::2], z[1::2]), theirs, labels=labels)


def test_lifted_structure(z):
    """Theirs averages over the pairs with a loss; here all have one."""
    theirs = losses.LiftedStructureLoss(neg_margin=1.0, distance=euclidean(), reducer=mean())
    same(z, lambda z: lifted_structure(z, LABELS), theirs)
    theirs = losses.GeneralizedLiftedStructureLoss(neg_margin=1.0, distance=euclidean(), reducer=mean())
    same(z, lambda z: generalized_lifted_structure(z, LABELS), theirs)


def test_circle(z):
    same(z, lambda z: circle(z, LABELS), losses.CircleLoss(m=0.4, gamma=80, reducer=mean()), rtol=1e-6, atol=1e-7)


def test_multi_similarity(z):
    """Theirs leaves the mining to a miner."""
    same(z, lambda z: multi_similarity(z, LABELS, epsilon=None), losses.MultiSimilarityLoss(reducer=mean()))


def test_multi_similarity_with_mining(z):
    from pytorch_metric_learning.miners import MultiSimilarityMiner

    miner, loss = MultiSimilarityMiner(epsilon=0.1), losses.MultiSimilarityLoss(reducer=mean())
    same(z, lambda z: multi_similarity(z, LABELS), lambda z, labels: loss(z, labels, miner(z.detach(), labels)))


def test_tuplet_margin(z):
    theirs = losses.TupletMarginLoss(margin=5.73, scale=64, reducer=mean())
    same(z, lambda z: tuplet_margin(z, LABELS, margin=math.radians(5.73)), theirs)


def test_intra_pair_variance(z):
    same(z, lambda z: intra_pair_variance(z, LABELS), losses.IntraPairVarianceLoss(reducer=mean()))


def test_angular(z):
    """Theirs multiplies the normalised pair by raw negatives, so it is given unit vectors, and compared in value."""
    unit = torch.nn.functional.normalize(z)
    assert_close(angular(unit, LABELS), losses.AngularLoss(alpha=40, reducer=mean())(unit, LABELS))


def test_ranked_list(z):
    """Theirs adds 1e-5 per row to the sum of weights, and lets a gradient through the weights; values are compared."""
    unit = torch.nn.functional.normalize(z)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = losses.RankedListLoss(margin=0.4, Tn=10, alpha=1.2, distance=euclidean(), reducer=mean())
    assert_close(ranked_list(unit, LABELS), theirs(unit, LABELS), rtol=1e-3, atol=1e-4)


def test_nca(z):
    theirs = losses.NCALoss(softmax_scale=0.7, distance=euclidean(power=2), reducer=mean())
    same(z, lambda z: nca(z, LABELS, scale=0.7), theirs)


def test_fast_ap(z):
    same(z, lambda z: fast_ap(z, LABELS), losses.FastAPLoss(num_bins=10, reducer=mean()))


def test_smooth_ap(z):
    """Theirs ranks the query among its own positives, and takes the size of a class for the number of classes."""
    labels = torch.arange(4).repeat_interleave(4)
    z = z[:16].float()  # as their masks
    theirs = losses.SmoothAPLoss(temperature=0.05, reducer=mean())
    assert_close(smooth_ap(z, labels, temperature=0.05, with_query=True), theirs(z, labels), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")
def test_histogram(z):
    same(z, lambda z: histogram(z, LABELS), losses.HistogramLoss(n_bins=100), rtol=1e-5, atol=1e-7)


@pytest.fixture
def weight():
    return torch.randn(C, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def with_weight(theirs, name, weight):
    getattr(theirs, name).data = weight.clone()
    return theirs


def test_normalized_softmax(z, weight):
    theirs = with_weight(losses.NormalizedSoftmaxLoss(C, D, temperature=0.05, reducer=mean()), "W", weight.T)
    same(z, lambda z: normalized_softmax(z, LABELS, weight), theirs)


def test_arcface(z, weight):
    theirs = with_weight(losses.ArcFaceLoss(C, D, margin=math.degrees(0.5), reducer=mean()), "W", weight.T)
    same(z, lambda z: arcface(z, LABELS, weight), theirs)


def test_sub_center_arcface(z):
    centers = torch.randn(C, 3, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    theirs = losses.SubCenterArcFaceLoss(
        num_classes=C, embedding_size=D, margin=math.degrees(0.5), sub_centers=3, reducer=mean()
    )
    with_weight(theirs, "W", centers.flatten(0, 1).T)
    same(z, lambda z: sub_center_arcface(z, LABELS, centers), theirs)


def test_cosface(z, weight):
    theirs = with_weight(losses.CosFaceLoss(C, D, reducer=mean()), "W", weight.T)
    same(z, lambda z: cosface(z, LABELS, weight), theirs)


@pytest.mark.filterwarnings("ignore:__array_wrap__")
def test_sphereface(z, weight):
    theirs = with_weight(losses.SphereFaceLoss(C, D, margin=4, reducer=mean()), "W", weight.T)
    same(z, lambda z: sphereface(z, LABELS, weight), theirs)


def test_proxy_nca(z, weight):
    """Their ProxyNCA has the own proxy in the denominator: it is ProxyNCA++ with scale 1 / T."""
    theirs = losses.ProxyNCALoss(C, D, softmax_scale=9, distance=euclidean(normalize=True, power=2), reducer=mean())
    with_weight(theirs, "proxies", weight)
    same(z, lambda z: proxy_nca(z, LABELS, weight), theirs)


def test_proxy_anchor(z, weight):
    theirs = with_weight(losses.ProxyAnchorLoss(C, D, margin=0.1, alpha=32), "proxies", weight)
    same(z, lambda z: proxy_anchor(z, LABELS, weight), theirs)


def test_soft_triple(z):
    """Their merging term is a separate regulariser; without it the losses are equal."""
    centers = torch.randn(C, 3, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    theirs = losses.SoftTripleLoss(C, D, centers_per_class=3, reducer=mean())
    with_weight(theirs, "fc", centers.flatten(0, 1).T)
    # Their margin passes through a float32 tensor.
    same(z, lambda z: soft_triple(z, LABELS, centers, tau=0), theirs, rtol=1e-6, atol=1e-8)
