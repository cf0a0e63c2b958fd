from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from replay.feed import FeedConfig, Progress, feed
from replay.recorded import Recorded
from replay.system import Answer
from schemas.event import EventIn
from schemas.item import ItemIn
from schemas.slate import RecommendIn


class LastSeen:
    """A recommender that shows what the whole shop did last: small enough to know every answer in advance."""

    def __init__(self) -> None:
        self.items: list[str] = []
        self.posted: list[EventIn] = []
        self.asked_after: list[int] = []

    def put_items(self, items: Sequence[ItemIn]) -> None:
        self.items += [item.item_id or "" for item in items]

    def post(self, events: Sequence[EventIn]) -> None:
        self.posted += events

    def recommend(self, ask: RecommendIn) -> Answer:
        self.asked_after.append(len(self.posted))
        return Answer("r", [e.item_id or "" for e in reversed(self.posted)][: ask.n], None, {})

    def close(self) -> None: ...


def recorded(*rows: tuple[str, str, float]) -> list[Recorded]:
    return [
        Recorded(i, EventIn(event_type="click", user_id=user, item_id=item, timestamp=at))
        for i, (user, item, at) in enumerate(rows, start=1)
    ]


def run(system: LastSeen, events: list[Recorded], **fields: Any) -> Progress:
    progress = Progress()
    for progress in feed(system, events, FeedConfig(policies=("p",), **fields)):  # noqa: B007
        pass
    return progress


def test_a_slate_is_asked_for_before_the_event_it_is_scored_by_is_known() -> None:
    system = LastSeen()
    progress = run(system, recorded(("a", "x", 1.0), ("b", "y", 2.0), ("a", "y", 3.0)), ask_every=1)

    assert system.asked_after == [2]
    assert progress.scores["p"].hits == [1.0]
    assert progress.scores["p"].reciprocal_ranks == [1.0]


def test_an_item_never_seen_is_a_miss() -> None:
    progress = run(LastSeen(), recorded(("a", "x", 1.0), ("a", "new", 2.0)), ask_every=1)

    assert progress.scores["p"].hits == [0.0]


def test_a_user_s_first_event_is_not_asked_in_front_of() -> None:
    assert run(LastSeen(), recorded(("a", "x", 1.0), ("b", "x", 2.0)), ask_every=1).slates == 0


def test_only_every_so_manyth_event_is_asked_in_front_of() -> None:
    rows = recorded(*(("a", f"i{n}", float(n)) for n in range(31)))

    assert run(LastSeen(), rows, ask_every=10).slates == 3
    assert run(LastSeen(), rows, ask_every=0).slates == 0


def test_items_are_described_before_their_first_event() -> None:
    system = LastSeen()
    progress = run(system, recorded(("a", "x", 1.0), ("a", "y", 2.0), ("a", "x", 3.0)))

    assert system.items == ["x", "y"]
    assert (progress.events, progress.items) == (3, 2)


def test_a_feed_keeps_the_pace_of_the_recording() -> None:
    slept: list[float] = []
    now = [0.0]

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    rows = recorded(("a", "x", 100.0), ("a", "y", 160.0), ("a", "z", 400.0))
    for _ in feed(LastSeen(), rows, FeedConfig(speed=60.0, ask_every=0), clock=lambda: now[0], sleep=sleep):
        pass

    assert slept == [1.0, 4.0]


def test_what_is_there_is_posted_and_told_before_a_wait() -> None:
    system, posted_at_sleep = LastSeen(), []
    rows = recorded(("a", "x", 100.0), ("a", "y", 101.0), ("a", "z", 400.0))
    feeding = feed(
        system,
        rows,
        FeedConfig(speed=1.0, ask_every=0),
        clock=lambda: 1.0,  # a second late already
        sleep=lambda seconds: posted_at_sleep.append(len(system.posted)),
    )

    told = [progress.events for progress in feeding]

    assert posted_at_sleep == [1, 2]
    assert told == [1, 2, 3]


def test_a_feed_that_is_late_does_not_wait() -> None:
    now = iter([0.0, *[1000.0] * 9])
    rows = recorded(("a", "x", 100.0), ("a", "y", 160.0))

    def sleep(seconds: float) -> None:
        raise AssertionError(seconds)

    told = list(feed(LastSeen(), rows, FeedConfig(speed=1.0, ask_every=0), clock=lambda: next(now), sleep=sleep))
    assert told[-1].events == 2


def test_documents_of_items_go_first_and_each_item_is_put_once() -> None:
    system = LastSeen()
    documents = [ItemIn(item_id="x", brand="b"), ItemIn(item_id="unsold"), ItemIn(item_id="x")]
    *_, progress = feed(system, recorded(("a", "x", 1.0), ("a", "y", 2.0)), FeedConfig(), items=documents)

    assert system.items == ["x", "unsold", "y"]
    assert progress.items == 3


def test_events_that_say_nothing_good_of_an_item_are_fed_but_not_asked_in_front_of() -> None:
    system = LastSeen()
    events = [EventIn(event_type="impression", user_id="a", item_id="x", timestamp=float(n)) for n in range(5)]
    progress = run(system, [Recorded(n, event) for n, event in enumerate(events)], ask_every=1)

    assert (progress.events, progress.slates) == (5, 0)


def test_nothing_recorded_is_fed_as_nothing() -> None:
    assert run(LastSeen(), []) == Progress()


def test_scores_come_with_their_interval() -> None:
    rows = recorded(*((f"u{n % 7}", f"i{n % 3}", float(n)) for n in range(200)))
    document = run(LastSeen(), rows, ask_every=1).scores["p"].document(seed=1)

    low, high = document["next_item_hit_rate_ci"]  # type: ignore[misc]
    assert low <= document["next_item_hit_rate"] <= high  # type: ignore[operator]
    assert document["n"] == 193
