"""Metrics of ranked lists against the items that turned out relevant, and their uncertainty.

All take a list, best first and without repeats, and are 0 for a list that holds nothing relevant.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


def ndcg(ranked: Sequence[str], gains: Mapping[str, float], k: int) -> float:
    """Return the normalised discounted cumulative gain at k (Järvelin & Kekäläinen 2002), discount log2(rank + 1).

    It is divided by that of the best order of all of `gains`, so also by what the list lacks.

    >>> ndcg(["a", "b", "c"], {"a": 1.0}, 3), ndcg(["b", "a"], {"a": 1.0}, 2) == 1 / math.log2(3)
    (1.0, True)
    >>> ndcg(["a"], {}, 3)
    0.0
    """
    best = _dcg(sorted((gain for gain in gains.values() if gain > 0), reverse=True)[:k])
    return _dcg([gains.get(item, 0.0) for item in ranked[:k]]) / best if best else 0.0


def _dcg(gains: Iterable[float]) -> float:
    return math.fsum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))


def reciprocal_rank(ranked: Sequence[str], relevant: Collection[str], k: int) -> float:
    """Return 1 / rank of the first relevant item among the first k (Voorhees 1999); its mean is MRR@k.

    >>> reciprocal_rank(["a", "b"], {"b"}, 20), reciprocal_rank(["a", "b"], {"b"}, 1)
    (0.5, 0.0)
    """
    return next((1.0 / rank for rank, item in enumerate(ranked[:k], start=1) if item in relevant), 0.0)


def hit(ranked: Sequence[str], relevant: Collection[str], k: int) -> float:
    """Return 1 if one of the first k is relevant, else 0; its mean is the hit rate HR@k.

    >>> hit(["a", "b"], {"b"}, 2), hit(["a", "b"], {"b"}, 1)
    (1.0, 0.0)
    """
    return float(any(item in relevant for item in ranked[:k]))


class Interval(NamedTuple):
    """An estimate and its percentile interval."""

    mean: float
    low: float
    high: float


def bootstrap_mean(
    values: Sequence[float] | NDArray[np.float64],
    groups: Sequence[object],
    *,
    seed: int,
    resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Return the mean of `values` and its percentile bootstrap interval over `groups` (Efron 1979; Field & Welsh 2007).

    Whole groups (sessions, users) are drawn with replacement, because values of one group depend on each other.

    Raises:
        ValueError: no values, or not one group for each value.

    >>> bootstrap_mean([1.0, 1.0, 1.0], ["s1", "s1", "s2"], seed=7)
    Interval(mean=1.0, low=1.0, high=1.0)
    """
    if len(values) != len(groups) or len(values) == 0:
        msg = f"give at least one value and a group for each: {len(values)} values, {len(groups)} groups"
        raise ValueError(msg)
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    member = np.array([numbers[group] for group in groups])
    sizes = np.bincount(member).astype(np.float64)  # (n_groups,)
    sums = np.bincount(member, weights=np.asarray(values, dtype=np.float64))  # (n_groups,)
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    for i in range(resamples):  # one at a time: (resamples, n_groups) at once could be large
        drawn = rng.integers(len(sizes), size=len(sizes))
        means[i] = sums[drawn].sum() / sizes[drawn].sum()
    low, high = np.quantile(means, [(1.0 - level) / 2, (1.0 + level) / 2])
    return Interval(float(sums.sum() / sizes.sum()), float(low), float(high))
