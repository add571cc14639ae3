"""Work: one launch of one kernel, as data.

What this is
    Each operation of this package checks its arguments, makes its tables and gives back
    a few `Work`s: which kernel, which tables, which numbers, how many CUDA blocks. It has
    moved nothing yet. `launch.Gpu` runs them; `simulator.run` does so on any
    machine, in plain Python.

Interface, as rules of use
    * Run the works of one operation in order, on one stream.
    * No work at all is an operation that has nothing to do.
    * A kernel's parameters are the addresses of its tables, then its numbers, all of them
      scalars; `Kernel.parameters` names the Numba type of each.
    * Kernels are compared by what makes them, so that each is compiled once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Function = Callable[..., None]

BLOCKS: Final = 1056
"""CUDA blocks where nobody says otherwise: eight on each of 132 multiprocessors."""


@dataclass(frozen=True)
class Kernel:
    """A function for the GPU: who writes it, with which constants, and its parameters."""

    make: Callable[..., Function]
    constants: tuple[int | str, ...]
    parameters: tuple[str, ...]

    @property
    def name(self) -> str:
        """What it is called, with its constants, as in `copy_blocks(16, False)`."""
        constants = ", ".join(map(str, self.constants))
        return f"{self.make.__name__.removeprefix('make_')}({constants})"

    @property
    def function(self) -> Function:
        """The plain function, the same each time."""
        return _made(self)


@cache
def _made(kernel: Kernel) -> Function:
    return kernel.make(*kernel.constants)


@dataclass(frozen=True, eq=False)
class Work:
    """One launch. The tables must outlive it."""

    kernel: Kernel
    tables: tuple[NDArray[Any], ...]
    numbers: tuple[int, ...]
    blocks: int

    def arguments(self, addresses: tuple[int, ...]) -> list[np.generic]:
        """Give the typed arguments, once it is known where the tables lie."""
        values = (*addresses, *self.numbers)
        types = zip(self.kernel.parameters, values, strict=True)
        return [getattr(np, name)(value) for name, value in types]


Works = tuple[Work, ...]
