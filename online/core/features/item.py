"""Features of the item itself: its popularity, the rate of its clicks, and its age."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from online.core.decay import DAY_S
from online.core.rates import facet

from .feature import Feature, Group, State
from .scene import Scene

NEW_HALF_LIFE_S = 7 * DAY_S

_COUNTS: tuple[State, ...] = ("items",)

FEATURES = (
    Feature("standing", 1.2, "log_share", _COUNTS, "catalogue"),  # popularity of days and of all time together
    Feature("popularity", 0.0, "log_share", _COUNTS, "catalogue"),  # of the most popular candidate's
    Feature("trend", 0.1, "log_share", _COUNTS, "catalogue"),  # the recent part of its popularity
    Feature("clicks", 0.0, "log_share", _COUNTS, "catalogue"),
    Feature("carts", 0.0, "log_share", _COUNTS, "catalogue"),
    Feature("purchases", 0.0, "log_share", _COUNTS, "catalogue"),
    Feature("ctr", 0.5, "log_ratio", ("items", "catalogue"), "catalogue"),  # clicks per impression, against the mean
    Feature("category_ctr", 0.0, "log_ratio", ("items", "catalogue"), "catalogue"),
    Feature("brand_ctr", 0.0, "log_ratio", ("items", "catalogue"), "catalogue"),
    Feature("price_tier_ctr", 0.0, "log_ratio", ("items", "catalogue"), "catalogue"),
    Feature("age", 0.1, "fade", ("items", "catalogue"), "catalogue"),
)


def _fill(x: NDArray[np.float32], scene: Scene) -> None:
    standing, popular, trend, _, _, _, ctr, category_ctr, brand_ctr, tier_ctr, age = x.T
    table, rates, rows = scene.table, scene.rates, scene.found.rows
    totals = table.totals[rows]
    popularity = np.log1p(totals[:, : table.halves] * table.fading(scene.now))
    middle = popularity[:, table.halves // 2]
    stands = table.standing(rows, scene.now)
    standing[:] = stands / max(float(stands.max(initial=0.0)), 1e-9)
    popular[:] = middle / max(float(middle.max(initial=0.0)), 1e-9)
    trend[:] = popularity[:, 0] / np.maximum(middle, 1e-9)
    counts = np.log1p(totals[:, table.halves + 1 : -1] * table.fading(scene.now)[-1])  # clicks, carts, purchases
    x[:, 3:6] = counts / np.maximum(counts.max(axis=0, initial=0.0), 1e-9)
    ctr[:] = rates.items(table, rows)
    category_ctr[:] = facet(rates.category, table.category[rows, 0])
    brand_ctr[:] = facet(rates.brand, table.brand[rows])
    tier_ctr[:] = facet(rates.tier, table.tier[rows])
    age[:] = np.exp2(-np.maximum(scene.now - table.created[rows], 0.0) / NEW_HALF_LIFE_S)


ITEM = Group("item", FEATURES, _fill)
