"""Calling a function without keeping what it computes on the way: its tensors are made again in the backward.

`torch.utils.checkpoint` does the same, but its first call imports torch's compiler: seconds, and more memory than the
losses themselves take.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["remade"]


def remade(function: Callable[..., tuple[Tensor, ...]], *args: object) -> tuple[Tensor, ...]:
    """Call a function whose inner tensors are not kept for the backward but made again there.

    Args:
        function: gives the same for the same arguments; it may draw nothing at random and change no state. Gradients
            also reach the tensors that it closes over.
        args: what it is called with.
    """
    if not torch.is_grad_enabled():
        return function(*args)
    if torch.compiler.is_compiling():  # the compiler decides by itself what it keeps
        return function(*args)
    again = _Again(function, args)
    with torch.autograd.graph.saved_tensors_hooks(again.place, again.tensor):
        return function(*args)


class _Place:
    """Stands in the graph for a tensor that is not kept; when its node goes, nobody will ask for the tensor."""

    def __init__(self, number: int) -> None:
        self.number = number


class _Again:
    """Hands out places for the tensors that a call would have kept; calls again when the first of them is asked for."""

    def __init__(self, function: Callable[..., tuple[Tensor, ...]], args: tuple[object, ...]) -> None:
        self.function, self.args = function, args
        self.places: list[weakref.ref[_Place]] = []
        self.made: dict[int, Tensor] = {}

    def place(self, _: Tensor) -> _Place:
        """Return the place of a tensor that is not kept."""
        place = _Place(len(self.places))
        self.places.append(weakref.ref(place))
        return place

    def tensor(self, place: _Place) -> Tensor:
        """Return the tensor of that place, and forget it: a backward asks for each once."""
        if place.number not in self.made:
            self._call()
        return self.made.pop(place.number)

    def _call(self) -> None:
        numbers = iter(range(len(self.places)))

        def keep(x: Tensor) -> None:
            number = next(numbers)
            if self.places[number]() is not None:
                self.made[number] = x.detach()

        # a loss has autocast off while it computes, whatever surrounds the backward
        off = torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False)
        # nobody goes back through this call, and a tensor kept by its own node would never be freed
        hooks = torch.autograd.graph.saved_tensors_hooks(keep, _never)
        with torch.enable_grad(), off[0], off[1], hooks:
            self.function(*self.args)


def _never(_: object) -> Tensor:
    raise AssertionError("the call that makes tensors again has no backward")
