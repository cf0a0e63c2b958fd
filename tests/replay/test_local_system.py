from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from online.adapters.exact_index import ExactIndex
from online.core.policy_document import POPULARITY_POLICY
from replay.local_system import PUBLISH_S, LocalSystem
from replay.system import Answer
from schemas.event import EventIn
from schemas.item import ItemIn
from schemas.slate import RecommendIn

START = 1_767_225_600.0
KINDS = ("boot", "pan", "lamp", "atlas")
ITEMS = [
    ItemIn(item_id=f"{kind}-{i}", categories=[kind], brand=f"brand-{i}", price=10.0 + i, created_at=START)
    for kind in KINDS
    for i in range(6)
]


def opened(seed: int = 1) -> LocalSystem:
    system = LocalSystem(index=ExactIndex, seed=seed)
    system.put_items(ITEMS)
    return system


def click(user: str, item: str, at: float, **fields: Any) -> EventIn:
    return EventIn(event_type="click", user_id=user, item_id=item, timestamp=START + at, **fields)


def slate(system: LocalSystem, user: str, at: float, n: int = 5, **fields: Any) -> Answer:
    return system.recommend(RecommendIn(user_id=user, n=n, timestamp=START + at, **fields))


def play(system: LocalSystem) -> list[Answer]:
    """Let eight users click through the shop, each asking for slates and clicking on their third item."""
    answers = []
    for step in range(40):
        user, at = f"user-{step % 8}", 120.0 * step
        system.post([click(user, f"{KINDS[step % 3]}-{step % 6}", at)])
        answer = slate(system, user, at + 1.0)
        third = answer.item_ids[2]
        system.post([click(user, third, at + 5.0, recommendation_id=answer.recommendation_id)])
        answers.append(answer)
    return answers


def test_the_same_calls_with_the_same_seed_give_the_same_slates_and_models() -> None:
    first, again = opened(), opened()

    assert play(first) == play(again)
    assert first.ranker.state() == again.ranker.state()
    assert first.world.ranker_version == again.world.ranker_version > 1


def test_another_seed_draws_other_slates() -> None:
    slates = [[answer.item_ids for answer in play(opened(seed))] for seed in (1, 2)]

    assert slates[0] != slates[1]


def test_a_click_changes_the_next_slate() -> None:
    system = opened()
    before = slate(system, "ann", 0.0, n=12)
    system.post([click("ann", "boot-1", 1.0), click("ann", "boot-2", 2.0)])
    after = slate(system, "ann", 3.0, n=12)

    def boots(answer: Answer) -> int:
        return sum(item.startswith("boot") for item in answer.item_ids)

    assert before.position == ""
    assert after.position
    assert boots(after) > boots(before)
    assert "boot-2" not in after.item_ids  # what she looks at right now


def test_items_appear_as_soon_as_they_are_put() -> None:
    system = LocalSystem(index=ExactIndex, seed=1)
    assert slate(system, "ann", 0.0).item_ids == []

    system.put_items([ItemIn(item_id="first")])
    assert slate(system, "ann", 1.0).item_ids == ["first"]

    system.put_items([ItemIn(item_id="second"), ItemIn(item_id="first", available=False)])
    assert slate(system, "ann", 2.0).item_ids == ["second"]


def test_an_item_put_again_is_no_newer_for_it() -> None:
    system = opened()
    slate(system, "ann", 86_400.0)
    system.put_items([ItemIn(item_id="boot-1", brand="other")])

    assert system.world.table.documents["boot-1"].created_at == START


def test_an_item_nobody_put_is_shown_to_nobody() -> None:
    system = opened()
    system.post([click(f"user-{i}", "ghost", float(i)) for i in range(20)])

    assert "ghost" not in slate(system, "ann", 30.0, n=50).item_ids


def test_an_event_posted_twice_counts_once() -> None:
    once, twice = opened(), opened()
    events = [click(f"user-{i}", f"pan-{i % 6}", float(i), event_id=f"e{i}") for i in range(30)]
    once.post(events)
    twice.post([*events, *events])

    popular = [slate(s, "ann", 40.0, n=24, policy=POPULARITY_POLICY, seed=3).item_ids for s in (once, twice)]
    assert popular[0] == popular[1]


def test_an_event_without_a_time_happens_now() -> None:
    system = opened()
    system.post([click("ann", "boot-1", 50.0), EventIn(event_type="click", user_id="bob", item_id="pan-1")])

    assert slate(system, "bob", 50.0).position


def test_popular_items_are_what_was_clicked() -> None:
    system = opened()
    system.post([click(f"user-{i}", f"lamp-{i % 3}", float(i)) for i in range(60)])
    top = slate(system, "ann", 61.0, n=3, policy=POPULARITY_POLICY, exploration=0.0).item_ids

    assert set(top) == {"lamp-0", "lamp-1", "lamp-2"}


def test_clicks_on_slates_train_the_ranker_once_the_window_has_closed() -> None:
    system = LocalSystem(index=ExactIndex, seed=1, window_s=60.0)
    system.put_items(ITEMS)
    answer = slate(system, "ann", 0.0)
    system.post([click("ann", answer.item_ids[1], 2.0, recommendation_id=answer.recommendation_id)])
    assert system.ranker.slates == 0

    system.post([click("ann", "pan-1", 70.0)])
    assert (system.ranker.slates, system.ranker.clicks) == (1, 1)

    before = system.world.ranker_version
    slate(system, "ann", 70.0 + PUBLISH_S)
    assert system.world.ranker_version == before + 1


def test_vectors_are_published_and_learn_from_clicks() -> None:
    untouched, clicked = opened(), opened()
    play(clicked)
    for system in (untouched, clicked):
        slate(system, "ann", 40 * 120.0 + PUBLISH_S)

    before, after = untouched.world.vectors, clicked.world.vectors
    assert before is not None
    assert after is not None
    assert list(before.ids) == list(after.ids)
    assert len(after.ids) == len(after.nearest) == len(ITEMS)
    assert not np.allclose(before.matrix, after.matrix)


def test_a_user_of_many_partitions_keeps_to_one() -> None:
    answers = {opened().recommend(RecommendIn(user_id="ann", timestamp=START)).recommendation_id.split("-")[0]}
    answers |= {slate(opened(seed=9), "ann", 5.0).recommendation_id.split("-")[0]}

    assert len(answers) == 1


@pytest.mark.parametrize("partitions", [1, 7])
def test_the_number_of_partitions_changes_no_record(partitions: int) -> None:
    system = LocalSystem(index=ExactIndex, seed=1, partitions=partitions)
    system.put_items(ITEMS)
    system.post([click(f"user-{i % 9}", f"lamp-{i % 6}", float(i)) for i in range(50)])

    assert all(slate(system, f"user-{i}", 60.0).position for i in range(9))
