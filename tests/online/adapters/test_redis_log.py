from __future__ import annotations

from pathlib import Path

from online.adapters.redis_client import connect
from online.adapters.redis_log import RedisLog
from replay.history import logged
from schemas.event import EVENT_VERSION, decode_event

GOLDEN = Path(__file__).parent / "golden"
PARTITION = 9701  # no other test's


def test_a_stream_that_version_1_wrote_is_read_in_its_order_and_as_the_present_version(redis_url: str) -> None:
    client, log = connect(redis_url, 5.0), RedisLog(redis_url)
    dump = (GOLDEN / "events_v1.dump").read_bytes()
    client.restore(f"hr:{{{PARTITION}}}:log:events", 0, dump, replace=True)

    messages = [message for batch in logged(log, "events", PARTITION) for message in batch.messages]

    events = [decode_event(message.payload) for message in messages]
    assert [event.event_id for event in events] == ["018f-1", "e", "last"]
    assert {event.schema_version for event in events} == {EVENT_VERSION}
    assert [event.purposes for event in events] == [{"personalization": True}, {}, {}]
    positions = [message.position for message in messages]
    assert positions == sorted(positions)
    behind = [m for batch in logged(log, "events", PARTITION, positions[0]) for m in batch.messages]
    assert behind == messages[1:]
    log.close()
    client.close()
