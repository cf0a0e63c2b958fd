from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from example_slate import example_slate

import online.core.join
from online.core.dead_letter import DEAD, decode_dead_letter
from online.core.example import CART, CLICK, EXAMPLES, PURCHASE, Example, decode_example, example_id
from online.core.join import OPEN_SLATE, PURCHASE_WINDOW_S, SLATES, JoinFold
from online.core.open_slate import OpenSlate
from online.core.partition import EVENTS
from online.core.session import hash64
from online.ports import Batch, Message
from schemas.event import Event, EventItem, encode_event
from schemas.identity import Forwarded, accept_merge, encode_identity
from schemas.slate import Slate, encode_slate

T0 = 1_700_000_000.0
WINDOW = 3600.0
SHOWN = ["a", "b", "c", "d"]


def slate(rid: str = "r1", at: float = 0.0, user: str | None = "u1", shown: Sequence[str] = SHOWN) -> Slate:
    """A slate over candidates in reverse order, whose feature is the number of the candidate's letter."""
    candidates = sorted({*shown, "x"}, reverse=True)
    features = np.array([[ord(c) - ord("a"), 1.0] for c in candidates], np.float32)
    c = len(candidates)
    return example_slate(
        recommendation_id=rid,
        user_key=user,
        time=T0 + at,
        n=len(shown),
        model_version="3",
        candidates=candidates,
        feature_names=["letter", "one"],
        features=features.tobytes(),
        utilities=np.zeros(c).tobytes(),
        groups=np.zeros((c, 2), np.int32).tobytes(),
        eligible=np.ones(c, np.uint8).tobytes(),
        sources=np.zeros(c, np.uint8).tobytes(),
        slots=[candidates.index(item) for item in shown],
        propensities=[0.5] * len(shown),
    )


def event(kind: str, items: str, at: float, rid: str | None = None, user: str = "1") -> Event:
    return Event(
        event_id=f"{kind}{items}{at}",
        event_type=kind,
        timestamp=T0 + at,
        received_at=T0 + at,
        user_id=user,
        items=[EventItem(item) for item in items],
        recommendation_id=rid,
    )


class Join:
    """A fold over messages given one by one, with the store that its writes go to."""

    def __init__(self, window_s: float = WINDOW) -> None:
        self.window_s = window_s
        self.stored: dict[str, bytes] = {}
        self.examples: list[Example] = []
        self.dead: list[str] = []
        self.count = 0
        self.restart()

    def restart(self) -> None:
        self.fold = JoinFold(0, dict(self.stored), window_s=self.window_s)

    def take(self, *messages: Slate | Event | bytes) -> Join:
        for message in messages:
            self.batch(message)
        return self

    def batch(self, *messages: Slate | Event | bytes) -> None:
        topic = EVENTS if isinstance(messages[0], Event) else SLATES
        payloads = [
            encode_slate(m) if isinstance(m, Slate) else encode_event(m) if isinstance(m, Event) else m
            for m in messages
        ]
        self.count += 1
        batch = Batch(topic, 0, [Message(f"{self.count:010d}-{i}", p) for i, p in enumerate(payloads)])
        folded = self.fold.fold(batch, self.count)
        for key, value in folded.writes[OPEN_SLATE].items():
            if value is None:
                self.stored.pop(key, None)
            else:
                self.stored[key] = value
        self.examples += [decode_example(payload) for topic, _, payload in folded.outbox if topic == EXAMPLES]
        self.dead += [decode_dead_letter(payload).reason for topic, _, payload in folded.outbox if topic == DEAD]

    def slates(self) -> dict[str, OpenSlate]:
        """Return what the store holds."""
        return {key: msgspec.msgpack.decode(self.stored[key], type=OpenSlate) for key in sorted(self.stored) if key}

    def closed(self) -> list[Example]:
        """Let time pass until every window has closed, and return all examples."""
        self.take(event("search", "", 1e6, user="clock"))
        return self.examples


def labels(example: Example) -> dict[int, bool]:
    return dict(zip(example.positions, example.clicked, strict=True))


