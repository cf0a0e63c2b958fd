from __future__ import annotations

import msgspec
import pytest

from online.core.dead_letter import (
    DEAD,
    MOST_BYTES,
    DeadLetter,
    Verdict,
    dead_letter,
    decode_dead_letter,
    decode_verdict,
    encode_verdict,
)
from online.ports import Batch, Message


def letter_of(payload: bytes) -> DeadLetter:
    batch = Batch("events", 3, [Message("p", payload)], read_at=5.0)
    topic, partition, sent = dead_letter(batch, batch.messages[0], "why")
    assert (topic, partition) == (DEAD, 0)
    return decode_dead_letter(sent)


@pytest.mark.parametrize("size", [0, 1, 1_000_000, MOST_BYTES])
def test_a_letter_holds_its_message_whole(size: int) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    letter = letter_of(payload[:size])

    assert letter.payload == payload[:size]
    assert (letter.id, letter.reason, letter.at, letter.size) == ("events:3:p", "why", 5.0, size)


def test_of_a_message_larger_than_a_broker_takes_in_a_letter_the_beginning_is_kept() -> None:
    letter = letter_of(b"x" * (MOST_BYTES + 1))

    assert (len(letter.payload), letter.size) == (MOST_BYTES, MOST_BYTES + 1)


def test_a_letter_of_before_times_were_kept_is_read() -> None:
    old = b'{"topic":"events","partition":0,"position":"p","reason":"r","payload":"/w=="}'

    assert decode_dead_letter(old).payload == b"\xff"
    assert decode_dead_letter(old).at == 0.0


@pytest.mark.parametrize("partition", [-1, 2**16])
def test_a_letter_of_a_partition_no_table_holds_is_none(partition: int) -> None:
    with pytest.raises(msgspec.ValidationError, match="partition"):
        decode_dead_letter(b'{"topic":"t","partition":%d,"position":"p","reason":"r","payload":""}' % partition)


def test_a_verdict_keeps_bytes_of_any_kind() -> None:
    verdict = Verdict(letter="l", action="redrive", by="cli", at=1.0, topic="events", payload=b"\x00\xff")

    assert decode_verdict(encode_verdict(verdict)) == verdict
