from __future__ import annotations

import msgspec
import numpy as np
import pytest
from example_rows import planted_examples

from online.core.example import PURCHASE, Example
from online.core.features import INDEX, NAMES, PRIOR_INTERCEPT
from online.models.candidates import POPULARITY, RATE, SERVED, Candidates
from online.models.progress import quality
from online.models.side_by_side import SIDE_BY_SIDE, side_by_side
from online.models.slate_rows import slate_rows


def learned(given: list[Example], candidates: Candidates | None = None) -> Candidates:
    candidates = candidates or Candidates()
    for one in given:
        candidates.learn_one(one)
    return candidates


def test_every_row_of_a_slate_is_scored_before_any_is_learned() -> None:
    one = next(one for one in planted_examples(50) if 0 < sum(one.clicked) < 8)
    rows = slate_rows(one)._replace(weights=Candidates().examination.weights(one))
    first = Candidates().learners["pointwise-1"].log_odds(rows)

    candidates = learned([one])

    expected = quality(first, rows.clicked, rows.weights)
    for name in SIDE_BY_SIDE:
        progress = candidates.progress[name]
        assert (progress.log_loss.get(), progress.auc.get(), progress.ndcg.get()) == expected
    popular = quality(rows.features[:, INDEX["standing"]], rows.clicked, rows.weights)
    assert candidates.progress[POPULARITY].ndcg.get() == popular.ndcg


def test_the_version_that_served_is_validated_by_what_it_said_then() -> None:
    (one,) = planted_examples(1)
    one.policy_id, one.utilities = "personal-1", [float(-slot) for slot in range(8)]
    other = msgspec.structs.replace(one, policy_id="popularity-1", recommendation_id="other")

    candidates = learned([one, other, *planted_examples(2)])

    served = candidates.progress[SERVED]
    assert served.slates == 1  # the popularity policy's utilities are no log-odds
    assert served.log_loss.get() == pytest.approx(
        np.mean(np.log1p(np.exp(np.where(one.clicked, 1, -1) * np.arange(8.0))))
    )


def test_candidates_that_learn_are_better_than_the_click_rate_and_popularity() -> None:
    summary = learned(planted_examples(900)).summary()

    rate, popularity = summary["baselines"][RATE], summary["baselines"][POPULARITY]
    for figures in summary["candidates"].values():
        assert figures["log_loss"] < rate["log_loss"]
        assert figures["ndcg"] > popularity["ndcg"] + 0.05
        assert figures["auc"] > 0.6


def test_a_candidate_that_is_better_may_be_promoted_and_one_that_is_not_may_not() -> None:
    given = planted_examples(900, rows=4)
    names = ["pointwise-1", "listwise-2"]

    figures = learned(given, Candidates(names)).summary()["candidates"]["listwise-2"]
    backwards = learned(given, Candidates(names[::-1])).summary()["candidates"]["pointwise-1"]

    assert 0.0 < figures["ndcg_gain_lower"] < figures["ndcg_gain"]
    assert (figures["promotable"], backwards["promotable"]) == (True, False)


def test_clicks_in_slots_that_are_looked_at_less_teach_more() -> None:
    plain = planted_examples(300)
    known = [msgspec.structs.replace(one, uniform=[1.0] * 8) for one in plain]

    curves = learned(known).examination.state()

    assert set(curves) == {"home/"}
    assert learned(plain).examination.state() == {}


def test_a_correction_teaches_what_followed_the_click_and_nothing_else() -> None:
    candidates, (one,) = learned(planted_examples(20)), planted_examples(1, seed=3)
    before, slates = candidates.export(""), candidates.slates
    one.is_correction, one.outcomes, one.clicked = True, [PURCHASE] * 8, [True] * 8

    candidates.learn_one(one)

    after = candidates.export("")
    assert after.weights.tolist() == before.weights.tolist()
    assert after.heads["purchase"].intercept > before.heads["purchase"].intercept
    assert (candidates.slates, candidates.corrections) == (slates, 1)


def test_it_counts_slates_rows_and_clicks() -> None:
    given = planted_examples(20)

    candidates = learned(given)

    assert (candidates.slates, candidates.rows) == (20, 160)
    assert candidates.clicks == sum(sum(one.clicked) for one in given) > 0


def test_what_is_exported_has_heads_and_a_root_that_shrinks_with_what_is_learned() -> None:
    fresh, some = Candidates().export("1"), learned(planted_examples(100)).export("2")

    assert set(some.heads) == {"cart", "purchase"}
    assert fresh.root is not None
    assert some.root is not None
    assert np.trace(some.root @ some.root.T) < np.trace(fresh.root @ fresh.root.T) == len(NAMES)
    assert fresh.intercept == PRIOR_INTERCEPT


def test_an_example_that_does_not_fit_is_refused_and_learns_nothing() -> None:
    candidates = learned(planted_examples(3))
    before = candidates.state()
    good = planted_examples(1)[0]

    for broken in (
        msgspec.structs.replace(good, feature_names=[*NAMES[:-1], "another"]),
        msgspec.structs.replace(good, clicked=[True]),
    ):
        with pytest.raises(ValueError, match=r"features|position or label"):
            candidates.learn_one(broken)

    assert candidates.state() == before


@pytest.mark.parametrize("n", [0, 1, 60])
def test_restored_candidates_go_on_as_if_they_had_never_stopped(n: int) -> None:
    given = planted_examples(100)
    steady = learned(given[:n])
    restored = Candidates.from_state(steady.state())
    assert restored.state() == steady.state()

    learned(given[n:], steady)
    learned(given[n:], restored)

    assert restored.state() == steady.state()


def test_a_candidate_that_is_new_since_starts_from_its_prior() -> None:
    some = learned(planted_examples(10), Candidates(["pointwise-1"]))

    more = Candidates.from_state(some.state())

    assert more.active == "pointwise-1"
    assert set(more.learners) == set(SIDE_BY_SIDE)
    assert more.learners["listwise-1"].state() == Candidates().learners["listwise-1"].state()
    assert more.learners["pointwise-1"].state() == some.learners["pointwise-1"].state()


def test_where_another_serves_what_was_said_against_the_one_before_is_forgotten() -> None:
    some = learned(planted_examples(100))

    other = Candidates.from_state(some.state(), side_by_side("listwise-1"))

    assert (some.active, other.active) == (SIDE_BY_SIDE[0], "listwise-1")
    assert some.gains["pointwise-1"].n > 0
    assert {name: gain.n for name, gain in other.gains.items()} == dict.fromkeys(set(SIDE_BY_SIDE) - {"listwise-1"}, 0)
    assert other.learners["listwise-1"].state() == some.learners["listwise-1"].state()
