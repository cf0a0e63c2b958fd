"""Features of the item itself: its popularity, the rate of its clicks, and its age."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from online.core.decay import DAY_S
from online.core.kernel import kernel

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
    table, rates = scene.table, scene.rates
    _count(
        x, scene.found.rows, table.totals, table.fading(scene.profile.now), table.created, scene.profile.now,
        table.category, table.brand, table.tier,
        rates.category, rates.brand, rates.tier, rates.mean, rates.item_strength,
    )  # fmt: skip
    _divide_by_best(x)


@kernel
def _count(
    x: NDArray[np.float32],  # (c, len(FEATURES))
    rows: NDArray[np.int32],  # (c,)
    totals: NDArray[np.float64],  # (items, width), as `ItemTable` has them
    fading: NDArray[np.float64],  # (half-lives,)
    created: NDArray[np.float64],
    now: float,
    category: NDArray[np.int32],
    brand: NDArray[np.int32],
    tier: NDArray[np.int32],
    category_rates: NDArray[np.float64],  # by code, and 0 at the end
    brand_rates: NDArray[np.float64],
    tier_rates: NDArray[np.float64],
    mean: float,
    strength: float,
) -> None:
    halves = len(fading)
    shown_at, middle, slowest = halves, halves // 2, fading[halves - 1]
    for i in range(len(x)):
        row = rows[i]
        recent, popular = np.log1p(totals[row, 0] * fading[0]), np.log1p(totals[row, middle] * fading[middle])
        x[i, 0] = popular + np.log1p(totals[row, totals.shape[1] - 1])
        x[i, 1] = popular
        x[i, 2] = recent / max(popular, 1e-9)
        for kind in range(3):  # clicks, carts, purchases
            if totals[row, shown_at + 1 + kind] > 0.0:
                x[i, 3 + kind] = np.log1p(totals[row, shown_at + 1 + kind] * slowest)
        parent = _of(category_rates, category[row, 0])
        if mean > 0.0:
            shown = totals[row, shown_at]
            clicked = min(totals[row, shown_at + 1], shown)
            x[i, 6] = np.log((clicked + strength * mean * np.exp(parent)) / (shown + strength) / mean)
        x[i, 7], x[i, 8], x[i, 9] = parent, _of(brand_rates, brand[row]), _of(tier_rates, tier[row])
        x[i, 10] = np.exp2(-max(now - created[row], 0.0) / NEW_HALF_LIFE_S)


@kernel
def _of(rates: NDArray[np.float64], code: int) -> float:
    """Return the rate of a code; what has none, or one newer than the rates, has that of everything."""
    return float(rates[code]) if 0 <= code < len(rates) - 1 else 0.0


@kernel
def _divide_by_best(x: NDArray[np.float32]) -> None:
    for column in (0, 1, 3, 4, 5):
        best = np.float32(1e-9)
        for i in range(len(x)):
            best = max(best, x[i, column])
        for i in range(len(x)):
            x[i, column] /= best


ITEM = Group("item", FEATURES, _fill)
