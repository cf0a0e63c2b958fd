from __future__ import annotations

from collections.abc import Iterable

import pytest

from online.core.dead_letter import DEAD
from online.core.partition import EVENTS, ITEM, USER, PartitionFold
from online.core.record import UserRecord, decode_record
from online.core.robots import REMEMBERED_S, is_robot, notice
from online.core.step import FoldConfig, sum_up
from online.core.update import UPDATES
from online.ports import Batch, Message
from schemas.event import Event, EventItem, encode_event

T0 = 1_700_000_000.0
HOUR = 3600.0


def event(number: int, at: float, kind: str = "click", **fields: object) -> Event:
    return Event(
        event_id=f"e{number}", event_type=kind, timestamp=T0 + at, received_at=T0 + at, user_id="1",
        items=[EventItem(f"item-{number % 7}")], **fields,
    )  # type: ignore[arg-type] # fmt: skip


def verdict(times: Iterable[float], kind: str = "click") -> bool:
    """Say whether somebody who acts at these times is a robot at the end."""
    record = UserRecord()
    last = 0.0
    for number, at in enumerate(times):
        notice(record, event(number, at, kind))
        record.last_time = max(record.last_time, T0 + at)
        last = max(last, at)
    return is_robot(record, T0 + last)


@pytest.mark.parametrize(
    ("why", "times", "kind"),
    [
        ("a click a second for an hour", [float(n) for n in range(3600)], "click"),
        ("three clicks in two seconds for two minutes", [n / 1.5 for n in range(180)], "click"),
        ("a burst of double clicks", [n * 0.2 for n in range(100)], "click"),
        ("an order of 900 lines", [0.0] * 900, "purchase"),
        ("ratings of a page of 20 each minute", [60.0 * page for page in range(60) for _ in range(20)], "rating"),
        ("feeds that report what comes into view", [n * 0.05 for n in range(5000)], "impression"),
        ("a client without a clock that sends 150 at once", [0.0] * 150, "view"),
    ],
)
def test_a_fast_person_passes(why: str, times: list[float], kind: str) -> None:
    assert not verdict(times, kind), why


@pytest.mark.parametrize(
    ("why", "times", "kind"),
    [
        ("three clicks a second for five minutes", [n / 3 for n in range(900)], "click"),
        ("ten a second", [n / 10 for n in range(250)], "view"),
        ("two hundred clicks in no time", [0.0] * 200, "click"),
        ("bundles of clicks each second, by a clock of whole seconds", [float(n // 5) for n in range(400)], "click"),
        ("carts filled without pause", [n / 5 for n in range(400)], "add_to_cart"),
    ],
)
def test_a_pace_that_no_person_keeps_up_is_a_robots(why: str, times: list[float], kind: str) -> None:
    assert verdict(times, kind), why


def test_the_order_of_arrival_does_not_change_the_pace() -> None:
    times = [0.3 * n for n in range(100)]
    one, other = UserRecord(), UserRecord()
    for record, arriving in ((one, times), (other, times[::2] + times[1::2])):
        for number, at in enumerate(arriving):
            notice(record, event(number, at))
            record.last_time = max(record.last_time, T0 + at)

    assert one.pace == pytest.approx(other.pace, rel=1e-9)


def test_the_verdict_ends_a_day_after_the_last_sign() -> None:
    record = UserRecord()

    notice(record, event(0, 0.0, robot=True))

    assert is_robot(record, T0 + REMEMBERED_S - 1.0)
    assert not is_robot(record, T0 + REMEMBERED_S)


def test_what_a_robot_does_counts_for_its_own_record_alone() -> None:
    said = [event(0, 0.0), event(1, 60.0, robot=True), event(2, 120.0), event(3, 120.0 + REMEMBERED_S)]
    messages = [Message(f"{i:020d}", encode_event(one)) for i, one in enumerate(said)]

    folded = PartitionFold(0, lambda family, keys: [None] * len(keys)).fold(Batch(EVENTS, 0, messages), 1)

    record = sum_up(decode_record(folded.writes[USER]["u1"] or b""), FoldConfig())
    assert list(record.affinities[0]) == [f"item-{n}" for n in range(4)]
    assert folded.writes[ITEM].keys() == {"item-0", "item-3"}
    assert folded.robot_events == 2
    assert {topic for topic, _, _ in folded.outbox} == {UPDATES} != {DEAD}
