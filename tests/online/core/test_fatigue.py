from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from online.core.decay import DAY_S
from online.core.fatigue import fatigue, ignored
from online.core.foldable import Unfoldable, check_record
from online.core.item_table import ItemTable
from online.core.merge import absorb
from online.core.preference_step import fold_preferences
from online.core.record import RECORD_VERSION, UserRecord, decode_record, encode_record
from online.core.shown import SHOWINGS, add_showings
from online.core.step import Caps, FoldConfig, fold_event, sum_up
from schemas.event import Event, EventItem
from schemas.preferences import Preferences

T0 = 1_700_000_000.0
CONFIG = FoldConfig()


def event(kind: str, *items: str, at: float = 0.0) -> Event:
    shown = [EventItem(item) for item in items]
    return Event(event_id="e", event_type=kind, timestamp=T0 + at, received_at=T0 + DAY_S, user_id="1", items=shown)


def folded(*events: Event, config: FoldConfig = CONFIG) -> UserRecord:
    record = UserRecord()
    for one in events:
        landmark = config.decay.landmark(one.timestamp)
        fold_event(record, one, config.decay.at(one.timestamp, landmark), landmark, config)
    return record


def test_impressions_are_counted_and_fade_within_days() -> None:
    record = folded(event("impression", "a", "b"), event("impression", "a", at=10.0))

    assert ignored(record, T0 + 10.0) == pytest.approx({"a": 2.0, "b": 1.0}, abs=1e-3)
    assert ignored(record, T0 + DAY_S) == pytest.approx({"a": 1.0, "b": 0.5}, abs=1e-3)


@pytest.mark.parametrize("act", ["view", "click", "add_to_cart", "purchase"])
@pytest.mark.parametrize("is_summed_up", [False, True])
def test_an_act_ends_what_was_ignored_until_then_and_not_what_comes_after(act: str, is_summed_up: bool) -> None:
    record = folded(event("impression", "a"), event(act, "a", at=5.0), event("impression", "a", at=9.0))
    if is_summed_up:
        record = sum_up(record, CONFIG)

    assert ignored(record, T0 + 8.0) == {}
    assert ignored(record, T0 + 9.0) == {"a": 1.0}


def test_impressions_of_the_future_of_a_request_do_not_count() -> None:
    assert ignored(folded(event("impression", "a", at=50.0)), T0) == {}


@given(st.lists(st.tuples(st.sampled_from(["impression", "click"]), st.sampled_from("abc"), st.integers(0, 600))))
def test_the_order_in_which_events_arrive_changes_nothing(given_events: list[tuple[str, str, int]]) -> None:
    events = [event(kind, item, at=float(at)) for kind, item, at in given_events]
    shuffled = random.Random(1).sample(events, len(events))

    assert folded(*events).shown == folded(*shuffled).shown
    assert ignored(folded(*events), T0 + 700.0) == pytest.approx(ignored(folded(*shuffled), T0 + 700.0))


def test_a_record_holds_few_times_of_few_items() -> None:
    config = FoldConfig(caps=Caps(shown=8))
    record = folded(*(event("impression", f"i{n}", at=float(n)) for n in range(50) for _ in range(9)), config=config)

    assert 7 <= len(record.shown) <= 8
    assert "i49" in record.shown
    assert {len(times) for times in record.shown.values()} == {SHOWINGS}


def test_a_user_takes_over_what_the_visitor_was_shown() -> None:
    user, visitor = folded(event("impression", "a")), folded(event("impression", "a", at=5.0), event("impression", "b"))
    whole = folded(event("impression", "a", at=5.0), event("impression", "b"), event("impression", "a"))

    absorb(user, visitor, "0:1", CONFIG)

    assert user.shown == whole.shown


def test_a_reset_forgets_what_was_shown() -> None:
    record = folded(event("impression", "a"))

    fold_preferences(record, Preferences(event_id="p", timestamp=T0, received_at=T0, user_id="1", reset=True))

    assert record.shown == {}


def test_a_record_of_version_4_has_been_shown_nothing() -> None:
    stored = encode_record(UserRecord(version=4, seen={"a": 1}))

    assert (decode_record(stored).shown, decode_record(stored).version) == ({}, RECORD_VERSION)


@pytest.mark.parametrize("times", [[], [1] * 5, [-1], [2**62]])
def test_times_that_no_fold_leaves_are_refused(times: list[int]) -> None:
    check_record(UserRecord(shown={"a": [1, 2]}))
    with pytest.raises(Unfoldable):
        check_record(UserRecord(shown={"a": times}))


def test_utilities_fall_with_the_times_that_an_item_was_ignored() -> None:
    table = ItemTable(partitions=1)
    rows = np.array([table.row(item) for item in "abc"], np.int32)[::-1].copy()
    record = folded(event("impression", "b", "gone"), event("impression", "b"))

    taken_off = fatigue(table, record, T0, 0.25, rows)

    assert taken_off is not None
    assert taken_off.tolist() == [0.0, -0.5, 0.0]
    assert fatigue(table, record, T0, 0.0, rows) is None
    assert fatigue(table, UserRecord(), T0, 0.25, rows) is None
    assert fatigue(table, folded(event("impression", "gone")), T0, 0.25, rows) is None


def test_showings_are_kept_in_order_of_time() -> None:
    shown: dict[str, list[int]] = {}
    for time in (5, 3, 9, 1, 7):
        add_showings(shown, ["a"], [time], cap=8)

    assert shown == {"a": [3, 5, 7, 9]}
