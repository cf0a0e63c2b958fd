from __future__ import annotations

from typing import Any

import pytest
from example_slate import example_slate

from online.core.features import FEATURES
from online.core.item_table import ItemTable
from online.core.partition import EVENTS, USER, PartitionFold
from online.core.policy_document import POLICIES
from online.core.record import decode_record
from online.core.update import UPDATES, decode_update
from online.pipeline import SlateRequest, recommend
from online.ports import Batch, Message
from online.world import World
from replay.leakage import LOGGED, LeakageAudit
from schemas.event import Event, EventItem, encode_event
from schemas.item import Item
from schemas.slate import Slate

T0 = 1_700_000_000.0


def event(number: int, at: float, rid: str | None = None, user: str = "1") -> Event:
    return Event(
        event_id=f"e{number}", event_type="click", timestamp=T0 + at, received_at=T0 + at, user_id=user,
        items=[EventItem("a")], recommendation_id=rid,
    )  # fmt: skip


def served(seen: list[Event], at: float) -> Slate:
    """A slate for user 1 at a moment, ranked by states that have taken in these events."""
    world = World(ItemTable(partitions=1))
    world.table.put(Item(item_id="a", updated_at=T0, created_at=T0))
    fold = PartitionFold(0, lambda family, keys: [None] * len(keys))
    folded = fold.fold(Batch(EVENTS, 0, [Message(f"{one.event_id}", encode_event(one)) for one in seen]), 1)
    for topic, _, payload in folded.outbox:
        if topic == UPDATES:
            world.apply(decode_update(payload))
    record = folded.writes[USER].get("u1")
    policy = POLICIES["personal-1"]
    request = SlateRequest(
        recommendation_id="r", partition=0, user_key="u1", surface="home", n=1, now=T0 + at, served_at=T0 + at, seed=1,
        policy=policy, slots=policy.slots,
    )  # fmt: skip
    return recommend(world, request, decode_record(record) if record else None)


def audited(slate: Slate, *labels: Event) -> dict[str, Any]:
    audit = LeakageAudit()
    audit.take_slate(slate)
    for label in labels:
        audit.take_event(label, label.event_id)
    return audit.report()


def test_what_is_ranked_by_the_past_and_labelled_by_the_future_leaks_nothing() -> None:
    report = audited(served([event(1, 0.0), event(2, 5.0, user="2")], at=10.0), event(3, 12.0, "r"), event(4, 13.0))

    assert (report["slates"], report["labels"], report["leaks"]) == (1, 1, 0)
    assert report["least_margin_s"] == pytest.approx(7.0)
    assert report["features"] == {}


def test_a_slate_ranked_by_its_own_label_is_caught_by_the_position_in_the_record() -> None:
    label = event(3, 12.0, "r")

    report = audited(served([event(1, 0.0), label], at=10.0), label)

    assert report["by_state"]["record"] == 3  # by position, after the answer, and not before the label
    assert {"item_affinity", "seen"} <= report["features"].keys()
    assert "is in the record read" in str(report["examples"])


def test_another_users_later_event_in_the_aggregates_is_caught_by_its_time() -> None:
    slate = served([event(1, 0.0), event(2, 30.0, user="2")], at=10.0)

    report = audited(slate, event(3, 12.0, "r"))

    assert report["by_state"] == {"updates": 2}
    assert {"popularity", "ctr", "session_knn_score"} <= report["features"].keys()
    assert report["features"].keys().isdisjoint({"mobile", "position", "local"})


def test_a_slate_that_logs_no_times_is_counted_and_still_checked_by_position() -> None:
    label = event(3, 12.0, "r")
    old = example_slate(recommendation_id="r", user_key="u1", record_position="e4")

    report = audited(old, label)

    assert report["slates_without_times"] == 1
    assert report["by_state"] == {"record": 1}


def test_every_state_that_events_change_is_checked() -> None:
    states = {state for feature in FEATURES for state in feature.reads}

    assert states - LOGGED.keys() == {"request", "catalogue", "vectors", "blend"}  # artifacts say their versions
