"""Features of price: the candidate's against the mean of the session's items and of those the user touched lately.

Prices compare by their logarithms, so that the mean is the geometric one. What has no price says nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from online.core.kernel import kernel

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
    _compare(x[:, :2], scene.found.rows, prices, scene.session)
    _compare(x[:, 2:], scene.found.rows, prices, scene.profile.recent)


@kernel
def _compare(
    x: NDArray[np.float32],  # (c, 2) the ratio, with and without its sign
    rows: NDArray[np.int32],  # (c,)
    prices: NDArray[np.float64],  # by row, NaN where unknown
    others: NDArray[np.int32],  # rows, −1 for none
) -> None:
    total, known = 0.0, 0
    for row in others:
        if row >= 0 and not np.isnan(prices[row]):
            total += prices[row]
            known += 1
    if known == 0:
        return
    for i in range(len(x)):
        ratio = prices[rows[i]] - total / known
        if not np.isnan(ratio):
            x[i, 0] = min(max(ratio, -MOST), MOST)
            x[i, 1] = min(abs(ratio), MOST)


PRICE = Group("price", FEATURES, _fill)
