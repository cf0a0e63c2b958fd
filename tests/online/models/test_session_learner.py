from __future__ import annotations

import numpy as np
import pytest

from online.models import session_learner
from online.models.sequential_rules import SequentialRules, SequentialRulesConfig
from online.models.session_blend import SessionBlend, SessionBlendConfig
from online.models.session_candidates import FEATURES, session_candidates
from online.models.session_knn import SessionKnn, SessionKnnConfig
from online.models.session_learner import Click, SessionLearner, fold_clicks


def learner(*, repeats: bool = False) -> SessionLearner:
    knn, rules = SessionKnn(SessionKnnConfig(sessions=500)), SequentialRules(SequentialRulesConfig())
    return SessionLearner(knn, rules, SessionBlend(SessionBlendConfig(repeats=repeats)))


def shop(models: SessionLearner, sessions: int) -> None:
    """Sessions of pairs: item 2k + 1 follows 2k."""
    random = np.random.default_rng(2)
    for session in range(sessions):
        pair = 2 * int(random.integers(0, 30))
        for step, item in enumerate([int(random.integers(60, 90)), pair, pair + 1]):
            models.learn_one(Click(session, item, 10.0 * session + step))


def test_what_follows_is_ranked_first_by_the_blend_it_taught() -> None:
    models = learner()
    shop(models, 300)
    for pair in range(0, 60, 2):
        context = np.array([pair], np.int32)
        assert models.ranked(models.candidates(context, len(context), 4000.0), context)[0] == pair + 1


def test_a_session_is_no_neighbour_of_its_own() -> None:
    models = learner()
    shop(models, 50)
    for n, item in enumerate([4, 200, 201]):
        models.learn_one(Click(1000, item, 1000.0 + n))
    context = np.array([4, 200], np.int32)
    rules = SequentialRules(SequentialRulesConfig())
    with_own = session_candidates(models.knn, rules, context, clicks=2, now=1100.0)
    without = session_candidates(models.knn, rules, context, clicks=2, now=1100.0, own=1000)
    assert 201 in with_own.by_knn
    assert 201 not in without.by_knn


def test_the_item_a_session_is_at_is_next_only_where_repeats_are_allowed() -> None:
    for repeats in (False, True):
        models = learner(repeats=repeats)
        for session in range(40):
            for step, item in enumerate([3, 3, 5]):
                models.learn_one(Click(session, item, 10.0 * session + step))
        context = np.array([3], np.int32)
        assert (3 in models.ranked(models.candidates(context, 1, 500.0), context)) is repeats


def test_candidates_have_each_feature_of_their_sources() -> None:
    models = learner(repeats=True)
    shop(models, 300)
    context = np.array([60, 2], np.int32)
    found = models.candidates(context, 4, 4000.0)
    x = dict(zip(found.rows.tolist(), found.features, strict=True))
    at = FEATURES.index
    assert x[3][at("knn")] > 0.0
    assert x[3][at("after_last")] == max(row[at("after_last")] for row in x.values())
    assert (x[2][at("is_last")], x[60][at("is_last")], x[60][at("in_session")]) == (1.0, 0.0, 1.0)
    again = x[2][at("is_last_again")], x[60][at("in_session_again")], x[3][at("is_last_again")]
    assert again == pytest.approx((np.log(2.0), np.log(2.0), 0.0))
    assert x[3][at("sessions")] == pytest.approx(np.log1p(models.knn.session_counts[3]))
    assert max(row[at("two_hops")] for row in x.values()) > 0.0
    assert np.isfinite(found.features).all()


def test_a_late_click_follows_what_was_before_it() -> None:
    models = learner()
    for item, time in [(1, 0.0), (2, 10.0), (3, 5.0)]:
        fold_clicks(models.knn, models.rules, [Click(9, item, time)])
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


def stream(n: int) -> list[Click]:
    """Clicks of sessions that interleave, some late, some repeated, and some of which get another key."""
    random, clicks = np.random.default_rng(4), list[Click]()
    for step in range(n):
        session = 1 + step // 20 + int(random.integers(4))
        was = session + 500 if random.random() < 0.1 else 0
        key = session + 500 * int(random.random() < 0.1 and not was)
        clicks.append(Click(key, int(random.integers(200)), step - 5.0 * float(random.integers(3)), was))
    return clicks


@pytest.mark.parametrize("size", [7, 600])
def test_clicks_folded_together_leave_what_they_leave_one_by_one(size: int) -> None:
    one_by_one, together = learner(), learner()
    clicks = stream(600)
    for click in clicks:
        fold_clicks(one_by_one.knn, one_by_one.rules, [click])
    for first in range(0, len(clicks), size):
        fold_clicks(together.knn, together.rules, clicks[first : first + size])
    for mine, theirs in ((together.knn, one_by_one.knn), (together.rules, one_by_one.rules)):
        expected = theirs.state()
        for name, array in mine.state().items():
            np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_a_blend_learns_of_clicks_together_what_it_learns_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_learner, "ALL_UP_TO", 100)
    one_by_one, together = learner(), learner()
    for click in stream(400):
        one_by_one.learn_one(click)
    together.learn_many(stream(400))
    assert together.blend.state() == one_by_one.blend.state()
    assert 100 < together.blend.clicks < 300


def test_a_session_that_came_back_to_items_is_thought_to_come_back_again() -> None:
    models = learner(repeats=True)
    for session in range(60):
        items = [3, 4, 3, 4, 3] if session % 2 else [3, 4, 5, 6, 7]
        models.learn_many([Click(session, item, 10.0 * session + step) for step, item in enumerate(items)])
    context = np.array([3, 4], np.int32)
    steady, returning = (models.candidates(context, clicks, 700.0) for clicks in (2, 4))
    back, on = np.searchsorted(steady.rows, [3, 5])
    leads = [u[back] - u[on] for u in (models.blend.utilities(f.features, 2) for f in (steady, returning))]
    assert leads[1] > leads[0] + 0.5
