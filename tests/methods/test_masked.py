"""MAE, iBOT, distillation: tokens, masks, losses against slow loops, teachers."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nearfar.data.batch import Batch
from nearfar.encoders import build, save_encoder
from nearfar.encoders.tokens import check_vit, encode_tokens, grid_of, patch_size, patches_of
from nearfar.errors import ConfigError, InputError
from nearfar.methods.distill import Distill
from nearfar.methods.ibot import IBOT, mean_by_picture
from nearfar.methods.mae import MAE, in_place, pixel_errors, positions
from nearfar.nn import draw_blocks, draw_orders
from tests.ranks import run_on_ranks

CPU = torch.device("cpu")


def vit(side: int = 8, **options: object) -> nn.Module:
    torch.manual_seed(0)
    options = {"patch_size": 2, "embed_dim": 12, "depth": 2, "num_heads": 2} | options
    encoder = build("vit_tiny_patch16_224", image_size=side, options=options)[0]
    with torch.no_grad():  # timm's first weights are so small that tokens hardly see each other
        for name, p in encoder.named_parameters():
            if p.ndim >= 2:
                p.normal_(std=1.0 if "pos_embed" in name or "token" in name else 0.3)
    return encoder


def pictures(n: int = 4, side: int = 8, seed: int = 0) -> Tensor:
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(seed))


# tokens

KINDS = [
    {},
    {"global_pool": "avg"},
    {"global_pool": "avg", "class_token": False},
    {"reg_tokens": 2},
    {"no_embed_class": True},
    {"pre_norm": True},
    {"dynamic_img_size": True},
]


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_all_tokens_give_what_the_encoder_returns(options: dict[str, object]) -> None:
    encoder, x = vit(**options), pictures()
    check_vit("test", encoder)
    tokens = encode_tokens(encoder, x)
    torch.testing.assert_close(tokens.h, encoder(x))
    prefix = (options.get("class_token", True) is True) + int(options.get("reg_tokens", 0))  # type: ignore[call-overload]
    assert tokens.prefix.shape == (4, prefix, 12)
    assert tokens.patches.shape == (4, 16, 12)
    everything = torch.arange(16).expand(4, 16)
    torch.testing.assert_close(encode_tokens(encoder, x, keep=everything).h, tokens.h)


def test_dynamic_encoders_take_crops_of_any_size() -> None:
    encoder, x = vit(dynamic_img_size=True), pictures(side=4)
    assert grid_of(encoder, x) == (2, 2)
    tokens = encode_tokens(encoder, x, hidden=torch.ones(4, 4, dtype=torch.bool), mask_token=torch.zeros(12))
    assert tokens.patches.shape == (4, 4, 12)
    torch.testing.assert_close(encode_tokens(encoder, x).h, encoder(x))


def test_the_encoder_sees_the_kept_patches_only_and_knows_their_places() -> None:
    encoder, x = vit(), pictures()
    keep = torch.tensor([[3, 9, 14]]).expand(4, 3)
    tokens = encode_tokens(encoder, x, keep=keep)
    changed = x.clone()
    for place in set(range(16)) - {3, 9, 14}:
        row, column = divmod(place, 4)
        changed[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = 7.0
    again = encode_tokens(encoder, changed, keep=keep)
    assert torch.equal(again.patches, tokens.patches)
    assert torch.equal(again.h, tokens.h)
    other = encode_tokens(encoder, x, keep=keep.flip(1))  # another order of the same patches
    torch.testing.assert_close(other.patches.flip(1), tokens.patches)
    same_pixels = encode_tokens(encoder, torch.ones_like(x), keep=keep)
    assert not torch.allclose(same_pixels.patches[:, 0], same_pixels.patches[:, 1])  # positions tell them apart


def test_hidden_patches_do_not_reach_the_encoder_and_the_mask_token_does() -> None:
    encoder, x = vit(), pictures()
    hidden = torch.zeros(4, 16, dtype=torch.bool)
    hidden[:, [0, 5]] = True
    token = torch.zeros(12, requires_grad=True)
    tokens = encode_tokens(encoder, x, hidden=hidden, mask_token=token)
    changed = x.clone()
    changed[:, :, :2, :2] = 7.0
    changed[:, :, 2:4, 2:4] = -7.0
    assert torch.equal(encode_tokens(encoder, changed, hidden=hidden, mask_token=token).h, tokens.h)
    moved = encode_tokens(encoder, x, hidden=hidden, mask_token=torch.linspace(-2, 2, 12))
    assert not torch.allclose(moved.h, tokens.h)
    nothing = torch.zeros_like(hidden)
    unchanged = encode_tokens(encoder, x, hidden=nothing, mask_token=token)
    torch.testing.assert_close(unchanged.h, encoder(x))
    unchanged.h.sum().backward()
    assert token.grad is not None
    assert not token.grad.any()


def test_patches_are_cut_in_the_order_of_the_tokens() -> None:
    encoder, x = vit(), pictures(2)
    assert patch_size(encoder) == (2, 2)
    cut = patches_of(encoder, x)
    assert cut.shape == (2, 16, 12)
    for place in range(16):
        row, column = divmod(place, 4)
        expected = x[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].flatten(1)
        assert torch.equal(cut[:, place], expected)
    weight = encoder.model.patch_embed.proj.weight.flatten(1)  # type: ignore[union-attr, operator]
    embedded = cut @ weight.T + encoder.model.patch_embed.proj.bias  # type: ignore[union-attr, operator]
    torch.testing.assert_close(embedded, encoder.model.patch_embed(x))  # type: ignore[union-attr, operator]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_tiny_patch16_224", {"patch_drop_rate": 0.5}),
        ("vit_tiny_patch16_224", {"global_pool": "map", "class_token": False}),
        ("beit_base_patch16_224", {"depth": 1}),
        ("resnet18", {}),
    ],
)
def test_other_encoders_are_refused(name: str, options: dict[str, object]) -> None:
    encoder = build(name, image_size=32, options=options)[0]
    with pytest.raises(ConfigError, match="MAE: encoder must be a plain vision transformer"):
        MAE(encoder)


# masks


def test_orders_are_permutations_and_differ() -> None:
    torch.manual_seed(0)
    order = draw_orders(50, 9, device=CPU)
    assert torch.equal(order.sort(1).values, torch.arange(9).expand(50, 9))
    assert len({tuple(row.tolist()) for row in order}) > 45
    assert (order[:, 0].bincount(minlength=9) > 0).all()


@pytest.mark.parametrize("grid", [(14, 14), (4, 4), (2, 7)])
def test_blocks_hide_no_more_than_the_ratio(grid: tuple[int, int]) -> None:
    torch.manual_seed(0)
    patches = grid[0] * grid[1]
    mask = draw_blocks(400, grid, share=1.0, ratio=(0.3, 0.5), device=CPU)
    count = mask.sum(1)
    assert mask.shape == (400, patches)
    assert int(count.max()) <= 0.5 * patches
    assert float(count.float().mean()) >= 0.8 * math.floor(0.3 * patches)
    some = draw_blocks(400, grid, share=0.5, ratio=(0.3, 0.5), device=CPU).any(1)
    assert 150 <= int(some.sum()) <= 250
    assert not draw_blocks(400, grid, share=0.0, device=CPU).any()


def test_blocks_are_blocks_at_all_places() -> None:
    torch.manual_seed(0)
    mask = draw_blocks(2000, (14, 14), share=1.0, device=CPU).view(-1, 14, 14).float()
    often = mask.mean(0)
    assert float(often.mean()) > 0.27  # 0.3 is wanted, the mean of 0.1 and 0.5
    assert float(often.min()) > 0.02
    assert float((often - often.flip(0)).abs().max()) < 0.05  # no side is preferred
    assert float((often - often.T).abs().max()) < 0.05
    right = (mask[:, :, 1:] * mask[:, :, :-1]).sum() / mask[:, :, :-1].sum()
    assert float(right) > 0.7  # a hidden patch's neighbour is hidden; by chance it would be 0.3


@pytest.mark.parametrize(("setting", "value"), [("share", 1.5), ("ratio", (0.5, 0.1)), ("aspect", 0.0)])
def test_wrong_settings_of_blocks_are_refused(setting: str, value: object) -> None:
    with pytest.raises(InputError, match=f"draw_blocks: {setting} must be"):
        draw_blocks(2, (4, 4), device=CPU, **{setting: value})  # type: ignore[arg-type]


def masks_on_rank(rank: int, world: int) -> dict[str, Tensor]:
    torch.manual_seed(3)
    sizes = [6] if world == 1 else [4, 2]
    order = draw_orders(sizes[rank], 16, device=CPU)
    blocks = draw_blocks(sizes[rank], (4, 4), device=CPU)
    encoder = vit()
    torch.manual_seed(3)
    method = MAE(encoder, decoder_dim=8, decoder_depth=1, decoder_heads=2)
    start = sum(sizes[:rank])
    images = pictures(6)[start : start + sizes[rank]]
    torch.manual_seed(4)
    loss = method.step(Batch([images])).loss
    loss.backward()
    gradient = torch.cat([p.grad.flatten() for p in method.parameters() if p.grad is not None])
    return {"order": order, "blocks": blocks, "loss": loss.detach(), "gradient": gradient}


def test_two_unequal_ranks_hide_and_learn_the_same_as_one() -> None:
    alone, both = masks_on_rank(0, 1), run_on_ranks(masks_on_rank, 2)
    for key in ("order", "blocks"):
        assert torch.equal(torch.cat([both[0][key], both[1][key]]), alone[key])
    for key in ("loss", "gradient"):
        torch.testing.assert_close((both[0][key] + both[1][key]) / 2, alone[key], rtol=1e-4, atol=1e-6)


# MAE


def mae(**options: object) -> MAE:
    return MAE(vit(), **({"decoder_dim": 8, "decoder_depth": 1, "decoder_heads": 2} | options))  # type: ignore[arg-type]


@pytest.mark.parametrize(("ratio", "visible"), [(0.75, 4), (0.5, 8), (0.9, 1)])
def test_exactly_the_ratio_is_hidden(ratio: float, visible: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def watch(encoder: nn.Module, images: Tensor, *, keep: Tensor) -> object:
        seen.append(keep)
        return encode_tokens(encoder, images, keep=keep)

    monkeypatch.setattr("nearfar.methods.mae.encode_tokens", watch)
    mae(mask_ratio=ratio).step(Batch([pictures()]))
    assert [tuple(keep.shape) for keep in seen] == [(4, visible)]
    assert all(len(set(row.tolist())) == visible for row in seen[0])


@pytest.mark.parametrize("normalize", [True, False])
def test_mae_loss_equals_a_slow_loop_with_a_fixed_mask(normalize: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    method, images = mae(normalize_pixels=normalize), pictures()
    order = torch.stack([torch.randperm(16, generator=torch.Generator().manual_seed(i)) for i in range(4)])
    monkeypatch.setattr("nearfar.methods.mae.draw_orders", lambda rows, patches, device: order)
    tokens = encode_tokens(method.encoder, images, keep=order[:, :4])
    restored = method.decoder(tokens, order, (4, 4)).double()
    total = 0.0
    for i in range(4):
        for place in order[i, 4:].tolist():
            row, column = divmod(place, 4)
            pixels = images[i, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].double().flatten()
            if normalize:
                pixels = (pixels - pixels.mean()) / math.sqrt(float(pixels.var()) + 1e-6)
            total += sum(float(a - b) ** 2 for a, b in zip(restored[i, place].detach(), pixels, strict=True)) / 12
    step = method.step(Batch([images]))
    assert step.loss.item() == pytest.approx(total / (4 * 12), rel=1e-5)
    torch.testing.assert_close(step.features, tokens.h.detach())


def test_visible_pixels_do_not_count() -> None:
    restored, patches = torch.zeros(2, 4, 3), torch.ones(2, 4, 3)
    hidden = torch.tensor([[1, 2], [0, 3]])
    assert pixel_errors(restored, patches, hidden, normalize=False).tolist() == [1, 1]
    restored[0, 0], restored[1, 1] = 50.0, 50.0
    assert pixel_errors(restored, patches, hidden, normalize=False).tolist() == [1, 1]
    restored[0, 1] = 2.0
    assert pixel_errors(restored, patches, hidden, normalize=False).tolist() == [1, 1]
    restored[0, 2] = 3.0
    assert pixel_errors(restored, patches, hidden, normalize=False).tolist() == [2.5, 1]


def test_visible_tokens_go_back_where_they_were() -> None:
    order = torch.tensor([[2, 0, 3, 1], [1, 3, 0, 2]])
    visible = torch.tensor([[[20.0], [0.0]], [[11.0], [13.0]]])
    placed = in_place(visible, torch.tensor([-1.0]), order)
    assert placed[:, :, 0].tolist() == [[0.0, -1.0, 20.0, -1.0], [-1.0, 11.0, -1.0, 13.0]]


def test_positions_tell_every_place_apart_and_match_the_formula() -> None:
    found = positions((3, 5), 8, CPU)
    for place in range(15):
        y, x = divmod(place, 5)
        rates = [1.0, 1 / math.sqrt(10000)]
        expected = [f(axis * rate) for axis in (y, x) for f in (math.sin, math.cos) for rate in rates]
        assert found[place].tolist() == pytest.approx(expected, abs=1e-5)
    assert len(found.unique(dim=0)) == 15


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask_ratio": 1.0}, "mask_ratio must be in"),
        ({"decoder_dim": 6}, "decoder_dim must be a multiple of 4"),
        ({"decoder_heads": 3}, "decoder_heads must be a divisor"),
        ({"decoder_depth": 0}, "decoder_depth must be"),
    ],
)
def test_wrong_settings_of_mae_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        mae(**options)


def test_mae_says_what_it_cannot_take() -> None:
    with pytest.raises(InputError, match="views must be one tensor of pictures, got 2"):
        mae().step(Batch([pictures(), pictures()]))
    with pytest.raises(InputError, match=r"visible patches must be in 1..15, got 0"):
        mae(mask_ratio=0.95).step(Batch([pictures()]))


@pytest.mark.parametrize("options", [{"global_pool": "avg", "class_token": False}, {"global_pool": "avg"}], ids=str)
def test_mae_trains_encoders_that_pool_by_the_mean(options: dict[str, object]) -> None:
    method = MAE(vit(**options), decoder_dim=8, decoder_depth=1, decoder_heads=2)
    method.step(Batch([pictures()])).loss.backward()
    assert all(p.grad is not None for p in method.parameters() if p.requires_grad)


# iBOT


def ibot(**options: object) -> IBOT:
    encoder = vit(dynamic_img_size=True)
    torch.manual_seed(0)
    options = {"hidden_dim": 12, "bottleneck_dim": 8, "prototypes": 10} | options
    method = IBOT(encoder, **options)  # type: ignore[arg-type]
    with torch.no_grad():
        method.mask_token.normal_()
    return method


def crops(n: int = 3) -> Batch:
    return Batch([pictures(n, seed=1), pictures(n, seed=2), pictures(n, side=4, seed=3)])


def fixed_mask(n: int = 3) -> Tensor:
    mask = torch.zeros(2 * n, 16, dtype=torch.bool)
    mask[0, :5], mask[2, 7:10], mask[4, [3, 12]] = True, True, True  # three pictures keep all patches
    return mask


def test_ibot_loss_equals_a_slow_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    method, batch, mask = ibot(patch_weight=0.5), crops(), fixed_mask()
    method.center.copy_(torch.linspace(-0.1, 0.1, 10))
    method.patch_center.copy_(torch.linspace(0.2, -0.2, 10))
    method.progress.fill_(0.1)
    monkeypatch.setattr(IBOT, "_draw", lambda self, large: mask)
    centers = method.center.double(), method.patch_center.double()
    with torch.no_grad():
        for p in method.teacher.module.parameters():
            p.mul_(1.1)
        large = torch.cat([view for view in batch.views[:2] if isinstance(view, Tensor)])
        seen = encode_tokens(method.encoder, large, hidden=mask, mask_token=method.mask_token)
        small = method.encoder(batch.views[2])
        whole = [method.head(h).double() for h in (*seen.h.chunk(2), small)]
        target = encode_tokens(method.teacher.module, large)
        target_whole = [method.teacher_head(h).double() for h in target.h.chunk(2)]
        patch = method.head(seen.patches.flatten(0, 1)).double().view(6, 16, 10)
        target_patch = method.teacher_head(target.patches.flatten(0, 1)).double().view(6, 16, 10)

    def cross_entropy(teacher: Tensor, student: Tensor, center: Tensor) -> float:
        p = torch.softmax((teacher - center) / 0.05, 0)  # a third of the way from 0.04 to 0.07
        return -float((p * torch.softmax(student / 0.1, 0).log()).sum())

    pairs = [(t, s) for t in range(2) for s in range(3) if t != s]
    first = sum(cross_entropy(target_whole[t][i], whole[s][i], centers[0]) for t, s in pairs for i in range(3))
    second = 0.0
    for picture in range(6):
        places = mask[picture].nonzero().flatten().tolist()
        values = [cross_entropy(target_patch[picture, k], patch[picture, k], centers[1]) for k in places]
        second += sum(values) / max(1, len(values))
    step = method.step(batch)
    assert step.logs["whole"].item() == pytest.approx(first / (len(pairs) * 3), rel=1e-5)
    assert step.logs["patches"].item() == pytest.approx(second / 6, rel=1e-5)
    assert step.loss.item() == pytest.approx(first / (len(pairs) * 3) + 0.5 * second / 6, rel=1e-5)
    torch.testing.assert_close(method.center.double(), 0.9 * centers[0] + 0.1 * torch.cat(target_whole).mean(0))
    moved = 0.9 * centers[1] + 0.1 * target_patch.mean((0, 1))
    torch.testing.assert_close(method.patch_center.double(), moved, rtol=1e-5, atol=1e-6)


def test_ibot_hides_patches_from_the_student_only(monkeypatch: pytest.MonkeyPatch) -> None:
    method, batch, calls = ibot(mask_share=1.0), crops(), []

    def watch(encoder: nn.Module, images: Tensor, **settings: Tensor) -> object:
        calls.append((encoder is method.encoder, "hidden" in settings, images.shape))
        return encode_tokens(encoder, images, **settings)

    monkeypatch.setattr("nearfar.methods.ibot.encode_tokens", watch)
    method.step(batch)
    assert calls == [(True, True, (6, 3, 8, 8)), (False, False, (6, 3, 8, 8))]


def test_ibot_reaches_every_weight_also_where_nothing_is_hidden() -> None:
    method = ibot(mask_share=0.0)
    step = method.step(crops())
    step.loss.backward()
    assert float(step.logs["patches"]) == 0.0
    assert all(p.grad is not None for p in method.parameters() if p.requires_grad)


def test_ibot_mask_token_learns_what_is_hidden() -> None:
    method = ibot(mask_share=1.0, mask_ratio=(0.3, 0.5))
    method.step(crops()).loss.backward()
    assert method.mask_token.grad is not None
    assert bool(method.mask_token.grad.any())


def test_koleo_is_added_view_by_view(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(IBOT, "_draw", lambda self, large: fixed_mask())
    plain, spread = ibot(), ibot(koleo_weight=0.1)
    large = torch.cat([view for view in crops().views[:2] if isinstance(view, Tensor)])
    h = encode_tokens(plain.encoder, large, hidden=fixed_mask(), mask_token=plain.mask_token).h.detach()
    expected = 0.0
    for view in h.chunk(2):
        unit = F.normalize(view.double(), dim=1)
        nearest = [min(float((unit[i] - unit[j]).norm()) for j in range(3) if j != i) for i in range(3)]
        expected -= sum(math.log(d + 1e-8) for d in nearest) / 3
    difference = spread.step(crops()).loss.item() - plain.step(crops()).loss.item()
    assert difference == pytest.approx(0.1 * expected, rel=1e-3)


def test_ibot_keeps_the_teacher_in_eval_mode_and_freezes_the_last_layer() -> None:
    method = ibot(momentum=0.5, frozen_share=0.5).train()
    assert method.kept is method.teacher.module
    assert method.encoder.training
    assert not any(module.training for module in method.kept.modules())
    before = method.kept.model.norm.weight.clone()  # type: ignore[union-attr, operator]
    with torch.no_grad():
        method.encoder.model.norm.weight.add_(1.0)  # type: ignore[union-attr, operator]
    method.after_step(0.0)
    torch.testing.assert_close(method.kept.model.norm.weight, before + 0.5)  # type: ignore[union-attr]
    for progress, held in ((0.0, True), (0.5, False)):
        method.progress.fill_(progress)
        method.zero_grad()
        method.step(crops()).loss.backward()
        method.before_step()
        assert (method.head.prototypes.grad is None) is held


def test_ibot_says_what_it_cannot_take() -> None:
    with pytest.raises(InputError, match="the large views must be of one size, got 2 sizes"):
        ibot().step(Batch([pictures(), pictures(side=4)]))
    with pytest.raises(InputError, match="number of views must be >= 2, got 1"):
        ibot().step(Batch([pictures()]))
    with pytest.raises(InputError, match="mask_ratio must be two rising numbers"):
        ibot(mask_ratio=(0.6, 0.5))
    with pytest.raises(InputError, match="koleo_weight must be >= 0"):
        ibot(koleo_weight=-1.0)


def test_a_pictures_patches_count_by_their_mean() -> None:
    hidden = torch.tensor([[True, False, True], [False, False, False], [False, True, False]])
    assert mean_by_picture(torch.tensor([1.0, 3.0, 5.0]), hidden).tolist() == [2.0, 0.0, 5.0]


# distillation


class Flat(nn.Module):
    """A tiny teacher or student."""

    def __init__(self, dim: int, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.dim = dim
        self.linear, self.drop = nn.Linear(3 * 8 * 8, dim), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.linear(x.flatten(1)))


def run_folder(path: Path, side: int = 8, channels: int = 3) -> nn.Module:
    torch.manual_seed(5)
    encoder, spec = build("small", image_size=side, in_channels=channels, options={"width": 2})
    save_encoder(path, encoder, spec)
    return encoder.eval()


@pytest.mark.parametrize(("loss", "head"), [("cosine", "Linear"), ("mse", "Linear"), ("similarity", "Identity")])
def test_a_head_maps_to_the_teachers_dimension_where_one_is_needed(loss: str, head: str) -> None:
    method = Distill(Flat(6), teacher=Flat(5, seed=1), loss=loss)  # type: ignore[arg-type]
    assert type(method.head).__name__ == head
    assert type(Distill(Flat(6), teacher=Flat(6), loss=loss).head).__name__ == "Identity"  # type: ignore[arg-type]


def test_distillation_losses_equal_slow_loops() -> None:
    x = [pictures(seed=1), pictures(seed=2)]
    teacher = Flat(6, seed=1)
    found = {}
    for loss in ("cosine", "mse", "relational", "similarity"):
        method = Distill(Flat(6), teacher=teacher, loss=loss).eval()  # type: ignore[arg-type]
        found[loss] = method.step(Batch(x)).loss.item()
        s = method.encoder(torch.cat(x)).detach().double()
    t = teacher.eval()(torch.cat(x)).detach().double()
    rows = range(8)
    cosine = [float(s[i] @ t[i] / s[i].norm() / t[i].norm()) for i in rows]
    assert found["cosine"] == pytest.approx(1 - sum(cosine) / 8, rel=1e-5)
    assert found["mse"] == pytest.approx(float(((s - t) ** 2).mean()), rel=1e-5)

    def huber(a: float, b: float) -> float:
        return (a - b) ** 2 / 2 if abs(a - b) <= 1 else abs(a - b) - 0.5

    def distances(z: Tensor) -> dict[tuple[int, int], float]:
        all_pairs = {(i, j): float((z[i] - z[j]).norm()) for i in rows for j in rows if i != j}
        mean = sum(all_pairs.values()) / len(all_pairs)
        return {pair: value / mean for pair, value in all_pairs.items()}

    def corner(z: Tensor, i: int, j: int, k: int) -> float:
        return float(F.cosine_similarity(z[i] - z[j], z[k] - z[j], dim=0))

    a, b = distances(s), distances(t)
    far = sum(huber(a[pair], b[pair]) for pair in a) / len(a)
    corners = [(i, j, k) for i in rows for j in rows for k in rows if len({i, j, k}) == 3]
    angles = sum(huber(corner(s, *c), corner(t, *c)) for c in corners) / len(corners)
    assert found["relational"] == pytest.approx(far + 2 * angles, rel=1e-4)
    gram = [F.normalize(z @ z.T, dim=1) for z in (s, t)]
    assert found["similarity"] == pytest.approx(float(((gram[0] - gram[1]) ** 2).sum()) / 64, rel=1e-4)


def test_the_teacher_stays_in_eval_mode_without_gradient() -> None:
    teacher = Flat(6, seed=1).train()
    method = Distill(Flat(6), teacher=teacher).train()
    assert method.encoder.training
    assert not any(module.training for module in teacher.modules())
    before = teacher.linear.weight.clone()
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
    method.step(Batch([pictures()])).loss.backward()
    optimizer.step()
    assert teacher.linear.weight.grad is None
    assert torch.equal(teacher.linear.weight, before)
    assert method.teacher == "custom"


@pytest.mark.parametrize("ending", ["", "encoder.safetensors"])
def test_a_run_is_a_teacher_that_sees_what_it_was_trained_on(tmp_path: Path, ending: str) -> None:
    encoder = run_folder(tmp_path)
    method = Distill(Flat(16), teacher=str(tmp_path / ending), view_mean=0.4, view_std=0.2, loss="mse").eval()
    plain = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    batch = Batch([(plain - 0.4) / 0.2])
    expected = encoder((plain - 0.5) / 0.25).detach()  # a run's normalisation
    student = method.encoder(batch.views[0]).detach()
    assert method.step(batch).loss.item() == pytest.approx(float(F.mse_loss(student, expected)), rel=1e-4)


def test_views_are_resized_and_grey_ones_repeated_for_the_teacher(tmp_path: Path) -> None:
    encoder = run_folder(tmp_path, side=16)
    plain = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    large = F.interpolate(plain, (16, 16), mode="bicubic", antialias=True).clamp(0, 1).expand(-1, 3, -1, -1)
    source = Distill(Flat(6), teacher=str(tmp_path)).source
    torch.testing.assert_close(source(plain), encoder((large - 0.5) / 0.25).detach())
    smaller = Distill(Flat(6), teacher=str(tmp_path), teacher_size=8).source
    torch.testing.assert_close(smaller(plain), encoder((plain.expand(-1, 3, -1, -1) - 0.5) / 0.25).detach())
    with pytest.raises(InputError, match="channels of the views must be 1 or the teacher's 3, got 2"):
        source(torch.rand(2, 2, 8, 8))


def test_a_timm_teacher_is_normalised_as_it_was_trained() -> None:
    method = Distill(Flat(6), teacher="resnet10t", pretrained=False, teacher_size=96)
    look = method.source.look
    assert look is not None
    assert look.size == 96
    assert look.mean == pytest.approx((0.485, 0.456, 0.406))
    assert look.std == pytest.approx((0.229, 0.224, 0.225))
    assert isinstance(method.head, nn.Linear)
    assert method.head.out_features == 512


def test_a_teacher_may_end_in_a_wider_layer_than_its_map() -> None:
    method = Distill(Flat(6), teacher="mobilenetv3_small_050", pretrained=False, teacher_size=96)
    assert method.source.dim == 1024
    assert method.source(torch.rand(1, 3, 96, 96)).shape == (1, 1024)


def test_teachers_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"teacher\.dim must be an integer, got None; set teacher\.dim"):
        Distill(Flat(6), teacher=nn.Identity())
    with pytest.raises(ConfigError, match="encoder: must be small, simclr_resnet or a timm model"):
        Distill(Flat(6), teacher="resnet_of_nobody", pretrained=False)
    with pytest.raises(ConfigError, match="teacher must be one with published weights, got 'small'"):
        Distill(Flat(6), teacher="small")
    with pytest.raises(InputError, match="loss must be one of cosine, mse, relational, similarity"):
        Distill(Flat(6), teacher=Flat(6), loss="kl")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="teacher_size must be >= 0"):
        Distill(Flat(6), teacher=Flat(6), teacher_size=-1)
