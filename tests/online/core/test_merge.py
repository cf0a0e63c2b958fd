from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online.core.merge import absorb, is_awaited, known_together, merged
from online.core.record import DEDUP_BYTES, ID_BYTES, Forward, UserRecord, encode_record
from online.core.session import digest64
from online.core.step import Caps, FoldConfig, fold_event, is_duplicate, sum_up
from schemas.event import Event, EventItem

T0 = 1_700_000_000.0
DAY = 86_400.0


def event(event_type: str = "click", item: str = "a", at: float = 0.0, **fields: Any) -> Event:
    fields.setdefault("event_id", f"{event_type}-{item}-{at}")
    fields.setdefault("received_at", T0 + at)
    items = [EventItem(item, categories=["shoes"], brand="acme", price_tier="p3")]
    return Event(event_type=event_type, timestamp=T0 + at, user_id="1", items=items, **fields)


def fold(*events: Event, config: FoldConfig | None = None) -> UserRecord:
    config, record = config or FoldConfig(), UserRecord()
    for one in events:
        if not is_duplicate(record, one, config):
            landmark = config.decay.landmark(one.timestamp)
            fold_event(record, one, config.decay.at(one.timestamp, landmark), landmark, config)
    return record


def united(user: UserRecord, visitor: UserRecord, config: FoldConfig | None = None) -> UserRecord:
    assert absorb(user, visitor, "0:1", config or FoldConfig())
    return user


def affinities(record: UserRecord, at: float) -> list[dict[str, list[float]]]:
    decay = FoldConfig().decay
    return [{key: decay.now(w, T0 + at, record.landmark) for key, w in table.items()} for table in record.affinities]


EVENTS = st.lists(
    st.builds(
        event,
        st.sampled_from(["view", "click", "add_to_cart", "remove_from_cart", "purchase", "dislike", "hide"]),
        st.sampled_from("abcd"),
        st.integers(0, 10_000_000).map(float),  # over several cells of the landmark's grid
        received_at=st.just(T0 + 1e7),
    ),
    max_size=20,
    unique_by=(lambda e: e.event_id, lambda e: e.timestamp),
)


@settings(deadline=None)
@given(EVENTS, st.data())
def test_two_records_united_say_what_one_record_of_all_events_says(events: list[Event], data: st.DataObject) -> None:
    of_visitor = data.draw(st.lists(st.booleans(), min_size=len(events), max_size=len(events)))
    after = data.draw(st.integers(0, len(events)))  # how many of the events the user's record sees after the absorption
    visitors = [e for e, is_visitors in zip(events, of_visitor, strict=True) if is_visitors]
    users = [e for e, is_visitors in zip(events, of_visitor, strict=True) if not is_visitors]

    config = FoldConfig()
    record = united(fold(*users[after:]), fold(*visitors))
    for late in users[:after] + visitors:  # the visitor's come once more, and are known
        if not is_duplicate(record, late, config):
            landmark = config.decay.landmark(late.timestamp)
            fold_event(record, late, config.decay.at(late.timestamp, landmark), landmark, config)
    expected = fold(*events)

    record, expected = sum_up(record, FoldConfig()), sum_up(expected, FoldConfig())
    for mine, theirs in zip(affinities(record, 1e7), affinities(expected, 1e7), strict=True):
        assert mine.keys() == theirs.keys()
        for key, weights in mine.items():
            assert weights == pytest.approx(theirs[key], rel=1e-9, abs=1e-9)
    assert (record.counts, record.seen, record.carted, record.purchased, record.hidden, record.last_time) == (
        expected.counts,
        expected.seen,
        expected.carted,
        expected.purchased,
        expected.hidden,
        expected.last_time,
    )


@given(st.lists(st.tuples(st.integers(0, 250), st.booleans()), max_size=20, unique_by=lambda pair: pair[0]))
def test_tails_within_the_lateness_unite_to_the_tail_of_all(touches: list[tuple[int, bool]]) -> None:
    events = [(event(at=float(at), item=f"i{at}"), is_visitors) for at, is_visitors in touches]

    record = united(fold(*(e for e, v in events if not v)), fold(*(e for e, v in events if v)))

    assert record.recent == fold(*(e for e, _ in events)).recent


