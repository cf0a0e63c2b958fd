from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online.core.record import DEDUP_BYTES, ID_BYTES, UserRecord, decode_record, encode_record
from online.core.session import digest64, session_touches
from online.core.step import Caps, FoldConfig, fold_event, fold_user, is_duplicate, sum_up
from schemas.event import Event, EventItem
from schemas.user import User

T0 = 1_700_000_000.0


def event(event_type: str = "click", item: str = "a", at: float = 0.0, **fields: Any) -> Event:
    fields.setdefault("event_id", f"{event_type}-{item}-{at}")
    fields.setdefault("items", [EventItem(item, categories=["shoes"], brand="acme", price_tier="p3")])
    fields.setdefault("received_at", T0 + at)
    return Event(event_type=event_type, timestamp=T0 + at, user_id="1", **fields)


def fold(*events: Event, config: FoldConfig | None = None, record: UserRecord | None = None) -> UserRecord:
    config, record = config or FoldConfig(), record or UserRecord()
    for one in events:
        if not is_duplicate(record, one, config):
            landmark = config.decay.landmark(one.timestamp)
            fold_event(record, one, config.decay.at(one.timestamp, landmark), landmark, config)
    return record


def affinity(record: UserRecord, facet: int, key: str, at: float) -> list[float]:
    return FoldConfig().decay.now(record.affinities[facet][key], T0 + at, record.landmark)


def test_a_click_counts_for_item_category_brand_and_price_tier() -> None:
    record = sum_up(fold(event()), FoldConfig())

    for facet, key in enumerate(["a", "shoes", "acme", "p3"]):
        assert affinity(record, facet, key, 0.0) == pytest.approx([1.0, 1.0, 1.0])


def test_affinities_decay_with_each_half_life() -> None:
    record = sum_up(fold(event("purchase")), FoldConfig())

    day = 86_400.0
    assert affinity(record, 1, "shoes", 3 * day) == pytest.approx([5 / 2**12, 2.5, 5 * 0.5**0.1])


def test_a_dislike_pulls_affinity_down_and_leaves_the_session_alone() -> None:
    record = fold(event("dislike"))

    assert affinity(record, 1, "shoes", 0.0)[0] == pytest.approx(-3.0)
    assert record.recent == []


def test_a_rating_counts_by_its_distance_from_neutral() -> None:
    record = fold(event("rating", value=1.0))

    assert affinity(record, 0, "a", 0.0)[0] == pytest.approx(-2.0)


def test_an_event_id_counts_once_within_the_horizon_and_again_after_it() -> None:
    config = FoldConfig(dedup_horizon_s=100)

    assert fold(event(), event(), config=config).counts == {2: 1}
    late = event(at=101.0, event_id="click-a-0.0")
    assert fold(event(), late, config=config).counts == {2: 2}


def test_a_hash_found_across_two_entries_is_no_duplicate() -> None:
    digest = digest64(event().event_id)[:ID_BYTES]
    straddling = (
        bytes(4) + digest + (int(T0) + 5).to_bytes(4, "little") + bytes(2) + (int(T0) + 5).to_bytes(4, "little")
    )
    record = UserRecord(dedup=bytearray(digest64("x")[:ID_BYTES] + (int(T0)).to_bytes(4, "little") + straddling))

    assert not is_duplicate(record, event(), FoldConfig())
    assert is_duplicate(record, event(), FoldConfig())


def test_cart_purchase_and_hide_leave_their_marks() -> None:
    record = fold(
        event("add_to_cart", "a"),
        event("add_to_cart", "b"),
        event("remove_from_cart", "b", 5.0),
        event("purchase", "c"),
        event("hide", "d"),
    )

    assert [item for item, time in record.carted.items() if time > 0] == ["a"]
    assert list(record.purchased) == ["c"]
    assert list(record.hidden) == ["d"]


def test_a_removal_that_overtakes_its_addition_still_removes() -> None:
    record = fold(event("remove_from_cart", "a", 5.0), event("add_to_cart", "a", 1.0))

    assert record.carted["a"] < 0


def test_a_touch_later_than_the_lateness_counts_for_affinities_only() -> None:
    record = fold(event(item="a", at=1000.0), event(item="b", at=0.0))

    assert [t.item_id for t in record.recent] == ["a"]
    assert "b" in record.affinities[0]
    assert record.dropped_late == 1