def test_an_outcome_credits_the_slate_it_names() -> None:
    join = Join().take(slate("r1"), slate("r2", at=1.0), event("click", "b", 60.0, rid="r1"))

    (example,) = join.closed()

    assert example.recommendation_id == "r1"
    assert labels(example) == {1: False, 2: True}
    assert (example.surface, example.model_version, example.time) == ("home", "3", T0)


def test_without_a_name_the_latest_slate_that_showed_the_user_the_item_is_credited() -> None:
    join = Join().take(
        slate("r1", 0.0), slate("r2", 10.0), slate("r3", 20.0, shown=["a"]), slate("r4", 30.0, user="u2")
    )

    join.take(event("click", "b", 60.0))

    assert [example.recommendation_id for example in join.closed()] == ["r2"]


@pytest.mark.parametrize(("at", "credited"), [(-1.0, 0), (0.0, 1), (1800.0, 1), (1801.0, 0)])
def test_without_a_name_credit_ends_after_30_minutes(at: float, credited: int) -> None:
    join = Join().take(slate("r1"), event("click", "a", at))

    assert len(join.closed()) == credited


def test_a_named_outcome_counts_until_the_window_closes() -> None:
    join = Join().take(slate("r1"), event("click", "a", 3599.0, rid="r1"), event("click", "b", 3600.0, rid="r1"))

    (example,) = join.closed()

    assert labels(example) == {1: True}


def test_impressions_decide_what_was_seen() -> None:
    join = Join().take(slate(), event("impression", "ac", 1.0), event("click", "d", 2.0))

    (example,) = join.closed()

    assert labels(example) == {1: False, 3: False, 4: True}


def test_without_impressions_everything_above_the_last_click_was_seen() -> None:
    join = Join().take(slate(), event("click", "c", 2.0), event("click", "a", 3.0))

    (example,) = join.closed()

    assert labels(example) == {1: True, 2: False, 3: True}


def test_rows_carry_the_features_of_the_seen_slots_in_slot_order() -> None:
    join = Join().take(slate(shown=["d", "a", "c"]), event("impression", "cd", 1.0))

    (example,) = join.closed()

    assert example.feature_names == ["letter", "one"]
    assert np.frombuffer(example.features, np.float32).reshape(-1, 2).tolist() == [[3.0, 1.0], [2.0, 1.0]]


@pytest.mark.parametrize("kind", ["click", "add_to_cart", "purchase", "play", "like", "bookmark"])
def test_every_positive_outcome_is_a_click(kind: str) -> None:
    (example,) = Join().take(slate(), event(kind, "a", 2.0)).closed()

    assert labels(example) == {1: True}


@pytest.mark.parametrize("kind", ["view", "dislike", "hide", "rating", "share", "search", "custom"])
def test_other_events_are_no_outcomes(kind: str) -> None:
    assert Join().take(slate(), event(kind, "a", 2.0)).closed() == []


def test_a_slate_of_which_nothing_was_seen_teaches_nothing() -> None:
    join = Join().take(slate("r1"), slate("r2", shown=[]), event("impression", "a", 1.0, rid="r2"))

    assert join.closed() == []
    assert set(join.stored) == {""}


def test_an_outcome_sent_twice_counts_once() -> None:
    click = event("click", "a", 2.0)

    assert Join().take(slate(), click, click).closed() == Join().take(slate(), click).closed()


def test_a_slate_shipped_twice_counts_once() -> None:
    click, seen = event("click", "a", 2.0), event("impression", "abcd", 3.0)
    once = Join().take(slate(), click, seen).closed()

    assert Join().take(slate(), click, slate(), seen).closed() == once
    late = Join().take(slate(), click, seen)
    late.closed()
    late.take(slate(), event("search", "", 2e6))
    assert late.examples == once


def test_an_outcome_may_overtake_its_slate() -> None:
    click = event("click", "b", 2.0, rid="r1")

    assert Join().take(click, slate()).closed() == Join().take(slate(), click).closed()


def test_an_overtaken_slate_is_credited_by_user_and_item_from_its_own_time_on() -> None:
    join = Join().take(event("click", "b", 50.0, rid="r1"), slate("r1", at=10.0), event("click", "a", 20.0))

    (example,) = join.closed()

    assert labels(example) == {1: True, 2: True}


