"""Disorder: whatever the order in which events arrive, and however often, the views come out the same."""

from __future__ import annotations

from collections import defaultdict
from math import inf
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online.adapters.memory_state import MemoryState
from online.core.item_stats import ItemStats, decode_item_stats
from online.core.item_table import ItemTable
from online.core.partition import EVENTS, ITEM, USER, PartitionFold
from online.core.record import DEDUP_BYTES, UserRecord, decode_record
from online.core.session import LATENESS_S, session_touches
from online.core.step import DISORDER_S, Caps, FoldConfig, is_duplicate, keep_latest, keep_strongest, sum_up
from online.core.update import UPDATES, decode_update
from online.models.session_index_kernel import GONE
from online.models.session_knn import SessionKnn, SessionKnnConfig
from online.ports import Batch, Message
from online.world import World
from schemas.event import WEIGHTS, Event, EventItem, encode_event

T0 = 1_700_000_000.0
SPAN_S = 1e7  # over more than three cells of the landmark's grid
ITEMS = "abcdef"
UNCAPPED = FoldConfig(influence=inf)
DECAY = UNCAPPED.decay
LOOSE = settings(deadline=None, max_examples=60)


def event(number: int, at: float, item: str = "a", event_type: str = "click", **fields: Any) -> Event:
    fields.setdefault("received_at", T0 + SPAN_S)  # all within the dedup horizon
    fields.setdefault("user_id", "1")
    items = [EventItem(item, categories=["shoes"], brand="acme", price_tier="p3")]
    return Event(event_id=f"e{number}", event_type=event_type, timestamp=T0 + at, items=items, **fields)


class Folded(NamedTuple):
    """What a log has become: the records, summed up, and the world of a worker that has followed the updates."""

    users: dict[str, UserRecord]
    items: dict[str, ItemStats]
    world: World


def folded(log: list[Event], batch: int = 7, config: FoldConfig | None = None) -> Folded:
    state, world = MemoryState(), World(ItemTable(1), SessionKnn(SessionKnnConfig(sessions=500, postings=64)))
    for name in ITEMS:
        world.table.row(name)  # rows in an order of their own
    fold = PartitionFold(0, lambda family, keys: state.get_many(0, family, keys), config or UNCAPPED)
    generation = state.claim("state", 0).generation
    messages = [Message(f"{i:020d}", encode_event(one)) for i, one in enumerate(log)]
    for seq, at in enumerate(range(0, len(messages), batch), start=1):
        done = fold.fold(Batch(EVENTS, 0, messages[at : at + batch]), seq)
        state.commit("state", 0, generation, done.writes, b"", done.perishable)
        for topic, _, payload in done.outbox:
            assert topic == UPDATES
            world.apply(decode_update(payload))
    return Folded(
        {key: sum_up(decode_record(value), config or UNCAPPED) for key, value in state.scan(0, USER)},
        {key: decode_item_stats(value) for key, value in state.scan(0, ITEM)},
        world,
    )


ANY_EVENTS = st.lists(
    st.tuples(
        st.floats(0.0, SPAN_S),
        st.sampled_from(ITEMS),
        st.sampled_from(["view", "click", "add_to_cart", "purchase", "dislike", "impression"]),
        st.sampled_from("12"),
    ),
    min_size=1,
    max_size=25,
).map(lambda drawn: [event(i, at, item, kind, user_id=user) for i, (at, item, kind, user) in enumerate(drawn)])


@LOOSE
@given(ANY_EVENTS, st.data())
def test_any_order_and_any_repetition_give_the_same_affinities_and_popularity(
    events: list[Event], data: st.DataObject
) -> None:
    one, other = folded(events), folded(data.draw(st.permutations(events + events[::2])), batch=3)

    assert one.users.keys() == other.users.keys()
    for key, record in one.users.items():
        assert record.counts == other.users[key].counts
        for mine, theirs in zip(record.affinities, other.users[key].affinities, strict=True):
            same_weights(mine, record.landmark, theirs, other.users[key].landmark)
    for item, stats in one.items.items():
        theirs_stats = other.items[item]
        same_weights({item: stats.popularity}, stats.landmark, {item: theirs_stats.popularity}, theirs_stats.landmark)
        assert (stats.first_time, stats.last_time) == (theirs_stats.first_time, theirs_stats.last_time)
        assert stats.counts == pytest.approx(theirs_stats.counts, rel=1e-9)


