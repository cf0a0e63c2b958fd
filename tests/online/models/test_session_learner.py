from __future__ import annotations

import numpy as np
import pytest

from online.models import session_learner
from online.models.sequential_rules import SequentialRules, SequentialRulesConfig
from online.models.session_blend import SessionBlend, SessionBlendConfig
from online.models.session_candidates import FEATURES, session_candidates
from online.models.session_knn import SessionKnn, SessionKnnConfig
from online.models.session_learner import SessionLearner, fold_click


def learner(*, repeats: bool = False) -> SessionLearner:
    knn, rules = SessionKnn(SessionKnnConfig(sessions=500)), SequentialRules(SequentialRulesConfig())
    return SessionLearner(knn, rules, SessionBlend(SessionBlendConfig(repeats=repeats)))


def shop(models: SessionLearner, sessions: int) -> None:
    """Sessions of pairs: item 2k + 1 follows 2k."""
    random = np.random.default_rng(2)
    for session in range(sessions):
        pair = 2 * int(random.integers(0, 30))
        for step, item in enumerate([int(random.integers(60, 90)), pair, pair + 1]):
            models.learn_one(session, item, 10.0 * session + step)


def test_what_follows_is_ranked_first_by_the_blend_it_taught() -> None:
    models = learner()
    shop(models, 300)
    for pair in range(0, 60, 2):
        context = np.array([pair], np.int32)
        assert models.ranked(models.candidates(context, 4000.0), context)[0] == pair + 1


def test_a_session_is_no_neighbour_of_its_own() -> None:
    models = learner()
    shop(models, 50)
    for n, item in enumerate([4, 200, 201]):
        models.learn_one(1000, item, 1000.0 + n)
    context = np.array([4, 200], np.int32)
    with_own = session_candidates(models.knn, SequentialRules(SequentialRulesConfig()), context, now=1100.0)
    without = session_candidates(models.knn, SequentialRules(SequentialRulesConfig()), context, now=1100.0, own=1000)
    assert 201 in with_own.by_knn
    assert 201 not in without.by_knn


def test_the_item_a_session_is_at_is_next_only_where_repeats_are_allowed() -> None:
    for repeats in (False, True):
        models = learner(repeats=repeats)
        for session in range(40):
            for step, item in enumerate([3, 3, 5]):
                models.learn_one(session, item, 10.0 * session + step)
        context = np.array([3], np.int32)
        assert (3 in models.ranked(models.candidates(context, 500.0), context)) is repeats


def test_candidates_have_each_feature_of_their_sources() -> None:
    models = learner(repeats=True)
    shop(models, 300)
    context = np.array([60, 2], np.int32)
    found = models.candidates(context, 4000.0)
    x = dict(zip(found.rows.tolist(), found.features, strict=True))
    at = FEATURES.index
    assert x[3][at("knn")] > 0.0
    assert x[3][at("after_last")] == max(row[at("after_last")] for row in x.values())
    assert (x[2][at("is_last")], x[60][at("is_last")], x[60][at("in_session")]) == (1.0, 0.0, 1.0)
    assert x[3][at("sessions")] == pytest.approx(np.log1p(models.knn.session_counts(np.array([3], np.int32))[0]))
    assert max(row[at("two_hops")] for row in x.values()) > 0.0
    assert np.isfinite(found.features).all()


def test_a_late_click_follows_what_was_before_it() -> None:
    models = learner()
    for item, time in [(1, 0.0), (2, 10.0), (3, 5.0)]:
        fold_click(models.knn, models.rules, 9, item, time)
    found = models.rules.query(np.array([1], np.int32), now=10.0, limit=9)
    assert set(found.rows[found.shares[:, 0] > 0].tolist()) == {2, 3}
    found = models.rules.query(np.array([2], np.int32), now=10.0, limit=9)
    assert 3 not in found.rows[found.shares[:, 0] > 0].tolist()


def test_behind_the_first_clicks_a_share_is_learned_the_same_one_at_every_replay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_learner, "ALL_UP_TO", 100)
    one, other = learner(), learner()
    shop(one, 400)
    shop(other, 400)
    assert one.blend.state() == other.blend.state()
    assert 100 < one.blend.clicks < 400