def test_the_latest_context_and_user_document_stand() -> None:
    record = fold(event(at=10.0, context={"device": "phone"}), event(at=5.0, context={"device": "tv"}))
    fold_user(record, User(user_id="1", updated_at=T0 + 20, labels=["vip"]))
    fold_user(record, User(user_id="1", updated_at=T0 + 15, labels=["old"]))

    assert record.context == {"device": "phone"}
    assert record.labels == ["vip"]


def test_tables_never_exceed_their_caps_and_keep_what_is_strong() -> None:
    caps = Caps(item=8, recent=8, seen=8, dedup=8, purchased=8)
    config = FoldConfig(caps=caps)
    record = fold(
        event("purchase", "strong", -1.0), *(event(item=f"i{n}", at=float(n)) for n in range(50)), config=config
    )

    assert len(record.affinities[0]) <= 8
    assert "strong" in record.affinities[0]
    assert [t.item_id for t in record.recent] == [f"i{n}" for n in range(42, 50)]
    assert len(record.seen) <= 8
    assert len(record.dedup) == 8 * DEDUP_BYTES


def test_a_touch_weighs_in_the_tables_once_it_has_left_the_tail_or_is_summed_up() -> None:
    config = FoldConfig(caps=Caps(recent=2))
    record = fold(*(event(item=item, at=float(at)) for at, item in enumerate("abc")), config=config)

    assert (list(record.affinities[0]), list(record.seen)) == (["a"], ["a"])
    for _ in range(2):
        sum_up(record, config)
        assert (list(record.affinities[0]), list(record.seen)) == (["a", "b", "c"], ["a", "b", "c"])
        assert affinity(record, 1, "shoes", 2.0) == pytest.approx([3.0] * 3, rel=1e-3)


def test_a_touch_counts_for_what_the_item_was_when_it_was_touched() -> None:
    first, then = event(), event(at=5.0, items=[EventItem("a", categories=["boots", "sale"])])

    record = sum_up(fold(first, then), FoldConfig())

    assert [list(table) for table in record.affinities] == [["a"], ["shoes", "boots", "sale"], ["acme"], ["p3"]]


def test_a_record_survives_its_encoding() -> None:
    record = fold(event(context={"device": "phone"}), event("purchase", "b", 3.0, session_id="s"))

    assert decode_record(encode_record(record)) == record


EVENTS = st.lists(
    st.builds(
        event,
        st.sampled_from(["view", "click", "add_to_cart", "purchase", "dislike", "impression"]),
        st.sampled_from("abcd"),
        st.floats(0.0, 1e7),
        received_at=st.just(T0 + 1e7),  # all within the dedup horizon
    ),
    max_size=25,
)


@settings(deadline=None)
@given(EVENTS, st.randoms(use_true_random=False))
def test_order_and_repetition_do_not_matter_for_affinities(events: list[Event], rng: Any) -> None:
    shuffled = events + events[::2]
    rng.shuffle(shuffled)
    one, other = (sum_up(fold(*order), FoldConfig()) for order in (events, shuffled))

    for facet in range(4):
        assert one.affinities[facet].keys() == other.affinities[facet].keys()
        for key in one.affinities[facet]:
            assert affinity(one, facet, key, 1e7) == pytest.approx(affinity(other, facet, key, 1e7), rel=1e-9, abs=1e-9)
    assert (one.counts, one.purchased, one.seen, one.last_time) == (
        other.counts,
        other.purchased,
        other.seen,
        other.last_time,
    )


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.0, 250.0), st.sampled_from("abc")), min_size=1, max_size=20), st.data())
def test_sessions_come_out_the_same_in_any_order_within_the_lateness(
    touches: list[tuple[float, str]], data: st.DataObject
) -> None:
    events = [event("click", item, at, event_id=f"e{i}") for i, (at, item) in enumerate(touches)]
    shuffled = data.draw(st.permutations(events))

    one, other = fold(*events), fold(*shuffled)

    assert one.recent == other.recent
    assert session_touches(one.recent, T0 + 300) == session_touches(other.recent, T0 + 300)
