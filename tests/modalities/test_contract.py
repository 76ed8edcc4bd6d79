"""What every modality must keep, run on every modality: methods, resume, and all verbs, without a word of its own."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nearfar
from nearfar.comparing import work
from nearfar.data import glance
from nearfar.data.embeddings import read_embeddings
from nearfar.encoders import fingerprint, load_encoder
from nearfar.modalities import MODALITIES, choose, inputs_of
from nearfar.training.checkpoints import KeepLast
from nearfar.training.run import Run
from tests.comparing.here import Here
from tests.modalities.samples import SAMPLES, Sample
from tests.samples import timeless

NAMES = [name for name in MODALITIES.names() if name in MODALITIES.builtin]
METHODS = ("simclr", "byol", "vicreg", "supcon", "clip")
QUICK: dict[str, Any] = {
    "epochs": 2, "batch_size": 16, "precision": "32-true", "accelerator": "cpu", "threads": 1, "log_every": 1,
}  # fmt: skip
HEADS: dict[str, dict[str, Any]] = {
    "simclr": {"output_dim": 16, "hidden_dim": 32},
    "byol": {"output_dim": 16, "hidden_dim": 32, "predictor_dim": 32},
    "vicreg": {"output_dim": 32, "hidden_dim": 32},
    "supcon": {"output_dim": 16, "hidden_dim": 32},
    "clip": {},
}


@pytest.fixture(scope="package")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Sample]:
    return functools.cache(lambda name: SAMPLES[name](tmp_path_factory.mktemp(name)))


@pytest.fixture(scope="package")
def run(sample: Callable[[str], Sample], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """A run of each modality, by the first of its methods."""
    return functools.cache(
        lambda name: train(sample(name), tmp_path_factory.mktemp(name) / "run", sample(name).methods[0])
    )


def train(some: Sample, out: Path, method: str, **changes: Any) -> Run:
    settings = {**QUICK, **some.settings, "method": method, "method_options": HEADS[method], **changes}
    return nearfar.pretrain(some.data, out=out, **settings)


def test_every_modality_has_a_sample() -> None:
    assert set(NAMES) == set(SAMPLES)


@pytest.mark.parametrize("name", NAMES)
def test_auto_finds_it_and_no_other_does(name: str, sample: Callable[[str], Sample]) -> None:
    some = sample(name)
    assert choose("auto", some.data).name == some.modality == name
    seen = glance(some.data)
    first = [key for key in NAMES if MODALITIES.get(key).recognises(seen)]
    assert first[0] == name


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NAMES)
def test_every_method_runs_and_does_not_collapse(
    name: str, method: str, sample: Callable[[str], Sample], tmp_path: Path
) -> None:
    if method not in sample(name).methods:
        pytest.skip(f"{method} is not for {name}")
    made = train(sample(name), tmp_path / "run", method)
    rows = [row for row in made.metrics() if "loss" in row]
    assert len(rows) == 6
    assert all(math.isfinite(row["loss"]) for row in rows)
    last = [row for row in made.metrics() if "feature_std" in row][-1]
    assert last["feature_std"] > 0.05
    assert last["effective_rank"] > 1.5
    assert (made.path / "views.png").stat().st_size > 0


@pytest.mark.parametrize("name", NAMES)
def test_stopped_and_resumed_is_the_same(
    name: str,
    sample: Callable[[str], Sample],
    run: Callable[[str], Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    saved = KeepLast.on_train_batch_start

    def stop(self: KeepLast, trainer: Any, *rest: Any) -> None:
        saved(self, trainer, *rest)
        if trainer.global_step == 4:  # within the second epoch
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(KeepLast, "on_train_batch_start", stop)
        with pytest.raises(KeyboardInterrupt):
            train(sample(name), tmp_path / "run", sample(name).methods[0], checkpoint_seconds=0.0)
    resumed = nearfar.pretrain(sample(name).data, out=tmp_path / "run", resume=True)
    whole = run(name)
    assert timeless(resumed) == timeless(whole)
    assert fingerprint(load_encoder(resumed.path)[0]) == fingerprint(load_encoder(whole.path)[0])


@pytest.mark.parametrize("name", NAMES)
def test_evaluate_with_baselines(name: str, sample: Callable[[str], Sample], run: Callable[[str], Run]) -> None:
    made = run(name)
    scores = {}
    for baseline in (None, "raw", "random"):
        report = nearfar.evaluate(
            made.path, sample(name).data, protocol=["knn", "linear"], baseline=baseline, threads=1
        )
        scores[baseline] = report["knn"].value
        assert 0 <= report["linear"].value <= 1
    assert scores["raw"] > 0.5
    assert scores[None] > 0.4


@pytest.mark.parametrize("name", NAMES)
def test_embed_index_search(
    name: str, sample: Callable[[str], Sample], run: Callable[[str], Run], tmp_path: Path
) -> None:
    some, made = sample(name), run(name)
    path = nearfar.embed(made.path, some.data, out=tmp_path / "e.parquet", threads=1)
    table = read_embeddings(path)
    assert np.isfinite(table.vectors).all()
    nearfar.index(path, out=tmp_path / "index")
    results = nearfar.search(
        tmp_path / "index", some.query, encoder=made.path, k=3, images=some.data, sheet=tmp_path / "sheet.png"
    )
    first = next(iter(results.by_query()))[1][0]
    assert first.distance == pytest.approx(0, abs=1e-4)  # the query is one of the items
    assert (tmp_path / "sheet.png").stat().st_size > 0
    by_id = nearfar.search(tmp_path / "index", table.ids[0], k=3)
    assert len(by_id.hits) == 3
    nearfar.show_views(some.data, out=tmp_path / "views.png", count=2, method=some.methods[0])


@pytest.mark.parametrize("name", NAMES)
def test_inputs_come_back_from_the_folder(
    name: str, sample: Callable[[str], Sample], run: Callable[[str], Run]
) -> None:
    made = run(name)
    _, spec = load_encoder(made.path)
    inputs = inputs_of(spec, made.path)
    assert inputs.modality == name == spec.modality
    modality = MODALITIES.get(name)
    options = modality.check_options(inputs.options)
    fitted = modality.fit(modality.open_splits(sample(name).data, options)[""], options)
    assert fitted.to_json() == inputs.to_json()
    assert fitted.files() == inputs.files()
    assert modality.restore(inputs.to_json(), made.path / "inputs").to_json() == inputs.to_json()


@pytest.mark.parametrize("name", NAMES)
def test_views_depend_on_the_generator_alone(
    name: str, sample: Callable[[str], Sample], run: Callable[[str], Run]
) -> None:
    inputs = inputs_of(load_encoder(run(name).path)[1], run(name).path)
    source = MODALITIES.get(name).open_splits(sample(name).data, inputs.reading("test", {}))[""]
    items = [source.read(row) for row in range(4)]
    views = inputs.views(inputs.default_views)
    one, two = ([*inputs.make_views(items, views, np.random.default_rng(7))] for _ in range(2))
    for first, second in zip(one, two, strict=True):
        pairs = [(first, second)] if isinstance(first, torch.Tensor) else [(first[key], second[key]) for key in first]
        assert all(torch.equal(a, b) for a, b in pairs)
    shown = inputs.make_views(items, [inputs.evaluation_view()], np.random.default_rng(0))[0]
    again = inputs.make_views(items, [inputs.evaluation_view()], np.random.default_rng(1))[0]
    parts = [(shown, again)] if isinstance(shown, torch.Tensor) else [(shown[key], again[key]) for key in shown]
    assert all(torch.equal(a, b) for a, b in parts)
    assert inputs.raw(items).shape[0] == 4
    assert inputs.thumbnail(items[0]).ndim == 3


@pytest.mark.parametrize("name", [name for name in NAMES if name != "image"])  # tests/comparing has images
def test_compare(name: str, sample: Callable[[str], Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "run_child", Here())
    some = sample(name)
    methods = [method for method in some.methods if method in ("simclr", "vicreg")]
    if not methods:
        pytest.skip("no method of its own is compared here")
    settings: dict[str, Any] = {"methods": methods, "budget": "1epochs", "seeds": 1, "batch_size": 16}
    quick: dict[str, Any] = {"precision": "32-true", "accelerator": "cpu", "threads": 1, "per_class": [2]}
    result = nearfar.compare(some.data, out=tmp_path / "out", **settings, **quick, **some.settings)
    inputs = MODALITIES.get(name).inputs
    assert [row.name for row in result.rows] == [inputs.raw_name, "untrained", "from scratch", *methods]
    assert inputs.raw_name in result.report.read_text(encoding="utf-8")
