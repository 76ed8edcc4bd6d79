"""What only a process of its own can show: what is imported, how fast, and what signals do."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import nearfar
from nearfar.cli import main
from nearfar.errors import RunError
from nearfar.training.run import Run
from tests.samples import pictures, train, write_folder
from tests.training import killed, programs


def python(code: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=200, check=False
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def cpu_seconds(code: str) -> float:
    """Return the least processor time of three processes: a loaded machine makes them wait, not work."""
    found = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        python(code)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


HELP = """
    import sys
    from nearfar.cli import main
    try:
        main({arguments})
    except SystemExit as done:
        assert not done.code, done.code
    heavy = {{"torch", "lightning", "timm", "torchvision", "sklearn", "numba", "pyarrow", "faiss", "numpy"}}
    assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""


def test_importing_nearfar_is_fast_and_light() -> None:
    code = "import sys, nearfar; assert not {'torch', 'numpy', 'lightning', 'cyclopts', 'rich'} & set(sys.modules)"
    assert cpu_seconds(code) < 0.3


def test_help_is_fast_and_light() -> None:
    assert cpu_seconds(HELP.format(arguments=["--help"])) < 0.5


def test_the_help_of_pretrain_is_light() -> None:
    python(HELP.format(arguments=["pretrain", "--help"]))


def test_the_main_job_needs_neither_torchvision_nor_timm(tmp_path: Path) -> None:
    """One process, in the order of what it may import: losses, index, search, then training."""
    images, labels = pictures(32)
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    write_folder(tmp_path / "queries", 2, nested=False)
    python(f"""
        import importlib.metadata, importlib.util, sys
        from importlib.abc import MetaPathFinder
        from pathlib import Path

        class Absent(MetaPathFinder):
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in ("timm", "torchvision"):
                    raise ModuleNotFoundError(name + " is not here")

        sys.meta_path.insert(0, Absent())
        find_spec = importlib.util.find_spec  # says None of what is not there, and does not raise
        importlib.util.find_spec = lambda name, package=None: (
            None if name.partition(".")[0] in ("timm", "torchvision") else find_spec(name, package)
        )
        find = importlib.metadata.Distribution.from_name
        def from_name(name):
            if name in ("timm", "torchvision"):
                raise importlib.metadata.PackageNotFoundError(name)
            return find(name)
        importlib.metadata.Distribution.from_name = staticmethod(from_name)
        root = Path({str(tmp_path)!r})
        import nearfar, torch
        torch.set_num_threads(1)
        from nearfar.cli import main

        def call(*arguments):
            try:
                main([str(argument) for argument in arguments])
            except SystemExit as done:
                assert not done.code, arguments

        import nearfar.losses
        from nearfar.encoders import build, save_encoder
        from nearfar.methods import METHODS, build as build_method
        from nearfar.data import Batch
        encoder, spec = build("small", in_channels=1, image_size=8, options={{"width": 4}})
        for name in ("simclr", "supcon", "triplet", "byol", "vicreg", "moco-v2"):
            method = build_method(name, encoder)
            views = [torch.randn(8, 1, 8, 8)] * method.info.least_views
            method.step(Batch(views, torch.arange(8) % 2, torch.arange(8))).loss.backward()
        for name in METHODS.names():
            METHODS.get(name)
        (root / "encoder").mkdir()
        save_encoder(root / "encoder", encoder, spec)
        call("embed", root / "encoder", root / "data.npz", "--out", root / "e.parquet", "--threads", "1")
        call("index", root / "e.parquet", "--out", root / "index")
        call("search", root / "index", "3", "--json")
        call("search", root / "index", root / "queries", "--run", root / "encoder")
        call("search", root / "index", "3", "--sheet", root / "sheet.png", "--images", root / "data.npz")
        call("evaluate", root / "encoder", root / "data.npz", "--protocol", "knn")
        assert not {{"lightning", "torchvision", "timm"}} & set(sys.modules)
        try:
            build("resnet18")
        except nearfar.NearfarError as error:
            assert "timm models need timm and torchvision, which cannot be imported (timm is not here)" in str(error)
        else:
            raise AssertionError("resnet18 without timm")
        call("pretrain", root / "data.npz", "--out", root / "run", "--epochs", "1", "--batch-size", "16",
             "--threads", "1", "--encoder-options.width", "4")
        assert (root / "run" / "encoder.json").is_file()
    """)