def test_outcomes_of_items_that_the_named_slate_did_not_show_are_no_credit() -> None:
    join = Join().take(slate(), event("click", "xyz", 2.0, rid="r1"))

    assert join.closed() == []


def test_outcomes_of_slates_that_never_come_are_bounded_and_forgotten() -> None:
    join = Join()
    for number in range(50):
        letters = "".join(chr(ord("a") + number * 20 + i) for i in range(20))
        join.take(event("click", letters, 1.0, rid="invented"))
    assert len(join.stored["invented"]) < 1000

    assert join.closed() == []
    assert set(join.stored) == {""}


def test_a_window_closes_by_the_time_of_later_events() -> None:
    join = Join().take(slate("r1"), event("click", "a", 5.0))
    join.take(event("search", "", 3599.0, user="2"))
    assert join.examples == []

    join.take(event("search", "", 3600.0, user="2"))

    assert [example.recommendation_id for example in join.examples] == ["r1"]


def test_slates_read_ahead_of_the_events_wait_for_their_outcomes() -> None:
    slates = [slate(f"r{n}", at=n * 1000.0, user=f"u{n}") for n in range(20)]
    clicks = [event("click", "a", n * 1000.0 + 5.0, user=str(n)) for n in range(20)]

    join = Join().take(*slates, *clicks)

    assert [example.recommendation_id for example in join.closed()] == [f"r{n}" for n in range(20)]


def test_a_slate_shipped_after_its_window_closes_at_once() -> None:
    join = Join().take(event("search", "", 10_000.0), slate("r1"), event("click", "a", 5.0, rid="r1"))

    assert join.examples == []
    assert set(join.stored) == {""}


def test_beyond_the_cap_the_oldest_slates_close_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(online.core.join, "MAX_OPEN", 3)
    join = Join()
    for number in range(5):
        join.take(slate(f"r{number}", at=number, user=f"u{number}"), event("click", "a", number, user=str(number)))

    assert [example.recommendation_id for example in join.examples] == ["r0", "r1"]
    assert [key for key, slate in join.slates().items() if not slate.is_closed] == ["r2", "r3", "r4"]


def test_beyond_the_cap_the_oldest_clicked_slates_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(online.core.join, "MAX_CLICKED", 2)
    join = Join()
    for number in range(5):
        join.take(slate(f"r{number}", at=number, user=f"u{number}"), event("click", "a", number, user=str(number)))
    join.take(event("search", "", 2 * WINDOW, user="clock"))

    assert sorted(join.slates()) == ["r3", "r4"]


@pytest.mark.parametrize(("kind", "outcome"), [("add_to_cart", CART), ("purchase", PURCHASE)])
@pytest.mark.parametrize("rid", ["r1", None])
def test_what_a_click_leads_to_after_the_window_corrects_its_row(kind: str, outcome: int, rid: str | None) -> None:
    join = Join().take(slate("r1"), event("impression", "abcd", 1.0), event("click", "c", 5.0))

    join.take(event(kind, "c", 2 * WINDOW, rid=rid))
    first, correction = join.examples

    assert (first.is_correction, first.outcomes) == (False, [0, 0, CLICK, 0])
    assert correction.is_correction
    assert (correction.positions, correction.outcomes, correction.clicked) == ([3], [outcome], [True])
    assert np.frombuffer(correction.features, np.float32).tolist() == [2.0, 1.0]
    assert (correction.recommendation_id, correction.time, correction.surface) == ("r1", T0, "home")
    assert example_id(correction) == f"r1 3:{outcome}"


def test_an_outcome_is_corrected_once_and_not_when_the_example_had_it() -> None:
    join = Join().take(slate("r1"), event("click", "a", 5.0), event("add_to_cart", "a", 9.0))
    again = [event(kind, "a", 2 * WINDOW + i) for i, kind in enumerate(["add_to_cart", "purchase", "purchase"])]

    join.take(*again)

    assert [example.outcomes for example in join.examples] == [[CLICK | CART], [PURCHASE]]


