"""Features of what the session did with the candidate itself: how, how often, how long ago, and what since."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from online.core.kernel import kernel
from online.core.record import TYPE_CODES
from online.core.row_lists import places

from .feature import Feature, Group, State
from .scene import Scene

FRESH_S = 60.0  # after this time a touch counts half as fresh

_READS: tuple[State, ...] = ("request", "record")
_CLICKS = frozenset(TYPE_CODES[name] for name in ("click", "add_to_cart", "purchase"))

FEATURES = (
    Feature("viewed_rank", 0.0, "reciprocal", _READS, "behavioural"),  # 1 / its place among items last touched
    Feature("viewed_fresh", 0.0, "fade", _READS, "behavioural"),
    Feature("clicked_rank", 0.0, "reciprocal", _READS, "behavioural"),  # the same where the last touch was a click
    Feature("clicked_fresh", 0.0, "fade", _READS, "behavioural"),
    Feature("touches", 0.0, "log", _READS, "behavioural"),
)


def _fill(x: NDArray[np.float32], scene: Scene) -> None:
    profile = scene.profile
    if not profile.touches:
        return
    latest_first = profile.touched[::-1].copy()
    times = np.array([touch.time for touch in profile.touches[::-1]])
    is_click = np.array([touch.type_code in _CLICKS for touch in profile.touches[::-1]])
    at = places(latest_first, scene.found.rows)
    _recall(x, at, latest_first, is_click, times, profile.now)


@kernel
def _recall(
    x: NDArray[np.float32],  # (c, len(FEATURES))
    at: NDArray[np.int32],  # (c,) its last touch
    touched: NDArray[np.int32],  # (t,) rows, latest first
    is_click: NDArray[np.bool_],  # (t,)
    times: NDArray[np.float64],  # (t,)
    now: float,
) -> None:
    for i in range(len(x)):
        if at[i] < 0:
            continue
        last = at[i]
        place = 1  # among the items touched last
        for j in range(last):
            place += not (touched[:j] == touched[j]).any()
        column = 2 if is_click[last] else 0
        x[i, column] = 1.0 / place
        x[i, column + 1] = 1.0 / (1.0 + max(now - times[last], 0.0) / FRESH_S)
        x[i, 4] = np.log1p((touched == touched[last]).sum())


TOUCH = Group("touch", FEATURES, _fill)
