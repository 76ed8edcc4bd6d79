"""sentence-transformers trains the same encoder with the same start, data, batch, steps and loss: score and time."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import nearfar
from benchmarks.modalities._text_data import Texts, draw
from benchmarks.record import table, write
from nearfar.data.texts import TextSource
from nearfar.evaluation.similarity import cosines, spearman
from nearfar.modalities import MODALITIES
from nearfar.pipeline.features import features, open_subject
from nearfar.recipes.text import simcse_pairs

PAIRS = 6_400
BATCH = 128
SEEDS = (0, 1)


class Clock:
    """Seconds that the processor worked for this process within a ``with`` block, whatever else the machine does."""

    seconds = 0.0

    def __enter__(self) -> Clock:
        self._start = time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.process_time() - self._start


def ours(pairs: list[tuple[str, str]], test: TextSource, seed: int, precision: str) -> tuple[float, float]:
    config = dataclasses.replace(simcse_pairs(), epochs=1, batch_size=BATCH, seed=seed, precision=precision)
    with tempfile.TemporaryDirectory() as folder:
        with Clock() as timer:
            run = nearfar.pretrain(pairs, out=Path(folder) / "run", config=config)
        subject = open_subject(run.path)
    first, second = (features(subject, TextSource([(row[side],) for row in test.texts]))[1] for side in (0, 1))
    return spearman(cosines(first, second), test.scores), timer.seconds


def start(pairs: list[tuple[str, str]], seed: int, folder: Path) -> None:
    """Write the untrained encoder, with the tokenizer that our run trains on the same pairs, for the other library."""
    config = simcse_pairs()
    text = MODALITIES.get("text")
    inputs = text.fit(text.open_splits(pairs, config.input_options)[""], config.input_options)
    torch.manual_seed(seed)
    encoder, _ = inputs.build_encoder(config.encoder, config.encoder_options)
    for name, content in inputs.encoder_files(encoder).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def theirs(pairs: list[tuple[str, str]], test: TextSource, seed: int, bf16: bool) -> tuple[float, float]:
    import datasets
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesSymmetricRankingLoss

    with tempfile.TemporaryDirectory() as folder:
        start(pairs, seed, Path(folder))
        with Clock() as timer:
            model = SentenceTransformer(folder, device="cpu")
            rows = datasets.Dataset.from_dict({"anchor": [a for a, _ in pairs], "positive": [b for _, b in pairs]})
            settings: dict[str, Any] = {
                "output_dir": f"{folder}/out", "num_train_epochs": 1, "per_device_train_batch_size": BATCH,
                "learning_rate": 1e-3, "weight_decay": 1e-4, "warmup_ratio": 0.1, "lr_scheduler_type": "cosine",
                "max_grad_norm": 1.0, "seed": seed, "use_cpu": True, "bf16": bf16, "save_strategy": "no",
                "report_to": [], "disable_tqdm": True, "logging_strategy": "no", "dataloader_drop_last": True,
            }  # fmt: skip
            trainer = SentenceTransformerTrainer(
                model=model, args=SentenceTransformerTrainingArguments(**settings), train_dataset=rows,
                loss=MultipleNegativesSymmetricRankingLoss(model, scale=20.0),
            )  # fmt: skip
            trainer.train()
        model.eval()
        first, second = (model.encode([row[side] for row in test.texts], show_progress_bar=False) for side in (0, 1))
    return spearman(cosines(first, second), test.scores), timer.seconds


def side_by_side(texts: Texts, *, quick: bool = False) -> None:
    """Train with both, and write score and time."""
    seeds = SEEDS[:1] if quick else SEEDS
    rows = []
    ways = {
        "nearfar, float32": lambda pairs, seed: ours(pairs, texts.test, seed, "32-true"),
        "sentence-transformers, float32": lambda pairs, seed: theirs(pairs, texts.test, seed, False),
    }
    captions = draw(texts.captions, PAIRS // 8 if quick else PAIRS, 0)
    pairs = [(row[0], row[1]) for row in captions]
    ours(pairs[: 2 * BATCH], texts.test, 0, "32-true")  # imports and first calls are nobody's training time
    theirs(pairs[: 2 * BATCH], texts.test, 0, False)
    for name, way in ways.items():
        found = np.array([way(pairs, seed) for seed in seeds])
        spread = found.std(axis=0, ddof=1) if len(found) > 1 else np.zeros(2)
        rows.append([name, f"{100 * found[:, 0].mean():.1f} ± {100 * spread[0]:.1f}",
                     f"{found[:, 1].mean():.1f} ± {spread[1]:.1f}"])  # fmt: skip
        print(rows[-1], flush=True)
    if quick:
        return
    import sentence_transformers

    write(
        "modality_text_side",
        title="Texts: sentence-transformers training the same encoder, side by side",
        tables=[table("STS-B English test", ["library", "Spearman x 100", "processor s"], rows)],
        notes=[
            f"sentence-transformers {sentence_transformers.__version__}; the same initial weights' distribution, the "
            f"same tokenizer, {PAIRS:,} pairs of captions, batch {BATCH}, one epoch, AdamW with lr 1e-3, cosine, "
            "symmetric in-batch softmax with temperature 0.05, gradient clipped at 1",
            f"mean ± sd over seeds {list(seeds)}; seconds that the processor worked, since the machine did other work "
            "as well; they include opening data and writing the run, not imports; ours include training the tokenizer, "
            "theirs do not",
        ],
        command="uv run --with accelerate python -m benchmarks.modalities.text DATA --part side",
    )
