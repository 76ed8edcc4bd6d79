"""NT-Xent wrong on purpose: every mutant must fail the checks that the true loss passes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nearfar import losses
from tests.losses.nt_xent_checks import CHECKS


def formula(
    z1: Tensor,
    z2: Tensor,
    tau: float,
    *,
    normalise: bool = True,
    mask_self: bool = True,
    negatives: str = "all",
    directions: int = 2,
    shift: int = 0,
    total: bool = False,
    use_temperature: bool = True,
) -> Tensor:
    """NT-Xent with a switch for each way to get it wrong; the defaults are right."""
    n = len(z1)
    z = torch.cat([z1, z2])
    z = F.normalize(z, dim=1) if normalise else z
    logits = z @ z.T / (tau if use_temperature else 1.0)
    index = torch.arange(2 * n)
    positive = (index + n + shift) % (2 * n)
    hidden = torch.zeros(2 * n, 2 * n, dtype=torch.bool)
    if mask_self:
        hidden.fill_diagonal_(True)
    if negatives == "none":
        hidden[:] = True
    if negatives == "half":  # only the other view's rows
        hidden[:n, :n] = hidden[n:, n:] = True
    hidden[index, positive] = False
    values = F.cross_entropy(logits.masked_fill(hidden, -torch.inf), positive, reduction="none")
    values = values[: directions * n]
    return values.sum() if total else values.mean()


MUTANTS: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "temperature ignored": lambda a, b, t: formula(a, b, t, use_temperature=False),
    "no negatives": lambda a, b, t: formula(a, b, t, negatives="none"),
    "half the negatives": lambda a, b, t: formula(a, b, t, negatives="half"),
    "self not masked": lambda a, b, t: formula(a, b, t, mask_self=False),
    "one direction only": lambda a, b, t: formula(a, b, t, directions=1),
    "sum for mean": lambda a, b, t: formula(a, b, t, total=True),
    "wrong positive": lambda a, b, t: formula(a, b, t, shift=1),
    "no normalisation": lambda a, b, t: formula(a, b, t, normalise=False),
    "gradient stopped on one side": lambda a, b, t: losses.nt_xent(a, b.detach() + 0 * b, temperature=t),
    "temperature inverted": lambda a, b, t: losses.nt_xent(a, b, temperature=1 / t),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_true_loss_passes(check: Callable[..., None]) -> None:
    check(lambda a, b, t: losses.nt_xent(a, b, temperature=t))
    check(formula)


@pytest.mark.parametrize("name", MUTANTS)
def test_every_mutant_fails(name: str) -> None:
    failed = []
    for check in CHECKS:
        try:
            check(MUTANTS[name])
        except AssertionError:
            failed.append(check.__name__)
    assert failed, f"no check noticed: {name}"