def test_a_visitor_is_taken_over_once() -> None:
    user, visitor = fold(event()), fold(event(item="b", at=5.0))
    united(user, copy.deepcopy(visitor))
    before = encode_record(user)

    assert not absorb(user, visitor, "0:1", FoldConfig())

    assert encode_record(user) == before
    assert absorb(user, visitor, "0:2", FoldConfig())


def test_the_running_session_of_the_visitor_goes_on() -> None:
    user, visitor = fold(event()), fold(event(item="b", at=60.0))
    assert united(copy.deepcopy(user), copy.deepcopy(visitor)).session_key == visitor.session_key
    assert united(copy.deepcopy(visitor), copy.deepcopy(user)).session_key == visitor.session_key


def test_the_labels_of_the_user_and_the_latest_context_stand() -> None:
    user = UserRecord(labels=["vip"], labels_time=T0, context={"device": "tv"}, context_time=T0)
    visitor = UserRecord(labels=["?"], labels_time=T0 + 9, context={"device": "phone"}, context_time=T0 + 1)

    united(user, visitor)

    assert (user.labels, user.context, user.context_time) == (["vip"], {"device": "phone"}, T0 + 1)


def test_caps_hold_and_what_is_strong_or_late_stays() -> None:
    caps = Caps(item=8, recent=8, seen=8, purchased=8, dedup=8)
    config = FoldConfig(caps=caps)
    user = fold(*(event(item=f"u{n}", at=float(n)) for n in range(8)), config=config)
    visitor = fold(*(event("purchase", f"v{n}", 10.0 + n) for n in range(8)), config=config)

    united(user, visitor, config)

    assert sorted(user.affinities[0]) == [f"u{n}" for n in range(8)]  # which have left the tail
    assert sorted(sum_up(copy.deepcopy(user), config).affinities[0]) == [f"v{n}" for n in range(1, 8)]
    assert [t.item_id for t in user.recent] == [f"v{n}" for n in range(8)]
    assert len(user.seen) <= 8
    assert len(user.dedup) == 8 * DEDUP_BYTES
    assert is_duplicate(user, event("purchase", "v7", 17.0), config)
    assert not is_duplicate(user, event(item="u0"), config)


def test_event_ids_unite_oldest_first_and_within_the_horizon() -> None:
    config = FoldConfig(dedup_horizon_s=100)
    user = fold(event(item="a", at=-86_400.0), event(item="b", at=150.0), config=config)
    visitor = fold(event(item="c", at=90.0), event(item="d", at=160.0), event(item="b", at=150.0), config=config)

    united(user, visitor, config)

    keys = [bytes(user.dedup[i : i + ID_BYTES]) for i in range(0, len(user.dedup), DEDUP_BYTES)]
    assert keys == [digest64(f"click-{item}-{at}")[:ID_BYTES] for item, at in (("c", 90.0), ("b", 150.0), ("d", 160.0))]


def test_what_is_known_together_leaves_both_records_alone() -> None:
    user, visitor = fold(event()), fold(event(item="b", at=5.0))
    visitor.forward = Forward("7", T0, "7", "0:1")
    before = encode_record(user), encode_record(visitor)

    together = merged(user, visitor)

    assert together.counts == {2: 2}
    assert (encode_record(user), encode_record(visitor)) == before


def test_the_records_count_together_only_between_the_merge_and_the_absorption() -> None:
    user, visitor = fold(event()), fold(event(item="b", at=5.0))
    assert known_together(user, "7", visitor) is user  # no merge says that they are one
    visitor.forward = Forward("7", T0, "7", "0:1")

    assert known_together(user, "7", None) is user
    together = known_together(user, "7", visitor)
    assert together is not None
    assert together.counts == {2: 2}
    alone = known_together(None, "7", visitor)
    assert alone is not None
    assert alone.counts == {2: 1}
    assert not is_awaited(user, "8", visitor)
    united(user, copy.deepcopy(visitor))
    assert known_together(user, "7", visitor) is user


def test_a_visitor_that_moved_on_to_another_user_is_not_counted_for_that_one() -> None:
    visitor = fold(event())
    visitor.forward = Forward("8", T0 + 9, "7", "0:1")

    assert known_together(None, "8", visitor) is None
