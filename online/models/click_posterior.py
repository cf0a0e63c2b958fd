"""How sure the click's weights are: a Gaussian around them, kept online, for Thompson sampling."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PRIOR_PRECISION = 1.0  # of each weight, before anything is learned
MEMORY = 0.9999  # share that each slate leaves of what was known before


class ClickPosterior:
    """The precision of the weights of a logistic regression by Laplace's approximation (Bishop 2006, section 4.5).

    Each row adds p(1 − p)·x·xᵀ; slates fade, so that it stays bounded, and what changes is tried again.
    """

    def __init__(self, features: int, precision: Floats | None = None) -> None:
        self._prior = np.diag(np.full(features, PRIOR_PRECISION))
        self.precision = self._prior.copy() if precision is None else precision

    def learn_one(self, features: Floats, probabilities: Floats) -> None:
        """Absorb one slate's rows (n, f) with their click probabilities (n,)."""
        information = features.T @ (features * (probabilities * (1.0 - probabilities))[:, None])
        self.precision = MEMORY * self.precision + (1.0 - MEMORY) * self._prior + information

    def root(self) -> Floats:
        """Return the lower-triangular root of the covariance (f, f).

        >>> ClickPosterior(2).root().tolist()
        [[1.0, 0.0], [0.0, 1.0]]
        """
        covariance = np.linalg.inv(self.precision)
        return np.asarray(np.linalg.cholesky((covariance + covariance.T) / 2.0), np.float64)
