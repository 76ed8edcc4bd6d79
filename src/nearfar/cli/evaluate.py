"""``nearfar evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

__all__ = ["evaluate"]

ProtocolName = Literal[
    "knn", "linear", "fewshot", "retrieval", "verification", "geometry", "auc", "sts", "pairs", "zero-shot"
]


def evaluate(
    run: str | None = None,
    data: str | None = None,
    *,
    protocol: Annotated[tuple[ProtocolName, ...], Parameter(consume_multiple=True)] = (
        "knn",
        "linear",
        "fewshot",
        "retrieval",
        "verification",
        "geometry",
    ),
    per_class: Annotated[tuple[int, ...], Parameter(consume_multiple=True)] = (),
    draws: int | None = None,
    options: dict[str, Any] | None = None,
    baseline: Literal["raw", "pixels", "random"] | None = None,
    embeddings: Path | None = None,
    index: Path | None = None,
    test_embeddings: Path | None = None,
    train_split: str | None = None,
    test_split: str | None = None,
    limit: int | None = None,
    modality: str = "auto",
    input_options: dict[str, Any] | None = None,
    channels: int | None = None,
    image_size: int | None = None,
    threads: int | None = None,
    seed: int = 0,
    out: Path | None = None,
) -> None:
    """Score an encoder, a baseline, or anybody's embeddings; every number is printed with its protocol.

    Args:
        run: a run folder, or the name of a stock encoder: small or any timm model.
        data: labelled items, as for pretrain. train and test are their splits, else a fifth is held out.
        protocol: what to measure.
        per_class: labels per class in fewshot, such as --per-class 1 5 10, its default.
        draws: how often fewshot draws the labels; 5 by default.
        options: other settings of the protocols, such as --options.k 20.
        baseline: score the raw items (pixels, columns) or an untrained encoder instead, seen as the encoder sees them.
        embeddings: a Parquet file with labels, in place of a run and data.
        index: score this index by the labelled items of --embeddings, or of a run and data: rankings, pairs,
            cut-points, unknown classes, the time of a query.
        test_embeddings: another one to score; else a fifth of --embeddings is held out.
        train_split: the split to learn from.
        test_split: the split to score.
        limit: learn from that many items only.
        modality: of the data, for a stock encoder; a run knows its own.
        input_options: how the data are read, where they differ from the run's.
        channels: of images; by default what the encoder was trained with.
        image_size: of images, the side in pixels for a stock encoder; 224 by default.
        threads: threads that read items.
        seed: of the held-out part and of all draws.
        out: where the numbers go as JSON; by default evaluation.json in the run.
    """
    import nearfar
    from nearfar.errors import ConfigError, require
    from nearfar.progress import say, stdout

    if index is not None:
        other = embeddings if data is None else data
        alone = (embeddings is None) == (run is not None and data is not None) and other is not None
        must = "given with --embeddings, or with a run and data"
        require(alone, "evaluate", "--index", must, "otherwise", error=ConfigError)
        scored = nearfar.evaluate_index(index, other, run=run, seed=seed, out=out)
        stdout.print(scored.text(), markup=False, soft_wrap=True, end="")
        return
    given = {"per_class": per_class or None, "draws": draws}
    settings = {**(options or {}), **{name: value for name, value in given.items() if value is not None}}
    if out is None and run is not None and Path(run).is_dir() and embeddings is None:
        out = Path(run) / (f"evaluation-{baseline}.json" if baseline else "evaluation.json")
    report = nearfar.evaluate(
        run,
        data,
        embeddings=embeddings,
        test_embeddings=test_embeddings,
        baseline=baseline,
        protocol=protocol,
        options=settings,
        train_split=train_split,
        test_split=test_split,
        limit=limit,
        modality=modality,
        input_options=input_options,
        channels=channels,
        image_size=image_size,
        threads=threads,
        seed=seed,
        out=out,
    )
    stdout.print(report.text(), markup=False, soft_wrap=True, end="")
    if out is not None:
        say(f"written to {out}")
