"""Features of what the session did with the candidate itself: how, how often, how long ago, and what since."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from online.core.record import TYPE_CODES
from online.core.session import session_touches

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
    touches = session_touches(scene.record.recent, scene.now)
    if not touches:
        return
    codes = scene.table.ids.codes
    places: dict[int, int] = {}  # row -> place among the items touched last, from 1
    counts: dict[int, int] = {}
    last: dict[int, tuple[bool, float]] = {}  # row -> whether its last touch was a click, and its age
    for touch in reversed(touches):
        row = codes.get(touch.item_id, -1)
        counts[row] = counts.get(row, 0) + 1
        if row not in places:
            places[row] = len(places) + 1
            last[row] = touch.type_code in _CLICKS, max(scene.now - touch.time, 0.0)
    for i in np.flatnonzero(np.isin(scene.found.rows, list(places))).tolist():
        row = int(scene.found.rows[i])
        is_click, age = last[row]
        x[i, 2 * is_click] = 1.0 / places[row]
        x[i, 2 * is_click + 1] = 1.0 / (1.0 + age / FRESH_S)
        x[i, 4] = np.log1p(counts[row])


TOUCH = Group("touch", FEATURES, _fill)