@pytest.mark.parametrize(
    ("kind", "item", "at", "user"),
    [
        ("click", "a", 2 * WINDOW, "1"),
        ("purchase", "b", 2 * WINDOW, "1"),  # it was never clicked
        ("purchase", "a", PURCHASE_WINDOW_S, "1"),
        ("purchase", "a", 2 * WINDOW, "2"),
    ],
)
def test_other_late_outcomes_correct_nothing(kind: str, item: str, at: float, user: str) -> None:
    join = Join().take(slate("r1"), event("click", "a", 5.0), event("search", "", 2 * WINDOW, user="clock"))

    join.take(event(kind, item, at, user=user))

    assert [example.is_correction for example in join.examples] == [False]


def test_a_late_outcome_goes_to_the_latest_slate_whose_click_it_follows() -> None:
    slates = [slate(f"r{n}", at=n, shown=shown) for n, shown in enumerate(["ab", "a", "b"])]
    clicks = [event("click", item, 5.0 + n, rid=f"r{n}") for n, item in enumerate("aab")]

    join = Join().take(*slates, *clicks, event("purchase", "a", 2 * WINDOW))

    assert [example_id(example) for example in join.examples] == ["r0", "r1", "r2", f"r1 1:{PURCHASE}"]


def test_a_slate_whose_purchase_window_is_over_is_forgotten() -> None:
    join = Join().take(slate("r1"), event("click", "a", 5.0), event("search", "", 2 * WINDOW, user="clock"))
    assert set(join.slates()) == {"r1"}

    join.take(event("search", "", PURCHASE_WINDOW_S, user="clock"))

    assert set(join.stored) == {""}


def test_an_example_says_how_its_slate_was_drawn_and_for_whom() -> None:
    given = slate("r1")
    given.request, given.policy_id, given.epsilon = {"context": {"device": "phone"}}, "personal-1", 0.1
    given.utilities = np.arange(5.0).tobytes()

    (example,) = Join().take(given, event("click", "b", 5.0)).closed()

    assert (example.device, example.policy_id, example.user) == ("phone", "personal-1", hash64("u1"))
    assert example.utilities == [4.0, 3.0]
    assert example.uniform == pytest.approx([0.1 / 5 / 0.5, 0.1 / 4 / 0.5])


@pytest.mark.parametrize(("context", "device"), [({"device": "desk"}, "desk"), ({"device": 7}, ""), ({}, "")])
def test_a_request_that_names_no_device_has_that_of_the_users_events(context: dict[str, Any], device: str) -> None:
    seen = event("impression", "ab", 1.0)
    seen.context = context

    (example,) = Join().take(slate(), seen, event("click", "b", 5.0)).closed()

    assert example.device == device


def test_what_is_no_slate_is_dead_lettered_and_what_is_no_event_left_to_the_state_flow() -> None:
    torn, far = slate("torn"), slate("far")
    torn.features, far.slots = torn.features[:-4], [99]
    join = Join().take(b"?", torn, far, slate("good"))
    join.fold.fold(Batch(EVENTS, 0, [Message("1", b"?")]), 9)

    join.take(event("click", "a", 5.0))

    assert len(join.dead) == 3
    assert [example.recommendation_id for example in join.closed()] == ["good"]


def random_stream(seed: int, n: int = 400) -> list[Slate | Event]:
    """Slates and outcomes of a few users; some outcomes overtake, some slates come late, twice, or not at all."""
    rng = random.Random(seed)
    stream: list[tuple[float, Slate | Event]] = []
    at = 0.0
    for number in range(n):
        at += rng.expovariate(1 / 40)
        user, rid = rng.randrange(4), f"r{number}"
        given = slate(rid, at, user=f"u{user}" if rng.random() < 0.9 else None)
        for _ in range(rng.choice([0, 1, 1, 2])):
            arrives = at + rng.choice([0.0, 0.0, rng.expovariate(1 / 20), rng.expovariate(1 / 2000)])
            stream.append((arrives, given))
        for _ in range(rng.randrange(4)):
            when = at + rng.expovariate(1 / 300) - rng.choice([0.0, 5.0])
            kind: Any = rng.choice(["click", "impression", "purchase", "view"])
            items = "".join(rng.sample("abcdx", rng.randrange(1, 4)))
            outcome = event(kind, items, when, rid=rid if rng.random() < 0.5 else None, user=str(user))
            stream.append((when + rng.choice([-30.0, 0.0, rng.expovariate(1 / 100)]), outcome))
    return [message for _, message in sorted(stream, key=lambda pair: pair[0])]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("window_s", [300.0, 3600.0])
