"""Features of the item itself: its popularity, the rate of its clicks, and its age."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from online.core.decay import DAY_S

from .feature import Feature, Group, State
from .scene import Scene

CTR_PRIOR_IMPRESSIONS = 20.0
NEW_HALF_LIFE_S = 7 * DAY_S

_COUNTS: tuple[State, ...] = ("items",)

FEATURES = (
    Feature("popularity", 0.8, "log_share", _COUNTS, "catalogue"),  # of the most popular candidate's
    Feature("trend", 0.3, "log_share", _COUNTS, "catalogue"),  # the recent part of its popularity
    Feature("ctr", 0.5, "log_ratio", _COUNTS, "catalogue"),  # clicks per impression, shrunk to the mean, against it
    Feature("age", 0.1, "fade", ("items", "catalogue"), "catalogue"),
)


def _fill(x: NDArray[np.float32], scene: Scene) -> None:
    popular, trend, ctr, age = x.T
    table, rows = scene.table, scene.found.rows
    totals = table.totals[rows]
    popularity = np.log1p(totals[:, : table.halves] * table.fading(scene.now))
    middle = popularity[:, table.halves // 2]
    popular[:] = middle / max(float(middle.max(initial=0.0)), 1e-9)
    trend[:] = popularity[:, 0] / np.maximum(middle, 1e-9)
    impressions, clicks = totals[:, table.halves], totals[:, table.halves + 1]
    seen, clicked = float(impressions.sum()), float(clicks.sum())
    if seen > 0.0 and clicked > 0.0:
        mean = min(clicked / seen, 1.0)
        rate = (clicks + CTR_PRIOR_IMPRESSIONS * mean) / (impressions + CTR_PRIOR_IMPRESSIONS)
        ctr[:] = np.log(rate / mean)
    age[:] = np.exp2(-np.maximum(scene.now - table.created[rows], 0.0) / NEW_HALF_LIFE_S)


ITEM = Group("item", FEATURES, _fill)
