from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from online.adapters.exact_index import ExactIndex
from replay.closed_loop import Loop, arm_of, run
from replay.local_system import LocalSystem
from replay.shop import Shop, ShopConfig
from replay.system import Answer
from schemas.event import EventIn
from schemas.slate import RecommendIn

CONFIG, HOURS = ShopConfig(users=60, items=120, seed=5), 1.5


def play(hours: float) -> Loop:
    loop = Loop()
    system = LocalSystem(index=ExactIndex, seed=CONFIG.seed)
    for loop in run(system, Shop(CONFIG), rate=0.05, until=CONFIG.start + hours * 3600.0):  # noqa: B007
        pass
    return loop


@pytest.fixture(scope="module")
def loop() -> Loop:
    return play(HOURS)


def test_the_same_seed_plays_the_same_loop(loop: Loop) -> None:
    assert play(0.25) == play(0.25) != loop


def test_personal_slates_are_worth_more_than_popular_ones(loop: Loop) -> None:
    personal, popular = loop.tallies["personal"], loop.tallies["popularity"]

    assert personal.expected_clicks / personal.slates > popular.expected_clicks / popular.slates


def test_no_slate_is_worth_more_than_the_best_one(loop: Loop) -> None:
    for tally in loop.tallies.values():
        assert 0.0 < tally.expected_clicks <= tally.oracle_clicks
        assert tally.document()["regret_per_slate"] == pytest.approx(
            (tally.oracle_clicks - tally.expected_clicks) / tally.slates, abs=1e-5
        )


class Recording(LocalSystem):
    """A recommender that remembers in which order it was used."""

    def __init__(self) -> None:
        super().__init__(index=ExactIndex, seed=CONFIG.seed)
        self.times: list[float] = []

    def post(self, events: Sequence[EventIn]) -> None:
        self.times += [event.timestamp or 0.0 for event in events[:1]]
        super().post(events)

    def recommend(self, ask: RecommendIn) -> Answer:
        self.times.append(ask.timestamp or 0.0)
        return super().recommend(ask)


def test_visits_interleave_in_the_order_of_shop_time_until_the_end() -> None:
    system, told = Recording(), list[tuple[int, int]]()
    end = CONFIG.start + 900.0
    hook = lambda visit, ask, answer, clicks: told.append((len(answer.item_ids), clicks))  # noqa: E731
    *_, loop = run(system, Shop(CONFIG), rate=0.05, until=end, on_slate=hook)

    steps = [at for at in system.times if at >= CONFIG.start]
    jumps = [later - earlier for earlier, later in pairwise(steps)]
    assert min(jumps) >= -1.0  # a reaction is posted with its slate, and begins half a second behind it
    assert CONFIG.start < steps[0] < end
    assert sum(tally.slates for tally in loop.tallies.values()) == len(told)
    assert sum(tally.clicks for tally in loop.tallies.values()) == sum(clicks for _, clicks in told)
    assert {shown for shown, _ in told} == {CONFIG.slate_size}


def test_a_user_stays_in_its_arm() -> None:
    users = [f"u{n}" for n in range(1000)]

    assert [arm_of(u) for u in users] == [arm_of(u) for u in users]
    assert 400 < sum(arm_of(u) == "personal" for u in users) < 600


def test_a_tally_can_be_read_from_a_point_on(loop: Loop) -> None:
    tally = loop.tallies["personal"]
    earlier = tally.copy()
    earlier.slates -= 5
    earlier.clicks -= 2

    assert (tally.since(earlier).slates, tally.since(earlier).clicks) == (5, 2)


def test_newcomers_reach_the_system_when_they_come_and_other_arms_can_be_played() -> None:
    shop = Shop(replace(CONFIG, newcomers=3, newcomers_after=600.0))
    system, known = LocalSystem(index=ExactIndex, seed=CONFIG.seed), list[tuple[float, int]]()
    arms = {"one": "popularity-1"}
    for loop in run(system, shop, rate=0.05, until=CONFIG.start + 1200.0, arms=arms):
        known.append((loop.now - CONFIG.start, len(system.world.table.documents)))

    assert {items for at, items in known if at < 600.0} == {CONFIG.items - 3}
    assert {items for at, items in known if at >= 600.0} == {CONFIG.items}
    assert loop.tallies.keys() == {"one"}
    assert loop.tallies["one"].slates > 0