def test_examples_do_not_depend_on_restarts(seed: int, window_s: float) -> None:
    stream = random_stream(seed)
    steady, restarted = Join(window_s), Join(window_s)
    rng = random.Random(seed)
    for message in stream:
        steady.take(message)
        restarted.take(message)
        if rng.random() < 0.2:
            restarted.restart()

    assert restarted.stored == steady.stored
    assert restarted.closed() == steady.closed()
    assert len(steady.examples) > 100


def test_examples_do_not_depend_on_batches() -> None:
    stream = random_stream(9)
    single, batched = Join().take(*stream), Join()
    pending: list[Slate | Event] = []
    for message in stream:
        if pending and (type(pending[0]) is not type(message) or len(pending) == 7):
            batched.batch(*pending)
            pending = []
        pending.append(message)
    batched.batch(*pending)

    assert batched.closed() == single.closed()


def test_what_says_who_is_who_closes_no_window_and_clicks_nothing() -> None:
    join = Join().take(slate("r1"))
    merge = accept_merge(user_id="1", visitor_id="g", event_id="m", now=T0 + 1e6)
    click = event("click", "a", 60.0, rid="r1")
    forwarded = Forwarded(
        event_id=click.event_id,
        timestamp=T0 + 1e6,
        received_at=T0 + 1e6,
        user_id="1",
        visitor_id="g",
        event=msgspec.Raw(encode_event(click)),
    )

    for message in (merge, forwarded):
        join.fold.fold(Batch(EVENTS, 0, [Message("0", encode_identity(message))]), 1)

    assert join.examples == []
    join.take(event("click", "b", 60.0, rid="r1"))
    assert labels(join.closed()[0]) == {1: False, 2: True}


def test_a_clock_that_is_ahead_closes_no_window() -> None:
    join = Join().take(slate("r1"))
    ahead = event("search", "", 60.0)
    ahead.timestamp += 10 * WINDOW
    join.take(ahead, event("click", "a", 70.0, rid="r1"))

    assert join.examples == []
    assert labels(join.closed()[0])[1]


@pytest.mark.parametrize("changed", [{"timestamp": 5e9}, {"event_id": ""}, {"recommendation_id": "r" * 300}])
def test_an_event_that_the_state_view_does_not_take_closes_and_opens_no_slate(changed: dict[str, Any]) -> None:
    join = Join().take(slate("r1"))
    stored = dict(join.stored)
    poison = event("click", "a", 1.0, "r1")
    for name, value in changed.items():
        setattr(poison, name, value)
    join.take(poison)

    assert (join.examples, join.dead) == ([], [])
    assert join.stored == stored


def test_nothing_is_learned_from_robots() -> None:
    asked = slate("r1")
    asked.robot = True
    clicked_by_one = event("click", "b", 2.0, rid="r2")
    clicked_by_one.robot = True
    fold = JoinFold(0, {}, window_s=WINDOW)
    fold.fold(Batch(SLATES, 0, [Message("1", encode_slate(asked)), Message("2", encode_slate(slate("r2", 1.0)))]), 1)
    said = [
        event("click", "a", 2.0, rid="r1"),
        clicked_by_one,
        event("click", "c", 3.0, rid="r2"),
        event("click", "a", 1e5),
    ]

    folded = fold.fold(Batch(EVENTS, 0, [Message(f"{n}", encode_event(one)) for n, one in enumerate(said, 3)]), 2)

    (example,) = [decode_example(payload) for topic, _, payload in folded.outbox if topic == EXAMPLES]
    assert example.recommendation_id == "r2"
    assert sum(example.clicked) == 1


def test_nothing_is_learned_from_held_out_units() -> None:
    asked = slate("r1")
    asked.held_out = True
    clicked_by_one = event("click", "b", 30.0, rid="r2")
    clicked_by_one.held_out = True

    join = Join().take(asked, event("click", "a", 10.0, rid="r1"), slate("r2", at=20.0), clicked_by_one)

    assert join.closed() == []
