"""A mean over the slates of many users, whose own slates are alike, and how sure it is however often one looks.

The user is the unit: a mean is a ratio of sums over users, Σ y_u / Σ n_u, and its variance comes from how users differ
(the delta method; Deng, Knoblich, Lu, "Applying the delta method in metric analytics", KDD 2018, section 4).
"""

from __future__ import annotations

import math
from typing import NamedTuple

LEAST_UNITS = 100  # users: of fewer the variance is not known well enough for bounds that hold at all times


class Sums(NamedTuple):
    """Sums over users: how many there are, of their n slates and values y, and of n², n·y and y²."""

    units: int = 0
    n: float = 0.0
    y: float = 0.0
    nn: float = 0.0
    ny: float = 0.0
    yy: float = 0.0

    @property
    def mean(self) -> float:
        """The mean of a slate, 0 without any."""
        return self.y / self.n if self.n else 0.0

    def spread(self, mean: float) -> float:
        """Return the mean square, over users, of how far y_u is from what `mean` says: n_u · mean."""
        squares = self.yy - 2.0 * mean * self.ny + mean * mean * self.nn
        return max(squares, 0.0) / self.units if self.units else 0.0


def of_users(users: list[tuple[float, float]]) -> Sums:
    """Return the sums over users of (n, y).

    >>> of_users([(2, 1), (1, 0)])
    Sums(units=2, n=3, y=1, nn=5, ny=2, yy=1)
    """
    return Sums(
        len(users),
        sum(n for n, _ in users),
        sum(y for _, y in users),
        sum(n * n for n, _ in users),
        sum(n * y for n, y in users),
        sum(y * y for _, y in users),
    )


def pooled(one: Sums, other: Sums) -> Sums:
    """Return the sums over both of two groups of users.

    >>> pooled(of_users([(2, 1)]), of_users([(1, 0)])) == of_users([(2, 1), (1, 0)])
    True
    """
    return Sums(*(mine + theirs for mine, theirs in zip(one, other, strict=True)))  # type: ignore[arg-type]


def standard_error(sums: Sums, spread: float) -> float:
    """Return the standard error of the mean of some users whose values spread as much as that; infinite for none.

    >>> standard_error(of_users([(1, 0), (1, 1), (1, 0), (1, 1)]), 0.25)
    0.25
    """
    return math.sqrt(spread * sums.units) / sums.n if sums.n else math.inf


def at_all_times(units: int, *, alpha: float, planned: float) -> float:
    """Return how many standard errors bound a mean of so many users from one side, at all times with 1 − alpha.

    It is the one-sided normal mixture (Howard, Ramdas, McAuliffe, Sekhon, "Time-uniform, nonparametric, nonasymptotic
    confidence sequences", Annals of Statistics 2021, section 3.2), tightest at `planned` users, with the
    variance as estimated (Waudby-Smith et al., "Time-uniform central limit theory and asymptotic confidence
    sequences", Annals of Statistics 2024). That a user's later slates resemble the earlier ones makes the process move
    less than its variance says, so that the bound is crossed more seldom (Slepian's inequality).

    >>> [round(at_all_times(n, alpha=0.025, planned=1000), 2) for n in (10, 1000, 100_000)]
    [9.15, 3.04, 3.56]
    """
    if units <= 0:
        return math.inf
    two_sided = 2.0 * alpha
    rho = planned / (-2.0 * math.log(two_sided) + math.log(1.0 - 2.0 * math.log(two_sided)))
    return math.sqrt(2.0 * (1.0 + rho / units) * math.log(math.sqrt((units + rho) / rho) / two_sided + 1.0))


def interval(sums: Sums, *, alpha: float = 0.05, planned: float = 1000.0) -> tuple[float, float] | None:
    """Return the interval around a mean that holds at all times at once; None for fewer users than `LEAST_UNITS`."""
    if sums.units < LEAST_UNITS:
        return None
    spread = sums.spread(sums.mean) * sums.units / (sums.units - 1)
    half = at_all_times(sums.units, alpha=alpha / 2.0, planned=planned) * standard_error(sums, spread)
    return sums.mean - half, sums.mean + half
