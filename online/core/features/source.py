"""Features of retrieval: how much each source makes of a candidate, and where it ranks it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from online.core.kernel import kernel
from online.core.policy_document import SOURCES

from .feature import Feature, Group, Kind, PolicyClass, State
from .scene import Scene

_SCORED: dict[str, tuple[Kind, float]] = {
    "session_knn": ("share", 0.0),
    "vectors": ("cosine", 0.6),
    "audience": ("share", 0.5),
    "session_blend": ("share", 0.0),
}
"""Sources whose scores tell more than their order: what the score becomes, and its prior."""

_READS: dict[str, tuple[State, ...]] = {
    "session_knn": ("request", "record", "sessions"),
    "vectors": ("request", "record", "vectors"),
    "audience": ("request", "record", "catalogue"),
    "rules": ("request", "record", "sessions"),
    "session_blend": ("request", "record", "sessions", "blend"),
    "affinity": ("record", "items", "catalogue"),
}
_LISTED: tuple[State, ...] = ("items", "catalogue")  # lists that are the same for everybody


def _policy(source: str) -> PolicyClass:
    return "behavioural" if source in _READS else "catalogue"


FEATURES = (
    *(Feature(f"{s}_score", prior, kind, _READS[s], _policy(s)) for s, (kind, prior) in _SCORED.items()),
    *(Feature(f"{s}_rank", 0.0, "reciprocal", _READS.get(s, _LISTED), _policy(s)) for s in SOURCES),
    Feature("untaught_neighbour", 1.4, "fade", _READS["session_blend"], "behavioural"),  # see `untaught_category`
    Feature("session_odds", 1.2, "log_share", _READS["session_blend"], "behavioural"),
)
ODDS_RANGE = 10.0  # log-odds below the likeliest that count as none at all
ODDS_UNIT = 2.0  # so many weigh as much as the whole of `standing` before anything is learned
UNTAUGHT_PART = 0.7  # of the odds, what waits for clicks to have taught the blend
_SCORES = np.array([SOURCES.index(source) for source in _SCORED])
_IS_SHARE = np.array([kind == "share" for kind, _ in _SCORED.values()])


def _fill(x: NDArray[np.float32], scene: Scene) -> None:
    _tell(x, scene.found.scores, scene.found.ranks, scene.found.odds, scene.untaught, _SCORES, _IS_SHARE)


@kernel
def _tell(
    x: NDArray[np.float32],  # (c, len(FEATURES))
    scores: NDArray[np.float64],  # (c, s)
    ranks: NDArray[np.int32],  # (c, s)
    odds: NDArray[np.float64],  # (c,)
    untaught: float,
    told: NDArray[np.int64],  # sources whose scores are told
    is_share: NDArray[np.bool_],
) -> None:
    for column in range(len(told)):
        source, best = told[column], 0.0
        if is_share[column]:
            for i in range(len(x)):
                best = max(best, scores[i, source])
        for i in range(len(x)):
            x[i, column] = scores[i, source] / best if best > 0.0 else scores[i, source]
    for i in range(len(x)):
        for source in range(ranks.shape[1]):
            if ranks[i, source] > 0:
                x[i, len(told) + source] = 1.0 / ranks[i, source]
        x[i, x.shape[1] - 2] = untaught * x[i, 0]
        x[i, x.shape[1] - 1] = (1.0 - UNTAUGHT_PART * untaught) * max(ODDS_RANGE + odds[i], 0.0) / ODDS_UNIT


SOURCE = Group("source", FEATURES, _fill)
