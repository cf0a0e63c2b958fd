"""A lower bound of a mean that holds at all times at once, so that one may look whenever one likes."""

from __future__ import annotations

import math

import msgspec

LAMBDA_MAX = 0.5


class LowerBound(msgspec.Struct):
    """Bounds the mean of values in [−1, 1] from below, with probability 1 − alpha at every time at once.

    It is the predictable plug-in empirical-Bernstein confidence sequence (Waudby-Smith & Ramdas, "Estimating means of
    bounded random variables by betting", JRSS B 2023, theorem 2), one-sided, of the values moved to [0, 1]. Values need
    not be independent nor alike: what is bounded is the mean of their conditional means, those of later values weighing
    less.

    >>> bound = LowerBound()
    >>> for value in [0.5, 0.7] * 200:
    ...     bound.learn_one(value)
    >>> 0.5 < bound.get() < bound.mean
    True
    """

    alpha: float = 0.05
    n: int = 0
    total: float = 0.0  # of the values, moved to [0, 1]
    squares: float = 0.0  # of their distances from the running mean
    stakes: float = 0.0  # Σ λ
    staked: float = 0.0  # Σ λ·x
    risk: float = 0.0  # Σ v·ψ(λ)

    @property
    def mean(self) -> float:
        """The mean of the values, 0 before the first."""
        return 2.0 * self.total / self.n - 1.0 if self.n else 0.0

    def learn_one(self, value: float) -> None:
        """Absorb one value.

        Raises:
            ValueError: it is not in [−1, 1].
        """
        if not -1.0 <= value <= 1.0:
            msg = f"values are in [-1, 1], not {value}"
            raise ValueError(msg)
        x, t = (value + 1.0) / 2.0, self.n + 1
        before = (0.5 + self.total) / t
        variance = (0.25 + self.squares) / t
        stake = min(math.sqrt(2.0 * math.log(1.0 / self.alpha) / (variance * t * math.log(1.0 + t))), LAMBDA_MAX)
        self.stakes += stake
        self.staked += stake * x
        self.risk += (x - before) ** 2 * (-math.log1p(-stake) - stake)
        self.n, self.total = t, self.total + x
        self.squares += (x - (0.5 + self.total) / (t + 1)) ** 2

    def get(self) -> float:
        """Return the bound; −1 before the first value."""
        if not self.n:
            return -1.0
        bound = (self.staked - math.log(1.0 / self.alpha) - self.risk) / self.stakes
        return max(2.0 * bound - 1.0, -1.0)
