"""The stored record over its versions: old ones are read for ever, and old programs read new ones."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from online.adapters.memory_state import MemoryState
from online.core.checkpoint import (
    STEP_VERSION,
    Checkpoint,
    Folded,
    NewerVersion,
    advance,
    check_version,
    decode_checkpoint,
    encode_checkpoint,
)
from online.core.partition import EVENTS, USER, PartitionFold
from online.core.record import RECORD_VERSION, Forward, Touch, UserRecord, decode_record, encode_record
from online.core.step import FoldConfig, fold_event, is_duplicate
from online.ports import Batch, Fenced, Message
from replay.traffic import random_event
from schemas.event import decode_event, encode_event, user_key

GOLDEN = Path(__file__).parent / "golden"
T0 = 1_700_000_000.0


class UserRecordV1(msgspec.Struct, array_like=True):
    """The record as version 1 had it: never to be changed."""

    landmark: float = 0.0
    position: str = ""
    last_time: float = 0.0
    affinities: list[dict[str, list[float]]] = msgspec.field(default_factory=lambda: [{}, {}, {}, {}])
    recent: list[Touch] = []
    seen: dict[str, int] = {}
    carted: dict[str, int] = {}
    purchased: dict[str, int] = {}
    hidden: dict[str, int] = {}
    counts: dict[int, int] = {}
    context: dict[str, str | bool | int | float | None] = {}
    context_time: float = 0.0
    labels: list[str] = []
    labels_time: float = 0.0
    dedup: bytearray = msgspec.field(default_factory=bytearray)
    dropped_late: int = 0
    session_key: int = 0
    version: int = 1


class CheckpointV1(msgspec.Struct, array_like=True):
    """The checkpoint as version 1 had it: never to be changed."""

    seq: int = 0
    positions: dict[str, str] = {}
    folded: dict[str, int] = {}
    outbox: list[tuple[str, int, bytes]] = []


encode = msgspec.msgpack.encode
decode_v1 = msgspec.msgpack.Decoder(UserRecordV1).decode


def read(name: str) -> bytes:
    return (GOLDEN / name).read_bytes()


def values_of(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in UserRecordV1.__struct_fields__ if name != "version"}


def test_a_record_of_version_1_keeps_every_value_and_becomes_the_present_version() -> None:
    old, record = decode_v1(read("record_v1.msgpack")), decode_record(read("record_v1.msgpack"))

    assert (old.version, record.version) == (1, RECORD_VERSION)
    assert values_of(record) == values_of(old)
    assert all(old.affinities)
    assert all((old.recent, old.seen, old.carted, old.purchased, old.hidden, old.labels, old.dedup, old.session_key))
    assert (record.forward, record.absorbed) == (None, [])


def test_an_empty_record_of_version_1_is_an_empty_record() -> None:
    assert decode_record(read("record_v1_minimal.msgpack")) == UserRecord()


def test_what_version_1_wrote_is_what_its_struct_here_writes() -> None:
    assert encode(decode_v1(read("record_v1.msgpack"))) == read("record_v1.msgpack")


def test_a_program_of_version_1_reads_what_the_present_version_writes() -> None:
    record = decode_record(read("record_v1.msgpack"))
    record.forward, record.absorbed = Forward("7", T0, "7", "0:1"), [1, 2]

    old = decode_v1(encode_record(record))

    assert values_of(old) == values_of(record)


def test_a_checkpoint_of_version_1_is_continued() -> None:
    old = msgspec.msgpack.decode(read("checkpoint_v1.msgpack"), type=CheckpointV1)
    checkpoint = decode_checkpoint(read("checkpoint_v1.msgpack"))

    check_version(checkpoint)

    assert checkpoint == Checkpoint(old.seq, old.positions, old.folded, old.outbox, step_version=1)
    assert advance(checkpoint, EVENTS, "z", 1, Folded({}, [])).step_version == STEP_VERSION
    assert msgspec.msgpack.decode(encode_checkpoint(checkpoint), type=CheckpointV1) == old


def test_a_checkpoint_of_a_newer_program_is_not_continued() -> None:
    with pytest.raises(NewerVersion, match=f"have version {STEP_VERSION + 1} .* knows {STEP_VERSION}"):
        check_version(Checkpoint(step_version=STEP_VERSION + 1))


class OwnerV1:
    """A state flow of version 1 of one partition, as far as user records go: what its struct lacks is lost."""

    def __init__(self, state: MemoryState) -> None:
        self._state, self._config = state, FoldConfig()
        self._generation, checkpoint = state.claim("state", 0)
        self.at = msgspec.msgpack.decode(checkpoint, type=CheckpointV1) if checkpoint else CheckpointV1()

    def take(self, messages: list[Message]) -> None:
        changed: dict[str, UserRecord] = {}
        for message in messages:
            event = decode_event(message.payload)
            stored = self._state.get(0, USER, event.user_key)
            known = values_of(decode_v1(stored)) if stored else {}
            record = changed.setdefault(event.user_key, UserRecord(**known))
            record.position = message.position
            if not is_duplicate(record, event, self._config):
                landmark = self._config.decay.landmark(event.timestamp)
                factors = self._config.decay.at(event.timestamp, landmark)
                fold_event(record, event, factors, landmark, self._config)
        self.at = CheckpointV1(self.at.seq + 1, {EVENTS: messages[-1].position}, {}, [])
        writes: dict[str, bytes | None] = {
            key: encode(UserRecordV1(**values_of(record))) for key, record in changed.items()
        }
        self._state.commit("state", 0, self._generation, {USER: writes}, encode(self.at))


class Owner:
    """The state flow of the present version of one partition."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state
        self._generation, checkpoint = state.claim("state", 0)
        self.at = decode_checkpoint(checkpoint)
        check_version(self.at)
        self._fold = PartitionFold(0, lambda family, keys: state.get_many(0, family, keys), partitions=1)

    def take(self, messages: list[Message]) -> None:
        folded = self._fold.fold(Batch(EVENTS, 0, messages), self.at.seq + 1)
        self.at = advance(self.at, EVENTS, messages[-1].position, len(messages), folded)
        self._state.commit("state", 0, self._generation, folded.writes, encode_checkpoint(self.at))


