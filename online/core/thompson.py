"""Thompson sampling on the ranker's click head: one draw of the weights from their posterior for each slate.

A slate is scored with weights + scale·(root @ z), z standard normal, where root·rootᵀ is the posterior covariance of
the weights (Chapelle & Li, "An Empirical Evaluation of Thompson Sampling", NIPS 2011; the scale is the α they reshape
the posterior with). What the ranker knows well hardly moves, what it has seen little of does. One draw for the whole
slate keeps its slots consistent; the slots' propensities are exact given the draw, which the slate logs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from schemas.slate import MAX_SLATE

from .policy import uniforms


def normals(seed: int, n: int) -> NDArray[np.float64]:
    """Return n standard normal numbers of the seed, apart from the uniform ones its slots are drawn with.

    Box & Muller, Annals of Mathematical Statistics 29 (1958), on the uniform numbers behind the last possible slot's.

    >>> bool((normals(7, 3) == normals(7, 4)[:3]).all())
    True
    """
    pairs = (n + 1) // 2
    radius, angle = uniforms(seed, MAX_SLATE + 2 * pairs)[MAX_SLATE:].reshape(pairs, 2).T
    length = np.sqrt(-2.0 * np.log1p(-radius))
    turns = 2.0 * np.pi * angle
    found: NDArray[np.float64] = np.stack([length * np.cos(turns), length * np.sin(turns)], axis=1).ravel()[:n]
    return found


def weight_shift(root: NDArray[np.float64], scale: float, seed: int) -> NDArray[np.float64]:
    """Return what the draw of the seed adds to the weights, shape (f,).

    Args:
        root: (f, f) lower-triangular root of the posterior covariance.
        scale: of the posterior's standard deviations; 1 is the posterior itself, 0 its mean.
        seed: of the slate.

    >>> weight_shift(np.zeros((2, 2)), 1.0, seed=1).tolist()
    [0.0, 0.0]
    """
    shift: NDArray[np.float64] = scale * (root @ normals(seed, len(root)))
    return shift
