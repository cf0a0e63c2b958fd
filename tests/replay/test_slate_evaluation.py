from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import pytest

from online.adapters.exact_index import ExactIndex
from online.core.features import COLUMNS
from replay.local_system import LocalSystem
from replay.recorded import Recorded
from replay.slate_evaluation import DISPLAY, LAST, LEARNERS, SlateEvaluation
from schemas.event import EventIn

T0 = 1_700_000_000.0
ITEMS = [f"i{n}" for n in range(8)]


def event(kind: str, at: float, *items: tuple[str, float], session: str = "s", user: str = "u") -> EventIn:
    return EventIn.model_validate(
        {
            "event_id": f"{kind}-{at}-{session}",
            "event_type": kind,
            "user_id": user,
            "session_id": session,
            "timestamp": T0 + at,
            "items": [{"item_id": item, "price": price} for item, price in items],
        }
    )


def shoppers(n: int, seed: int = 3) -> Iterator[EventIn]:
    """Sessions that look at an item, are shown a list in random order, and take the cheapest of it."""
    rng = random.Random(seed)
    for number in range(n):
        shown = [(item, float(rng.choice([40, 60, 90, 120]))) for item in rng.sample(ITEMS, 6)]
        at, who = 1000.0 * number, {"session": f"s{number}", "user": f"u{number}"}
        yield event("view", at, (shown[3][0], 0.0), **who)
        yield event("impression", at + 9, *shown, **who)
        yield event("click", at + 9, min(shown, key=lambda entry: entry[1]), **who)


def evaluated(events: Sequence[EventIn]) -> SlateEvaluation:
    evaluation = SlateEvaluation(LocalSystem(index=ExactIndex))
    for _ in evaluation.run(Recorded(row, one) for row, one in enumerate(events, start=1)):
        pass
    return evaluation


def test_a_taste_that_prices_tell_is_learned_and_beats_both_rules() -> None:
    figures = evaluated(list(shoppers(160))).scores.document(after=None, last=100, seed=1)

    assert (figures["n"], figures["sessions"], figures["learned_before"]) == (100, 100, 60)
    assert figures["gain_ci"][0] > 0.2
    assert figures["mrr"] > figures["baselines"][DISPLAY]["mrr"] + 0.2
    assert set(figures["learners"]) == set(LEARNERS)
    assert figures["contributions"]["caller"]["mrr"] == max(
        one["mrr"] for one in figures["contributions"].values()
    )  # fmt: skip
    assert set(figures["contributions"]) == set(COLUMNS)


def test_the_rules_of_comparison() -> None:
    entries = [(item, 1.0) for item in ITEMS[:4]]
    scores = evaluated(
        [
            event("view", 0.0, ("i1", 1.0)),
            event("view", 1.0, ("i3", 1.0)),
            event("impression", 2.0, *entries),
            event("click", 3.0, ("i1", 1.0)),
        ]
    ).scores

    assert (scores.ranks[DISPLAY], scores.ranks[LAST]) == ([1 / 2], [1 / 2])


def test_nothing_behind_the_impression_is_known_to_the_ranking() -> None:
    entries = [(item, 1.0) for item in ITEMS[:4]]
    before = [event("view", 0.0, ("i2", 1.0)), event("impression", 2.0, *entries)]
    click = event("click", 9.0, ("i3", 1.0))

    at_once = evaluated([*before, click]).scores
    later = evaluated([*before, event("view", 3.0, ("i3", 1.0)), event("view", 4.0, ("i3", 1.0)), click]).scores

    assert later.ranks == at_once.ranks


@pytest.mark.parametrize(
    "events",
    [
        [event("impression", 0.0, ("i1", 1.0), ("i2", 1.0)), event("click", 1.0, ("i3", 1.0))],
        [event("impression", 0.0, ("i1", 1.0), ("i2", 1.0)), event("click", 1.0, ("i1", 1.0), session="other")],
        [event("impression", 0.0, ("i1", 1.0)), event("click", 1.0, ("i1", 1.0))],
        [event("click", 1.0, ("i1", 1.0))],
    ],
)
def test_a_click_that_no_list_explains_is_no_case(events: list[EventIn]) -> None:
    scores = evaluated(events).scores

    assert scores.times == []
    with pytest.raises(ValueError, match="left to score"):
        scores.document(after=None, last=None, seed=1)


def test_what_is_scored_may_begin_at_a_moment() -> None:
    scores = evaluated(list(shoppers(10))).scores

    assert scores.document(after=T0 + 7000.0, last=None, seed=1)["n"] == 3
    assert scores.document(after=T0 + 7000.0, last=2, seed=1)["n"] == 2