def events(number: int, seed: int) -> list[Message]:
    rng = random.Random(seed)
    payloads = [encode_event(random_event(rng, T0 + i * 600, users=8, items=12)) for i in range(number)]
    return [Message(f"{i:020d}", payload) for i, payload in enumerate(payloads)]


def test_in_a_rolling_restart_the_new_flow_takes_over_and_workers_of_both_versions_read_every_record() -> None:
    state, messages = MemoryState(), events(300, seed=5)
    old = OwnerV1(state)
    old.take(messages[:100])

    new = Owner(state)
    with pytest.raises(Fenced):
        old.take(messages[100:110])
    assert new.at.positions == {EVENTS: messages[99].position}
    for at in range(100, 300, 20):
        new.take(messages[at : at + 20])
        for _, payload in state.scan(0, USER):
            assert values_of(decode_v1(payload)) == values_of(decode_record(payload))

    alone = MemoryState()
    Owner(alone).take(messages)
    stored = {key: values_of(decode_record(payload)) for key, payload in state.scan(0, USER)}
    assert stored == {key: values_of(decode_record(payload)) for key, payload in alone.scan(0, USER)}
    assert len(stored) == 8


def test_a_record_that_no_event_touches_stays_as_version_1_wrote_it_until_one_does() -> None:
    state = MemoryState()
    old = OwnerV1(state)
    messages = events(60, seed=6)
    old.take(messages)
    before = dict(state.scan(0, USER))
    first = decode_event(messages[0].payload)

    Owner(state).take([Message("9" * 20, messages[0].payload)])

    after = dict(state.scan(0, USER))
    key = user_key(first.user_id, None)
    assert {k for k in after if after[k] != before[k]} == {key}
    assert msgspec.msgpack.decode(after[key], type=UserRecord).version == RECORD_VERSION
    assert {msgspec.msgpack.decode(v, type=UserRecord).version for k, v in after.items() if k != key} == {1}
    assert decode_record(after[key]).counts == decode_v1(before[key]).counts  # its id was known
