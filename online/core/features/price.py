"""Features of price: the candidate's against the mean of the session's items and of those the user touched lately.

Prices compare by their logarithms, so that the mean is the geometric one. What has no price says nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .feature import Feature, Group, State
from .scene import Scene

_SESSION: tuple[State, ...] = ("request", "record", "catalogue")
_USER: tuple[State, ...] = ("record", "catalogue")
MOST = 3.0  # a twentieth or twenty times as much: further away is no other matter

FEATURES = (
    Feature("price_session", 0.0, "log_ratio", _SESSION, "behavioural"),
    Feature("price_session_gap", 0.0, "log_ratio", _SESSION, "behavioural"),  # without the sign
    Feature("price_user", 0.0, "log_ratio", _USER, "behavioural"),
    Feature("price_user_gap", 0.0, "log_ratio", _USER, "behavioural"),
)


def _fill(x: NDArray[np.float32], scene: Scene) -> None:
    prices = scene.table.log_price
    recent = scene.table.rows(touch.item_id for touch in scene.record.recent)
    own = prices[scene.found.rows]
    for column, others in ((0, scene.session), (2, recent)):
        known = prices[others]
        known = known[~np.isnan(known)]
        if len(known):
            ratio = np.clip(np.nan_to_num(own - known.mean()), -MOST, MOST)
            x[:, column], x[:, column + 1] = ratio, np.abs(ratio)


PRICE = Group("price", FEATURES, _fill)
