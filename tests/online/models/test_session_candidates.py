from __future__ import annotations

from math import log, log1p
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from online.models.sequential_rules import SequentialRules, SequentialRulesConfig
from online.models.session_candidates import FEATURES, KNN_LIMIT, LIMIT, distinct, session_candidates, session_odds
from online.models.session_knn import SessionKnn, SessionKnnConfig

NOW = 5000.0


def learned(seed: int) -> tuple[SessionKnn, SequentialRules, NDArray[np.int32]]:
    """Return models of random sessions, and the distinct rows of another."""
    rng = np.random.default_rng(seed)
    knn, rules = SessionKnn(SessionKnnConfig(sessions=100)), SequentialRules(SequentialRulesConfig())
    for session in range(1, 60):
        rows = rng.zipf(1.4, size=rng.integers(2, 9)) % 150
        for n, row in enumerate(rows.tolist()):
            at = session * 50.0 + n
            rules.learn_one(distinct(rows[:n].astype(np.int32)), row, at)
            knn.learn_one(session, row, at)
    return knn, rules, distinct((rng.zipf(1.4, size=rng.integers(1, 30)) % 150).astype(np.int32))


def plain(
    knn: SessionKnn, rules: SequentialRules, context: NDArray[np.int32], clicks: int
) -> dict[int, dict[str, float]]:
    """Describe the candidates one by one."""
    by_knn, votes, nexts = (x.tolist() for x in knn.votes(context, now=NOW, limit=KNN_LIMIT))
    followers = rules.query(context, now=NOW, limit=LIMIT)
    latest = context[-20:].tolist()[::-1]
    found: dict[int, dict[str, float]] = {
        row: dict.fromkeys(FEATURES, 0.0) for row in (*by_knn, *followers.rows.tolist(), *latest)
    }
    for rank, row in enumerate(by_knn):
        found[row]["knn"] = log1p(votes[rank] / sum(votes) / 1e-3)
        found[row]["knn_rank"] = 1.0 / (rank + 1)
        for n, name in enumerate(("knn_next", "knn_next_of_two")):
            found[row][name] = log1p(nexts[rank][n] / max(sum(one[n] for one in nexts), 0.01) / 1e-3)
    names = ("after_last", "before_last", "after_earlier", "before_earlier", "two_hops")
    for row, shares in zip(followers.rows.tolist(), followers.shares.tolist(), strict=True):
        for name, share in zip(names, shares, strict=True):
            found[row][name] = log1p(share / (3e-4 if name == "two_hops" else 1e-3))
    again = log(max(clicks / len(context), 1.0))
    found[latest[0]] |= {"is_last": 1.0, "is_last_again": again}
    for back, row in enumerate(latest[1:]):
        found[row] |= {"in_session": 0.7**back, "in_session_again": again * 0.7**back}
    for row, features in found.items():
        clicks, as_of = rules.clicks[row] if row < len(rules.clicks) else (0.0, NOW)
        features["sessions"] = log1p(knn.session_counts[row] if row < len(knn.session_counts) else 0)
        features["recent_clicks"] = log(clicks * 2.0 ** ((as_of - NOW) / rules.config.recent_half_life_s) + 0.1)
    return found


@pytest.mark.parametrize("seed", range(15))
def test_candidates_are_described_as_plain_python_describes_them(seed: int) -> None:
    knn, rules, context = learned(seed)

    clicks = len(context) + seed

    found = session_candidates(knn, rules, context, clicks=clicks, now=NOW)

    expected = plain(knn, rules, context, clicks)
    assert found.rows.tolist() == sorted(expected)
    for row, features in zip(found.rows.tolist(), found.features.tolist(), strict=True):
        assert features == pytest.approx(list(expected[row].values()), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("seed", range(15))
def test_rules_rank_by_what_followed_the_last_item_then_by_what_else_came_with_it(seed: int) -> None:
    knn, rules, context = learned(seed)

    found = session_candidates(knn, rules, context, clicks=9, now=NOW)

    followers = rules.query(context, now=NOW, limit=LIMIT)

    def order(row: int, shares: Any) -> tuple[float, float, int]:
        return -shares[0], -shares[1:].sum(), row

    best = sorted(zip(followers.rows.tolist(), followers.shares, strict=True), key=lambda one: order(*one))[:KNN_LIMIT]
    assert found.by_rules.tolist() == [row for row, _ in best]
    assert found.rule_scores.tolist() == [shares[0] for _, shares in best]


@pytest.mark.parametrize("seed", range(5))
def test_odds_are_utilities_without_recent_clicks_against_the_likeliest_row(seed: int) -> None:
    knn, rules, context = learned(seed)
    found = session_candidates(knn, rules, context, clicks=9, now=NOW)
    weights, current = np.random.default_rng(seed).normal(size=len(FEATURES)), int(context[-1])
    rows = np.arange(200, dtype=np.int32)
    lasting = weights * (np.array(FEATURES) != "recent_clicks")

    odds = session_odds(found, rows, weights, knn.session_counts, current)

    utilities = np.array([weights[FEATURES.index("sessions")] * log1p(c) for c in knn.session_counts[:150]])
    utilities = np.concatenate([utilities, np.zeros(200 - len(utilities))])
    utilities[found.rows] = found.features @ lasting
    utilities[current] = -np.inf
    np.testing.assert_allclose(odds, utilities - utilities.max(), atol=1e-9)


def test_where_nothing_may_be_next_nothing_has_odds() -> None:
    knn, rules, context = learned(1)
    found = session_candidates(knn, rules, context, clicks=9, now=NOW)
    weights, current = np.ones(len(FEATURES)), int(context[-1])

    odds = session_odds(found, np.array([current], np.int32), weights, knn.session_counts, current)

    assert odds.tolist() == [-np.inf]
