"""The compiled parts of item factorisation: steps of skip-gram with negative sampling, and hash vectors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from online.core.kernel import kernel, splitmix64

_STEP, _CLICKS, _SEEN = 0, 1, 2  # entries of Factors.counters
_MEMORY = 0.999  # of the squared gradients, per update of the row
_TINY = 1e-12


class Factors(NamedTuple):
    """The arrays the kernel works on; rows are items."""

    vectors: NDArray[np.float32]  # (capacity, dim)
    outputs: NDArray[np.float32]  # (capacity, dim)
    vector_scale: NDArray[np.float32]  # (capacity,) decayed sum of mean squared gradients
    output_scale: NDArray[np.float32]  # (capacity,)
    is_seen: NDArray[np.bool_]  # (capacity,) clicked, or context of a click
    seen: NDArray[np.int32]  # (capacity,) those rows in the order they were first seen
    recent: NDArray[np.int32]  # (recent_clicks,) ring
    counters: NDArray[np.int64]  # (3,): draws made, clicks learned, rows seen


@kernel
def hashed(keys: NDArray[np.uint64], dim: int, seed: np.uint64) -> NDArray[np.float32]:
    """Return a unit vector per key, its direction a hash of key and seed; shape (len(keys), dim)."""
    vectors = np.empty((keys.size, dim), np.float32)
    for i in range(keys.size):
        state = splitmix64(keys[i] ^ splitmix64(seed))
        total = 0.0
        for d in range(dim):
            state = splitmix64(state)
            value = np.float64(np.int64(state >> np.uint64(11))) * 2.0**-52 - 1.0  # uniform in [-1, 1)
            vectors[i, d] = value
            total += value * value
        for d in range(dim):
            vectors[i, d] /= np.sqrt(total)
    return vectors


@kernel
def learn(
    factors: Factors,
    contexts: NDArray[np.int32],
    items: NDArray[np.int32],
    learning_rate: float,
    negatives: int,
    uniform_share: float,
    seed: np.uint64,
) -> None:
    gradient = np.zeros(factors.vectors.shape[1], np.float32)
    for n in range(items.size):
        item = items[n]
        _see(factors, item)
        for context in contexts[n]:
            if context < 0 or context == item:
                continue
            _see(factors, context)
            _pair(factors, context, item, learning_rate, negatives, uniform_share, seed, gradient)
            _pair(factors, item, context, learning_rate, negatives, uniform_share, seed, gradient)
        factors.recent[factors.counters[_CLICKS] % factors.recent.size] = item
        factors.counters[_CLICKS] += 1


@kernel
def _see(factors: Factors, row: int) -> None:
    if not factors.is_seen[row]:
        factors.is_seen[row] = True
        factors.seen[factors.counters[_SEEN]] = row
        factors.counters[_SEEN] += 1


@kernel
def _pair(
    factors: Factors,
    center: int,
    target: int,
    learning_rate: float,
    negatives: int,
    uniform_share: float,
    seed: np.uint64,
    gradient: NDArray[np.float32],
) -> None:
    """Take one step towards `target` and away from the negatives."""
    gradient[:] = 0.0
    vector = factors.vectors[center]
    _pull(factors, vector, target, 1.0, learning_rate, gradient)
    for _ in range(negatives):
        row = _draw(factors, uniform_share, seed)
        if row != target:
            _pull(factors, vector, row, 0.0, learning_rate, gradient)
    factors.vector_scale[center] = _MEMORY * factors.vector_scale[center] + _square(gradient) / vector.size
    rate = np.float32(learning_rate / np.sqrt(factors.vector_scale[center] + _TINY))
    for d in range(vector.size):
        vector[d] += rate * gradient[d]


@kernel
def _pull(
    factors: Factors,
    vector: NDArray[np.float32],
    row: int,
    label: float,
    learning_rate: float,
    gradient: NDArray[np.float32],
) -> None:
    """Move a row's output by the logistic loss's gradient and add the vector's share to `gradient`."""
    output = factors.outputs[row]
    product = np.float32(0.0)
    for d in range(vector.size):
        product += vector[d] * output[d]
    error = np.float32(label - 1.0 / (1.0 + np.exp(-product)))
    scale = _MEMORY * factors.output_scale[row] + error * error * _square(vector) / vector.size
    factors.output_scale[row] = scale
    rate = np.float32(learning_rate * error / np.sqrt(scale + _TINY))
    for d in range(vector.size):
        gradient[d] += error * output[d]
        output[d] += rate * vector[d]


@kernel
def _square(vector: NDArray[np.float32]) -> float:
    total = np.float32(0.0)
    for d in range(vector.size):
        total += vector[d] * vector[d]
    return float(total)


@kernel
def _draw(factors: Factors, uniform_share: float, seed: np.uint64) -> int:
    """Draw a row: from all seen with probability `uniform_share`, else from the ring of recent clicks."""
    counters = factors.counters
    random = splitmix64(seed ^ splitmix64(np.uint64(counters[_STEP])))
    counters[_STEP] += 1
    index = np.int64(random & np.uint64(0x7FFFFFFF))
    share = np.float64(np.int64(random >> np.uint64(32))) * 2.0**-32
    filled = min(counters[_CLICKS], factors.recent.size)
    if share < uniform_share or filled == 0:
        return int(factors.seen[index % counters[_SEEN]])
    return int(factors.recent[index % filled])
