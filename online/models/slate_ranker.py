"""Rankers that learn from the rows of a slate together: which was clicked rather than which, not whether each was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from online.core.features import NAMES, PRIOR, PRIOR_INTERCEPT
from online.core.ranker import CROSSED, Ranker

from .click_ranker import MAX_SURFACES
from .slate_rows import SlateRows, probabilities

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SlateRankerConfig:
    """The loss, AdaGrad's learning rate, the intercept's, and the L2 weight.

    `pairwise` is the logistic loss of differences between clicked and skipped rows (RankNet: Burges et al., ICML 2005,
    with a linear scorer; rows weighed as in Joachims, Swaminathan, Schnabel, WSDM 2017); `listwise` the cross-entropy
    of the softmax over the slate (ListNet's top-one probabilities: Cao et al., ICML 2007).
    """

    loss: Literal["pairwise", "listwise"]
    learning_rate: float = 0.05
    intercept_rate: float = 0.02
    l2: float = 1e-5


class Weights(msgspec.Struct):
    """Weights by feature, and the sums of their squared gradients."""

    weights: dict[str, float]
    squared_gradients: dict[str, float]


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
        self._by_surface: dict[str, Floats] = {}
        self._intercept = PRIOR_INTERCEPT

    def log_odds(self, rows: SlateRows) -> Floats:
        """Return what it expects of each row (n,), in its slot; changes nothing."""
        here = self._by_surface.get(rows.surface)
        weights = self._everywhere[0] if here is None else self._everywhere[0] + here[0]
        odds: Floats = rows.features @ weights + self._intercept
        return odds

    def learn_one(self, rows: SlateRows) -> None:
        """Absorb one slate. One in which everything or nothing was clicked tells no order."""
        x, clicked = rows.features, rows.clicked
        if rows.surface not in self._by_surface and len(self._by_surface) < MAX_SURFACES:
            self._by_surface[rows.surface] = np.zeros((2, len(NAMES)))
        here, odds = self._by_surface.get(rows.surface), self.log_odds(rows)
        self._intercept -= self.config.intercept_rate * float(rows.weights @ (probabilities(odds) - clicked))
        if not clicked.any() or clicked.all():
            return
        gradient = _GRADIENTS[self.config.loss](odds, clicked, rows.weights) @ x  # (f,)
        self._step(self._everywhere, gradient)
        if here is not None:
            self._step(here, np.where(_IS_CROSSED, gradient, 0.0))

    def _step(self, parameters: Floats, gradient: Floats) -> None:
        weights, squares = parameters
        gradient = gradient + self.config.l2 * weights
        squares += gradient * gradient
        weights -= self.config.learning_rate * gradient / np.sqrt(squares + 1e-12)

    def export(self, version: str) -> Ranker:
        """Return the served form of the weights so far."""
        crosses = {surface: own[0].copy() for surface, own in self._by_surface.items()}
        return Ranker(version, self._everywhere[0].copy(), self._intercept, crosses=crosses)

    def state(self) -> bytes:
        """Return everything a restart needs."""
        by_surface = {surface: _named(own) for surface, own in self._by_surface.items()}
        return msgspec.json.encode(SlateRankerState(_named(self._everywhere), by_surface, self._intercept))

    @classmethod
    def from_state(cls, payload: bytes, config: SlateRankerConfig) -> Self:
        """Return the learner of a state; it goes on as if it had never stopped, new features from their prior."""
        kept = msgspec.json.decode(payload, type=SlateRankerState)
        ranker = cls(config)
        ranker._everywhere = _vectors(kept.everywhere, PRIOR)
        ranker._by_surface = {s: _vectors(own, np.zeros(len(NAMES))) for s, own in kept.by_surface.items()}
        ranker._intercept = kept.intercept
        return ranker


_IS_CROSSED = np.array([name in CROSSED for name in NAMES])


def _named(parameters: Floats) -> Weights:
    weights, squares = (dict(zip(NAMES, row.tolist(), strict=True)) for row in parameters)
    return Weights(weights, squares)


def _vectors(kept: Weights, prior: Floats) -> Floats:
    weights = [kept.weights.get(name, first) for name, first in zip(NAMES, prior.tolist(), strict=True)]
    return np.array([weights, [kept.squared_gradients.get(name, 0.0) for name in NAMES]])


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