@pytest.mark.parametrize("module", ["nearfar.training.fit", "nearfar.encoders.timm_models"])
def test_what_cannot_be_imported_is_one_sentence(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RunError, match=r"cannot be imported \(.*\); install .* to fit torch") as caught:
        train(pictures(32)[0], tmp_path / "run", encoder="resnet18", encoder_options={})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    killed.prepare()
    return train(killed.data(), tmp_path_factory.mktemp("run") / "run", epochs=1)


def test_embedding_goes_on_after_a_kill(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = nearfar.embed(run.path, killed.data(), out=tmp_path / "whole.parquet", batch_size=4, threads=1)
    out = tmp_path / "emb.parquet"
    parts = tmp_path / ".emb.parquet.partial"
    process = killed.context.Process(target=programs.embed_slowly, args=(str(run.path), str(out), 0.05))
    process.start()
    assert killed.kill_when(process, lambda: len(list(parts.glob("[0-9]*.parquet"))) >= 2)
    assert not out.exists()
    capsys.readouterr()
    with pytest.raises(RunError, match="unfinished embeddings must be of"):
        nearfar.embed(run.path, pictures(16)[0], out=out, batch_size=4, threads=1)
    nearfar.embed(run.path, killed.data(), out=out, batch_size=4, threads=1)
    assert "goes on after" in capsys.readouterr().err
    one, two = pq.read_table(whole), pq.read_table(out)
    assert two["id"].to_pylist() == one["id"].to_pylist()
    assert two["label"].to_pylist() == one["label"].to_pylist()
    difference = np.array(two["embedding"].to_pylist()) - np.array(one["embedding"].to_pylist())
    assert np.abs(difference).max() < 1e-5
    assert not parts.exists()


def test_unfinished_embeddings_of_other_images_are_not_continued(run: Run, tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", 20, nested=False)
    out, parts = tmp_path / "emb.parquet", tmp_path / ".emb.parquet.partial"
    from nearfar.data import embeddings_writer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embeddings_writer, "PART_ROWS", 4)
        patch.setattr(embeddings_writer.EmbeddingsWriter, "finish", lambda self: None)
        nearfar.embed(run.path, data, out=out, batch_size=4, threads=1)
    assert parts.is_dir()
    for name in sorted(data.iterdir())[:2] + sorted(data.iterdir())[-2:]:
        name.unlink()
    with pytest.raises(RunError, match="must be of the same items in the same order, got others; add --overwrite"):
        nearfar.embed(run.path, data, out=out, batch_size=4, threads=1)
    assert pq.read_table(nearfar.embed(run.path, data, out=out, overwrite=True, threads=1)).num_rows == 16


def test_ctrl_c_while_training_exits_with_130_and_the_run_goes_on(tmp_path: Path) -> None:
    killed.prepare()
    images, labels = pictures(64)
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    out, log = tmp_path / "run", tmp_path / "log"
    arguments = [
        "pretrain", str(tmp_path / "data.npz"), "--out", str(out), "--epochs", "10000", "--batch-size", "16",
        "--threads", "1", "--encoder-options.width", "4", "--precision", "32-true", "--checkpoint-seconds", "0",
    ]  # fmt: skip
    process = killed.context.Process(target=programs.command, args=(arguments, str(log)))
    process.start()
    killed.wait_until(process, lambda: len(Run(out).metrics()) >= 2)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)
    process.join(60)
    process.kill()
    process.join()
    said = programs.said(log)
    assert process.exitcode == 130, said
    assert "Traceback" not in said
    assert said.strip().splitlines()[-1].startswith("error: stopped; ")
    assert Run(out).checkpoint.is_file()
    assert not Run(out).finished


@pytest.mark.parametrize(("said", "spins"), [({}, "1000"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)])
def test_threads_spin_briefly_unless_the_environment_says_how_long(
    said: dict[str, str], spins: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        main(["methods"])
    found = os.environ.pop("GOMP_SPINCOUNT", None)
    assert found == spins
