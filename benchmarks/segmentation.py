"""Segmentation with few labelled pictures: a small head on the maps of a pretrained encoder, beside an untrained one.

Pictures are made here: two of scikit-learn's digits, enlarged, on a cluttered canvas of 32 pixels; every pixel is
background or one of ten digits. Run with: uv run python -m benchmarks.segmentation (--quick for a dry run that writes
nothing).
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import nearfar
from benchmarks.record import Timer, peak_memory_mib, table, write
from nearfar.demonstration.digits import digits
from nearfar.encoders import Encoder, EncoderSpec, build, freeze_stages
from nearfar.pipeline.settings import PretrainConfig
from nearfar.progress import say

SIDE, CLASSES = 32, 11
CONFIG = PretrainConfig(
    method="simclr",
    method_options={"temperature": 0.2},
    encoder="small",
    views="digits",
    view_options={"scale": (0.4, 1.0)},
    epochs=20,
    batch_size=256,
    optimizer="adamw",
    lr=2e-3,
    probe=False,
)
"""The settings of ``simclr/small``, with views that do not mirror digits; nothing here was tuned."""


class Plan(NamedTuple):
    """How much is done: unlabelled, labelled and test pictures, steps of the head, epochs of pretraining."""

    unlabelled: int = 4000
    labelled: tuple[int, ...] = (40, 160)
    test: int = 500
    steps: int = 300
    epochs: int = 20
    seeds: tuple[int, ...] = (0, 1, 2)


QUICK = Plan(unlabelled=300, labelled=(10,), test=50, steps=10, epochs=1, seeds=(0, 1))


class Canvases:
    """Draws pictures (N, 32, 32, 1) uint8 and their masks (N, 32, 32): 0 is background, 1 + d the digit d."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images, self.labels = torch.from_numpy(images).float().div(255), labels

    def draw(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, Tensor]:
        """Return ``count`` pictures and their masks."""
        pictures, masks = zip(*(self._one(rng) for _ in range(count)), strict=True)
        values = torch.stack(pictures).mul(255).round().to(torch.uint8)
        return values[..., None].numpy(), torch.stack(masks)

    def _one(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        picture, mask = self._background(rng), torch.zeros(SIDE, SIDE, dtype=torch.long)
        for half in rng.permutation(2):  # a digit in the left half, a digit in the right half
            row, size = int(rng.integers(len(self.labels))), int(rng.integers(12, 17))
            ink = F.interpolate(self.images[row][None, None, ..., 0], size=(size, size), mode="bilinear")[0, 0]
            y, x = int(rng.integers(SIDE - size + 1)), int(half * SIDE // 2 + rng.integers(SIDE // 2 - size + 1))
            place = (slice(y, y + size), slice(x, x + size))
            picture[place] = torch.maximum(picture[place], ink * float(rng.uniform(0.6, 1.0)))
            mask[place] = torch.where(ink > 0.35, 1 + int(self.labels[row]), mask[place])
        return picture.clamp(0, 1), mask

    @staticmethod
    def _background(rng: np.random.Generator) -> Tensor:
        """Return clouds, noise and three strokes as bright as ink, so that brightness alone tells nothing."""
        clouds = torch.from_numpy(rng.random((1, 1, 5, 5), dtype=np.float32))
        picture = 0.4 * F.interpolate(clouds, size=(SIDE, SIDE), mode="bicubic", align_corners=True)[0, 0]
        y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
        for _ in range(3):
            (top, left), angle = rng.uniform(0, SIDE, 2), rng.uniform(0, np.pi)
            across = (y - top) * np.cos(angle) - (x - left) * np.sin(angle)
            along = (y - top) * np.sin(angle) + (x - left) * np.cos(angle)
            stroke = (across.abs() < 0.9) & (along.abs() < rng.uniform(3, 7))
            picture = torch.where(stroke, float(rng.uniform(0.5, 0.9)), picture)
        return picture + 0.05 * torch.from_numpy(rng.standard_normal((SIDE, SIDE), dtype=np.float32))


class Segmenter(nn.Module):
    """A feature pyramid: every map to 32 channels, from coarse to fine enlarged and added, one convolution, a score."""

    def __init__(self, encoder: Encoder, channels: list[int], width: int = 32) -> None:
        super().__init__()
        self.encoder = encoder
        self.lateral = nn.ModuleList([nn.Conv2d(count, width, 1) for count in channels])
        self.smooth = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.score = nn.Conv2d(width, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (N, classes, H, W)."""
        maps = [lateral(item) for lateral, item in zip(self.lateral, self.encoder.feature_maps(x), strict=True)]
        merged = maps[-1]
        for finer in reversed(maps[:-1]):
            merged = finer + F.interpolate(merged, size=finer.shape[-2:], mode="bilinear", align_corners=False)
        return self.score(self.smooth(merged))


def normalised(pictures: np.ndarray, spec: EncoderSpec) -> Tensor:
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div(255)
    return (x - torch.tensor(spec.mean).view(-1, 1, 1)) / torch.tensor(spec.std).view(-1, 1, 1)


def fit(encoder: Encoder, x: Tensor, masks: Tensor, *, frozen: bool, steps: int, seed: int) -> Segmenter:
    """Train the head, and the encoder unless it is frozen: AdamW, 1e-3 with a cosine, 16 pictures a step."""
    torch.manual_seed(seed)
    if frozen:
        freeze_stages(encoder, len(encoder.stages()) - 1)
    with torch.no_grad():
        channels = [item.shape[1] for item in encoder.eval().feature_maps(x[:1])]
    model = Segmenter(encoder, channels).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        rows = torch.randperm(len(x), generator=generator)[:16]
        loss = F.cross_entropy(model(x[rows]), masks[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def mean_iou(model: Segmenter, x: Tensor, masks: Tensor) -> float:
    """Return the mean over the classes of intersection over union, counted over all pixels of all pictures."""
    counts = torch.zeros(CLASSES * CLASSES, dtype=torch.long)
    with torch.inference_mode():
        for part, truth in zip(x.split(100), masks.split(100), strict=True):
            answer = model(part).argmax(dim=1)
            counts += torch.bincount((truth * CLASSES + answer).flatten(), minlength=CLASSES**2)
    table_ = counts.view(CLASSES, CLASSES).double()
    union = table_.sum(dim=0) + table_.sum(dim=1) - table_.diag()
    return float((table_.diag() / union.clamp(min=1))[union > 0].mean())


def pretrained(pictures: np.ndarray, seed: int, epochs: int, folder: Path) -> Path:
    config = dataclasses.replace(CONFIG, seed=seed, epochs=epochs)
    return nearfar.pretrain(pictures, out=folder / f"seed{seed}", config=config).path


def encoders(run: Path, seed: int) -> dict[str, Encoder]:
    """Return a fresh copy of the pretrained encoder and an untrained one."""
    trained, spec = nearfar.load_encoder(run)
    torch.manual_seed(seed)
    fresh, _ = build(spec.name, in_channels=spec.in_channels, image_size=spec.image_size, options=spec.options)
    return {"untrained": fresh, "SimCLR": trained}


def measure(plan: Plan, folder: Path) -> tuple[dict[tuple[int, bool, str], list[float]], list[float]]:
    """Return mIoU by number of labelled pictures, frozen or not, and encoder; and the seconds of each pretraining."""
    _, train, test = digits()
    parts = [Canvases(np.stack([s.read(i) for i in range(len(s))]), np.asarray(s.labels)) for s in (train, test)]
    test_pictures, test_masks = parts[1].draw(plan.test, np.random.default_rng([7, 7]))
    values: dict[tuple[int, bool, str], list[float]] = {}
    seconds = []
    for seed in plan.seeds:
        unlabelled, _ = parts[0].draw(plan.unlabelled, np.random.default_rng([seed, 0]))
        pictures, masks = parts[0].draw(max(plan.labelled), np.random.default_rng([seed, 1]))
        with Timer() as timer:
            run = pretrained(unlabelled, seed, plan.epochs, folder)
        seconds.append(timer.seconds)
        spec = nearfar.load_encoder(run)[1]
        x, x_test = normalised(pictures, spec), normalised(test_pictures, spec)
        for count, frozen in itertools.product(plan.labelled, (True, False)):
            for name, encoder in encoders(run, seed).items():
                model = fit(encoder, x[:count], masks[:count], frozen=frozen, steps=plan.steps, seed=seed)
                score = mean_iou(model, x_test, test_masks)
                values.setdefault((count, frozen, name), []).append(score)
                say(f"seed {seed}, {count} labelled, {'frozen' if frozen else 'trained'}, {name}: mIoU {score:.3f}")
    return values, seconds


def cell(values: list[float]) -> str:
    return f"{100 * np.mean(values):.1f} ± {100 * np.std(values, ddof=1):.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a dry run of small numbers; writes nothing")
    parser.add_argument("--unlabelled", type=int, default=Plan().unlabelled, help="pictures to pretrain on")
    parser.add_argument("--epochs", type=int, default=Plan().epochs, help="of pretraining")
    parser.add_argument("--steps", type=int, default=Plan().steps, help="of the head")
    parser.add_argument("--seeds", type=int, default=len(Plan().seeds), help="how many, two at least")
    parser.add_argument("--note", action="append", default=[], help="a sentence for the record")
    given = parser.parse_args()
    quick, seeds = given.quick, tuple(range(given.seeds))
    full = Plan(unlabelled=given.unlabelled, epochs=given.epochs, steps=given.steps, seeds=seeds)
    plan = QUICK if quick else full
    with tempfile.TemporaryDirectory() as folder:
        values, seconds = measure(plan, Path(folder))
    kinds = [(frozen, name) for frozen in (True, False) for name in ("untrained", "SimCLR")]
    columns = ["labelled pictures", *(f"{name}, {'frozen' if frozen else 'trained on'}" for frozen, name in kinds)]
    rows = [[count, *(cell(values[count, *kind]) for kind in kinds)] for count in plan.labelled]
    if quick:
        say("\n".join(" | ".join(map(str, row)) for row in [columns, *rows]))
        return
    write(
        "segmentation",
        title="Segmentation of digits on cluttered canvases, few labelled pictures, small encoder",
        tables=[table(f"mIoU, % (11 classes, {plan.test} test pictures)", columns, rows)],
        notes=[
            *given.note,
            f"pictures of {SIDE} pixels with two digits each, drawn from the demo's training digits; test pictures "
            "from its 500 test digits",
            f"SimCLR: {plan.epochs} epochs on {plan.unlabelled} pictures without masks, "
            f"{np.mean(seconds):.0f} s; nothing was tuned on these pictures",
            f"head: a feature pyramid over the encoder's four maps, {plan.steps} steps of 16 pictures, AdamW 1e-3; "
            "frozen: the head alone is trained; trained on: encoder and head are (from scratch where untrained)",
            f"mean ± standard deviation over seeds {list(plan.seeds)}; a seed draws pictures, weights, views and order",
            f"peak memory of the whole process: {peak_memory_mib():.0f} MiB",
        ],
        command=f"uv run python -m benchmarks.segmentation --unlabelled {plan.unlabelled} --epochs {plan.epochs} "
        f"--steps {plan.steps} --seeds {len(plan.seeds)}",
    )


if __name__ == "__main__":
    main()
