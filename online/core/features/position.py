"""The slot as a feature: learned from where an item was shown, fixed to the first slot when serving."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .feature import Feature, Group
from .scene import Scene

REFERENCE_POSITION = 1

FEATURES = (Feature("position", 1.0, "reciprocal", ("request",), "contextual"),)


def position_feature(position: int) -> float:
    """Return the examination proxy of a slot, the discount of DCG (Järvelin & Kekäläinen 2002).

    >>> position_feature(1), position_feature(3)
    (1.0, 0.5)
    """
    return float(1.0 / np.log2(1.0 + position))


def _fill(x: NDArray[np.float32], scene: Scene) -> None:
    x[:, 0] = position_feature(REFERENCE_POSITION)


POSITION = Group("position", FEATURES, _fill)
