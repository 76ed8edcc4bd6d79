"""Settings for rows of tables."""

from __future__ import annotations

from nearfar.pipeline.settings import PretrainConfig

__all__ = ["scarf"]


def scarf() -> PretrainConfig:
    """SCARF (https://arxiv.org/abs/2106.15147) on a table: SimCLR between a row and the row with columns replaced.

    The paper's settings: 60 % of the columns, four layers of 256 with ReLU, a head of two layers of 256, temperature 1,
    Adam 1e-3 and batches of 128. Departures: AdamW, BatchNorm in the head, 100 epochs with a cosine instead of up to
    1,000 with early stopping.

    Command: ``nearfar pretrain table.csv --out RUN --recipe simclr/table``. Cost: about 10 s for 3,000 rows of 100
    columns on two cores. Expected result: the tables of ``benchmarks/RESULTS.md``, where it often does not help.
    """
    return PretrainConfig(
        modality="table",
        method="simclr",
        method_options={"temperature": 1.0, "hidden_dim": 256, "output_dim": 256},
        encoder="table-mlp",
        views="scarf",
        epochs=100,
        batch_size=128,
        optimizer="adamw",
        lr=1e-3,
    )
