"""Features of what the user has looked at: ever, and within the session."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from online.core.kernel import kernel
from online.core.row_lists import places

from .feature import Feature, Group, State
from .scene import Scene

LATEST = 20  # items of a session that counts and shares look at

_SESSION: tuple[State, ...] = ("request", "record")

FEATURES = (
    Feature("seen", -0.4, "flag", ("record",), "behavioural"),
    Feature("in_session", -0.6, "flag", _SESSION, "behavioural"),
    Feature("session_recency", 0.0, "reciprocal", _SESSION, "behavioural"),  # 1 / how many items ago, the last one 1
    Feature("session_count", 0.0, "log", _SESSION, "behavioural"),
    Feature("session_category", 0.0, "share", (*_SESSION, "catalogue"), "behavioural"),  # of the session's items
    Feature("session_brand", 0.0, "share", (*_SESSION, "catalogue"), "behavioural"),
    Feature("session_length", 0.0, "log", _SESSION, "behavioural"),
    Feature("last_category", 0.0, "flag", (*_SESSION, "catalogue"), "behavioural"),  # that of the session's last item
    # The same as long as few clicks have shown what follows what: then a category is the best guess there is.
    Feature("untaught_category", 0.9, "fade", (*_SESSION, "catalogue", "blend"), "behavioural"),
)


def _fill(x: NDArray[np.float32], scene: Scene) -> None:
    table, rows, session = scene.table, scene.found.rows, scene.session
    latest_first = session[::-1].copy()
    seen_at, session_at = places(scene.profile.seen, rows), places(latest_first, rows)
    _compare(x, rows, seen_at, session_at, latest_first, table.category, table.brand, scene.untaught)


@kernel
def _compare(
    x: NDArray[np.float32],  # (c, len(FEATURES))
    rows: NDArray[np.int32],  # (c,)
    seen_at: NDArray[np.int32],  # (c,) place among what was seen
    session_at: NDArray[np.int32],  # (c,) place in the session, latest first
    session: NDArray[np.int32],  # latest first
    category: NDArray[np.int32],
    brand: NDArray[np.int32],
    untaught: float,
) -> None:
    latest = session[:LATEST]
    length = np.log1p(len(session))
    for i in range(len(x)):
        x[i, 0] = seen_at[i] >= 0
        if len(session) == 0:
            continue
        x[i, 1] = session_at[i] >= 0
        if 0 <= session_at[i] < LATEST:
            x[i, 2] = 1.0 / (1.0 + session_at[i])
            x[i, 3] = np.log1p((latest == rows[i]).sum())
        own_category, own_brand = category[rows[i], 0], brand[rows[i]]
        of_category = of_brand = 0
        for row in latest:
            of_category += own_category >= 0 and category[row, 0] == own_category
            of_brand += own_brand >= 0 and brand[row] == own_brand
        x[i, 4], x[i, 5] = of_category / len(latest), of_brand / len(latest)
        x[i, 6] = length
        x[i, 7] = own_category >= 0 and category[session[0], 0] == own_category
        x[i, 8] = x[i, 7] * untaught


SESSION = Group("session", FEATURES, _fill)
