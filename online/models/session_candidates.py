"""Candidates for a session's next item: what session-kNN and the rules name, and what is known of each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from online.models.sequential_rules import SequentialRules
from online.models.session_knn import SessionKnn

FEATURES = (
    "knn",  # share of the neighbours' votes
    "knn_rank",  # 1 / rank by them
    "knn_next",  # share of the votes of neighbours where it directly follows the match
    "knn_next_of_two",  # the same, of those where it follows the session's last two items
    "after_last",  # shares of the rules of the session's last item, and of earlier ones
    "before_last",
    "after_earlier",
    "before_earlier",
    "two_hops",
    "is_last",  # the session's last item
    "in_session",  # 1 for the item before the last, less with each further back
    "is_last_again",  # the same two, times the logarithm of the session's clicks per distinct item
    "in_session_again",
    "sessions",  # that had the item
    "recent_clicks",  # on it
)
KNN_LIMIT, LIMIT = 120, 500
OLDER_DECAY = 0.7
_SHARE_UNIT, _HOP_UNIT = 1e-3, 3e-4  # shares well above count by their logarithm, those below in proportion
_KNN, _RANK, _NEXT, _RULES, _HOPS, _LAST, _AGAIN, _SESSIONS, _RECENT = 0, 1, 2, 4, 8, 9, 11, 13, 14


class SessionCandidates(NamedTuple):
    """Candidate rows in ascending order, their features, and the rows that each source alone ranks, best first."""

    rows: NDArray[np.int32]  # (c,)
    features: NDArray[np.float64]  # (c, len(FEATURES))
    by_knn: NDArray[np.int32]
    knn_scores: NDArray[np.float32]
    by_rules: NDArray[np.int32]
    rule_scores: NDArray[np.float64]


def distinct(rows: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return each row once, by its last occurrence, oldest first: the context as the models keep it.

    >>> distinct(np.array([5, 3, 5, 5, 4], np.int32)).tolist()
    [3, 5, 4]
    """
    return np.array(list(dict.fromkeys(rows[::-1].tolist()))[::-1], np.int32)


def session_candidates(
    knn: SessionKnn,
    rules: SequentialRules,
    context: NDArray[np.int32],
    *,
    clicks: int,
    now: float,
    own: int | None = None,
) -> SessionCandidates:
    """Return the candidates for a session.

    Args:
        knn: the index; where the session itself may be in it, `own` is its key.
        rules: the rules.
        context: the session's distinct rows (see `distinct`), oldest first; at least one.
        clicks: that the session has had, repeated ones included: who has come back to items does so again.
        now: epoch seconds.
        own: the session's key.
    """
    by_knn, scores, nexts = knn.votes(context, now=now, limit=KNN_LIMIT, own=own)
    followers = rules.query(context, now=now, limit=LIMIT)
    rows = np.unique(np.concatenate([by_knn, followers.rows, context[-_CONTEXT:]])).astype(np.int32)
    x = np.zeros((len(rows), len(FEATURES)))
    if len(by_knn):
        at = np.searchsorted(rows, by_knn)
        x[at, _KNN] = _damped(scores / scores.sum(), _SHARE_UNIT)
        x[at, _RANK] = 1.0 / np.arange(1, len(at) + 1)
        x[at, _NEXT:_RULES] = _damped(nexts / np.maximum(nexts.sum(axis=0), 0.01), _SHARE_UNIT)
    at = np.searchsorted(rows, followers.rows)
    x[at, _RULES:_HOPS] = _damped(followers.shares[:, :-1], _SHARE_UNIT)
    x[at, _HOPS] = _damped(followers.shares[:, -1], _HOP_UNIT)
    latest = context[-_CONTEXT:][::-1]
    at = np.searchsorted(rows, latest)
    x[at[0], _LAST] = 1.0
    x[at[1:], _LAST + 1] = OLDER_DECAY ** np.arange(len(latest) - 1)
    x[:, _AGAIN : _AGAIN + 2] = np.log(max(clicks / len(context), 1.0)) * x[:, _LAST : _LAST + 2]
    x[:, _SESSIONS] = np.log1p(knn.session_counts(rows))
    x[:, _RECENT] = np.log(rules.recent_clicks(rows, now) + 0.1)
    ahead, others = followers.shares[:, 0], followers.shares[:, 1:].sum(axis=1)
    order = np.lexsort((followers.rows, -others, -ahead))  # what followed the last item, then what else came with it
    return SessionCandidates(rows, x, by_knn, scores, followers.rows[order], ahead[order])


def lasting_features(found: SessionCandidates, rows: NDArray[np.int32], knn: SessionKnn) -> NDArray[np.float64]:
    """Return the features (len(rows), len(FEATURES)) of any rows, candidates or not, without their recent clicks.

    What is popular of late is so for everybody and not for the session; those who compare other items with its
    candidates weigh it by themselves.
    """
    x = np.zeros((len(rows), len(FEATURES)))
    x[:, _SESSIONS] = np.log1p(knn.session_counts(rows))
    at = np.minimum(np.searchsorted(found.rows, rows), len(found.rows) - 1)
    is_found = found.rows[at] == rows
    x[is_found] = found.features[at[is_found]]
    x[:, _RECENT] = 0.0
    return x


_CONTEXT = 20  # of a session's latest items, these are candidates


def _damped(shares: NDArray[np.floating], unit: float) -> NDArray[np.float64]:
    damped: NDArray[np.float64] = np.log1p(shares / unit)
    return damped
