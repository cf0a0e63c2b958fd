"""The stored record over its versions: old ones are read for ever, and bytes do not depend on the batches."""

from __future__ import annotations

import random
from pathlib import Path
from struct import iter_unpack
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
from online.core.record import ID_BYTES, RECORD_VERSION, Touch, UserRecord, decode_record, encode_record
from online.core.session import digest64
from online.core.step import FoldConfig, fold_event, is_duplicate, sum_up
from online.ports import Batch, Fenced, Message
from replay.traffic import random_event
from schemas.event import Event, decode_event, encode_event, user_key

GOLDEN = Path(__file__).parent / "golden"
T0 = 1_700_000_000.0


class TouchV1(msgspec.Struct, array_like=True, frozen=True):
    """The touch as versions 1 and 2 had it: never to be changed."""

    time: float
    item_id: str
    type_code: int
    session: int


class UserRecordV1(msgspec.Struct, array_like=True):
    """The record as version 1 had it: never to be changed."""

    landmark: float = 0.0
    position: str = ""
    last_time: float = 0.0
    affinities: list[dict[str, list[float]]] = msgspec.field(default_factory=lambda: [{}, {}, {}, {}])
    recent: list[TouchV1] = []
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
    """Return a record's values as version 1 knew them; of the hashes of event ids, what the present version keeps."""
    values = {name: getattr(record, name) for name in UserRecordV1.__struct_fields__ if name != "version"}
    values["recent"] = [(t.time, t.item_id, t.type_code, t.session) for t in record.recent]
    if isinstance(record, UserRecordV1):
        values["dedup"] = b"".join(key[:ID_BYTES] + at for key, at in iter_unpack("<8s4s", record.dedup))
    return values


def test_a_record_of_version_1_keeps_every_value_and_becomes_the_present_version() -> None:
    old, record = decode_v1(read("record_v1.msgpack")), decode_record(read("record_v1.msgpack"))

    assert (old.version, record.version) == (1, RECORD_VERSION)
    assert values_of(record) == values_of(old)
    assert all(old.affinities)
    assert all((old.recent, old.seen, old.carted, old.purchased, old.hidden, old.labels, old.dedup, old.session_key))
    assert (record.forward, record.absorbed) == (None, [])
    assert not any(touch.weight for touch in record.recent)  # the tables have it


def test_an_empty_record_of_version_1_is_an_empty_record() -> None:
    assert decode_record(read("record_v1_minimal.msgpack")) == UserRecord()


def test_what_version_1_wrote_is_what_its_struct_here_writes() -> None:
    assert encode(decode_v1(read("record_v1.msgpack"))) == read("record_v1.msgpack")


def test_a_program_of_version_1_takes_a_present_record_for_none_and_never_for_another() -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_v1(encode_record(decode_record(read("record_v1.msgpack"))))


def test_a_record_of_version_2_keeps_every_value_and_its_event_ids_are_still_known() -> None:
    event, config = decode_event(events(1, seed=5)[0].payload), FoldConfig()
    entry = digest64(event.event_id) + int(event.received_at).to_bytes(4, "little")
    stored = UserRecord(dedup=bytearray(entry), recent=[Touch(T0, "a", 2, 0)], pace=3.0, version=2)

    record = decode_record(encode(stored))

    assert (record.version, record.recent, record.pace) == (RECORD_VERSION, stored.recent, 3.0)
    assert is_duplicate(record, event, config)


@pytest.mark.parametrize("cut", [1, 4, 5, 20, -1])
def test_a_record_cut_short_is_none(cut: int) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_record(encode_record(decode_record(read("record_v1.msgpack")))[:cut])


def test_a_length_made_up_reserves_nothing() -> None:
    with pytest.raises(msgspec.DecodeError, match="its length cannot be"):
        decode_record(b"\x01" + b"\xff\xff\xff\x7f" + bytes(20))


def test_however_batches_are_cut_the_records_have_the_same_bytes() -> None:
    messages = [*events(400, seed=8), *events(400, seed=9)]
    whole, single, cut, rng = MemoryState(), MemoryState(), MemoryState(), random.Random(1)
    Owner(whole).take(messages)
    for at in range(0, 800, 7):  # each batch by an owner that has read the records from the store
        Owner(single).take(messages[at : at + 7])
    owner, rest = Owner(cut), messages
    while rest:
        n = rng.randint(1, 60)
        owner.take(rest[:n])
        rest = rest[n:]

    assert dict(whole.scan(0, USER)) == dict(single.scan(0, USER)) == dict(cut.scan(0, USER))
    assert any(len(decode_record(payload).recent) == 64 for _, payload in whole.scan(0, USER))


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
    """A state flow of version 1 of one partition, as far as user records go: its touches weigh in the tables."""

    def __init__(self, state: MemoryState) -> None:
        self._state, self._config = state, FoldConfig()
        self._generation, checkpoint = state.claim("state", 0)
        self.at = msgspec.msgpack.decode(checkpoint, type=CheckpointV1) if checkpoint else CheckpointV1()

    def take(self, messages: list[Message]) -> None:
        changed: dict[str, UserRecord] = {}
        ids: dict[str, bytes] = {}
        for message in messages:
            event = decode_event(message.payload)
            record = changed.setdefault(event.user_key, UserRecord())
            record.position = message.position
            if not is_duplicate(record, event, self._config):
                ids[event.user_key] = ids.get(event.user_key, b"") + remembered_v1(event)
                landmark = self._config.decay.landmark(event.timestamp)
                factors = self._config.decay.at(event.timestamp, landmark)
                fold_event(record, event, factors, landmark, self._config)
        self.at = CheckpointV1(self.at.seq + 1, {EVENTS: messages[-1].position}, {}, [])
        writes: dict[str, bytes | None] = {}
        for key, record in changed.items():
            values = values_of(sum_up(record, self._config))
            values["recent"] = [TouchV1(*touch) for touch in values["recent"]]
            writes[key] = encode(UserRecordV1(**values | {"dedup": bytearray(ids.get(key, b""))}))
        self._state.commit("state", 0, self._generation, {USER: writes}, encode(self.at))


def remembered_v1(event: Event) -> bytes:
    return digest64(event.event_id) + int(event.received_at).to_bytes(4, "little")


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


def test_in_a_rolling_restart_the_new_flow_takes_over_and_new_workers_read_every_record() -> None:
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
            assert decode_record(payload).version == RECORD_VERSION

    alone = MemoryState()
    Owner(alone).take(messages)
    stored, expected = (
        {key: values_of(sum_up(decode_record(payload), FoldConfig())) for key, payload in one.scan(0, USER)}
        for one in (state, alone)
    )
    for key, values in expected.items():
        for mine, theirs in zip(stored[key].pop("affinities"), values.pop("affinities"), strict=True):
            assert mine.keys() == theirs.keys()
            for name, weights in theirs.items():
                assert mine[name] == pytest.approx(weights, rel=1e-9, abs=1e-9)
        assert stored[key] == values
    assert stored.keys() == expected.keys()
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
    assert after[key] == encode_record(decode_record(after[key]))
    assert {msgspec.msgpack.decode(v, type=UserRecord).version for k, v in after.items() if k != key} == {1}
    assert decode_record(after[key]).counts == decode_v1(before[key]).counts  # its id was known