def same_weights(mine: dict[str, list[float]], landmark: float, theirs: dict[str, list[float]], other: float) -> None:
    assert mine.keys() == theirs.keys()
    for key, weights in mine.items():
        expected = DECAY.now(theirs[key], T0 + SPAN_S, other)
        assert DECAY.now(weights, T0 + SPAN_S, landmark) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@LOOSE
@given(ANY_EVENTS, st.floats(0.0, 1e6))
def test_every_event_counts_by_its_own_time_however_late_it_comes(events: list[Event], later: float) -> None:
    now = T0 + SPAN_S + later
    (record,) = folded([event(i, e.timestamp - T0, "a", e.event_type) for i, e in enumerate(events)]).users.values()
    weights = DECAY.now(record.affinities[0].get("a", [0.0] * 3), now, record.landmark)

    for weight, half_life in zip(weights, DECAY.half_lives, strict=True):
        parts = [WEIGHTS[e.event_type] * 0.5 ** ((now - e.timestamp) / half_life) for e in events]
        assert weight == pytest.approx(sum(parts), rel=1e-9, abs=1e-9)


@LOOSE
@given(ANY_EVENTS)
def test_landmarks_lie_on_the_grid_at_the_latest_event_and_never_go_back(events: list[Event]) -> None:
    latest: dict[str, float] = {}
    for n in range(1, len(events) + 1):
        for key, record in folded(events[:n]).users.items():
            cell = DECAY.landmark(max(e.timestamp for e in events[:n] if e.user_key == key))
            assert record.landmark == cell == cell // DECAY.grid_s * DECAY.grid_s >= latest.get(key, 0.0)
            latest[key] = record.landmark


GAPS = st.sampled_from([0.0, 1.0, 60.0, 250.0, 1500.0, 1650.0, 1795.0, 1805.0, 1900.0, 2050.0, 2200.0, 9000.0])
ARRIVING = st.tuples(
    GAPS,
    st.floats(0.0, 1.0),  # so that hardly two touches are of the same time
    st.sampled_from(ITEMS),
    st.sampled_from([None, None, None, "s1", "s2"]),
    st.sampled_from("112"),
    st.floats(0.0, LATENESS_S - 1.0),  # how much later than it happened it arrives
)


@settings(deadline=None, max_examples=200)
@given(st.lists(ARRIVING, min_size=2, max_size=25), st.data())
def test_sessions_and_the_session_index_do_not_depend_on_the_order_of_arrival_within_the_lateness(
    drawn: list[tuple[float, float, str, str | None, str, float]], data: st.DataObject
) -> None:
    at, events, arrivals = 0.0, [], []
    for i, (gap, more, item, session_id, user, late) in enumerate(drawn):
        at += gap + more
        events.append(event(i, at, item, user_id=user, session_id=session_id))
        arrivals.append((at + late, i))
    shuffled = [events[i] for _, i in sorted(arrivals)]
    repeated = shuffled + data.draw(st.lists(st.sampled_from(shuffled), max_size=5))

    one, other = folded(events), folded(repeated, batch=data.draw(st.integers(1, 30)))

    for key, record in one.users.items():
        assert record.recent == other.users[key].recent
        assert record.dropped_late == other.users[key].dropped_late == 0
        now = record.recent[-1].time + 60.0
        assert session_touches(record.recent, now) == session_touches(other.users[key].recent, now)
    assert sessions_of(one.world.sessions) == sessions_of(other.world.sessions)
    for item in range(len(ITEMS)):
        query = np.array([item, (item + 1) % len(ITEMS)], np.int32)
        mine, theirs = (f.world.sessions.query(query, now=T0 + at, limit=9) for f in (one, other))
        np.testing.assert_array_equal(mine[0], theirs[0])
        np.testing.assert_array_equal(mine[1], theirs[1])


