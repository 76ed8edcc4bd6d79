"""``nearfar compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

__all__ = ["compare"]


def compare(
    data: Path,
    *,
    methods: Annotated[tuple[str, ...], Parameter(consume_multiple=True)],
    out: Path,
    modality: str = "auto",
    input_options: dict[str, Any] | None = None,
    budget: str = "20epochs",
    seeds: int = 3,
    recipe_set: str = "small",
    encoder: str = "auto",
    encoder_options: dict[str, Any] | None = None,
    views: str = "auto",
    view_options: dict[str, Any] | None = None,
    batch_size: int = 256,
    image_size: int | None = None,
    channels: int | None = None,
    train_split: str | None = None,
    test_split: str | None = None,
    limit: int | None = None,
    per_class: Annotated[tuple[int, ...], Parameter(consume_multiple=True)] = (),
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto",
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
    threads: int | None = None,
) -> None:
    """Train methods on the same data with the same encoder and budget, score all alike, and say what is noise.

    Raw items (pixels, columns), the untrained encoder and training on labels alone are always in the table. Stopped at
    any moment, the same command goes on where it was; what is finished is not done again.

    Args:
        data: labelled items, as for pretrain. train and test are their splits, else a fifth is held out.
        methods: what to compare, such as --methods simclr supcon.
        out: the folder to write: runs, table.csv, table.md, results.json and report.html.
        modality: what the data are; auto looks at them.
        input_options: how the data are read, as in pretrain.
        budget: of every run: 20epochs, or 10min for as many whole epochs as fit by a short timing.
        seeds: how many; they are 0, 1, ...
        recipe_set: methods take views, optimiser and their own options from the recipe METHOD/SET where there is one,
            none takes defaults.
        encoder: what to train: small, or any timm model. auto as in pretrain.
        encoder_options: settings of the encoder, such as --encoder-options.width 64.
        views: the views of all methods, by name. auto takes those of the recipes, and what fits the images.
        view_options: settings of every view, such as --view-options.hflip 0; only with --views.
        batch_size: images a step.
        image_size: side of the square views in pixels. By default the images' own, but at most 224.
        channels: channels to convert all images to, 1 or 3. By default the images' own.
        train_split: the split to learn from.
        test_split: the split to score.
        limit: learn from that many images only.
        per_class: the numbers of labels per class. By default those of 1, 10 and 100 that every class has.
        precision: auto takes bf16 where the device computes in it.
        accelerator: auto takes CUDA where there is any; every run has one device.
        threads: threads that read images and make views; they change no number.
    """
    import nearfar
    from nearfar.progress import stdout

    result = nearfar.compare(
        data,
        methods=methods,
        out=out,
        modality=modality,
        input_options=input_options or {},
        budget=budget,
        seeds=seeds,
        recipe_set=recipe_set,
        encoder=encoder,
        encoder_options=encoder_options or {},
        views=views,
        view_options=view_options or {},
        batch_size=batch_size,
        image_size=image_size,
        channels=channels,
        train_split=train_split,
        test_split=test_split,
        limit=limit,
        per_class=per_class,
        precision=precision,
        accelerator=accelerator,
        threads=threads,
    )
    for table in result.tables():
        stdout.print(table)
    for verdict in result.verdicts:
        stdout.print(verdict, markup=False, soft_wrap=True)
    stdout.print(f"report: {result.report.resolve()}", markup=False, soft_wrap=True)
