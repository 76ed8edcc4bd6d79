"""Every loss without negatives as a function of two views of one shape, for the tests that treat all alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nearfar.losses.alignment_uniformity import align_uniform, alignment, uniformity
from nearfar.losses.barlow_twins import barlow_twins
from nearfar.losses.dino import dino
from nearfar.losses.koleo import koleo
from nearfar.losses.negative_cosine import byol, negative_cosine
from nearfar.losses.sigreg import draw_directions, lejepa, sigreg
from nearfar.losses.spectral import spectral_contrastive
from nearfar.losses.swav import swav
from nearfar.losses.tico import tico, tico_covariance
from nearfar.losses.vicreg import vibcreg, vicreg
from nearfar.losses.w_mse import w_mse

DIM = 5


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pair(n: int = 7, dim: int = DIM, seed: int = 0) -> tuple[Tensor, Tensor]:
    return tuple(drawn(2, n, dim, seed=seed))  # type: ignore[return-value]


DIRECTIONS = draw_directions(DIM, 6, seed=3, dtype=torch.float64)
RUNNING = torch.cov(drawn(DIM, 9, seed=9))
CENTER = drawn(DIM, seed=8)


def state(x: Tensor, z: Tensor) -> Tensor:
    """Kept state: never half precision, whatever the embeddings are."""
    return x if z.dtype == torch.float64 else x.float()


def tico_step(z1: Tensor, z2: Tensor, **options: Any) -> Tensor:
    covariance = tico_covariance(state(RUNNING, z1), z1, **options)
    return tico(z1, z2, covariance, **options)


def dino_pair(z1: Tensor, z2: Tensor, **options: Any) -> Tensor:
    return dino([z1, z2], [z2, z1], state(CENTER, z1), teacher_temperature=0.5, student_temperature=0.7, **options)


# Every loss as a function of two views of one shape: (z1, z2, across_ranks=...).
LOSSES: dict[str, Callable[..., Tensor]] = {
    "negative_cosine": negative_cosine,
    "byol": byol,
    "barlow_twins": barlow_twins,
    "vicreg": vicreg,
    "vibcreg": vibcreg,
    "w_mse": lambda a, b, **o: w_mse(a, b, eps=0.1, **o),
    "tico": tico_step,
    "swav": lambda a, b, **o: swav(a, b, epsilon=0.5, temperature=0.5, **o),
    "dino": dino_pair,
    "koleo": lambda a, b, **o: koleo(a + b, **o),
    "sigreg": lambda a, b, **o: sigreg(a + b, state(DIRECTIONS, a), **o),
    "lejepa": lambda a, b, **o: lejepa(a, b, directions=state(DIRECTIONS, a), **o),
    "spectral_contrastive": spectral_contrastive,
    "alignment": alignment,
    "uniformity": lambda a, b, **o: uniformity(a + b, **o),
    "align_uniform": align_uniform,
}
