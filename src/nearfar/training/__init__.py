"""Driving a method on data: the one place that imports Lightning.

`run` (the folder a run lives in) needs no Lightning; import it by its own name. `fit` brings the rest.
"""

__all__: list[str] = []
