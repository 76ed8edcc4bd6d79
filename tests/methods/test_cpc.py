"""CPC v2: patches, masks, directions, and the loss against a slow loop in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nearfar.errors import InputError
from nearfar.methods.cpc import Context, Predictor, cut
from tests.methods.negatives_reference import batch_of, close, frozen_copy, make, moco, same_gradients


def maps(n: int, dim: int, grid: int, seed: int = 0) -> Tensor:
    return torch.randn(n, dim, grid, grid, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("side", "grid", "patch", "width", "stride"),
    [(256, 7, 0, 64, 32), (260, 6, 80, 80, 36), (32, 7, 0, 8, 4), (28, 7, 0, 7, 3), (12, 2, 5, 5, 7)],
)
def test_patches_are_cut_as_the_papers_do(side: int, grid: int, patch: int, width: int, stride: int) -> None:
    view = torch.arange(2 * side * side, dtype=torch.float64).view(2, 1, side, side)
    patches = cut(view, grid, patch)
    start = (side - width - (grid - 1) * stride) // 2
    assert patches.shape == (2 * grid * grid, 1, width, width)
    for item in range(2):
        for i in range(grid):
            for j in range(grid):
                top, left = start + i * stride, start + j * stride
                wanted = view[item, :, top : top + width, left : left + width]
                assert torch.equal(patches[(item * grid + i) * grid + j], wanted)


def test_views_that_hold_no_such_grid_are_named() -> None:
    with pytest.raises(InputError, match="side of a view must be enough for a grid of 7, got 6"):
        cut(torch.zeros(1, 1, 6, 6), 7)
    with pytest.raises(InputError, match=r"view must be square, got \(6, 8\)"):
        cut(torch.zeros(1, 1, 6, 8), 2)


@pytest.mark.parametrize("layers", [1, 3])
def test_a_context_depends_on_no_row_below(layers: int) -> None:
    torch.manual_seed(0)
    context = Context(3, 4, layers).double()
    h = maps(2, 3, 5)
    before = context(h)
    for row in range(5):
        changed = h.clone()
        changed[:, :, row] += 1
        difference = (context(changed) - before).abs().amax(dim=(0, 1, 3))
        assert (difference[:row] == 0).all()
        assert difference[row] > 0
        if row < 4:
            assert difference[row + 1] > 0  # what lies above is seen


def test_a_context_sees_as_many_rows_above_as_it_has_blocks() -> None:
    torch.manual_seed(0)
    h = maps(1, 3, 6)
    changed = h.clone()
    changed[:, :, 0] += 1
    for layers in (1, 2, 3):
        context = Context(3, 4, layers).double()
        reached = (context(changed) - context(h)).abs().amax(dim=(0, 1, 3)) > 0
        assert reached.tolist() == [row <= layers for row in range(6)]


def test_a_prediction_meets_the_target_so_many_rows_below_in_its_column() -> None:
    torch.manual_seed(0)
    head = Predictor(3, 4, 2, 5, range(1, 3)).double()
    h = maps(2, 3, 4)
    z, context = head.target(h), head.context(h)
    for distance, predict, pairs in zip((1, 2), head.predictions, head(h), strict=True):
        rows = [(n, i, j) for n in range(2) for i in range(4 - distance) for j in range(4)]
        assert len(pairs.queries) == len(rows)
        for m, (n, i, j) in enumerate(rows):
            close(pairs.queries[m], predict(context)[n, :, i, j])
            close(pairs.keys[m], z[n, :, i + distance, j])
        others = torch.stack([z[n, :, i, j] for n in range(2) for i in range(distance) for j in range(4)])
        close(pairs.others, others)


@pytest.mark.parametrize("directions", [1, 4])
def test_a_step_of_cpc_is_the_loop(directions: int) -> None:
    method = make("cpc", directions=directions)
    other = frozen_copy(method)
    batch = batch_of(7, n=2, views=1, side=8)
    h = other.encoder(cut(batch.views[0], 3)).view(2, 3, 3, 6)
    places = [  # where the patch at row i, column j of the turned grid lies
        lambda i, j: (i, j),
        lambda i, j: (j, 2 - i),
        lambda i, j: (2 - i, 2 - j),
        lambda i, j: (2 - j, i),
    ]
    values = []
    for place, head in zip(places[:directions], other.heads, strict=True):
        turned = torch.stack([torch.stack([h[:, *place(i, j)] for j in range(3)], dim=2) for i in range(3)], dim=2)
        z, context = head.target(turned), head.context(turned)
        for distance, predict in zip((1, 2), head.predictions, strict=True):
            predicted = predict(context)
            rows = [(n, i, j) for n in range(2) for i in range(3 - distance) for j in range(3)]
            everyone = [(n, i, j) for n in range(2) for i in range(3) for j in range(3)]
            losses = [
                moco(
                    predicted[None, n, :, i, j],
                    z[None, n, :, i + distance, j],
                    torch.stack([z[a, :, b, c] for a, b, c in everyone if (a, b, c) != (n, i + distance, j)]),
                    0.1,
                )
                for n, i, j in rows
            ]
            values.append(torch.stack(losses).mean())
    step, wanted = method.step(batch), torch.stack(values).mean()
    close(step.loss, wanted)
    close(step.features, h.detach().mean(dim=(1, 2)))
    same_gradients(method, other, step.loss, wanted)
