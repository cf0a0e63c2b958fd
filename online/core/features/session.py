"""Features of what the user has looked at: ever, and within the session."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
)


def _fill(x: NDArray[np.float32], scene: Scene) -> None:
    seen, in_session, recency, count, of_category, of_brand, length, last_category = x.T
    table, rows, session = scene.table, scene.found.rows, scene.session
    seen[:] = np.isin(rows, table.rows(scene.record.seen))
    in_session[:] = np.isin(rows, session)
    if not len(session):
        return
    latest = session[: -LATEST - 1 : -1]  # latest first
    hits = rows[:, None] == latest  # (c, LATEST)
    recency[:] = hits.any(axis=1) / (1.0 + hits.argmax(axis=1))
    count[:] = np.log1p(hits.sum(axis=1))
    length[:] = np.log1p(len(session))
    for column, codes in ((of_category, table.category[:, 0]), (of_brand, table.brand)):
        own, others = codes[rows][:, None], codes[latest]
        column[:] = ((own == others) & (own >= 0)).mean(axis=1)
    last = table.category[session[-1], 0]
    last_category[:] = (table.category[rows, 0] == last) & (last >= 0)


SESSION = Group("session", FEATURES, _fill)
