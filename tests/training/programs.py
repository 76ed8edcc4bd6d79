"""Verbs in a process of their own, forked from the server of `killed`."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import torch

import nearfar
from nearfar.cli import main
from nearfar.data import embeddings_writer
from tests.training.killed import data


def embed_slowly(run: str, out: str, seconds: float) -> None:
    """Embed in parts of eight rows."""
    torch.set_num_threads(1)
    embeddings_writer.PART_ROWS = 8
    nearfar.embed(run, data(seconds), out=out, batch_size=4, threads=1)


def command(arguments: list[str], log: str) -> None:
    """Be the command line, with both streams in a file."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are born deaf to it
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    main(arguments)


def said(log: Path) -> str:
    """Return what a command said so far."""
    return log.read_text() if log.exists() else ""
