"""The listwise ranker with second-order steps: what few slates can teach, it has learned after one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from online.core.features import NAMES, PRIOR, PRIOR_INTERCEPT
from online.core.ranker import Ranker

from .slate_rows import SlateRows, probabilities
from .surface_weights import SurfaceWeights, Weights

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class NewtonRankerConfig:
    """Precision of each weight's prior, the share of what was known that a slate leaves, and the rates of what takes
    first-order steps: the intercept, and what a source is worth on a surface (0: the same on all)."""

    precision: float = 5.0
    memory: float = 0.9999
    intercept_rate: float = 0.02
    surface_rate: float = 0.0


class NewtonRankerState(msgspec.Struct):
    """Everything a restart needs; `precision` by the features in the order of their names."""

    features: list[str]
    weights: list[float]
    precision: list[list[float]]
    intercept: float
    by_surface: dict[str, Weights] = {}


class NewtonRanker:
    """The softmax over a slate, learned by online Newton steps: w ← w − P⁻¹g, with P the prior's precision and the
    Fisher information of the slates so far, as they fade.

    This is the extended Kalman filter of a multinomial logit (Ollivier, "Online natural gradient as a Kalman filter",
    EJS 2018). A precision of each surface's own would be a matrix more: what its sources are worth beside the weights
    that all share is learned by AdaGrad.
    """

    def __init__(self, config: NewtonRankerConfig) -> None:
        self.config = config
        self._weights = PRIOR.copy()
        self._precision = self._prior
        self._intercept = PRIOR_INTERCEPT
        self._surfaces = SurfaceWeights(config.surface_rate)

    @property
    def _prior(self) -> Floats:
        return np.diag(np.full(len(NAMES), self.config.precision))

    def log_odds(self, rows: SlateRows) -> Floats:
        """Return what it expects of each row (n,), in its slot; changes nothing."""
        odds: Floats = rows.features @ self._surfaces.added_to(self._weights, rows.surface) + self._intercept
        return odds

    def learn_one(self, rows: SlateRows) -> None:
        """Absorb one slate. One in which everything or nothing was clicked tells no order."""
        x, clicked, odds = rows.features, rows.clicked, self.log_odds(rows)
        self._intercept -= self.config.intercept_rate * float(rows.weights @ (probabilities(odds) - clicked))
        if not clicked.any() or clicked.all():
            return
        shares = np.exp(odds - odds.max())
        shares /= shares.sum()
        wanted, mean, memory = rows.weights * clicked, shares @ x, self.config.memory
        information = wanted.sum() * ((x * shares[:, None]).T @ x - np.outer(mean, mean))
        self._precision = memory * self._precision + (1.0 - memory) * self._prior + information
        gradient = wanted.sum() * mean - wanted @ x
        self._weights -= np.linalg.solve(self._precision, gradient)
        self._surfaces.step(rows.surface, gradient)

    def export(self, version: str) -> Ranker:
        """Return the served form of the weights so far."""
        return Ranker(version, self._weights.copy(), self._intercept, crosses=self._surfaces.export())

    def state(self) -> bytes:
        """Return everything a restart needs."""
        precision, weights = self._precision.tolist(), self._weights.tolist()
        by_surface = self._surfaces.state()
        return msgspec.json.encode(NewtonRankerState(list(NAMES), weights, precision, self._intercept, by_surface))

    @classmethod
    def from_state(cls, payload: bytes, config: NewtonRankerConfig) -> Self:
        """Return the learner of a state; it goes on as if it had never stopped, new features from their prior."""
        kept = msgspec.json.decode(payload, type=NewtonRankerState)
        ranker = cls(config)
        here = [NAMES.index(name) for name in kept.features if name in NAMES]
        there = [i for i, name in enumerate(kept.features) if name in NAMES]
        ranker._weights[here] = np.array(kept.weights)[there]
        ranker._precision[np.ix_(here, here)] = np.array(kept.precision)[np.ix_(there, there)]
        ranker._intercept = kept.intercept
        ranker._surfaces = SurfaceWeights(config.surface_rate, kept.by_surface)
        return ranker
