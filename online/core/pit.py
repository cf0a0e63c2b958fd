"""The randomised probability integral transform: are draws distributed as their logged probabilities say?

For a draw x from a discrete distribution, F(x−) + V·p(x) with V uniform is itself uniform exactly when p is the true
distribution (Rüschendorf, J. Statist. Plann. Inference 139 (2009), 3921); Czado, Gneiting and Held (Biometrics 65
(2009), 1254) judge count forecasts by it. Distributions may differ from draw to draw, as a slate's do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def randomised_pit(
    distributions: NDArray[np.float64], chosen: NDArray[np.int64], draws: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the transform of each row's draw, shape (n,); outcomes are ordered by rising probability.

    In that order a distribution that is too sharp or too flat moves all transforms the same way, while in the order of
    the columns it would move them here and there.

    Args:
        distributions: (n, c) probabilities, each row sums to 1.
        chosen: (n,) columns drawn.
        draws: (n,) uniform numbers, independent of the choices.

    >>> randomised_pit(np.array([[0.25, 0.75]]), np.array([1]), np.array([0.5])).tolist()
    [0.625]
    """
    rows = np.arange(len(chosen))
    order = np.argsort(distributions, axis=1, kind="stable")
    place = np.argsort(order, axis=1, kind="stable")[rows, chosen]
    below = np.cumsum(np.take_along_axis(distributions, order, axis=1), axis=1)[rows, place]
    p = distributions[rows, chosen]
    transform: NDArray[np.float64] = below - p + draws * p
    return transform


def uniformity(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the Kolmogorov-Smirnov distance of values (n,) from the uniform distribution, and its p-value.

    The p-value is Kolmogorov's limit with Stephens' correction for finite n (J. R. Statist. Soc. B 32 (1970), 115).

    >>> distance, p = uniformity(np.arange(0.5, 100) / 100)
    >>> round(distance, 3), round(p, 3)
    (0.005, 1.0)
    >>> uniformity(np.full(100, 0.9))[1] < 1e-9
    True
    """
    n = len(values)
    if n == 0:
        return 0.0, 1.0
    ordered, steps = np.sort(values), np.arange(1, n + 1) / n
    distance = float(max((steps - ordered).max(), (ordered - steps).max() + 1.0 / n))
    reach = (np.sqrt(n) + 0.12 + 0.11 / np.sqrt(n)) * distance
    k = np.arange(1, 101)
    terms = np.where(k % 2, 1.0, -1.0) * np.exp(-2.0 * (k * reach) ** 2)
    p = 2.0 * float(terms.sum()) if reach > 0.2 else 1.0  # below, the series needs more terms to say 1
    return distance, min(max(p, 0.0), 1.0)