def sessions_of(knn: SessionKnn) -> dict[int, set[tuple[int, float]]]:
    """Return what the index holds of each session: its items, each with the time of its last click."""
    state: Any = knn.state()
    return {
        int(key): set(zip(state["items"][at : at + n].tolist(), state["item_times"][at : at + n].tolist(), strict=True))
        for key, n, at in zip(state["keys"], state["held"], state["offsets"], strict=True)
        if n != GONE
    }


@LOOSE
@given(st.lists(ARRIVING, min_size=1, max_size=25))
def test_touches_without_a_session_id_form_the_runs_that_no_idle_gap_parts(drawn: list[Any]) -> None:
    at, events, arrivals = 0.0, [], []
    for i, (gap, more, _, _, _, late) in enumerate(drawn):
        at += gap + more
        events.append(event(i, at, ITEMS[i % 6]))
        arrivals.append((at + late, i))

    runs: list[float] = []
    for before, after in zip([-1e9, *(e.timestamp for e in events)], [e.timestamp for e in events], strict=False):
        if after - before > 1800.0:
            runs.append(after)
        else:
            runs[-1] = after
    index = sessions_of(folded([events[i] for _, i in sorted(arrivals)]).world.sessions)

    assert sorted(max(time for _, time in items) for items in index.values()) == runs


@LOOSE
@given(ANY_EVENTS.filter(lambda events: len(events) > 1), st.integers(4, 9))
def test_no_table_ever_exceeds_its_cap(events: list[Event], cap: int) -> None:
    caps = Caps(item=cap, category=cap, recent=cap, seen=cap, carted=cap, purchased=cap, hidden=cap, dedup=cap)
    for i, one in enumerate(events):
        one.items = [EventItem(f"{one.items[0].item_id}{i % 7}", categories=[f"c{i}"])]
    kept = folded(events, config=FoldConfig(caps=caps)).users

    for key, record in kept.items():
        tables = (*record.affinities[:2], record.recent, record.seen, record.carted, record.purchased, record.hidden)
        assert max(map(len, tables)) <= cap
        assert len(record.dedup) <= cap * DEDUP_BYTES
        touched = [e for e in events if e.user_key == key and WEIGHTS[e.event_type] > 0]
        latest = max((e.timestamp for e in touched), default=None)
        assert latest is None or record.recent[-1].time == latest


@given(
    st.dictionaries(st.text(max_size=4), st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3), min_size=6), st.data()
)
def test_the_weakest_of_a_full_table_go(table: dict[str, list[float]], data: st.DataObject) -> None:
    cap = data.draw(st.integers(4, len(table) - 1))
    before = {key: max(map(abs, weights)) for key, weights in table.items()}

    keep_strongest(table, cap)

    assert 0 < len(table) <= cap
    assert min(before[key] for key in table) >= max(before[key] for key in before.keys() - table.keys())


@given(st.dictionaries(st.text(max_size=4), st.integers(-(2**40), 2**40), min_size=6), st.data())
def test_the_oldest_marks_of_a_full_table_go(table: dict[str, int], data: st.DataObject) -> None:
    cap = data.draw(st.integers(4, len(table) - 1))
    before = {key: abs(time) for key, time in table.items()}

    keep_latest(table, cap)

    assert 0 < len(table) <= cap
    assert min(before[key] for key in table) >= max(before[key] for key in before.keys() - table.keys())


@LOOSE
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 900), st.integers(0, 60)), max_size=60))
def test_an_id_counts_again_once_it_is_out_of_the_horizon_and_never_within_it(
    steps: list[tuple[int, int, int]],
) -> None:
    config, record = FoldConfig(dedup_horizon_s=1000), UserRecord()
    counted: defaultdict[int, list[int]] = defaultdict(list)
    newest = int(T0)
    for number, passed, behind in steps:  # `received_at` goes on, and is a little out of order
        newest += passed
        received = newest - behind
        known = any(at >= received - 1000 for at in counted[number])
        if not known:
            counted[number].append(received)
        assert is_duplicate(record, event(number, 0.0, received_at=float(received)), config) == known
    assert DISORDER_S > 60
