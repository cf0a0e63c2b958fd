"""Forward decay: weights grow with event time, so that adding commutes and only queries look at the clock.

Source: Cormode, Shkapenyuk, Srivastava, Xu, "Forward Decay: A Practical Time Decay Model for Streaming Systems"
(ICDE 2009), section III, exponential form g(n) = exp(λ·n) against a landmark L.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

DAY_S = 86_400.0
BACK_STEPS = 6  # a weight of 2^128 rescaled by 2^768 is still finite
HALF_LIVES_S = (0.25 * DAY_S, 3 * DAY_S, 30 * DAY_S)

Weights = list[float]
"""One forward weight per half-life, fastest first, all against one landmark."""


@dataclass(frozen=True, slots=True)
class Decay:
    """Half-lives (seconds, fastest first) and the fixed grid of time on which their landmark moves.

    The grid is 128 of the fastest half-lives: a weight then grows by at most 2^128 before the landmark follows,
    far from float64's 2^1023, and a record is rescaled rarely.

    >>> decay = Decay((10.0, 100.0))
    >>> weights = decay.at(20.0, landmark=0.0)
    >>> [round(w, 6) for w in decay.now(weights, now=30.0, landmark=0.0)]
    [0.5, 0.933033]
    """

    half_lives: tuple[float, ...] = HALF_LIVES_S
    rates: tuple[float, ...] = field(init=False)
    grid_s: float = field(init=False)

    def __post_init__(self) -> None:
        if not self.half_lives or list(self.half_lives) != sorted(self.half_lives) or self.half_lives[0] <= 0:
            msg = f"half-lives must be positive and ascending, not {self.half_lives}"
            raise ValueError(msg)
        object.__setattr__(self, "rates", tuple(math.log(2.0) / h for h in self.half_lives))
        object.__setattr__(self, "grid_s", 128.0 * self.half_lives[0])

    def landmark(self, time: float) -> float:
        """Return the grid point at or before `time`.

        >>> Decay((10.0,)).landmark(1300.0)
        1280.0
        """
        return time // self.grid_s * self.grid_s

    def at(self, time: float, landmark: float) -> Weights:
        """Return the forward weight exp(λ·(time − landmark)) for each half-life."""
        exp, passed = math.exp, time - landmark
        return [exp(rate * passed) for rate in self.rates]

    def fading(self, now: float, landmark: float) -> list[float]:
        """Return what forward weights are multiplied by to count at `now`: exp(−λ·(now − landmark)).

        A moment further before the landmark than `BACK_STEPS` of the grid is taken as that: float64 ends there.

        >>> [round(f, 3) for f in Decay((10.0, 100.0)).fading(20.0, landmark=0.0)]
        [0.25, 0.871]
        """
        ahead = max(now - landmark, -BACK_STEPS * self.grid_s)
        return [math.exp(-rate * ahead) for rate in self.rates]

    def now(self, weights: Weights, now: float, landmark: float) -> Weights:
        """Return forward weights as they count at `now`."""
        return [w * f for w, f in zip(weights, self.fading(now, landmark), strict=True)]

    def rebase(self, tables: Iterable[Weights], old: float, new: float) -> None:
        """Rescale weights in place from the landmark `old` to the later landmark `new`."""
        factors = [math.exp(-rate * (new - old)) for rate in self.rates]
        for weights in tables:
            for i, factor in enumerate(factors):
                weights[i] *= factor
