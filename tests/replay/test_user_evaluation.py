from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from online.adapters.exact_index import ExactIndex
from online.core.policy_document import POPULARITY_POLICY
from replay.local_system import LocalSystem
from replay.ranking_metrics import ndcg
from replay.recorded import Recorded
from replay.system import Ranked
from replay.user_evaluation import UserEvaluation, UserEvaluationConfig
from schemas.event import EventIn
from schemas.item import ItemIn
from schemas.slate import RecommendIn


class Fixed:
    """A recommender that shows one list, and popularity as another: small enough to know every figure in advance."""

    def __init__(self, ours: str, popular: str = "") -> None:
        self.ours, self.popular = list(ours), list(popular)
        self.items: list[str] = []
        self.posted: list[EventIn] = []
        self.asked: list[tuple[RecommendIn, int]] = []

    def put_items(self, items: Sequence[ItemIn]) -> None:
        self.items += [item.item_id or "" for item in items]

    def post(self, events: Sequence[EventIn]) -> None:
        self.posted += events

    def rank(self, ask: RecommendIn) -> Ranked:
        if ask.policy == POPULARITY_POLICY:
            return Ranked(self.popular, self.popular, "popularity")
        self.asked.append((ask, len(self.posted)))
        return Ranked(self.ours, self.ours, "personal")


def recorded(*rows: tuple[str, str, float], **fields: Any) -> list[Recorded]:
    kind = {"event_type": "click", **fields}
    return [
        Recorded(i, EventIn(user_id=user, item_id=item, timestamp=at, **kind))
        for i, (user, item, at) in enumerate(rows, start=1)
    ]


def evaluated(system: Fixed, events: Sequence[Recorded], **fields: Any) -> UserEvaluation:
    evaluation = UserEvaluation(system, [], UserEvaluationConfig(**{"cut": 10.0, "ahead": 2, **fields}))
    for _ in evaluation.run(events):
        pass
    return evaluation


OLD = [("old", item, float(at)) for at, item in enumerate("abcd")]


def test_a_list_is_scored_by_the_users_next_new_items_and_asked_before_they_are_learned() -> None:
    system = Fixed("xbca", popular="a")
    run = evaluated(system, recorded(*OLD, ("new", "a", 11), ("new", "b", 12), ("new", "a", 13), ("new", "c", 14)))

    assert [(ask.timestamp, posted) for ask, posted in system.asked] == [(11, 4), (12, 5), (13, 6), (14, 7)]
    assert run.by_after[0].ndcg[""] == [ndcg(list("xbca"), {"a": 1.0, "b": 1.0}, 20)]
    assert run.by_after[1].ndcg[""] == [ndcg(list("xbca"), {"b": 1.0, "c": 1.0}, 20)]
    assert run.by_after[2].ndcg[""] == [ndcg(list("xbca"), {"c": 1.0}, 20)]  # `a` again is no target
    assert run.by_after[0].ndcg["popularity"] == [ndcg(["a"], {"a": 1.0, "b": 1.0}, 20)]
    assert run.by_after[0].retrieved == [1.0]
    assert run.by_after[5].document(seed=1) == {"n": 0}


def test_with_repeats_allowed_what_was_touched_may_be_a_target() -> None:
    events = recorded(*OLD, ("new", "a", 11), ("new", "a", 12))

    assert evaluated(Fixed("a"), events).by_after[1].users == []
    allowed = Fixed("a")
    assert evaluated(allowed, events, repeats=True).by_after[1].ndcg[""] == [1.0]
    assert {(ask.exclude_seen, ask.exclude_purchased) for ask, _ in allowed.asked} == {(False, False)}


def test_all_time_popularity_sums_positive_weights_and_leaves_out_what_the_user_has() -> None:
    run = evaluated(Fixed(""), recorded(*OLD, ("old", "b", 5), ("new", "b", 11), ("new", "a", 12)))

    assert run.by_after[0].ndcg["popularity_all_time"] == [1.0]  # b, then a
    assert run.by_after[1].ndcg["popularity_all_time"] == [1.0]  # a


def test_only_users_first_seen_from_the_cut_on_are_new_and_nothing_is_read_from_until_on() -> None:
    events = recorded(
        *OLD, ("edge", "a", 10), ("edge", "b", 11), ("old", "a", 12), ("late", "a", 20), ("late", "b", 21)
    )

    assert evaluated(Fixed("a"), events).document(seed=1)["new_users"] == 2
    assert evaluated(Fixed("a"), events, until=20.0).document(seed=1)["new_users"] == 1


@pytest.mark.parametrize(("rating", "targets"), [(5.0, 1), (3.5, 1), (3.0, 0), (1.0, 0)])
def test_a_rating_of_three_or_less_is_no_target(rating: float, targets: int) -> None:
    rated = recorded(("new", "a", 11), event_type="rating", value=rating)

    assert len(evaluated(Fixed("a"), [*recorded(*OLD), *rated]).by_after[0].users) == targets


def test_impressions_are_learned_but_are_neither_events_of_the_user_nor_targets() -> None:
    seen = recorded(("new", "a", 11), event_type="impression")
    system = Fixed("b")
    run = evaluated(system, [*recorded(*OLD), *seen, *recorded(("new", "b", 12))])

    assert run.by_after[0].ndcg[""] == [1.0]
    assert len(system.asked) == 1


def test_new_items_are_put_when_first_named_and_scored_by_how_many_events_they_had() -> None:
    system = Fixed("z")
    names = [("old", "z", 11), ("b", "z", 12), ("c", "z", 13), ("c", "z", 14)]
    run = evaluated(system, recorded(*OLD, *((f"{user}{at}", item, float(at)) for user, item, at in names)))

    assert system.items == list("abcdz")
    assert run.by_age[1, 1].ndcg[""] == [1.0]
    assert run.by_age[2, 3].ndcg[""] == [1.0, 1.0]
    assert run.document(seed=1)["items"]["all"]["n"] == 3


def test_a_seeded_run_through_the_real_system_repeats_itself() -> None:
    def run() -> dict[str, Any]:
        rows = [(f"u{n // 5}", f"i{(n * n + n // 5) % 17}", 1e9 + n) for n in range(150)]
        config = UserEvaluationConfig(cut=1e9 + 75)
        evaluation = UserEvaluation(LocalSystem(index=ExactIndex, seed=3), [], config)
        assert list(evaluation.run(recorded(*rows), every=100)) == [100, 150]
        return evaluation.document(seed=1)

    document = run()
    assert document == run()
    assert document["new_users"] == 15
    assert document["users"]["1"]["n"] == 15
    assert document["users"]["1"]["baselines"]["popularity"]["gain_ci"][0] <= document["users"]["1"]["ndcg@20"]
