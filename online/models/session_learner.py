"""The session models together: each click is predicted, learned by the blend, then folded into index and rules."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from online.core.kernel import splitmix64
from online.models.sequential_rules import SequentialRules
from online.models.session_blend import SessionBlend
from online.models.session_candidates import SessionCandidates, session_candidates
from online.models.session_knn import SessionKnn

ALL_UP_TO = 50_000  # clicks that the blend learns one and all; later ones are sampled
SAMPLED = 0.25


def fold_click(knn: SessionKnn, rules: SequentialRules, session: int, row: int, timestamp: float) -> None:
    """Fold one click into the rules and the index: `session` a 64-bit key, `timestamp` epoch seconds.

    A late click is learned as following what its session had clicked before it.
    """
    rules.learn_one(knn.context(session, timestamp), row, timestamp)
    knn.learn_one(session, row, timestamp)


class SessionLearner:
    """Index, rules and the blend of both.

    >>> from online.models.sequential_rules import SequentialRulesConfig
    >>> from online.models.session_blend import SessionBlendConfig
    >>> from online.models.session_knn import SessionKnnConfig
    >>> blend = SessionBlend(SessionBlendConfig())
    >>> knn, rules = SessionKnn(SessionKnnConfig(sessions=100)), SequentialRules(SequentialRulesConfig())
    >>> learner = SessionLearner(knn, rules, blend)
    >>> for session in range(3):
    ...     for item in (4, 7):
    ...         learner.learn_one(session, item, float(session))
    >>> learner.ranked(learner.candidates(np.array([4], np.int32), 3.0), np.array([4], np.int32))[0]
    np.int32(7)
    """

    def __init__(self, knn: SessionKnn, rules: SequentialRules, blend: SessionBlend) -> None:
        self.knn, self.rules, self.blend = knn, rules, blend

    def candidates(self, context: NDArray[np.int32], now: float, own: int | None = None) -> SessionCandidates:
        """Return the candidates for a session's distinct rows, oldest first; see `session_candidates`."""
        return session_candidates(self.knn, self.rules, context, now=now, own=own)

    def ranked(self, found: SessionCandidates, context: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the candidates by utility, best first, ties by row; without the last item where it may not be next."""
        utilities = self.blend.utilities(found.features, len(context))
        order = np.argsort(-utilities, kind="stable")
        rows = found.rows[order]
        return rows if self.blend.config.repeats else rows[rows != context[-1]]

    def learn_one(self, session: int, row: int, timestamp: float) -> None:
        """Let the blend learn the click, if it is of its sample, then fold it."""
        if self.is_sampled(session, timestamp):
            context = self.knn.context(session, timestamp)
            if len(context):
                self.learn_blend(self.candidates(context, timestamp, own=session), context, row)
        fold_click(self.knn, self.rules, session, row, timestamp)

    def is_sampled(self, session: int, timestamp: float) -> bool:
        """Say whether the blend learns the next click: all of the first, then a share by hash."""
        if self.blend.clicks < ALL_UP_TO:
            return True
        with np.errstate(over="ignore"):
            drawn = splitmix64(np.uint64(session) ^ np.float64(timestamp).view(np.uint64))
        return int(drawn) < SAMPLED * 2.0**64

    def learn_blend(self, found: SessionCandidates, context: NDArray[np.int32], row: int) -> None:
        """Let the blend learn which candidate was next; nothing where it was none of them, or may not be next."""
        features, rows = found.features, found.rows
        if not self.blend.config.repeats:
            if row == context[-1]:
                return
            is_open = rows != context[-1]
            features, rows = features[is_open], rows[is_open]
        at = int(np.searchsorted(rows, row))
        if at < len(rows) and rows[at] == row:
            self.blend.learn_one(features, at, len(context))
