"""Candidates for a session's next item: what session-kNN and the rules name, and what is known of each."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from online.core.kernel import kernel
from online.models.sequential_rules import SequentialRules
from online.models.sequential_rules_kernel import RECENT, RECENT_AT
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
CONTEXT_LIMIT = 20  # of a session's latest items, these are candidates
OLDER_DECAY = 0.7
_SHARE_UNIT, _HOP_UNIT = 1e-3, 3e-4  # shares well above count by their logarithm, those below in proportion
_KNN, _RANK, _NEXT, _RULES, _HOPS, _LAST, _AGAIN, _SESSIONS, _RECENT = 0, 1, 2, 4, 8, 9, 11, 13, 14


class SessionCandidates(NamedTuple):
    """Candidate rows in ascending order, their features, and the best `KNN_LIMIT` of each source alone, best first."""

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
    again = math.log(max(clicks / len(context), 1.0))
    rows, x = _described(
        by_knn, scores, nexts, followers.rows, followers.shares, context, again,
        knn.session_counts, rules.clicks, now, rules.config.recent_half_life_s,
    )  # fmt: skip
    return SessionCandidates(rows, x, by_knn, scores, *_best_rules(followers.rows, followers.shares, KNN_LIMIT))


def session_odds(
    found: SessionCandidates,
    rows: NDArray[np.int32],
    weights: NDArray[np.float64],
    session_counts: NDArray[np.int64],
    current: int,
) -> NDArray[np.float64]:
    """Return how likely rows are to be next, candidates or not: log-odds to the likeliest of them, shape (len(rows),).

    What is popular of late is so for everybody and not for the session: recent clicks do not count here. The current
    item has −∞.

    Args:
        found: the candidates of the session.
        rows: any rows.
        weights: (len(FEATURES),) of the features.
        session_counts: (items,) how many sessions hold each row.
        current: the row that the session is at.
    """
    return _odds(found.rows, found.features, rows, weights, session_counts, current)


@kernel
def _odds(
    known: NDArray[np.int32],  # (c,) ascending
    features: NDArray[np.float64],  # (c, len(FEATURES))
    rows: NDArray[np.int32],
    weights: NDArray[np.float64],
    session_counts: NDArray[np.int64],
    current: int,
) -> NDArray[np.float64]:
    odds, best = np.empty(len(rows)), -np.inf
    for i, at in enumerate(np.searchsorted(known, rows)):
        utility = 0.0
        if at < len(known) and known[at] == rows[i]:
            for column in range(len(FEATURES)):
                if column != _RECENT:
                    utility += weights[column] * features[at, column]
        else:
            utility = weights[_SESSIONS] * np.log1p(_count(session_counts, rows[i]))
        odds[i] = utility if rows[i] != current else -np.inf
        best = max(best, odds[i])
    return odds - best if np.isfinite(best) else odds


@kernel
def _described(
    by_knn: NDArray[np.int32],  # (k,) best first
    votes: NDArray[np.float32],  # (k,)
    nexts: NDArray[np.float32],  # (k, 2)
    by_rules: NDArray[np.int32],  # (r,)
    shares: NDArray[np.float64],  # (r, 5)
    context: NDArray[np.int32],  # the session's distinct rows, oldest first
    again: float,  # log of its clicks per distinct item
    session_counts: NDArray[np.int64],  # (items,)
    clicks: NDArray[np.float64],  # (items, 2) recent ones, and as of when
    now: float,
    half_life: float,  # of recent clicks
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return the union of the candidates, ascending, and their features."""
    latest = context[::-1][:CONTEXT_LIMIT]
    rows = np.unique(np.concatenate((by_knn, by_rules, latest)))
    x = np.zeros((len(rows), len(FEATURES)))
    all_votes = votes.sum()
    places = np.searchsorted(rows, by_knn)
    for column in range(_NEXT, _RULES):
        of_column = nexts[:, column - _NEXT]
        whole = max(of_column.sum(), np.float32(0.01))
        for rank, at in enumerate(places):
            if of_column[rank] > 0.0:
                x[at, column] = np.log1p(of_column[rank] / whole / _SHARE_UNIT)
    for rank, at in enumerate(places):
        x[at, _KNN], x[at, _RANK] = np.log1p(votes[rank] / all_votes / _SHARE_UNIT), 1.0 / (rank + 1)
    for i, at in enumerate(np.searchsorted(rows, by_rules)):
        for column in range(shares.shape[1]):
            if shares[i, column] > 0.0:
                unit = _HOP_UNIT if _RULES + column == _HOPS else _SHARE_UNIT
                x[at, _RULES + column] = np.log1p(shares[i, column] / unit)
    for back, at in enumerate(np.searchsorted(rows, latest)):
        column = 0 if back == 0 else 1
        x[at, _LAST + column] = 1.0 if back == 0 else OLDER_DECAY ** (back - 1)
        x[at, _AGAIN + column] = again * x[at, _LAST + column]
    for at in range(len(rows)):
        x[at, _SESSIONS] = np.log1p(_count(session_counts, rows[at]))
        x[at, _RECENT] = np.log(_recent(clicks, rows[at], now, half_life) + 0.1)
    return rows, x


@kernel
def _count(session_counts: NDArray[np.int64], row: int) -> float:
    return float(session_counts[row]) if 0 <= row < len(session_counts) else 0.0


@kernel
def _recent(clicks: NDArray[np.float64], row: int, now: float, half_life: float) -> float:
    """Return the decayed clicks on a row at `now`, 0 for an unknown one."""
    if not 0 <= row < len(clicks) or clicks[row, RECENT] == 0.0:
        return 0.0
    return float(clicks[row, RECENT] * 2.0 ** (-max(now - clicks[row, RECENT_AT], 0.0) / half_life))


@kernel
def _best_rules(
    rows: NDArray[np.int32], shares: NDArray[np.float64], limit: int
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return the best by what followed the last item, then by what else came with it, ties by lower row."""
    best, kept = np.empty(limit, np.int64), 0
    others = shares[:, 1:].sum(axis=1)
    for i in range(len(rows)):
        at = kept
        while at > 0:
            j = best[at - 1]
            if (shares[i, 0], others[i], -rows[i]) < (shares[j, 0], others[j], -rows[j]):
                break
            at -= 1
        if at < limit:
            kept = min(kept + 1, limit)
            for behind in range(kept - 1, at, -1):
                best[behind] = best[behind - 1]
            best[at] = i
    return rows[best[:kept]], shares[best[:kept], 0]
