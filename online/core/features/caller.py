"""Features of a list that the caller has put in order and asks to have ranked: its order, and the prices it shows.

All are 0 where candidates come from retrieval.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .feature import Feature, Group, State
from .scene import Scene

_ASKED: tuple[State, ...] = ("request",)
_TOUCHED: tuple[State, ...] = ("request", "record")
PRICE_SPREAD = 1.0  # differences of log prices count up to it

FEATURES = (
    Feature("caller_rank", 0.0, "reciprocal", _ASKED, "catalogue"),
    Feature("caller_log_rank", 0.0, "log", _ASKED, "catalogue"),  # the negative logarithm of the rank
    Feature("caller_first", 0.0, "flag", _ASKED, "catalogue"),
    Feature("caller_rank_untouched", 0.0, "reciprocal", _TOUCHED, "behavioural"),  # unless it has what was touched last
    Feature("below_last", 0.0, "reciprocal", _TOUCHED, "behavioural"),  # 1 / places below the item touched last
    Feature("above_last", 0.0, "reciprocal", _TOUCHED, "behavioural"),
    Feature("passed", 0.0, "flag", _TOUCHED, "behavioural"),  # stands above the item touched last
    Feature("list_price", 0.0, "log_ratio", _ASKED, "catalogue"),  # against the list's median
    Feature("last_price_gap", 0.0, "log_ratio", _TOUCHED, "behavioural"),  # from the item touched last, either way
)


def _fill(x: NDArray[np.float32], scene: Scene) -> None:
    listed = scene.listed
    if listed is None or not len(scene.found.rows):
        return
    rank, log_rank, first, untouched, below, above, passed, list_price, price_gap = x.T
    ranks = np.arange(1, len(scene.found.rows) + 1)
    rank[:], log_rank[:], first[:] = 1.0 / ranks, -np.log(ranks), ranks == 1
    prices = np.log(np.where(listed > 0.0, listed, np.nan))
    if not np.isnan(prices).all():
        list_price[:] = np.nan_to_num(prices - np.nanmedian(prices)).clip(-PRICE_SPREAD, PRICE_SPREAD)
    at = _last_touched(scene)
    if at is None:
        untouched[:] = rank
        return
    behind = ranks - 1 - at
    below[:], above[:] = (behind > 0) / np.maximum(behind, 1), (behind < 0) / np.maximum(-behind, 1)
    passed[:] = behind < 0
    price_gap[:] = np.nan_to_num(np.abs(prices - prices[at])).clip(0.0, PRICE_SPREAD)


def _last_touched(scene: Scene) -> int | None:
    """Return where the item touched last stands in the list, if it does."""
    touched = scene.profile.touched
    places = np.flatnonzero(scene.found.rows == touched[-1]) if len(touched) else touched
    return int(places[0]) if len(places) else None


CALLER = Group("caller", FEATURES, _fill)
