"""Fatigue: what a user was shown again and again and did nothing about.

The record keeps when items were shown (`online.core.shown`); what the user has done with them since is looked at here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .decay import DAY_S
from .item_table import ItemTable
from .record import UserRecord
from .row_lists import places

HALF_LIFE_S = DAY_S  # after which half of a showing is forgotten

Rows = NDArray[np.int32]


def ignored(record: UserRecord, now: float) -> dict[str, float]:
    """Return how often, as of `now`, each item was lately shown and left alone since: item -> times that have faded.

    >>> ignored(UserRecord(shown={"a": [0, 86_400], "b": [86_400]}, seen={"b": 86_400}), now=86_400.0)
    {'a': 1.5}
    """
    touched = {item_id: record.seen[item_id] for item_id in record.shown if item_id in record.seen}
    for touch in record.recent:
        if touch.item_id in record.shown:
            touched[touch.item_id] = max(touched.get(touch.item_id, 0), int(touch.time))
    found = {}
    for item_id, times in record.shown.items():
        since = touched.get(item_id, -1)
        times_ignored = sum(2.0 ** ((time - now) / HALF_LIFE_S) for time in times if since < time <= now)
        if times_ignored:
            found[item_id] = times_ignored
    return found


def fatigue(table: ItemTable, record: UserRecord, now: float, weight: float, rows: Rows) -> NDArray[np.float32] | None:
    """Return what is added to the utilities of rows (c,): −`weight` for each time that an item was ignored.

    None if that is nothing.

    >>> table = ItemTable(partitions=1)
    >>> rows = np.array([table.row("a"), table.row("b")], np.int32)
    >>> fatigue(table, UserRecord(shown={"b": [5, 5], "gone": [5]}), 5.0, 0.25, rows).tolist()
    [0.0, -0.5]
    """
    if weight == 0.0 or not record.shown:
        return None
    found = ignored(record, now)
    at = places(table.ids.known(found), rows)
    times = np.array([*found.values(), 0.0])  # the last for those that are nowhere
    taken_off = (-weight * times[at]).astype(np.float32) + np.float32(0.0)
    return taken_off if taken_off.any() else None
