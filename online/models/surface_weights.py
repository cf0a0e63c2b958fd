"""What sources are worth on a surface, beside the weights that all surfaces share; learned by AdaGrad."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from online.core.features import NAMES
from online.core.ranker import CROSSED

from .click_ranker import MAX_SURFACES

Floats = NDArray[np.float64]
L2 = 1e-5


class Weights(msgspec.Struct):
    """Weights by feature, and the sums of their squared gradients."""

    weights: dict[str, float]
    squared_gradients: dict[str, float]


class SurfaceWeights:
    """Weights of the sources' features by surface, of `MAX_SURFACES` at most.

    >>> surfaces = SurfaceWeights(0.1)
    >>> surfaces.step("home", np.ones(len(NAMES)))
    >>> at = NAMES.index(CROSSED[0])
    >>> [round(float(surfaces.added_to(np.zeros(len(NAMES)), where)[at]), 3) for where in ("home", "cart")]
    [-0.1, 0.0]
    """

    def __init__(self, rate: float, kept: Mapping[str, Weights] | None = None) -> None:
        self._rate = rate
        self._own = {surface: vectors(weights, np.zeros(len(NAMES))) for surface, weights in (kept or {}).items()}

    def added_to(self, weights: Floats, surface: str) -> Floats:
        """Return the weights (f,) on a surface."""
        own = self._own.get(surface)
        return weights if own is None else weights + own[0]

    def step(self, surface: str, gradient: Floats) -> None:
        """Go a step against the gradient (f,) of a slate's loss."""
        if self._rate == 0.0 or (surface not in self._own and len(self._own) >= MAX_SURFACES):
            return
        own = self._own.setdefault(surface, np.zeros((2, len(NAMES))))
        adagrad(own, np.where(_IS_CROSSED, gradient, 0.0), self._rate)

    def export(self) -> dict[str, Floats]:
        """Return the weights of each surface, to be added to those of all."""
        return {surface: own[0].copy() for surface, own in self._own.items()}

    def state(self) -> dict[str, Weights]:
        """Return everything a restart needs."""
        return {surface: named(own) for surface, own in self._own.items()}


def adagrad(parameters: Floats, gradient: Floats, rate: float) -> None:
    """Step the weights of (weights, sums of squared gradients), shape (2, f), in place (Duchi et al., JMLR 2011).

    >>> parameters = np.zeros((2, 1))
    >>> adagrad(parameters, np.array([4.0]), rate=0.5)
    >>> parameters.round(6).tolist()
    [[-0.5], [16.0]]
    """
    weights, squares = parameters
    gradient = gradient + L2 * weights
    squares += gradient * gradient
    weights -= rate * gradient / np.sqrt(squares + 1e-12)


def named(parameters: Floats) -> Weights:
    """Return parameters (2, f) by the names of their features."""
    weights, squares = (dict(zip(NAMES, row.tolist(), strict=True)) for row in parameters)
    return Weights(weights, squares)


def vectors(kept: Weights, prior: Floats) -> Floats:
    """Return parameters (2, f) of a state, new features from their prior."""
    weights = [kept.weights.get(name, first) for name, first in zip(NAMES, prior.tolist(), strict=True)]
    return np.array([weights, [kept.squared_gradients.get(name, 0.0) for name in NAMES]])


_IS_CROSSED = np.array([name in CROSSED for name in NAMES])
