from __future__ import annotations

from typing import Any

import msgspec
import pytest

from online.core.entry import Absorption, read_entry
from online.core.foldable import Unfoldable
from online.core.record import RECORD_VERSION, OpenSession, Touch, UserRecord, encode_record
from online.ports import Message
from schemas.event import Event, decode_event, encode_event
from schemas.identity import Absorb, Forwarded, Merge, accept_merge, encode_identity

NOW = 1_700_000_000.0
WHO: dict[str, Any] = {"event_id": "e", "timestamp": NOW, "received_at": NOW, "user_id": "7", "visitor_id": "9"}
EVENT = Event(event_id="e", event_type="search", timestamp=NOW, received_at=NOW, visitor_id="9")


def read(payload: bytes) -> Any:
    return read_entry(Message("1", payload))


def absorb(record: UserRecord) -> bytes:
    return encode_identity(Absorb(**WHO, record=encode_record(record)))


def forwarded(payload: bytes) -> bytes:
    return encode_identity(Forwarded(**WHO, event=msgspec.Raw(payload)))


def test_a_merge_belongs_to_the_visitor_and_an_absorption_to_the_user() -> None:
    merge = accept_merge(user_id="7", visitor_id="9", event_id="e", now=NOW)

    assert read(encode_identity(merge))[1:] == ("v9", merge)
    assert read(absorb(UserRecord(counts={2: 1})))[1:] == ("u7", Absorption("e", NOW, UserRecord(counts={2: 1})))


def test_a_forwarded_event_is_the_event_with_the_key_of_the_user() -> None:
    assert read(encode_event(EVENT))[1] == "v9"
    assert read(forwarded(encode_event(EVENT)))[1:] == ("u7", decode_event(encode_event(EVENT)))


def test_the_bytes_of_a_forwarded_event_are_the_original_ones() -> None:
    payload = b'{ "event_id":"e", "event_type":"search","mood":[1.0],"timestamp":5,"received_at":5,"visitor_id":"9"}'

    assert payload in forwarded(payload)
    assert read(forwarded(payload))[2] == decode_event(payload)


@pytest.mark.parametrize(
    "record",
    [
        UserRecord(affinities=[{}]),
        UserRecord(affinities=[{"a": [1.0]}, {}, {}, {}]),
        UserRecord(affinities=[{"a": [1.0, 1.0, float("nan")]}, {}, {}, {}]),
        UserRecord(dedup=bytearray(7)),
        UserRecord(landmark=1e300),
        UserRecord(recent=[Touch(float("inf"), "a", 1, 0)]),
        UserRecord(recent=[Touch(NOW, "a", 99, 0)]),
        UserRecord(counts={99: 1}),
        UserRecord(sessions=[OpenSession(NOW, 1.0, 5)]),
    ],
)
def test_a_record_that_no_fold_leaves_is_not_taken_over(record: UserRecord) -> None:
    with pytest.raises(Unfoldable, match="no record that a fold has left"):
        read(absorb(record))


def test_a_record_of_a_newer_program_waits_among_the_dead_letters() -> None:
    with pytest.raises(Unfoldable, match="redrive it once all flows know that version"):
        read(absorb(UserRecord(version=RECORD_VERSION + 1)))


@pytest.mark.parametrize(
    "payload",
    [
        b'{"event_type":"merge","event_id":"e","timestamp":1,"received_at":1,"user_id":"7"}',
        b'{"event_type":"merge","event_id":"e","timestamp":1,"received_at":1,"user_id":"7","visitor_id":""}',
        b'{"event_type":"absorb","event_id":"e","timestamp":1,"received_at":1,"user_id":"7","visitor_id":"9","record":"AA=="}',
        b'{"event_type":"forwarded","event_id":"e","timestamp":1,"received_at":1,"user_id":"7","visitor_id":"9","event":[]}',
        encode_identity(Merge(**{**WHO, "timestamp": 1e300})),
        forwarded(encode_identity(accept_merge(user_id="7", visitor_id="9", event_id="e", now=NOW))),
    ],
)
def test_what_is_no_identity_message_raises_what_is_dead_lettered(payload: bytes) -> None:
    with pytest.raises((msgspec.MsgspecError, Unfoldable)):
        read(payload)
