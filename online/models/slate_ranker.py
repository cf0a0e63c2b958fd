"""Rankers that learn from the rows of a slate together: which was clicked rather than which, not whether each was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from online.core.features import NAMES, PRIOR, PRIOR_INTERCEPT
from online.core.ranker import Ranker

from .slate_rows import SlateRows, probabilities
from .surface_weights import SurfaceWeights, Weights, adagrad, named, vectors

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SlateRankerConfig:
    """The loss, AdaGrad's learning rate, and the intercept's.

    `pairwise` is the logistic loss of differences between clicked and skipped rows (RankNet: Burges et al., ICML 2005,
    with a linear scorer; rows weighed as in Joachims, Swaminathan, Schnabel, WSDM 2017); `listwise` the cross-entropy
    of the softmax over the slate (ListNet's top-one probabilities: Cao et al., ICML 2007).
    """

    loss: Literal["pairwise", "listwise"]
    learning_rate: float = 0.05
    intercept_rate: float = 0.02


class SlateRankerState(msgspec.Struct):
    """Everything a restart needs."""

    everywhere: Weights
    by_surface: dict[str, Weights]
    intercept: float


class SlateRanker:
    """Orders the rows of slates. Its intercept is learned beside, so that utilities are log-odds of a click as well."""

    def __init__(self, config: SlateRankerConfig) -> None:
        self.config = config
        self._everywhere = np.stack([PRIOR, np.zeros(len(NAMES))])  # (2, f): weights, sums of squared gradients
        self._surfaces = SurfaceWeights(config.learning_rate)
        self._intercept = PRIOR_INTERCEPT

    def log_odds(self, rows: SlateRows) -> Floats:
        """Return what it expects of each row (n,), in its slot; changes nothing."""
        odds: Floats = rows.features @ self._surfaces.added_to(self._everywhere[0], rows.surface) + self._intercept
        return odds

    def learn_one(self, rows: SlateRows) -> None:
        """Absorb one slate. One in which everything or nothing was clicked tells no order."""
        x, clicked, odds = rows.features, rows.clicked, self.log_odds(rows)
        self._intercept -= self.config.intercept_rate * float(rows.weights @ (probabilities(odds) - clicked))
        if not clicked.any() or clicked.all():
            return
        gradient = _GRADIENTS[self.config.loss](odds, clicked, rows.weights) @ x  # (f,)
        adagrad(self._everywhere, gradient, self.config.learning_rate)
        self._surfaces.step(rows.surface, gradient)

    def export(self, version: str) -> Ranker:
        """Return the served form of the weights so far."""
        return Ranker(version, self._everywhere[0].copy(), self._intercept, crosses=self._surfaces.export())

    def state(self) -> bytes:
        """Return everything a restart needs."""
        return msgspec.json.encode(SlateRankerState(named(self._everywhere), self._surfaces.state(), self._intercept))

    @classmethod
    def from_state(cls, payload: bytes, config: SlateRankerConfig) -> Self:
        """Return the learner of a state; it goes on as if it had never stopped, new features from their prior."""
        kept = msgspec.json.decode(payload, type=SlateRankerState)
        ranker = cls(config)
        ranker._everywhere = vectors(kept.everywhere, PRIOR)
        ranker._surfaces = SurfaceWeights(config.learning_rate, kept.by_surface)
        ranker._intercept = kept.intercept
        return ranker


def _pairwise(utilities: Floats, clicked: NDArray[np.bool_], weights: Floats) -> Floats:
    """Return the gradient by utility (n,) of the mean pair's loss of each clicked row, weighed as the row is.

    >>> _pairwise(np.zeros(3), np.array([True, False, False]), np.ones(3)).tolist()
    [-0.5, 0.25, 0.25]
    """
    better, worse = np.flatnonzero(clicked), np.flatnonzero(~clicked)
    wrong = 1.0 / (1.0 + np.exp(utilities[better][:, None] - utilities[worse]))  # (clicked, skipped)
    wrong *= weights[better][:, None] / len(worse)
    gradient = np.empty(len(utilities))
    gradient[better], gradient[worse] = -wrong.sum(axis=1), wrong.sum(axis=0)
    return gradient


def _listwise(utilities: Floats, clicked: NDArray[np.bool_], weights: Floats) -> Floats:
    """Return the gradient by utility (n,) of the cross-entropy of the clicks and the softmax.

    >>> _listwise(np.zeros(4), np.array([True, False, False, False]), np.ones(4)).tolist()
    [-0.75, 0.25, 0.25, 0.25]
    """
    shares = np.exp(utilities - utilities.max())
    wanted = weights * clicked
    gradient: Floats = wanted.sum() * shares / shares.sum() - wanted
    return gradient


_GRADIENTS = {"pairwise": _pairwise, "listwise": _listwise}
