"""Features of what the user has looked at: ever, and within the session."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .feature import Feature, Group, State
from .scene import Scene

_SESSION: tuple[State, ...] = ("request", "record")

FEATURES = (
    Feature("seen", -0.4, "flag", ("record",), "behavioural"),
    Feature("in_session", -0.6, "flag", _SESSION, "behavioural"),
    Feature("last_category", 0.5, "flag", (*_SESSION, "catalogue"), "behavioural"),  # that of the session's last item
)


def _fill(x: NDArray[np.float32], scene: Scene) -> None:
    seen, in_session, last_category = x.T
    table, rows, session = scene.table, scene.found.rows, scene.session
    ids = table.ids.codes
    seen[:] = np.isin(rows, np.array([ids[item] for item in scene.record.seen if item in ids], np.int32))
    in_session[:] = np.isin(rows, session)
    if len(session):
        last = table.category[session[-1], 0]
        last_category[:] = (table.category[rows, 0] == last) & (last >= 0)


SESSION = Group("session", FEATURES, _fill)
