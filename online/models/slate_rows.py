"""The rows of an example as learners read them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from online.core.example import CLICK, Example, outcomes_of
from online.core.features import INDEX, NAMES, position_feature

Floats = NDArray[np.float64]


class SlateRows(NamedTuple):
    """The seen rows of one slate, in slot order."""

    surface: str
    features: Floats  # (n, len(FEATURES)), the position feature that of the slot
    outcomes: NDArray[np.int64]  # (n,) sums of CLICK, CART and PURCHASE
    weights: Floats  # (n,) 1 / examination of clicked rows, 1 of others

    @property
    def clicked(self) -> NDArray[np.bool_]:
        """Which rows were clicked (n,)."""
        return self.outcomes & CLICK > 0


def probabilities(log_odds: Floats) -> Floats:
    """Return the probabilities (n,) of log-odds (n,).

    >>> probabilities(np.array([0.0])).tolist()
    [0.5]
    """
    return np.asarray(1.0 / (1.0 + np.exp(-log_odds)), np.float64)


def slate_rows(example: Example) -> SlateRows:
    """Return the rows of an example, each of weight 1.

    Raises:
        ValueError: its features are not those of this program, or its parts differ in length.

    >>> one = np.ones((1, len(NAMES)), np.float32).tobytes()
    >>> rows = slate_rows(Example("r", 0, "home", 0.0, "", list(NAMES), one, [3], [True]))
    >>> rows.features[0, INDEX["position"]], rows.clicked.tolist(), rows.weights.tolist()
    (np.float64(0.5), [True], [1.0])
    """
    if example.feature_names != list(NAMES):
        msg = f"example {example.recommendation_id} has other features than this program"
        raise ValueError(msg)
    features = np.frombuffer(example.features, np.float32).reshape(-1, len(NAMES)).astype(np.float64)
    outcomes = np.array(outcomes_of(example), np.int64)
    if not len(features) == len(example.positions) == len(example.clicked) == len(outcomes):
        msg = f"example {example.recommendation_id} has rows without position or label"
        raise ValueError(msg)
    features[:, INDEX["position"]] = [position_feature(slot) for slot in example.positions]
    return SlateRows(example.surface, features, outcomes, np.ones(len(outcomes)))
