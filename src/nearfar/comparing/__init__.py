"""Methods side by side: one encoder, one data set, one budget, one evaluation; `nearfar.compare` is here.

It stands above the recipes, because it takes methods' settings from them. ``child`` is what runs in processes of its
own, one a run, so that each run's peak memory is its own.
"""

from nearfar.comparing.compare import Comparison, compare
from nearfar.comparing.settings import CompareConfig

__all__ = ["CompareConfig", "Comparison", "compare"]
