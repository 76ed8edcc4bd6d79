"""Which number format a step runs in."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

import torch

__all__ = ["Precision", "choose_precision"]

Resolved: TypeAlias = Literal["32-true", "bf16-mixed", "16-mixed", "64-true"]
Precision: TypeAlias = Literal["auto", "32-true", "bf16-mixed", "16-mixed", "64-true"]


def choose_precision(asked: Precision, accelerator: str) -> Resolved:
    """Resolve ``"auto"``: bf16 autocast where the device computes in it, float32 elsewhere.

    A CPU counts as made for bf16 when it has AVX512-BF16 or AMX; without them bf16 is slower than float32.
    """
    if asked != "auto":
        return asked
    if accelerator == "gpu":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    return "bf16-mixed" if accelerator == "cpu" and _cpu_has_bf16() else "32-true"


def _cpu_has_bf16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
