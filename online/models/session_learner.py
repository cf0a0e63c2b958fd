"""The session models together: each click is predicted, learned by the blend, then folded into index and rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from online.core.kernel import splitmix64
from online.models.sequential_rules import SequentialRules
from online.models.session_blend import SessionBlend
from online.models.session_candidates import SessionCandidates, session_candidates
from online.models.session_knn import SessionKnn

ALL_UP_TO = 50_000  # clicks that the blend learns one and all; later ones are sampled
SAMPLED = 0.25


class Click(NamedTuple):
    """A click of a session on an item row."""

    session: int  # 64-bit key
    row: int
    timestamp: float  # epoch seconds
    was: int = 0  # the key that the session has had until this click, 0 when it keeps the one it has


def fold_clicks(knn: SessionKnn, rules: SequentialRules, clicks: Sequence[Click]) -> None:
    """Fold clicks into the index and the rules, in order: as one by one, at a call of each for all that keep their key.

    A late click is learned as following what its session had clicked before it.

    >>> from online.models.sequential_rules import SequentialRulesConfig
    >>> from online.models.session_knn import SessionKnnConfig
    >>> knn, rules = SessionKnn(SessionKnnConfig(sessions=100)), SequentialRules(SequentialRulesConfig())
    >>> fold_clicks(knn, rules, [Click(1, 4, 0.0), Click(1, 7, 1.0), Click(2, 9, 2.0, was=1)])
    >>> knn.context(2, 2.0).tolist()
    [4, 7, 9]
    """
    first = 0
    for n, click in enumerate(clicks):
        if click.was:
            _fold(knn, rules, clicks[first:n])
            knn.move(click.was, click.session)
            first = n
    _fold(knn, rules, clicks[first:])


def _fold(knn: SessionKnn, rules: SequentialRules, clicks: Sequence[Click]) -> None:
    keys = np.array([click.session for click in clicks], np.uint64)
    rows = np.array([click.row for click in clicks], np.int32)
    timestamps = np.array([click.timestamp for click in clicks], np.float64)
    rules.learn_many(knn.learn_many(keys, rows, timestamps, rules.config.depth), rows, timestamps)


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
    ...         learner.learn_one(Click(session, item, float(session)))
    >>> learner.ranked(learner.candidates(np.array([4], np.int32), 1, 3.0), np.array([4], np.int32))[0]
    np.int32(7)
    """

    def __init__(self, knn: SessionKnn, rules: SequentialRules, blend: SessionBlend) -> None:
        self.knn, self.rules, self.blend = knn, rules, blend

    def candidates(
        self, context: NDArray[np.int32], clicks: int, now: float, own: int | None = None
    ) -> SessionCandidates:
        """Return the candidates for a session's distinct rows, oldest first; see `session_candidates`."""
        return session_candidates(self.knn, self.rules, context, clicks=clicks, now=now, own=own)

    def ranked(self, found: SessionCandidates, context: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the candidates by utility, best first, ties by row; without the last item where it may not be next."""
        utilities = self.blend.utilities(found.features, len(context))
        order = np.argsort(-utilities, kind="stable")
        rows = found.rows[order]
        return rows if self.blend.config.repeats else rows[rows != context[-1]]

    def learn_one(self, click: Click) -> None:
        """Learn a click; see `learn_many`."""
        self.learn_many([click])

    def learn_many(self, clicks: Sequence[Click]) -> None:
        """Let the blend learn each click of its sample from the state before it, and fold all, in order."""
        first = 0
        for n, click in enumerate(clicks):
            if self._is_sampled(click):
                fold_clicks(self.knn, self.rules, clicks[first:n])
                first = n
                self._learn_before(click)
        fold_clicks(self.knn, self.rules, clicks[first:])

    def _is_sampled(self, click: Click) -> bool:
        """Say whether the blend learns a click: all of the first, then a share by hash."""
        if self.blend.clicks < ALL_UP_TO:
            return True
        drawn = splitmix64(np.uint64(click.session) ^ np.float64(click.timestamp).view(np.uint64))
        return int(drawn) < SAMPLED * 2.0**64

    def _learn_before(self, click: Click) -> None:
        if click.was:
            self.knn.move(click.was, click.session)
        context = self.knn.context(click.session, click.timestamp)
        if len(context):
            found = self.candidates(context, self.knn.clicks(click.session), click.timestamp, own=click.session)
            self.learn_blend(found, context, click.row)

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
