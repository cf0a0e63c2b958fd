"""How kernels are compiled, the arrays they work on grown, and what they share: a hash, and tables probed by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T", bound=np.generic)


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function with numba at its first call and keep the machine code on disk.

    The interpreter lock stays held, so that a query never sees half an update. No fast-math: the same input
    gives the same bytes. numba's cache follows changes of a kernel's own file only, not of others it calls: a
    kernel therefore calls kernels of its own file, and those of this one, which never change.
    """
    compiled = numba.njit(cache=True, error_model="numpy")(function)
    return cast(Callable[P, R], compiled)


@kernel
def splitmix64(state: np.uint64) -> np.uint64:
    """Return the SplitMix64 output for a state: a bijection of 64 bits whose outputs look random.

    Source: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators" (OOPSLA 2014).

    >>> hex(splitmix64(np.uint64(0)))
    '0xe220a8397b1dcdaf'
    """
    z = np.uint64(state) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@kernel
def empty_table(n: int) -> NDArray[np.int32]:
    """Return a table with room for n entries at a load of at most a half; see `probe`."""
    size = 16
    while size < 2 * n:
        size *= 2
    return np.zeros(size, np.int32)


@kernel
def probe(table: NDArray[np.int32], held: NDArray[np.integer], key: np.integer | int) -> int:
    """Return the position of a key in a table of index + 1 into `held`, or the empty one where it goes.

    Linear probing (Knuth, "The Art of Computer Programming", volume 3, section 6.4, algorithm L); 0 is empty.

    >>> table, held = empty_table(2), np.array([70, 80])
    >>> at = probe(table, held, 80)
    >>> table[at] = 2
    >>> probe(table, held, 80) == at != probe(table, held, 70)
    True
    """
    mask = table.size - 1
    at = int(np.int64(splitmix64(np.uint64(key)) & np.uint64(mask)))
    while table[at] != 0 and held[table[at] - 1] != key:
        at = (at + 1) & mask
    return at


def extended(array: NDArray[T], n: int) -> NDArray[T]:
    """Return a writable copy of `array` with n rows, zeros behind those given.

    >>> extended(np.array([1, 2]), 4)
    array([1, 2, 0, 0])
    """
    longer = np.zeros((n, *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    return longer
