"""Features of the situation: device, referrer, place and hour, from the request's context, else the record's latest.

They are the same for all candidates but `local`, and so tell a linear model of clicks as such; what they say of
candidates is in the crosses.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from online.core.decay import DAY_S

from .feature import Feature, Group, State
from .scene import Scene

_ASKED: tuple[State, ...] = ("request", "record")
_MOBILE = frozenset({"mobile", "phone", "smartphone", "android", "ios", "iphone", "app"})
_SEARCH = re.compile(r"google|bing|duckduckgo|yahoo|baidu|yandex|ecosia|qwant|search", re.IGNORECASE)

FEATURES = (
    Feature("mobile", 0.0, "flag", _ASKED, "contextual"),  # by `device`
    Feature("from_search", 0.0, "flag", _ASKED, "contextual"),  # by `referrer`
    Feature("hour_sin", 0.0, "cycle", _ASKED, "contextual"),  # by `hour` of the day, else the moment's in UTC
    Feature("hour_cos", 0.0, "cycle", _ASKED, "contextual"),
    Feature("local", 0.0, "flag", (*_ASKED, "catalogue"), "contextual"),  # the item is of the `region`
    Feature("guest", 0.0, "flag", ("record",), "contextual"),  # nothing is known of who asks
)


def hour_of_day(context: dict[str, str | bool | int | float | None], now: float) -> float:
    """Return the hour of the day, 0 to 24: the client's own, else that of the moment in UTC.

    >>> hour_of_day({"hour": 22}, now=0.0), hour_of_day({}, now=1.5 * 3600)
    (22.0, 1.5)
    """
    given = context.get("hour")
    if isinstance(given, int | float) and 0.0 <= given <= 24.0:
        return float(given)
    return now % DAY_S / 3600.0


def _fill(x: NDArray[np.float32], scene: Scene) -> None:
    record, table = scene.profile.record, scene.table
    context = {**record.context, **scene.context}
    angle = 2.0 * np.pi * hour_of_day(context, scene.profile.now) / 24.0
    x[:, :4] = (
        str(context.get("device", "")).lower() in _MOBILE,
        _SEARCH.search(str(context.get("referrer", ""))) is not None,
        np.sin(angle),
        np.cos(angle),
    )
    region = table.regions.codes.get(str(context.get("region", "")))
    if region is not None:
        x[:, 4] = (table.region[scene.found.rows] == region).any(axis=1)
    x[:, 5] = not record.counts


CONTEXT = Group("context", FEATURES, _fill)
